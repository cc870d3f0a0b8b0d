"""The generated package: beside other libraries' messages, up to date, and true to what purerpc expects."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from exchanger._proto.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from exchanger._proto.google.rpc.status_pb2 import Status
from exchanger.util.descriptor_pool import POOL
from tests.proto.ours import FILES, PROTO_FILES, ROOT, SERVICES, missing, module_name

# Seconds, for a machine that may be busy.
PROCESS_TIMEOUT = 120

needs_generator = pytest.mark.skipif(missing("grpcio-tools") or missing("mypy-protobuf"), reason="the generator's tools are not installed")
needs_googleapis = pytest.mark.skipif(missing("googleapis-common-protos"), reason="googleapis-common-protos is not installed")

OWN_THEN_THEIRS = """
{first}
{second}
from google.protobuf.internal import api_implementation
assert api_implementation.Type() == "{implementation}", api_implementation.Type()
own = CheckResponse(status=own_status.Status(code=7), denied_response={{"headers": [{{"append": {{"value": True}}}}]}})
assert CheckResponse.FromString(own.SerializeToString()).denied_response.headers[0].append.value
assert own_status.Status.DESCRIPTOR.file.pool is POOL
assert "details" not in own_status.Status.DESCRIPTOR.fields_by_name
their = their_status.Status(code=7, details=[any_pb2.Any(type_url="t")])
assert their_status.Status.FromString(their.SerializeToString()).details[0].type_url == "t"
assert struct_pb2.Struct(fields={{"a": struct_pb2.Value(string_value="b")}})["a"] == "b"
assert own_struct.Struct(fields={{"a": own_struct.Value(string_value="b")}})["a"] == "b"
"""
OWN = """
from exchanger.util.descriptor_pool import POOL
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from exchanger._proto.envoy.service.ext_proc.v3 import external_processor_pb2
from exchanger._proto.google.protobuf import struct_pb2 as own_struct
from exchanger._proto.google.rpc import status_pb2 as own_status
"""
THEIRS = """
from google.protobuf import any_pb2, struct_pb2, wrappers_pb2
from google.rpc import status_pb2 as their_status
"""


@pytest.mark.protoc
@needs_googleapis
@pytest.mark.parametrize("implementation", ["upb", "python"])
@pytest.mark.parametrize(("first", "second"), [(OWN, THEIRS), (THEIRS, OWN)], ids=["ours first", "theirs first"])
def test_other_libraries_may_bring_messages_of_the_same_names(implementation: str, first: str, second: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", OWN_THEN_THEIRS.format(first=first, second=second, implementation=implementation)],
        cwd=ROOT,
        env={**os.environ, "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation},
        capture_output=True,
        text=True,
        check=False,
        timeout=PROCESS_TIMEOUT,
    )
    assert result.returncode == 0, result.stderr


def _generator(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / ".ci" / "generate.py", "proto", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PROCESS_TIMEOUT,
    )


@pytest.mark.protoc
@needs_generator
def test_generated_code_is_up_to_date() -> None:
    result = _generator(ROOT)
    assert result.returncode == 0, result.stderr


@pytest.mark.protoc
@needs_generator
def test_check_tells_what_is_out_of_date(tmp_path: Path) -> None:
    for part in (".ci", "proto", "exchanger"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    generated = tmp_path / "exchanger" / "_proto"
    status = generated / "google" / "rpc" / "status_pb2.py"
    status.write_text(status.read_text() + "# by hand\n")
    (generated / "google" / "rpc" / "status_pb2.pyi").unlink()
    (generated / "stray_pb2.py").touch()

    result = _generator(tmp_path)

    assert result.returncode == 1
    told = [line.partition(" is not up to date")[0] for line in result.stderr.splitlines() if "is not up to date" in line]
    assert told == [f"exchanger/_proto/{path}" for path in ("google/rpc/status_pb2.py", "google/rpc/status_pb2.pyi", "stray_pb2.py")]
    assert "-# by hand" in result.stderr.splitlines()


def test_files_are_in_the_pool_under_their_own_names() -> None:
    assert [file.name for file in FILES] == list(PROTO_FILES)
    for file in FILES:
        assert POOL.FindFileByName(file.name) is file


def test_classes_name_the_module_and_place_that_they_are_found_at() -> None:
    assert AttributeContext.HttpRequest.__module__ == "exchanger._proto.envoy.service.auth.v3.attribute_context_pb2"
    assert AttributeContext.HttpRequest.__qualname__ == "AttributeContext.HttpRequest"
    assert type(CheckRequest().attributes.request.http) is AttributeContext.HttpRequest
    assert type(CheckResponse().status) is Status


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.full_name)
def test_purerpc_servicer_offers_every_method(service: ServiceDescriptor) -> None:
    module = importlib.import_module(module_name(service.file.name, "_grpc"))
    offered = getattr(module, f"{service.name}Servicer")().service
    assert offered.name == service.full_name
    assert {
        name: (method.signature.cardinality.name, method.signature.request_type, method.signature.response_type)
        for name, method in offered.methods.items()
    } == {
        method.name: (
            f"{'STREAM' if method.client_streaming else 'UNARY'}_{'STREAM' if method.server_streaming else 'UNARY'}",
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
        )
        for method in service.methods
    }
