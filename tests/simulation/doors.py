"""The service's two doors: gateways whose filter is ext_authz make a call for each request, those with ext_proc open a stream."""

from functools import cache
from http import HTTPStatus
from random import Random
from typing import Final, final

import attrs

from exchanger._proto.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import (
    CommonResponse,
    HttpBody,
    HttpHeaders,
    HttpTrailers,
    ProcessingRequest,
    ProcessingResponse,
)
from exchanger.authz.envoy.authorization import CHECK_PATH
from exchanger.authz.envoy.external_processor import PROCESS_PATH
from tests.authz.envoy.test_check_codec import check
from tests.authz.envoy.test_process_codec import request_headers
from tests.simulation.gateway import TIMED_OUT, Gateway, Question, Reply, Stream
from tests.simulation.grammar import Request
from tests.simulation.upstreams import Upstreams

# What gateways with ext_proc do besides sending a request's headers and ending the stream after the answer:
# - "stays": the stream stays open for as long as the request goes on, "again": and is used for another request;
# - "resets": it ends with RST_STREAM, "ends early": or on the gateway's side with the question;
# - "parts": what other processing modes send before or after the answer, "observes": and what expects no answer;
# - "silent": a stream without a message.
MANNERS: Final = ("stays", "again", "resets", "ends early", "parts", "observes", "silent")
# How often each of them shows.
_OFTEN: Final = 0.3
# Where Envoy keeps the metadata of an answer.
_FILTER: Final = "envoy.filters.http.ext_proc"
# Seconds for which a stream stays open after the answer.
_STAYS: Final = (0.05, 2.0)

_PARTS: Final = {
    "request_body": ProcessingRequest(request_body=HttpBody(body=b"body")).SerializeToString(),
    "request_trailers": ProcessingRequest(request_trailers=HttpTrailers()).SerializeToString(),
    "response_headers": ProcessingRequest(response_headers=HttpHeaders()).SerializeToString(),
    "response_body": ProcessingRequest(response_body=HttpBody(body=b"body", end_of_stream=True)).SerializeToString(),
    "response_trailers": ProcessingRequest(response_trailers=HttpTrailers()).SerializeToString(),
}
_OBSERVED: Final = ProcessingRequest(observability_mode=True, response_headers=HttpHeaders()).SerializeToString()


@final
@attrs.define(eq=False)
class Authorizing(Gateway):
    """Asks by a Check for each request, with its own deadline."""

    door = "ext_authz"
    method = CHECK_PATH

    def _ask(self, question: Question) -> None:
        stream = self._open((b"grpc-timeout", b"%dm" % round(question.patience * 1000)))
        self._send(stream, _check(question.token, question.request), end=True)
        stream.waiting.append(question)
        question.stream = stream.number

    def _over(self, stream: Stream) -> None:
        message = next(stream.messages(), b"")
        for question in stream.questions:
            self._answered(question, stream.status, message, _of_check(message) if stream.status == "0" else None)


@final
@attrs.define(eq=False)
class Processing(Gateway):
    """Asks on a stream for each request. The service does not know for how long the gateway waits (Envoy's ``message_timeout``)."""

    manners: frozenset[str] = frozenset()
    upstreams: Upstreams | None = None
    _chance: Random = attrs.field(init=False)

    door = "ext_proc"
    method = PROCESS_PATH

    def __attrs_post_init__(self) -> None:
        self._chance = self.kernel.random(self.name)

    def _does(self, manner: str) -> bool:
        return manner in self.manners and self._chance.random() < _OFTEN

    def _ask(self, question: Question) -> None:
        if self._does("silent"):
            self.kernel.after(self._chance.uniform(0.0, _STAYS[1]), self._end, self._open())
        stream = self._used_again() if self._does("again") else self._open()
        if self._does("observes"):
            self._send(stream, _OBSERVED)
        question.stream, question.ahead = stream.number, stream.questions[-1] if stream.questions else None
        stream.finished = self._does("ends early")
        self._send(stream, _headers(question.token, question.request), end=stream.finished)
        stream.waiting.append(question)
        if self._does("parts"):
            self._send_part(stream)
        self.kernel.after(question.patience, self._time_is_up, question)

    def _used_again(self) -> Stream:
        able = [stream for stream in self.streams.values() if not stream.finished]
        if self.upstreams is not None:  # nothing tells which request a response belongs to, if there are several
            able = [stream for stream in able if not stream.questions and stream.awaits is None]
        return self._chance.choice(able) if able else self._open()

    def _send_part(self, stream: Stream) -> None:
        if not stream.finished and not stream.over:
            kinds = [*_PARTS] if self.upstreams is None else [kind for kind in _PARTS if kind != "response_headers"]
            kind = self._chance.choice(kinds)
            self._send(stream, _PARTS[kind])
            stream.waiting.append(kind)

    def _time_is_up(self, question: Question) -> None:
        stream = self.streams.get(question.stream)
        if stream is not None and question in stream.waiting:
            self.kernel.tell(self.name, "waits no more for", question.named)
            self._give_up(stream, question, TIMED_OUT)

    def _heard(self, stream: Stream) -> None:
        for message in stream.messages():
            answer = ProcessingResponse.FromString(message)
            one = stream.waiting.popleft()
            if isinstance(one, str):
                assert answer.WhichOneof("response") == one, f"{one} is answered by {answer}"
                if one == "response_headers" and self.upstreams is not None and stream.awaits is not None:
                    self.upstreams.known[stream.awaits] = self.kernel.now
                    stream.awaits = None
            else:
                self._answered(one, "0", message, _of_process(answer))
                self._wait_for_response(stream, one, answer)
                if self._does("parts"):
                    self._send_part(stream)
            if not stream.waiting:
                self.kernel.after(self._chance.uniform(*_STAYS) if self._does("stays") else 0.0, self._end, stream)

    def _wait_for_response(self, stream: Stream, question: Question, answer: ProcessingResponse) -> None:
        """The upstream gets the request; the service may want to know what it responds, and its caller may leave before."""
        if answer.mode_override.response_header_mode != ProcessingMode.SEND or self.upstreams is None or stream.finished:
            return
        stream.awaits = question
        self.kernel.after(self.upstreams.takes(), self._leave_upstream if self._does("resets") else self._respond, stream)

    def _respond(self, stream: Stream) -> None:
        if self.streams.get(stream.number) is stream and stream.awaits is not None and self.upstreams is not None:
            self._send(stream, self.upstreams.respond(stream.awaits))
            stream.waiting.append("response_headers")
            self._flush()

    def _leave_upstream(self, stream: Stream) -> None:
        if self.streams.get(stream.number) is stream and not stream.waiting:
            self._reset(stream)
        else:
            self._respond(stream)

    def _end(self, stream: Stream) -> None:
        """End a stream, unless it is over or in use again."""
        if self.streams.get(stream.number) is not stream or stream.waiting or stream.finished or stream.awaits is not None:
            return
        if self._does("resets"):
            self._reset(stream)
        else:
            stream.finished = True
            self._codec.end_stream(stream.number)
            self._flush()

    def _over(self, stream: Stream) -> None:
        # The service may end a stream on which it waits for a response, in which case the response passes.
        assert not (stream.questions or (stream.waiting and stream.awaits is None)) or stream.status != "0", (
            f"the stream ended before the answer to {stream.waiting}"
        )
        if self.upstreams is not None and stream.awaits is not None and stream.status not in {"", "0"}:
            self.upstreams.complain(f"a stream that waits for a response ends with status {stream.status}")
        for question in stream.questions:
            self._answered(question, stream.status, b"", None)


@cache
def _check(token: str, about: Request) -> bytes:
    fields = {":authority": about.host, ":path": about.path, "authorization": f"Bearer {token}", **dict(about.fields)}
    message = CheckRequest.FromString(check(fields, method=about.method, path=about.path, host=about.host))
    return message.SerializeToString(deterministic=True)  # otherwise maps have an order of the process


@cache
def _headers(token: str, about: Request) -> bytes:
    pseudo = {":method": about.method, ":scheme": "https", ":authority": about.host, ":path": about.path}
    return request_headers({**pseudo, "authorization": f"Bearer {token}", **dict(about.fields)}).SerializeToString()


def _of_check(message: bytes) -> Reply:
    answer = CheckResponse.FromString(message)
    decision = answer.dynamic_metadata.fields["decision"].string_value
    if answer.status.code == 0:
        tokens = tuple(one.header.value for one in answer.ok_response.headers if one.header.key.lower() == "authorization")
        return Reply(0, decision, tokens=tokens)
    denied = answer.denied_response
    return Reply(denied.status.code or HTTPStatus.FORBIDDEN, decision, denied.body)


def _of_process(answer: ProcessingResponse) -> Reply | None:
    decision = answer.dynamic_metadata.fields[_FILTER].struct_value.fields["decision"].string_value
    match answer.WhichOneof("response"):
        case "request_headers" if answer.request_headers.response.status == CommonResponse.CONTINUE:
            changed = answer.request_headers.response.header_mutation.set_headers
            tokens = tuple(one.header.raw_value.decode() for one in changed if one.header.key.lower() == "authorization")
            return Reply(0, decision, tokens=tokens)
        case "immediate_response":
            return Reply(answer.immediate_response.status.code, decision, answer.immediate_response.body.decode())
        case _:
            return None
