"""Who may ask at the authorization port, and what a slow, large or contradictory message gets there."""

from pathlib import Path

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from exchanger.authz.decision.outcome import DecisionReason
from exchanger.authz.http_authz.server import BODY_BYTES, HttpAuthz
from exchanger.authz.http_authz.settings import HttpAuthzSettings
from exchanger.model.token import ErrorKind
from tests.authz.envoy.exchangers import BrokenExchanger, FakeExchanger, WaitingExchanger
from tests.authz.envoy.test_authorization import Records
from tests.authz.http_authz.asking import Field, ask, connect, message, port, question, raw_answer, responses, running

SECRET = "a-secret-of-the-gateway"
BEARER = (b"Authorization", b"Bearer old")
DIALECTS = ("/envoy", "/forward-auth", "/auth-request")
ORDERS = question("/envoy", b"/orders", BEARER)


async def guarded(folder: Path, records: Records | None = None) -> HttpAuthz:
    """Return a port that wants ``SECRET``."""
    (folder / "secret").write_text(f"{SECRET}\n")
    service = port(records=records, settings=HttpAuthzSettings(secret_file=folder / "secret"))
    assert service.secret is not None
    await service.secret.start()
    return service


@pytest.mark.parametrize(
    "shown",
    [
        (),
        ((b"X-Exchanger-Secret", b""),),
        ((b"X-Exchanger-Secret", SECRET.encode() + b"x"),),
        ((b"X-Exchanger-Secret", SECRET.upper().encode()),),
        ((b"X-Exchanger-Secret", b"\xff"),),
        ((b"X-Exchanger-Secret", SECRET.encode()), (b"X-Exchanger-Secret", SECRET.encode())),
        ((b"X-Exchanger-Secret", SECRET.encode()), (b"X_Exchanger_Secret", b"x")),
        ((b"X_Exchanger_Secret", SECRET.encode()),),
    ],
    ids=str,
)
async def test_without_the_secret_nothing_is_looked_at(tmp_path: Path, shown: tuple[Field, ...]) -> None:
    records = Records()
    service = await guarded(tmp_path, records)
    asked = [question(dialect, b"/orders", BEARER, *shown) for dialect in DIALECTS]
    asked += [message(target, (b"Host", b"h"), *shown) for target in (b"/healthz", b"/nothing", b"/forward-auth")]
    for data in asked:
        answer = await ask(service, data)
        assert (answer.status, answer.body, answer.values(b"authorization")) == (403, b"", [])

    assert records.records == []
    assert service.unauthorized == len(asked)


@pytest.mark.parametrize(
    "framing", [b"", b"Content-Length: 30000\r\n", b"Transfer-Encoding: chunked\r\n"], ids=["no body", "length", "chunks"]
)
async def test_without_the_secret_the_first_answer_ends_the_connection(tmp_path: Path, framing: bytes) -> None:
    service = await guarded(tmp_path)
    head = question("/envoy", b"/orders", BEARER).replace(b"\r\n\r\n", b"\r\n" + framing + b"\r\n")
    (answer,) = responses(await raw_answer(service, head, question("/envoy", b"/orders", (b"X-Exchanger-Secret", SECRET.encode()))))

    assert (answer.status, answer.values(b"connection")) == (403, [b"close"])
    assert service.unauthorized == 1


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_with_the_secret_questions_are_answered_and_it_goes_nowhere(tmp_path: Path, dialect: str) -> None:
    records = Records()
    service = await guarded(tmp_path, records)
    received = await raw_answer(service, question(dialect, b"/orders", BEARER, (b"x-exchanger-SECRET", SECRET.encode())))

    assert responses(received)[0].status == 200
    assert service.unauthorized == 0
    assert SECRET.encode() not in received
    assert SECRET not in repr((records.records, [record.request.fields.fields for record in records.records]))


@pytest.mark.parametrize(("serving", "status"), [(True, 200), (False, 503)])
async def test_health_is_that_of_the_service(serving: bool, status: int) -> None:
    for method in (b"GET", b"HEAD"):
        assert (await ask(port(serving=serving), message(b"/healthz?x", (b"Host", b"h"), method=method), method)).status == status
    assert (await ask(port(serving=serving), message(b"/healthz", (b"Host", b"h"), method=b"PUT"))).status == 405


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_questions_are_answered_in_order_on_one_connection(dialect: str) -> None:
    asked = [question(dialect, b"/orders", BEARER), question(dialect, b"/admin", BEARER), question(dialect, b"/public", BEARER)]
    found = responses(await raw_answer(port(), b"".join(asked)))

    assert [(answer.status, answer.values(b"authorization")) for answer in found] == [
        (200, [b"Bearer new"]),
        (403, []),
        (200, [b"Bearer old"]),
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_upgrade_is_answered_like_any_request(dialect: str) -> None:
    upgrade = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    data = question(dialect, b"/orders", BEARER, *upgrade) + question(dialect, b"/admin", BEARER)
    found = responses(await raw_answer(port(), data))
    assert [answer.status for answer in found] in ([200, 403], [200])
    assert found[0].values(b"authorization") == [b"Bearer new"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_a_body_is_read_and_ignored(dialect: str, framing: str) -> None:
    body = question(dialect, b"/admin")
    field = (b"Content-Length", b"%d" % len(body)) if framing == "length" else (b"Transfer-Encoding", b"chunked")
    sent = body if framing == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    data = question(dialect, b"/orders", BEARER, field) + sent + question(dialect, b"/public")
    assert [answer.status for answer in responses(await raw_answer(port(), data))] == [200, 200]


async def test_a_body_may_have_64_kib_and_no_more() -> None:
    for size, status in ((BODY_BYTES, 200), (BODY_BYTES + 1, 413)):
        data = question("/envoy", b"/orders", BEARER, (b"Content-Length", b"%d" % size), method=b"POST") + b"x" * size
        assert (await ask(port(), data, b"POST")).status == status


async def test_an_expected_go_ahead_is_given() -> None:
    received = await raw_answer(
        port(), question("/envoy", b"/orders", BEARER, (b"Content-Length", b"2"), (b"Expect", b"100-continue")) + b"ok"
    )
    assert responses(received)[0].status == 200


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "fields",
    [
        ((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")),
        ((b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")),
        ((b"Content-Length", b"5"), (b"Content-Length", b"6")),
        ((b"Transfer-Encoding", b"chunked, identity"),),
        ((b"Content-Length", b"+5"),),
        ((b"Content-Length ", b"5"),),
        ((b" Content-Length", b"5"),),
        ((b"X", b"a\nX-Original-Uri: /public"),),
        ((b"X", b"a\rb"),),
        ((b"X", b"a\0b"),),
    ],
    ids=str,
)
async def test_a_message_with_two_meanings_is_refused_and_ends_the_connection(dialect: str, fields: tuple[Field, ...]) -> None:
    records = Records()
    smuggled = question(dialect, b"/orders", BEARER)
    received = await raw_answer(port(records=records), question(dialect, b"/orders", BEARER, *fields) + b"0\r\n\r\n" + smuggled)

    assert [answer.status for answer in responses(received)] in ([400], [501])
    assert b"authorization" not in received.lower()
    assert records.records == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_request_head_over_60_kib_or_with_300_headers_gets_431(dialect: str) -> None:
    for size, status in ((60 * 1024, 200), (65 * 1024, 431)):
        assert (await ask(port(), question(dialect, b"/orders", BEARER, (b"X-Large", b"x" * size)))).status == status
    many = tuple((b"X", b"y") for _ in range(300))
    assert (await ask(port(), question(dialect, b"/orders", BEARER, *many))).status == 431


async def test_a_slow_head_ends_the_connection(autojump_clock: trio.testing.MockClock) -> None:
    service = port()
    async with running(service), connect(service) as client:
        await client.send_all(ORDERS[:-1])
        await trio.sleep(9.9)
        assert service.connections == 1
        await trio.sleep(0.2)
        assert service.connections == 0


async def test_a_fault_is_a_denial_in_each_form_and_is_not_told() -> None:
    for dialect, status in zip(DIALECTS, (403, 500, 403), strict=True):
        with capture_logs() as lines:
            received = await raw_answer(port(BrokenExchanger()), question(dialect, b"/orders", (b"Authorization", b"Bearer canary-token")))
        assert [line["event"] for line in lines] == ["http_authz.handler_failed"]
        assert responses(received)[0].status == status
        assert b"canary" not in received


async def test_connect_is_a_denial_and_no_failure_of_the_port() -> None:
    """Gateways may let requests pass on a 5xx."""
    answer = await ask(port(), message(b"h:443", (b"Host", b"h:443"), method=b"CONNECT"))
    assert (answer.status, answer.values(b"x-exchanger-status")) == (403, [b"501"])


async def test_an_answer_that_takes_for_ever_is_given_up_as_a_denial(autojump_clock: trio.testing.MockClock) -> None:
    exchanger, records = WaitingExchanger(), Records()
    answer = await ask(port(exchanger, records), question("/envoy", b"/orders", (b"Authorization", b"Bearer wait")))

    assert (answer.status, answer.values(b"x-exchanger-status")) == (403, [b"504"])
    assert exchanger.waiting == 0
    (record,) = records.records
    assert (record.outcome.reason, getattr(record.outcome, "error_kind", None)) == (
        DecisionReason.DENY_EXCHANGE_ERROR,
        ErrorKind.CONTEXT_CANCELED,
    )


async def test_a_question_waits_for_its_exchange(autojump_clock: trio.testing.MockClock) -> None:
    answer = await ask(port(FakeExchanger(delay=0.5)), ORDERS)
    assert (answer.status, answer.values(b"authorization")) == (200, [b"Bearer new"])


async def test_a_drain_answers_what_was_asked_and_then_ends(autojump_clock: trio.testing.MockClock) -> None:
    exchanger = WaitingExchanger()
    service = port(exchanger)
    async with running(service) as nursery, connect(service) as client:
        await client.send_all(question("/envoy", b"/orders", (b"Authorization", b"Bearer wait")))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(service.http.drain, 10.0)
        await trio.testing.wait_all_tasks_blocked()
        exchanger.let_go.set()
        (answer,) = responses(b"".join([bytes(chunk) async for chunk in client]))
    assert (answer.status, answer.values(b"authorization"), answer.values(b"connection")) == (200, [b"Bearer new-wait"], [b"close"])


async def test_a_new_connection_takes_the_place_of_an_idle_one() -> None:
    service = port(settings=HttpAuthzSettings(max_connections=1))
    async with running(service), connect(service) as first:
        assert service.connections == 1
        async with connect(service) as second:
            assert await first.receive_some() == b""
            await second.send_all(ORDERS)
            assert responses(bytes(await second.receive_some()))[0].status == 200
            assert (service.connections, service.connections_ended) == (1, 1)
