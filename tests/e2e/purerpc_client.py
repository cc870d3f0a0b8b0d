"""The generated stubs on purerpc's own transport, as a program of its own: prints one JSON object. Usage: purerpc_client.py PORT."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import purerpc
import trio

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from exchanger._proto.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from exchanger._proto.envoy.service.auth.v3.external_auth_grpc import AuthorizationStub
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_grpc import ExternalProcessorStub
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import HttpHeaders, ProcessingRequest
from exchanger._proto.grpc.health.v1.health_grpc import HealthStub
from exchanger._proto.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthListRequest
from exchanger._proto.grpc.reflection.v1.reflection_grpc import ServerReflectionStub
from exchanger._proto.grpc.reflection.v1.reflection_pb2 import ServerReflectionRequest

TIMEOUT = 30.0


def check(path: str) -> CheckRequest:
    http = AttributeContext.HttpRequest(method="GET", host="api.example.com", path=path)
    return CheckRequest(attributes=AttributeContext(request=AttributeContext.Request(http=http)))


def request_headers(path: str) -> ProcessingRequest:
    fields = {":method": "GET", ":authority": "api.example.com", ":path": path}
    headers = [HeaderValue(key=name, raw_value=value.encode()) for name, value in fields.items()]
    return ProcessingRequest(request_headers=HttpHeaders(headers=HeaderMap(headers=headers)))


async def stream(*messages: Any) -> AsyncIterator[Any]:
    for message in messages:
        yield message


async def main(port: int) -> dict[str, object]:
    seen: dict[str, object] = {}
    with trio.fail_after(TIMEOUT):
        async with purerpc.insecure_channel("127.0.0.1", port) as channel:
            authorization, health = AuthorizationStub(channel), HealthStub(channel)
            seen["allow"] = (await authorization.Check(check("/public"))).WhichOneof("http_response")
            seen["deny"] = (await authorization.Check(check("/admin"))).denied_response.status.code
            seen["serving"] = (await health.Check(HealthCheckRequest())).status
            seen["listed"] = sorted((await health.List(HealthListRequest())).statuses)
            try:
                await health.Check(HealthCheckRequest(service="other"))
            except purerpc.NotFoundError:
                seen["unknown"] = "NOT_FOUND"
            async with aclosing(health.Watch(HealthCheckRequest(service="other"))) as watch:  # type: ignore[type-var]  # a generator
                seen["watched"] = (await anext(watch)).status
            answers = ExternalProcessorStub(channel).Process(stream(request_headers("/public"), request_headers("/admin")))
            seen["process"] = [answer.WhichOneof("response") async for answer in answers]
            questions = stream(ServerReflectionRequest(list_services=""), ServerReflectionRequest(file_containing_symbol="no.Such"))
            reflected = ServerReflectionStub(channel).ServerReflectionInfo(questions)
            seen["reflection"] = [answer.WhichOneof("message_response") async for answer in reflected]
    return seen


if __name__ == "__main__":
    json.dump(trio.run(main, int(sys.argv[1])), sys.stdout)
