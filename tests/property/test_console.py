"""Laws of the console: any bytes, any request, and everything that it shows."""

import ipaddress
import json
import math

import attrs
import pytest
import trio
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from exchanger.authz.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny, Filter, Outcome
from exchanger.authz.envoy.authorization import Authorization
from exchanger.authz.evaluation.evaluator import Evaluator
from exchanger.model.entry import Source
from exchanger.model.request import HeaderFields, HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.trace import TraceContext, parse_traceparent
from exchanger.net.grpc.routes import CallInfo
from exchanger.net.http.message import Request, Response
from exchanger.net.http.names import is_ours, read_host
from exchanger.operations.console.access import ConsoleAccess
from exchanger.operations.console.bounded_record import MAX_REQUEST, bounded
from exchanger.operations.console.broadcast import FeedMessage, Subscription, decisions
from exchanger.operations.console.decision_json import OPAQUE, DecisionJson, decoded
from exchanger.operations.console.feed import KEPT, KEPT_DENIED, Feed
from exchanger.operations.console.guard import COOKIE, bearer_of, checked, has_session, is_token, session_of
from exchanger.operations.console.message import encode
from exchanger.operations.console.server import ConsoleServerSettings, Server
from exchanger.operations.console.websocket import Handshake, send_messages
from exchanger.operations.telemetry.decision_log import decision_line
from exchanger.operations.telemetry.spans import FinishedSpan
from exchanger.operations.telemetry.trace_context import SamplingSettings, TraceContexts
from exchanger.operations.telemetry.tracing import SpanQueue, Tracing
from exchanger.policy.current import CurrentPolicy
from tests.authz.decision.examples import RULES, snapshot
from tests.authz.envoy.exchangers import FakeExchanger
from tests.operations.console.records import DENIED, UNMATCHED, record
from tests.operations.console.running import PAGE, frame, line, opening
from tests.operations.console.running import request as http_request
from tests.property.test_telemetry import samplings, traceparents

# Whatever a client sends, with a WebSocket or without: its connection ends or is answered, and nothing is a fault of the service.


FRAMES = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=200),
    fin=st.booleans(),
    masked=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0, 0, 0, 0x40, 0x70]),
)
PIECES = st.one_of(
    FRAMES, FRAMES, st.binary(max_size=40), st.just(frame(9, b"ping")), st.just(frame(8, b"\x03\xe8")), st.just(frame(1, b"text"))
)
HEADS = st.one_of(
    st.binary(max_size=200),
    st.just(http_request("GET", "/")),
    st.builds(
        http_request,
        st.from_regex(r"[A-Z]{1,8}", fullmatch=True),
        st.from_regex(r"[!-~]{1,30}", fullmatch=True),
    ),
    st.just(opening()),
)


async def _messages(stream: trio.abc.Stream, handshake: Handshake) -> None:
    async def take() -> str:
        await trio.sleep(0.001)
        return "message"

    await send_messages(stream, handshake, take, trio.sleep_forever)


async def _talk(data: bytes, cut: int) -> None:
    faults: list[BaseException] = []

    async def upgrade(handshake: Handshake, stream: trio.abc.Stream) -> Response | None:
        await _messages(stream, handshake)
        return None

    server = Server(ConsoleServerSettings("", 0, frozenset({"localhost"})), ConsoleAccess(), PAGE, {}, upgrade, faults.append)
    first, second = trio.socket.socketpair()
    client, served = trio.SocketStream(first), trio.SocketStream(second)

    async def read() -> None:
        try:
            while await client.receive_some():
                pass
        except trio.BrokenResourceError:
            pass

    async def serve() -> None:
        async with served:
            await server.http.serve(served)

    async with client:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve)
                nursery.start_soon(read)
                try:
                    for part in (data[:cut], data[cut:]):
                        await client.send_all(part)
                    await client.send_eof()
                except trio.BrokenResourceError:
                    pass
    assert faults == []
    assert server.http.slots.taken == 0


class TestAnyBytes:
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.lists(PIECES, max_size=8), st.integers(0, 400))
    def test_after_the_opening_request(self, pieces: list[bytes], cut: int) -> None:
        trio.run(_talk, opening() + b"".join(pieces), cut)

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.lists(HEADS, max_size=3), st.integers(0, 400))
    def test_as_requests(self, heads: list[bytes], cut: int) -> None:
        trio.run(_talk, b"".join(heads), cut)


# Whatever a request has for headers, the guard answers; and it lets nothing in that is not for this console or not from its own page.


NAMES = frozenset({"console.example.com"})
NAMES_OF_HEADERS = st.sampled_from(["host", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "cookie", "authorization"])
OURS = st.sampled_from(["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "console.example.com", "192.0.2.7", "[2001:db8::1]"])
FOREIGN = st.from_regex(r"[a-z0-9-]{1,12}(\.[a-z0-9-]{1,12}){1,3}\.(example|nip\.io|com)", fullmatch=True).filter(
    lambda name: name not in NAMES
)
PORTS = st.one_of(st.just(""), st.integers(0, 65535).map(lambda port: f":{port}"))
NOISE = st.sampled_from(
    ["", "@", "%", "%2e", "\x00", " ", ",", "/", "\\", "#", "?", ":", "::", ".", "[", "]", "é", "。", "\u202e", "\ud800"]
)


def request(*headers: tuple[str, str], method: str = "GET", path: str = "/api/policy") -> Request:
    return Request(method, path, headers=headers)


class TestTheGuardIsTotal:
    @given(st.lists(st.tuples(NAMES_OF_HEADERS, st.text(max_size=60))), st.sampled_from(["GET", "POST"]), st.sampled_from(["/", "/stream"]))
    def test_any_headers_get_a_decision(self, headers: list[tuple[str, str]], method: str, path: str) -> None:
        asked = request(*headers, method=method, path=path)
        checked(asked, NAMES)
        has_session(asked, Secret("a-token-of-some-length"))
        bearer_of(asked)

    @given(OURS, NOISE, FOREIGN, PORTS, st.booleans())
    def test_ours_with_something_before_or_after_it(self, ours: str, noise: str, foreign: str, port: str, before: bool) -> None:
        host = f"{foreign}{noise}{ours}{port}" if before else f"{ours}{noise}{foreign}{port}"
        read = read_host(host)
        # Whatever is let in is, read again, a name of ours and nothing that a stranger's name server answers for.
        if checked(request(("host", host)), NAMES) is None:
            assert read is not None
            assert is_ours(read.host, NAMES)
            assert foreign not in read.host


class TestANameOfSomebodyElseIsNoneOfOurs:
    @given(FOREIGN, PORTS)
    def test_it_is_refused_whatever_it_resolves_to(self, host: str, port: str) -> None:
        assert checked(request(("host", host + port)), NAMES) is not None

    @given(OURS, PORTS, st.booleans(), st.booleans())
    def test_ours_is_taken_in_any_case_with_any_port(self, host: str, port: str, upper: bool, dot: bool) -> None:
        spelled = host.upper() if upper else host
        if dot and host[-1].isalpha():
            spelled += "."
        assert checked(request(("host", spelled + port)), NAMES) is None

    @given(st.ip_addresses())
    def test_an_address_is_nobodys_name(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        host = f"[{address}]" if address.version == 6 else str(address)
        assert checked(request(("host", host)), NAMES) is None


class TestOnlyTheOwnPageAsks:
    @given(OURS, PORTS, OURS, PORTS, st.sampled_from(["http", "https"]))
    def test_the_origin_is_the_host_or_refused(self, host: str, port: str, other: str, other_port: str, scheme: str) -> None:
        refused = checked(request(("host", host + port), ("origin", f"{scheme}://{other}{other_port}")), NAMES)
        default = ":80" if scheme == "http" else ":443"
        same = host == other and (port or default) == (other_port or default)
        assert (refused is None) == same

    @given(OURS, FOREIGN, PORTS, st.lists(st.just(None), max_size=2))
    def test_a_foreign_origin_is_refused_wherever_it_stands(self, host: str, foreign: str, port: str, before: list[None]) -> None:
        origins = [("origin", f"http://{host}") for _ in before] + [("origin", f"https://{foreign}{port}")]
        assert checked(request(("host", host), *origins), NAMES) is not None

    @given(st.text(max_size=20))
    def test_only_two_words_say_that_it_is_the_own_site(self, site: str) -> None:
        assert (checked(request(("host", "localhost"), ("sec-fetch-site", site)), NAMES) is None) == (site in {"same-origin", "none"})


class TestCredentialsAreTheTokenAndItsSession:
    @given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
    def test_no_other_token_is_taken(self, token: str, other: str) -> None:
        assert is_token(other, Secret(token)) == (token == other)

    @given(st.from_regex(r"[!-~]{16,40}", fullmatch=True), st.text(max_size=40))
    def test_no_other_cookie_is_taken(self, token: str, value: str) -> None:
        assert has_session(request(("cookie", f"{COOKIE}={session_of(Secret(token))}")), Secret(token))
        assert not has_session(request(("cookie", f"{COOKIE}={value}")), Secret(token))
        assert not has_session(request(("cookie", f"{COOKIE}={session_of(Secret(token))}")), Secret(token + "x"))


# Whatever a request and its decision hold, an item is JSON, bounded, and without a secret.


CANARY = "c4n4ry"
FORWARDED = "x-forwarded-access-token"
ANY = st.text(st.characters(), max_size=40)  # lone surrogates included
SOURCES = st.none() | st.builds(Source, ANY, ANY)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(
        Allow,
        st.sampled_from(DecisionReason),
        SOURCES,
        st.just(Secret(CANARY)),
        st.none() | st.integers(),
        removed=st.sampled_from([(), (FORWARDED,)]),
    ),
    st.builds(
        Deny,
        st.just(DecisionReason.DENY_EXCHANGE_ERROR),
        st.integers(400, 599),
        st.just(CANARY),
        st.just((("WWW-Authenticate", CANARY),)),
        SOURCES,
        detail=ANY,
    ),
    st.builds(
        Deny,
        st.sampled_from(sorted(set(DecisionReason) - {DecisionReason.DENY_EXCHANGE_ERROR}, key=str)),
        st.integers(400, 599),
        ANY,
        st.just(()),
        SOURCES,
        detail=ANY,
    ),
)
REQUESTS = st.builds(
    HttpRequest,
    ANY,
    ANY,
    st.one_of(ANY, ANY.map("/{}".format), ANY.map(lambda path: f"/{path.replace('?', '')}?{CANARY}")),
    st.just(Secret(f"Bearer {CANARY}")),
    st.just(CANARY),
    st.just(CANARY),
    st.builds(TraceContext, ANY, st.just(CANARY), st.just(CANARY)),
    fields=st.just(HeaderFields(((FORWARDED, CANARY), ("cookie", CANARY)), raw=True)),
)
RECORDS = st.builds(DecisionRecord, REQUESTS, OUTCOMES, st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from(Filter))


class TestAnItem:
    @given(RECORDS, st.integers(), st.floats(0, 4e9))
    def test_is_json_without_a_secret(self, record: DecisionRecord, sequence: int, seconds: float) -> None:
        encoded = encode(DecisionJson(line).item((sequence, seconds, record, 1)))
        assert isinstance(json.loads(encoded), dict)
        assert CANARY.encode() not in encoded

    @given(RECORDS)
    def test_touches_no_secret(self, record: DecisionRecord) -> None:
        def touched(_self: Secret) -> str:
            raise AssertionError

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Secret, "reveal", touched)
            DecisionJson(line).item((1, 0.0, record, 1))

    @given(RECORDS)
    def test_is_json_where_tokens_are_shown_too(self, record: DecisionRecord) -> None:
        shown = json.loads(encode(DecisionJson(line, show_tokens=True).item((1, 0.0, record, 1))))
        assert shown["tokens"]["subject"] == OPAQUE

    @given(st.text(max_size=4000), st.text(max_size=4000))
    def test_is_bounded(self, path: str, host: str) -> None:
        record = DecisionRecord(
            HttpRequest("M" * 1000, host, path), Deny(DecisionReason.DENY_EXPLICIT_POLICY, 403, path, detail=host), 0.0, 0.0
        )
        assert len(encode(DecisionJson(line).item((1, 0.0, record, 1)))) < 64 * 1024


class TestATokenIsLookedInto:
    @given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){1,3}", fullmatch=True))
    def test_whatever_it_is(self, token: str) -> None:
        encode(decoded(token))


# Every decision is told or counted as not told: by the feed's batches, and by a queue that is read at any pace.


ALLOWED_RECORD, DENIED_RECORD = record(UNMATCHED), record(DENIED)


class TestBatches:
    @given(st.lists(st.lists(st.booleans(), max_size=3 * KEPT), max_size=5), st.integers(1, KEPT_DENIED))
    def test_each_decision_is_in_one_batch_or_counted(self, rounds: list[list[bool]], limit: int) -> None:
        feed, taken = Feed(clock=lambda: 0.0), 0
        for decided in rounds:
            for denied in decided:
                feed.decided(DENIED_RECORD if denied else ALLOWED_RECORD)
            batch = feed.since(taken, limit)
            numbers = [entry[0] for entry in batch.entries]
            assert numbers == sorted(set(numbers))
            assert all(taken < number <= batch.upto for number in numbers)
            assert len(numbers) <= limit
            assert len(numbers) + batch.lost == batch.upto - taken == len(decided)
            told = sum(entry[2] is DENIED_RECORD for entry in batch.entries)
            assert told == min(sum(decided), limit) or len(decided) <= limit
            # What is allowed and told is newer than what is allowed and not told, of as many as are kept.
            allowed = [number for number, entry in zip(numbers, batch.entries, strict=True) if entry[2] is ALLOWED_RECORD]
            newest = [taken + at for at, denied in enumerate(decided[:KEPT], 1) if not denied][-len(allowed) :] if allowed else []
            assert allowed == newest
            taken = batch.upto


class TestAQueue:
    @given(st.lists(st.one_of(st.none(), st.just("totals"), st.tuples(st.integers(0, 5), st.integers(0, 5))), max_size=60))
    def test_what_is_read_and_what_is_lost_is_what_was_put(self, steps: list[str | tuple[int, int] | None]) -> None:
        async def main() -> None:
            subscription, put, got = Subscription(()), 0, 0
            for step in [*steps, *[None] * 10]:
                if step is None:
                    if subscription.queue:
                        message = json.loads(await subscription.take())
                        got += len(message.get("items", ())) + message.get("lost", 0)
                elif isinstance(step, str):
                    subscription.put(FeedMessage('{"type":"totals"}'))
                else:
                    subscription.put(decisions(["{}"] * step[0], step[1]))
                    put += sum(step)
            assert got + subscription.lost == put

        trio.run(main)


# Law: whatever traces a caller and a gateway bring, the console and the spans agree on which trace a request is in.


items = DecisionJson(decision_line)


def asked(path: str, traceparent: str) -> bytes:
    message = CheckRequest()
    http = message.attributes.request.http
    http.method, http.host, http.path = "GET", "api.example.com", path
    http.headers["traceparent"] = traceparent
    return message.SerializeToString()


@given(st.sampled_from(["/admin", "/unmatched", "/orders"]), traceparents, st.none() | traceparents, samplings)
def test_with_tracing(path: str, callers: str, gateways: str | None, sampling: SamplingSettings) -> None:
    policy, feed, spans = CurrentPolicy(), Feed(), list[FinishedSpan]()
    policy.publish(snapshot())

    def encode(span: FinishedSpan) -> bytes:
        spans.append(span)
        return b""

    tracing = Tracing(TraceContexts(sampling), SpanQueue(10, 10), encode, lambda _moment: 0)
    # The console's place among the observers must not matter.
    evaluator = Evaluator(policy, RULES, FakeExchanger(), (feed, tracing), tracer=tracing.contexts)
    metadata = () if gateways is None else ((b"traceparent", gateways.encode("latin-1", "replace")),)
    Authorization(evaluator).check(asked(path, callers), CallInfo(b"/x", math.inf, metadata))  # /orders has no token, and no exchange
    (entry,) = feed.latest(1)
    shown = items.item(entry)["trace_id"]
    valid = parse_traceparent(callers) or parse_traceparent(gateways or "")
    event("valid" if valid else "none", "recorded" if spans else "not recorded")
    if valid:
        assert shown == valid[0]
    assert [span.context.trace_id for span in spans] == ([shown] if spans else [])
    assert spans or not shown or valid


@given(traceparents, st.sampled_from(["", "/" + "a" * MAX_REQUEST]))
def test_without_tracing_it_is_the_one_that_would_be_continued(traceparent: str, path: str) -> None:
    of = record()
    of = attrs.evolve(of, request=attrs.evolve(of.request, path=of.request.path + path, trace=TraceContext(traceparent)))
    would = TraceContexts().below(of.request.trace)
    assert items.item((1, 0.0, bounded(of), 1))["trace_id"] == (would.trace_id if would.parent_id else None)
