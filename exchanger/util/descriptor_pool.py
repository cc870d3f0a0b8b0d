"""The descriptor pool of ``exchanger._proto``, and the builder of its classes.

A pool takes each message name once, and other libraries add their own versions of these messages to the default one. The protobuf
library's own builder of classes reports each class to the default pool when it runs without its C extension; ``build`` does not.
"""

from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.reflection import GeneratedProtocolMessageType

POOL: Final = DescriptorPool()


def build(file: FileDescriptor, module_name: str, module: dict[str, Any]) -> None:
    """Put enums, message classes and what protoc's code looks up of ``file`` into the namespace ``module``."""
    for name, service in file.services_by_name.items():
        module[f"_{name.upper()}"] = service
    for name, enum in file.enum_types_by_name.items():
        module[f"_{name.upper()}"] = enum
        module[name] = EnumTypeWrapper(enum)
        module.update((value.name, value.number) for value in enum.values)
    for name, message in file.message_types_by_name.items():
        module[name] = _message_class(message, module_name, name)


def _message_class(message: Descriptor, module_name: str, qualified_name: str) -> Any:
    nested = {name: _message_class(inner, module_name, f"{qualified_name}.{name}") for name, inner in message.nested_types_by_name.items()}
    names = {"DESCRIPTOR": message, "__module__": module_name, "__qualname__": qualified_name}
    return GeneratedProtocolMessageType(message.name, (Message,), {**nested, **names})
