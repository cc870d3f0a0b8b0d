"""The text of ``exchanger/_proto``, made from ``proto/``; ``generate.py`` writes it.

For each ``.proto`` file a module with its messages and a stub of types (protoc and mypy-protobuf), for each one with services also a
module with purerpc's servicers and stubs, and a stub of types for it, which this program writes itself.

Two things about the output are ours. It is a package of its own, so that ``envoy``, ``google`` and ``grpc`` stay free for the packages of
those names. And its messages live in a descriptor pool of their own: the names are Envoy's and Google's, other libraries of the process
(OpenTelemetry's exporter, for one) bring their own complete ``google.rpc.Status``, and a pool takes a name only once.

Nothing of it depends on time, place or order of files, so equal tools give equal bytes.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "proto"
TARGET: Final = ROOT / "exchanger" / "_proto"
PACKAGE: Final = "exchanger._proto"
# protoc needs well under a second; this is for a machine that does much else.
PROTOC_TIMEOUT: Final = 60.0
_PACKAGE_DOCSTRING: Final = '"""Generated from proto/ by .ci/generate.py; no hand edits."""\n'


class GenerationError(Exception):
    """The output of a tool is not what this program knows how to change."""


def proto_files() -> tuple[str, ...]:
    """Return the names of all ``.proto`` files, relative to ``proto/`` and with slashes, in order."""
    return tuple(sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.proto")))


def _plugin(name: str) -> str:
    """Return the option that names a plugin of this environment, wherever ``PATH`` points."""
    program = f"protoc-gen-{name}"
    found = shutil.which(program, path=os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath))))
    if found is None:
        raise GenerationError(f"{program} is not installed")
    return f"--plugin={program}={found}"


def _protoc(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCE}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PROTOC_TIMEOUT,
    )
    if result.returncode != 0:
        raise GenerationError(f"protoc failed:\n{result.stderr}")


def _descriptors(names: tuple[str, ...], scratch: Path) -> tuple[FileDescriptorProto, ...]:
    output = scratch / "descriptors"
    _protoc(f"--descriptor_set_out={output}", *names)
    return tuple(FileDescriptorSet.FromString(output.read_bytes()).file)


def _module(proto: str, suffix: str) -> tuple[str, str]:
    """Return package and module name of a ``.proto`` file's module, as protoc chooses them."""
    package, _, name = proto.removesuffix(".proto").replace("-", "_").rpartition("/")
    return package.replace("/", "."), f"{name}{suffix}"


def _replace(pattern: str, replacement: str, text: str, *, times: int | None = None) -> str:
    changed, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
    if times is not None and count != times:
        raise GenerationError(f"{pattern!r} was found {count} times, not {times}")
    return changed


def _own_imports(text: str, names: tuple[str, ...]) -> str:
    """Let ``text`` import the modules of ``names`` from this package; the protobuf library keeps its own names."""
    for name in names:
        package, module = _module(name, "_pb2")
        text = _replace(rf"^from {re.escape(package)} import {module} as ", f"from {PACKAGE}.{package} import {module} as ", text)
        text = _replace(rf"^import {re.escape(package)}\.{module} as ", f"import {PACKAGE}.{package}.{module} as ", text)
    return text


def _messages(text: str, name: str, names: tuple[str, ...]) -> str:
    """Change a module of protoc's: its imports, its name and its pool."""
    module = ".".join(_module(name, "_pb2"))
    text = _replace(
        r"^from google\.protobuf import descriptor_pool as _descriptor_pool$", "from exchanger.util import descriptor_pool", text, times=1
    )
    text = _replace(r"\b_descriptor_pool\.Default\(\)", "descriptor_pool.POOL", text, times=1)
    text = _replace(
        rf"^_builder\.BuildTopDescriptorsAndMessages\(DESCRIPTOR, '{re.escape(module)}', ",
        f"descriptor_pool.build(DESCRIPTOR, '{PACKAGE}.{module}', ",
        text,
        times=1,
    )
    return _own_imports(text, names)


def _python_type(full_name: str, owners: Mapping[str, str]) -> str:
    return f"{_alias(owners[full_name])}.{full_name.rpartition('.')[2]}"


def _alias(name: str) -> str:
    return "_".join(_module(name, "_pb2")).replace(".", "_")


def _servicer_method(method: MethodDescriptorProto, owners: Mapping[str, str]) -> str:
    """Return the line that types one method of a servicer; names of parameters are purerpc's."""
    request, response = _python_type(method.input_type, owners), _python_type(method.output_type, owners)
    parameter = f"input_messages: AsyncIterator[{request}]" if method.client_streaming else f"input_message: {request}"
    if method.server_streaming:
        return f"    def {method.name}(self, {parameter}) -> AsyncIterator[{response}]: ...\n"
    return f"    async def {method.name}(self, {parameter}) -> {response}: ...\n"


def _stub_method(method: MethodDescriptorProto, owners: Mapping[str, str]) -> str:
    request, response = _python_type(method.input_type, owners), _python_type(method.output_type, owners)
    parameter = f"message_aiter: AsyncIterator[{request}]" if method.client_streaming else f"message: {request}"
    head = "def" if method.server_streaming else "async def"
    result = f"AsyncIterator[{response}]" if method.server_streaming else response
    metadata = "metadata: Sequence[tuple[str, str | bytes]] | None = ..."
    return f"    {head} {method.name}(self, {parameter}, /, *, {metadata}) -> {result}: ...\n"


def _service_types(file: FileDescriptorProto, owners: Mapping[str, str]) -> str:
    """Return the stub of types for purerpc's module of ``file``."""
    used = {owners[kind] for service in file.service for method in service.method for kind in (method.input_type, method.output_type)}
    lines = [
        '"""Types of the purerpc module beside it, generated by .ci/generate.py; no hand edits."""\n\n',
        "from collections.abc import AsyncIterator, Sequence\n\n",
        "import purerpc\n\n",
        *(f"from {PACKAGE}.{'{}'} import {'{}'} as {'{}'}\n".format(*_module(name, "_pb2"), _alias(name)) for name in sorted(used)),
    ]
    for service in file.service:
        lines += [
            f"\nclass {service.name}Servicer(purerpc.Servicer):\n",
            *(_servicer_method(method, owners) for method in service.method),
            "    @property\n    def service(self) -> purerpc.Service: ...\n",
            f"\nclass {service.name}Stub:\n    def __init__(self, channel: object) -> None: ...\n",
            *(_stub_method(method, owners) for method in service.method),
        ]
    return "".join(lines)


def generate(scratch: Path) -> dict[Path, str | None]:
    """Return what ``exchanger/_proto`` is to have: text by file, and ``None`` for files that are there and belong to nothing.

    Raises:
        GenerationError: if a tool is missing, fails, or has changed the shape of its output.
    """
    names = proto_files()
    files = _descriptors(names, scratch)
    services = tuple(sorted(file.name for file in files if file.service))
    owners = {f".{file.package}.{message.name}": file.name for file in files for message in file.message_type}
    raw = scratch / "raw"
    raw.mkdir()
    _protoc(_plugin("mypy"), f"--python_out={raw}", f"--mypy_out=quiet:{raw}", *names)
    _protoc(_plugin("purerpc"), f"--purerpc_out={raw}", *services)

    output = {"__init__.py": _PACKAGE_DOCSTRING}
    changes: tuple[tuple[str, tuple[str, ...], Callable[[str, str], str]], ...] = (
        ("_pb2.py", names, functools.partial(_messages, names=names)),
        ("_pb2.pyi", names, lambda text, _name: _own_imports(text, names)),
        ("_grpc.py", services, lambda text, _name: _own_imports(text, names)),
    )
    for suffix, chosen, change in changes:
        for name in chosen:
            path = f"{name.removesuffix('.proto').replace('-', '_')}{suffix}"
            output[path] = change((raw / path).read_text(encoding="utf-8"), name).rstrip() + "\n"
    for file in files:
        if file.service:
            output[f"{file.name.removesuffix('.proto').replace('-', '_')}_grpc.pyi"] = _service_types(file, owners)
    for path in tuple(output):
        for parent in Path(path).parents:
            output.setdefault((parent / "__init__.py").as_posix(), _PACKAGE_DOCSTRING)
    present = dict.fromkeys(path for path in TARGET.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {**present, **{TARGET / path: text for path, text in output.items()}}
