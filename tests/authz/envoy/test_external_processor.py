import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import (
    HttpBody,
    HttpHeaders,
    ProcessingRequest,
    ProcessingResponse,
)
from exchanger.authz.decision.outcome import DecisionReason
from exchanger.authz.envoy.external_processor import PROCESS_PATH, ExternalProcessor
from exchanger.authz.evaluation.evaluator import Evaluator
from exchanger.model.request import HttpRequest
from exchanger.net.grpc.routes import CallInfo
from exchanger.net.grpc.status import StatusCode
from exchanger.policy.current import CurrentPolicy
from tests.authz.decision.examples import RULES, snapshot
from tests.authz.envoy.exchangers import BrokenExchanger, FakeExchanger, WaitingExchanger, answered
from tests.authz.envoy.test_authorization import BrokenObserver, Records
from tests.authz.envoy.test_process_codec import PSEUDO, request_headers
from tests.net.grpc.peer import Answer, Header, framed
from tests.net.grpc.serving import Client, Served, serving

INFO = CallInfo(PROCESS_PATH, math.inf, ())


def processor(exchanger: FakeExchanger | WaitingExchanger, records: Records) -> ExternalProcessor:
    policy = CurrentPolicy()
    policy.publish(snapshot())
    return ExternalProcessor(Evaluator(policy, RULES, exchanger, (records,), trio.current_time))


def asked(path: str, token: str = "") -> ProcessingRequest:
    return request_headers({**PSEUDO, ":path": path, **({"authorization": f"Bearer {token}"} if token else {})})


RESPONSE_HEADERS = ProcessingRequest(response_headers=request_headers({":status": "200"}).request_headers)
REQUEST_BODY = ProcessingRequest(request_body=HttpBody(body=b"x", end_of_stream=True))
# Nothing at all, and fields that a later version may bring: a member of the oneof would look like either of them.
UNKNOWN = [ProcessingRequest(), ProcessingRequest.FromString(b"\x62\x00"), ProcessingRequest.FromString(b"\xa2\x01\x02\x0a\x00")]


async def conversation(service: ExternalProcessor, *messages: ProcessingRequest) -> list[ProcessingResponse]:
    answers = []
    for message in messages:
        answer = service.process(message.SerializeToString(), INFO)
        if answer is not None:
            answer = await answered(answer)
            answers.append(ProcessingResponse.FromString(answer))
    return answers


def kind_of(response: ProcessingResponse) -> str | None:
    return response.WhichOneof("response")


def tokens_of(response: ProcessingResponse) -> list[bytes]:
    return [option.header.raw_value for option in response.request_headers.response.header_mutation.set_headers]


def immediate_status(message: bytes, records: Records | None = None) -> int:
    """Return the status of the answer, which does not wait for an exchange."""
    exchanger = FakeExchanger()
    answer = processor(exchanger, records or Records()).process(message, INFO)
    assert isinstance(answer, bytes)
    assert exchanger.requests == []
    return int(ProcessingResponse.FromString(answer).immediate_response.status.code)


@pytest.mark.parametrize(
    ("path", "token", "reason", "status"),
    [
        ("/public", "t", DecisionReason.ALLOW_UNMATCHED, 0),
        ("//orders", "t", DecisionReason.DENY_AMBIGUOUS_REQUEST, 400),
        ("http://api.example.com/admin", "t", DecisionReason.DENY_EXPLICIT_POLICY, 403),
        ("http://api.example.com/orders", "", DecisionReason.DENY_MISSING_BEARER, 401),
        ("http:///orders", "t", DecisionReason.DENY_AMBIGUOUS_REQUEST, 400),
    ],
)
async def test_a_request_without_an_exchange_is_answered_at_once(path: str, token: str, reason: DecisionReason, status: int) -> None:
    records = Records()
    assert immediate_status(asked(path, token).SerializeToString(), records) == status
    assert [record.outcome.reason for record in records.records] == [reason]


async def test_headers_and_attributes_that_contradict_each_other_are_refused_and_recorded() -> None:
    records = Records()
    message = asked("/orders", "t")
    message.attributes["envoy.filters.http.ext_proc"].fields["request.path"].string_value = "/admin"
    (response,) = await conversation(processor(FakeExchanger(), records), message)
    assert response.immediate_response.status.code == 400
    (record,) = records.records
    assert record.outcome.reason is DecisionReason.DENY_AMBIGUOUS_REQUEST
    assert (record.request.host, record.request.path) == ("api.example.com", "/orders")


@pytest.mark.parametrize(
    ("message", "body"),
    [
        *((message, '{"error":"server_error","message":"missing request attributes"}') for message in UNKNOWN),
        (ProcessingRequest(request_headers=HttpHeaders()), '{"error":"server_error","message":"missing HTTP request attributes"}'),
    ],
)
async def test_a_message_without_a_request_is_denied_and_recorded(message: ProcessingRequest, body: str) -> None:
    records = Records()
    (response,) = await conversation(processor(FakeExchanger(), records), message)
    assert (response.immediate_response.status.code, response.immediate_response.body.decode()) == (500, body)
    (record,) = records.records
    assert record.outcome.reason is DecisionReason.MISSING_HTTP_ATTRIBUTES
    assert record.request == HttpRequest("", "", "")


async def test_each_request_headers_is_decided_by_itself_and_a_denial_ends_nothing() -> None:
    records = Records()
    responses = await conversation(
        processor(WaitingExchanger(), records),
        asked("/admin"),
        RESPONSE_HEADERS,
        asked("/orders", "a"),
        REQUEST_BODY,
        ProcessingRequest(),
        asked("/orders", "b"),
        asked("/public"),
    )
    assert [kind_of(response) for response in responses] == [
        "immediate_response",
        "response_headers",
        "request_headers",
        "request_body",
        "immediate_response",
        "request_headers",
        "request_headers",
    ]
    assert [tokens_of(responses[index]) for index in (2, 5, 6)] == [[b"Bearer new-a"], [b"Bearer new-b"], []]
    assert [record.request.path for record in records.records] == ["/admin", "/orders", "", "/orders", "/public"]


# Over a connection.


@attrs.define(eq=False)
class Running:
    """A server with the service, and a client of it."""

    served: Served
    client: Client
    service: ExternalProcessor
    exchanger: WaitingExchanger
    records: Records

    async def start(self, *messages: ProcessingRequest, end: bool = True, extra: tuple[Header, ...] = ()) -> tuple[int, Answer]:
        return await self.client.start(PROCESS_PATH, b"".join(framed(m.SerializeToString()) for m in messages), *extra, end=end)

    async def send(self, stream: int, *messages: ProcessingRequest, end: bool = False) -> None:
        self.client.peer.http.send_data(stream, b"".join(framed(m.SerializeToString()) for m in messages), end_stream=end)
        await self.client.settle()

    def reasons(self) -> list[DecisionReason]:
        return [record.outcome.reason for record in self.records.records]

    def is_idle(self) -> bool:
        return self.exchanger.waiting == 0 and self.service.evaluator.in_flight == 0


@asynccontextmanager
async def running() -> AsyncIterator[Running]:
    exchanger, records = WaitingExchanger(), Records()
    service = processor(exchanger, records)
    async with serving(service.routes()) as served:
        yield Running(served, await served.connect(), service, exchanger, records)
        assert served.faults == []


def kinds(answer: Answer) -> list[str | None]:
    return [kind_of(ProcessingResponse.FromString(message)) for message in answer.messages]


async def test_a_pending_exchange_delays_only_its_own_stream() -> None:
    async with running() as here:
        _, ended = await here.start(asked("/orders", "wait"), asked("/admin"))
        stream, waiting = await here.start(asked("/orders", "wait"), end=False)
        await here.send(stream, asked("/admin"), REQUEST_BODY)
        _, other = await here.start(asked("/orders", "quick"))
        assert (kinds(other), other.status) == (["request_headers"], StatusCode.OK)
        assert (ended.messages, ended.status, waiting.messages, here.exchanger.waiting) == ([], None, [], 2)
        assert here.reasons() == [DecisionReason.ALLOW_EXCHANGE]
        here.exchanger.let_go.set()
        await here.client.settle()
        assert (kinds(ended), ended.status) == (["request_headers", "immediate_response"], StatusCode.OK)
        assert (kinds(waiting), waiting.status) == (["request_headers", "immediate_response", "request_body"], None)
        await here.send(stream, RESPONSE_HEADERS, end=True)
        assert (kinds(waiting)[3:], waiting.status) == (["response_headers"], StatusCode.OK)


@pytest.mark.parametrize("how", ["a reset", "a reset after its end", "a lost connection"])
async def test_a_peer_that_leaves_cancels_the_exchange_which_is_recorded_once(how: str) -> None:
    async with running() as here:
        stream, _ = await here.start(asked("/public"), asked("/orders", "wait"), end=how == "a reset after its end")
        assert here.exchanger.waiting == 1
        if how == "a lost connection":
            here.client.socket.close()
            await wait_all_tasks_blocked()
        else:
            here.client.peer.http.reset_stream(stream)
            await here.client.settle()
        assert here.is_idle()
        assert here.reasons() == [DecisionReason.ALLOW_UNMATCHED, DecisionReason.DENY_EXCHANGE_ERROR]


async def test_the_deadline_cancels_the_exchange_and_is_recorded_once(mock_clock: MockClock) -> None:
    async with running() as here:
        _, answer = await here.start(asked("/orders", "wait"), end=False, extra=((b"grpc-timeout", b"200m"),))
        assert (answer.status, here.exchanger.waiting) == (None, 1)
        mock_clock.jump(0.3)
        await here.client.settle()
        assert answer.status == StatusCode.DEADLINE_EXCEEDED
        assert here.is_idle()
        (record,) = here.records.records
        assert record.outcome.reason is DecisionReason.DENY_EXCHANGE_ERROR
        assert record.duration == pytest.approx(0.3)


@pytest.mark.parametrize("path", ["/public", "/orders"])
async def test_a_fault_of_ours_is_a_denial_and_the_stream_goes_on(path: str) -> None:
    policy = CurrentPolicy()
    policy.publish(snapshot())
    service = ExternalProcessor(Evaluator(policy, RULES, BrokenExchanger(), (BrokenObserver(),)))
    async with serving(service.routes()) as served:
        client = await served.connect()
        body = b"".join(framed(message.SerializeToString()) for message in (asked(path, "canary"), REQUEST_BODY))
        _, answer = await client.start(PROCESS_PATH, body)
        assert kinds(answer) == ["immediate_response", "request_body"]
        assert ProcessingResponse.FromString(answer.messages[0]).immediate_response.status.code == 500
        assert answer.status == StatusCode.OK
        assert len(served.faults) == 1


async def test_bytes_that_are_no_message_are_denied_and_the_stream_goes_on() -> None:
    async with running() as here:
        body = framed(asked("/public").SerializeToString()) + framed(b"\xff") + framed(asked("/admin").SerializeToString())
        _, answer = await here.client.start(PROCESS_PATH, body)
        assert kinds(answer) == ["request_headers", "immediate_response", "immediate_response"]
        assert answer.status == StatusCode.OK


@pytest.mark.parametrize("name", ["request.path", "request.useragent"])
async def test_an_attribute_that_is_not_utf_8_does_not_end_the_stream(name: str) -> None:
    """Envoy copies a caller's bytes into the attributes that it is configured to send."""
    message = asked("/admin")
    message.attributes["envoy.filters.http.ext_proc"].fields[name].string_value = "/admin?placeholder"
    data = message.SerializeToString().replace(b"?placeholder", b"?placehold\xff\xff")
    assert immediate_status(data) in {403, 500}


@pytest.mark.parametrize("path", [b"/caf\xe9", b"/orders/\xff", b"/\xc3"])
async def test_a_path_that_is_not_utf_8_is_denied_by_policy(path: bytes) -> None:
    headers = [*((name, value, b"") for name, value in PSEUDO.items() if name != ":path"), (":path", "", path)]
    assert immediate_status(request_headers(headers).SerializeToString()) == 400
