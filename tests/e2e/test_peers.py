"""The running service, asked by gRPC's own client and by purerpc's."""

import json
import queue
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import HttpHeaders, ProcessingRequest, ProcessingResponse
from exchanger._proto.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse
from exchanger._proto.grpc.reflection.v1 import reflection_pb2 as v1
from exchanger._proto.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from tests.e2e.service import DOCUMENT, STOP_S, Service, serving

SERVICES = [
    "envoy.service.auth.v3.Authorization",
    "envoy.service.ext_proc.v3.ExternalProcessor",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
]
CALL_S = 20.0
SERVING = HealthCheckResponse.SERVING
T = TypeVar("T")


class Conversation:
    """A streaming call of grpcio in which each message is sent after the answer to the one before has come."""

    def __init__(self, service: Service, path: str, response: Callable[[bytes], Any]) -> None:
        method: grpc.StreamStreamMultiCallable[bytes, Any] = service.channel.stream_stream(path, None, response)
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._call = method(iter(self._requests.get, None), timeout=CALL_S)

    def ask(self, message: Any) -> Any:
        self._requests.put(message.SerializeToString())
        return next(self._call)

    def end(self) -> list[Any]:
        self._requests.put(None)
        return list(self._call)


def test_grpcio_checks(service: Service) -> None:
    assert service.check("/public").WhichOneof("http_response") == "ok_response"
    assert service.check("/admin").denied_response.status.code == 403


def test_grpcio_processes(service: Service) -> None:
    def about(path: str) -> ProcessingRequest:
        fields = {":method": "GET", ":authority": "api.example.com", ":path": path}
        headers = [HeaderValue(key=name, raw_value=value.encode()) for name, value in fields.items()]
        return ProcessingRequest(request_headers=HttpHeaders(headers=HeaderMap(headers=headers)))

    talk = Conversation(service, "/envoy.service.ext_proc.v3.ExternalProcessor/Process", ProcessingResponse.FromString)
    assert talk.ask(about("/public")).WhichOneof("response") == "request_headers"
    assert talk.ask(about("/admin")).immediate_response.status.code == 403
    assert talk.end() == []


def test_grpcio_sees_the_health_of_every_service(service: Service) -> None:
    listed = HealthListResponse.FromString(service.call("/grpc.health.v1.Health/List", HealthListRequest().SerializeToString()))
    assert sorted(listed.statuses) == ["", *SERVICES]
    for name in listed.statuses:
        answer = service.call("/grpc.health.v1.Health/Check", HealthCheckRequest(service=name).SerializeToString())
        assert HealthCheckResponse.FromString(answer).status == SERVING


@pytest.mark.full
def test_grpcio_watches_until_the_drain(tmp_path: Path) -> None:
    first = {"": SERVING, "grpc.health.v1.Health": SERVING, "other": HealthCheckResponse.SERVICE_UNKNOWN}
    with serving(tmp_path, DOCUMENT, SHUTDOWN_GRACE_PERIOD="1h") as running:
        method: grpc.UnaryStreamMultiCallable[bytes, HealthCheckResponse] = running.channel.unary_stream(
            "/grpc.health.v1.Health/Watch", None, HealthCheckResponse.FromString
        )
        watches = {name: method(HealthCheckRequest(service=name).SerializeToString(), timeout=CALL_S + STOP_S) for name in first}
        assert {name: next(watch).status for name, watch in watches.items()} == first
        assert all(watch.is_active() for watch in watches.values())
        running.process.send_signal(signal.SIGTERM)
        rest = {name: [response.status for response in watch] for name, watch in watches.items()}
        assert rest == {name: [] if name == "other" else [HealthCheckResponse.NOT_SERVING] for name in first}
        assert {watch.code() for watch in watches.values()} == {grpc.StatusCode.OK}
        assert running.process.wait(STOP_S) == 0


@pytest.mark.parametrize("version", [v1, v1alpha])
def test_grpcio_rebuilds_every_service_from_reflection(service: Service, version: ModuleType) -> None:
    name = version.DESCRIPTOR.services_by_name["ServerReflection"].full_name
    talk = Conversation(service, f"/{name}/ServerReflectionInfo", version.ServerReflectionResponse.FromString)
    listed = talk.ask(version.ServerReflectionRequest(host="h", list_services=""))
    assert listed.valid_host == "h"
    assert [found.name for found in listed.list_services_response.service] == SERVICES

    files: dict[str, FileDescriptorProto] = {}
    for found in SERVICES:
        answer = talk.ask(version.ServerReflectionRequest(file_containing_symbol=found))
        parts = [FileDescriptorProto.FromString(data) for data in answer.file_descriptor_response.file_descriptor_proto]
        files.update((part.name, part) for part in parts)
    pool = DescriptorPool()

    def build(file: str) -> None:
        for imported in files[file].dependency:
            build(imported)
        pool.Add(files[file])

    for file in files:
        build(file)
    methods = {f"{found}/{method.name}" for found in SERVICES for method in pool.FindServiceByName(found).methods}
    assert len(methods) == 7

    assert talk.ask(version.ServerReflectionRequest(file_containing_symbol="no.Such")).error_response.error_code == 5
    assert talk.ask(version.ServerReflectionRequest(list_services="")).WhichOneof("message_response") == "list_services_response"
    assert talk.end() == []


def test_purerpc(service: Service) -> None:
    """In a process of its own: its transport leaves streams and sockets to the garbage collector, which would be warned of here."""
    client = Path(__file__).with_name("purerpc_client.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", str(client), str(service.port)],
        capture_output=True,
        text=True,
        timeout=2 * CALL_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "allow": "ok_response",
        "deny": 403,
        "serving": SERVING,
        "listed": ["", *SERVICES],
        "unknown": "NOT_FOUND",
        "watched": HealthCheckResponse.SERVICE_UNKNOWN,
        "process": ["request_headers", "immediate_response"],
        "reflection": ["list_services_response", "error_response"],
    }
