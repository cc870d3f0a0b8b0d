"""ext_proc streams on grpcio, as a program of its own: prints one JSON object with what it saw. Usage: grpcio_processor_client.py PORT."""

import json
import queue
import sys

import grpc

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import (
    HttpBody,
    HttpHeaders,
    ProcessingRequest,
    ProcessingResponse,
)

TIMEOUT = 20.0


def asked(path: str, token: str = "") -> ProcessingRequest:
    headers = {":method": "GET", ":authority": "api.example.com", ":path": path}
    if token:
        headers["authorization"] = f"Bearer {token}"
    fields = [HeaderValue(key=name, raw_value=value.encode()) for name, value in headers.items()]
    return ProcessingRequest(request_headers=HttpHeaders(headers=HeaderMap(headers=fields)))


def shown(response: ProcessingResponse) -> list[object]:
    kind = response.WhichOneof("response")
    if kind == "immediate_response":
        return [kind, int(response.immediate_response.status.code), response.immediate_response.body.decode()]
    if kind == "request_headers":
        return [kind, [option.header.raw_value.decode() for option in response.request_headers.response.header_mutation.set_headers]]
    return [kind]


def main(port: int) -> dict[str, object]:
    options = (("grpc.enable_http_proxy", 0),)  # one that the environment names knows no way to a loopback address
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        process = channel.stream_stream(
            "/envoy.service.ext_proc.v3.ExternalProcessor/Process", ProcessingRequest.SerializeToString, ProcessingResponse.FromString
        )

        def stream(*requests: ProcessingRequest) -> object:
            return [shown(response) for response in process(iter(requests), timeout=TIMEOUT)]

        seen: dict[str, object] = {
            "allow": stream(asked("/public")),
            "deny": stream(asked("/admin")),
            "exchange": stream(asked("/orders", "subject")),
            "nothing": stream(),
            "several": stream(asked("/orders", "subject"), ProcessingRequest(request_body=HttpBody(body=b"x")), asked("/admin")),
        }

        # A conversation: each message is sent after the answer to the one before has come.
        requests: queue.SimpleQueue[ProcessingRequest | None] = queue.SimpleQueue()
        call = process(iter(requests.get, None), timeout=TIMEOUT)
        answers: list[object] = []
        for path in ("/public", "/admin", "/orders"):
            requests.put(asked(path))
            answers.append(shown(next(call)))
        requests.put(None)
        seen["conversation"] = [*answers, *map(shown, call)]

        try:
            list(process(iter([asked("/orders", "wait")]), timeout=0.05))
        except grpc.RpcError as error:
            seen["deadline"] = error.code().name
        call = process(iter([asked("/orders", "wait")]), timeout=TIMEOUT)
        call.cancel()
        seen["after"] = stream(asked("/public"))
        return seen


if __name__ == "__main__":
    json.dump(main(int(sys.argv[1])), sys.stdout)
