"""A program that answers for the official classes, in a process of its own: JSON questions in, JSON answers out.

``python -m tests.proto.witness`` knows nothing of this project's messages; it reads a list of questions from standard input.
"""

import base64
import importlib
import json
import sys
import warnings
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from tests.proto.tree import describe, describe_service, fill, samples, to_tree

# Where the official classes are: xds-protos (OpenTelemetry's early ones, too), googleapis-common-protos and protobuf.
MODULES = (
    "envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2",
    "envoy.service.auth.v3.external_auth_pb2",
    "envoy.service.ext_proc.v3.external_processor_pb2",
    "google.protobuf.struct_pb2",
    "google.protobuf.wrappers_pb2",
    "google.rpc.status_pb2",
    "opentelemetry.proto.collector.metrics.v1.metrics_service_pb2",
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
)


def answer(question: dict[str, Any]) -> Any:
    """Answer one question.

    ``describe``: the message's fields; ``service``: its methods; ``parse``: the tree of ``bytes``; ``build``: the bytes of ``tree``;
    ``samples``: pairs of bytes and tree that set every official field.
    """
    pool = descriptor_pool.Default()
    if question["kind"] == "service":
        return describe_service(pool.FindServiceByName(question["name"]))
    descriptor = pool.FindMessageTypeByName(question["name"])
    match question["kind"]:
        case "describe":
            return describe(descriptor)
        case "parse":
            return to_tree(GetMessageClass(descriptor).FromString(base64.b64decode(question["bytes"])))
        case "build":
            message = GetMessageClass(descriptor)()
            fill(message, question["tree"])
            return base64.b64encode(message.SerializeToString()).decode()
        case "samples":
            return [[base64.b64encode(sample.SerializeToString()).decode(), to_tree(sample)] for sample in samples(descriptor)]
        case kind:
            raise ValueError(kind)


def main() -> None:
    warnings.simplefilter("ignore")  # that they were generated for an older protobuf
    for module in MODULES:
        importlib.import_module(module)
    json.dump([answer(question) for question in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
