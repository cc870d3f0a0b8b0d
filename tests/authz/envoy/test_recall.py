"""A cached token that the upstream refuses: who is asked for its response, what goes, and what becomes of streams that wait."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import attrs
import pytest
import trio
from rpds import HashTrieMap
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger._proto.envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from exchanger.authz.decision.check import DecisionRules
from exchanger.authz.envoy.external_processor import PROCESS_PATH, ExternalProcessor
from exchanger.authz.evaluation.evaluator import Evaluator
from exchanger.exchange.cache.recall import PAUSE_S
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.model.issuer import CachePolicy
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ExchangedToken, TokenOutcome, TokenRequest
from exchanger.net.grpc.routes import MARGIN_S, StreamContinuation
from exchanger.net.grpc.status import StatusCode
from exchanger.net.network import SYSTEM
from exchanger.policy.current import CurrentPolicy
from tests.authz.decision.examples import PRIMARY, SECOND, snapshot
from tests.authz.envoy.exchangers import Done, ticket
from tests.authz.envoy.test_external_processor import INFO, REQUEST_BODY, asked, kind_of, kinds, tokens_of
from tests.authz.envoy.test_process_codec import request_headers
from tests.net.grpc.peer import Answer, framed
from tests.net.grpc.serving import Client, Served, serving

REFUSED: Final = (("www-authenticate", 'Bearer error="invalid_token"'),)
WHOLE: Final = (("content-type", "text/plain"), ("date", "Mon, 30 Nov 2026 08:00:00 GMT"))
# The profile has the field: see ``recalling``.
ORDERS, PLAIN = "/orders", "/plain"


@attrs.define(eq=False)
class KeepingExchanger:
    """Keeps the tokens that it makes up. ``late``: those that are kept are found later, as in the level that replicas share."""

    cache: TokenCache
    made: Counter[str] = attrs.field(factory=Counter)
    late: bool = False

    def begin(self, request: TokenRequest, _deadline: float, done: Done, /) -> TokenOutcome | object:
        found = self.cache.find(request)
        if found is not None:
            return ticket(trio.lowlevel.checkpoint, found.token, done) if self.late else found.token
        user = request.subject_token.reveal()
        self.made[user] += 1
        made = ExchangedToken(Secret(f"{user}-{self.made[user]}"), None, 3600, Cache.MISS)
        self.cache.keep(request, made)
        return made


@attrs.define(eq=False)
class World:
    """A server, a gateway's connection, and an upstream that refuses users."""

    served: Served
    client: Client
    service: ExternalProcessor
    exchanger: KeepingExchanger
    refused: dict[str, tuple[tuple[str, str], ...]] = attrs.field(factory=dict)

    async def ask(self, user: str, path: str = ORDERS) -> tuple[str, bool]:
        """Send a request as a gateway does; return the upstream's token, and whether the service looked at the response."""
        stream, answer = await self.begin(user, path)
        (response,) = responses(answer)
        (token,) = tokens_of(response)
        looked = awaits(response)
        if looked:
            await self.respond(stream, "401" if user in self.refused else "200", *self.refused.get(user, ()))
            assert kinds(answer) == ["request_headers", "response_headers"]
        await self.send(stream, end=True)
        assert answer.status == StatusCode.OK
        return token.decode().removeprefix("Bearer "), looked

    async def begin(self, user: str, path: str = ORDERS, *extra: tuple[bytes, bytes]) -> tuple[int, Answer]:
        return await self.client.start(PROCESS_PATH, framed(asked(path, user).SerializeToString()), *extra, end=False)

    async def respond(self, stream: int, status: str, *fields: tuple[str, str]) -> None:
        listed = [(name, "", value.encode()) for name, value in ((":status", status), *fields)]
        await self.send(stream, ProcessingRequest(response_headers=request_headers(listed).request_headers))

    async def send(self, stream: int, *messages: ProcessingRequest, end: bool = False) -> None:
        self.client.peer.http.send_data(stream, b"".join(framed(m.SerializeToString()) for m in messages), end_stream=end)
        await self.client.settle()

    @property
    def refusals(self) -> int:
        return sum(self.exchanger.cache.upstream_refusals.values())

    def is_idle(self) -> bool:
        usage = self.served.server.usage()
        return (usage.tasks, self.service.evaluator.in_flight) == (0, 0)


@asynccontextmanager
async def recalling(*, late: bool = False, recall: bool = True) -> AsyncIterator[World]:
    policy = CurrentPolicy()
    policy.publish(snapshot())
    issuers = {
        "primary": attrs.evolve(PRIMARY, cache=CachePolicy(3600.0, 10_000, evict_rejected=True)),
        "second": attrs.evolve(SECOND, cache=CachePolicy(3600.0, 10_000)),
    }
    cache = TokenCache(network=attrs.evolve(SYSTEM, steady=trio.current_time))
    cache.use_issuers(issuers)
    exchanger = KeepingExchanger(cache, late=late)
    rules = DecisionRules(issuers=HashTrieMap(issuers))
    service = ExternalProcessor(Evaluator(policy, rules, exchanger), cache if recall else None)  # type: ignore[arg-type]
    async with serving(service.routes()) as served:
        yield World(served, await served.connect(), service, exchanger)
        assert served.faults == []


def responses(answer: Answer) -> list[ProcessingResponse]:
    return [ProcessingResponse.FromString(message) for message in answer.messages]


def awaits(response: ProcessingResponse) -> bool:
    mode = response.mode_override
    assert mode.request_header_mode == ProcessingMode.SEND
    assert (mode.request_body_mode, mode.response_body_mode) == (ProcessingMode.NONE, ProcessingMode.NONE)
    assert (mode.request_trailer_mode, mode.response_trailer_mode) == (ProcessingMode.SKIP, ProcessingMode.SKIP)
    return mode.response_header_mode == ProcessingMode.SEND


@pytest.mark.parametrize("late", [False, True])
async def test_the_request_after_a_refusal_gets_a_new_token(mock_clock: MockClock, late: bool) -> None:
    async with recalling(late=late) as here:
        assert await here.ask("ann") == ("ann-1", False)  # nobody can refuse what was never kept
        assert await here.ask("ann") == ("ann-1", True)
        here.refused["ann"] = REFUSED
        assert await here.ask("ann") == ("ann-1", True)
        here.refused.clear()
        assert await here.ask("ann") == ("ann-2", False)
        assert await here.ask("ann") == ("ann-2", True)
        assert here.refusals == 1
        assert here.is_idle()


@pytest.mark.parametrize(
    ("status", "fields", "goes"),
    [
        ("401", REFUSED, True),
        ("401", (("WWW-Authenticate", "Basic"), *REFUSED), True),
        ("401", WHOLE, True),
        ("401", (), False),  # nothing but the status: other headers were left out, and perhaps a challenge
        ("401", (*WHOLE, ("www-authenticate", 'Bearer error="insufficient_scope"')), False),
        ("401", (*WHOLE, ("www-authenticate", 'Basic realm="Bearer error=invalid_token"')), False),
        ("401", (*WHOLE, ("www-authenticate", "")), False),
        ("403", REFUSED, False),
        ("200", REFUSED, False),
        ("503", WHOLE, False),
        ("", REFUSED, False),
    ],
)
async def test_what_refuses_a_token(status: str, fields: tuple[tuple[str, str], ...], goes: bool) -> None:
    async with recalling() as here:
        await here.ask("ann")
        stream, answer = await here.begin("ann")
        await here.respond(stream, status, *fields)
        assert kinds(answer) == ["request_headers", "response_headers"]
        assert responses(answer)[1] == ProcessingResponse.FromString(CONTINUED_RESPONSE)
        await here.send(stream, end=True)
        assert (await here.ask("ann"))[0] == ("ann-2" if goes else "ann-1")
        assert here.refusals == goes


CONTINUED_RESPONSE: Final = ProcessingResponse.FromString(b"\x12\x02\x0a\x00").SerializeToString()


async def test_without_drop_refused_responses_are_neither_requested_nor_believed() -> None:
    async with recalling() as here:
        await here.ask("ann", PLAIN)
        stream, answer = await here.begin("ann", PLAIN)
        await here.respond(stream, "401", *REFUSED)
        assert not awaits(responses(answer)[0])
        assert await here.ask("ann", PLAIN) == ("ann-1", False)


async def test_a_fresh_token_that_is_refused_too_stays_cached_for_a_minute(mock_clock: MockClock) -> None:
    async with recalling() as here:
        here.refused["ann"] = REFUSED
        assert [await here.ask("ann") for _ in range(6)] == [
            ("ann-1", False),
            ("ann-1", True),
            ("ann-2", False),
            ("ann-2", True),
            ("ann-2", False),
            ("ann-2", False),
        ]
        await here.ask("bob")
        assert await here.ask("bob") == ("bob-1", True)
        mock_clock.jump(PAUSE_S)
        assert await here.ask("ann") == ("ann-2", True)
        assert here.refusals == 2


async def test_one_user_who_is_always_refused_affects_none_of_a_thousand(mock_clock: MockClock) -> None:
    refusal = ProcessingRequest(response_headers=request_headers({":status": "401", **dict(WHOLE)}).request_headers).SerializeToString()
    accepted = ProcessingRequest(response_headers=request_headers({":status": "200", **dict(WHOLE)}).request_headers).SerializeToString()
    async with recalling() as here:
        for _ in range(5):
            for number in range(1000):
                answer = here.service.process(asked(ORDERS, f"user-{number}").SerializeToString(), INFO)
                if isinstance(answer, StreamContinuation):
                    answer.handler(refusal if number == 7 else accepted, INFO)
        once = Counter({f"user-{number}": 1 for number in range(1000)})
        assert here.exchanger.made == once + Counter({"user-7": 1})
        assert here.refusals == 1


async def test_a_late_response_about_an_earlier_token_leaves_the_new_one() -> None:
    async with recalling() as here:
        await here.ask("ann")
        waiting = [(await here.begin("ann"))[0] for _ in range(3)]
        await here.respond(waiting[0], "401", *REFUSED)
        assert await here.ask("ann") == ("ann-2", False)
        for stream in waiting[1:]:
            await here.respond(stream, "401", *REFUSED)
        assert await here.ask("ann") == ("ann-2", True)
        assert here.refusals == 1


async def test_streams_that_wait_for_responses_hold_no_task_and_leave_nothing_behind() -> None:
    async with recalling() as here:
        await here.ask("ann")
        streams = [(await here.begin("ann"))[0] for _ in range(100)]
        assert here.served.server.usage().streams == 100
        assert here.is_idle()
        for stream in streams[:50]:
            here.client.peer.http.reset_stream(stream)
        await here.client.settle()
        for stream in streams[50:75]:
            await here.send(stream, end=True)
        assert here.served.server.usage().streams == 25
        here.client.socket.close()
        await wait_all_tasks_blocked()
        assert here.served.server.usage().connections == 0
        assert await (await fresh(here)).ask("ann") == ("ann-1", True)


async def fresh(here: World) -> World:
    return World(here.served, await here.served.connect(), here.service, here.exchanger)


async def test_other_parts_of_the_request_may_come_first() -> None:
    async with recalling() as here:
        await here.ask("ann")
        stream, answer = await here.begin("ann")
        await here.send(stream, REQUEST_BODY)
        await here.respond(stream, "401", *REFUSED)
        await here.respond(stream, "401", *REFUSED)
        assert [kind_of(response) for response in responses(answer)] == ["request_headers", "request_body", *2 * ["response_headers"]]
        assert here.refusals == 1


async def test_a_response_that_fits_several_requests_of_a_stream_is_not_believed() -> None:
    async with recalling() as here:
        for user in ("ann", "bob"):
            await here.ask(user)
        stream, answer = await here.begin("ann")
        await here.respond(stream, "200")
        await here.send(stream, asked(ORDERS, "bob"))
        await here.respond(stream, "401", *REFUSED)
        assert here.refusals == 1
        await here.send(stream, asked(ORDERS, "ann"), asked(ORDERS, "bob"), asked("/admin"))
        await here.respond(stream, "401", *REFUSED)
        await here.send(stream, asked(ORDERS, "ann"))
        await here.respond(stream, "401", *REFUSED)
        assert [kind_of(response) for response in responses(answer)] == [
            *2 * ["request_headers", "response_headers"],
            "request_headers",
            "request_headers",
            "immediate_response",
            "response_headers",
            "request_headers",
            "response_headers",
        ]
        assert here.refusals == 1


async def test_at_a_drain_streams_that_wait_for_responses_end_with_ok(autojump_clock: MockClock) -> None:
    async with recalling() as here:
        await here.ask("ann")
        waiting = [(await here.begin("ann"))[1] for _ in range(200)]
        late, late_answer = await here.client.start(PROCESS_PATH, b"", end=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.served.server.drain, 30.0)
            await here.client.settle()
            assert {answer.status for answer in waiting} == {StatusCode.OK}
            await here.send(late, asked(ORDERS, "ann"))
            assert (kinds(late_answer), late_answer.status) == (["request_headers"], StatusCode.OK)
        assert trio.current_time() < 30.0


async def test_a_stream_is_ended_early_only_while_it_waits_for_a_response(autojump_clock: MockClock) -> None:
    async with recalling() as here:
        await here.ask("ann")
        waits, waits_answer = await here.begin("ann")
        await here.send(waits, REQUEST_BODY)
        heard, heard_answer = await here.begin("ann")
        await here.respond(heard, "200")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.served.server.drain, 3.0)
            await here.client.settle()
            assert (waits_answer.status, heard_answer.status) == (StatusCode.OK, None)
            await here.send(heard, asked(ORDERS, "ann"))
            assert (kinds(heard_answer)[2:], heard_answer.status) == (["request_headers"], StatusCode.OK)


async def test_a_stream_that_was_not_answered_is_never_ended_early(autojump_clock: MockClock) -> None:
    """A gateway would let the request pass."""
    async with recalling() as here:
        _, silent_answer = await here.client.start(PROCESS_PATH, b"", end=False)
        _, partly_answer = await here.client.start(PROCESS_PATH, framed(asked(ORDERS, "ann").SerializeToString())[:-1], end=False)
        _, plain_answer = await here.begin("ann", PLAIN)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.served.server.drain, 3.0)
            await here.client.settle()
            assert [answer.status for answer in (silent_answer, partly_answer, plain_answer)] == [None, None, None]
            await trio.sleep(4.0)
            await here.client.settle()
        assert {answer.status for answer in (silent_answer, partly_answer, plain_answer)} == {StatusCode.UNAVAILABLE}


async def test_a_stream_with_a_deadline_ends_with_ok_before_it(autojump_clock: MockClock) -> None:
    async with recalling() as here:
        await here.ask("ann")
        begun = trio.current_time()
        _, answer = await here.begin("ann", ORDERS, (b"grpc-timeout", b"1S"))
        await trio.sleep(1.0 - 2 * MARGIN_S)
        await here.client.settle()
        before = answer.status
        await trio.sleep(1.5 * MARGIN_S)
        await here.client.settle()
        assert (before, answer.status) == (None, StatusCode.OK)
        assert trio.current_time() - begun < 1.0
