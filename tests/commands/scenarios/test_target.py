"""What scenarios run against, and a request through it: what may be sent, what is sent, and what is kept."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest

from exchanger.commands.demo.servers import echo
from exchanger.commands.demo.setup import demo_target
from exchanger.commands.scenarios.answer import Reached, ScenarioAnswer
from exchanger.commands.scenarios.scenario import GatewayCall, is_host, is_method, is_path, why_no_header
from exchanger.commands.scenarios.target import AnsweredCall, Gateway, request_of
from exchanger.commands.scenarios.tokens import Subject
from exchanger.net.http.message import Request, Response
from tests.commands.scenarios.stand_in import demo, ports
from tests.commands.scenarios.test_client import client_context

CALL = GatewayCall("h.example.com", "/a?b", headers=(("X-A", "1"),))
VALID = f"00-{'ab' * 16}-{'cd' * 8}-01"
TOKEN = "a-token-of-somebody"
PORTS = ports(Path("/p"))


async def sent(call: GatewayCall, folder: Path) -> tuple[AnsweredCall, Request]:
    got: list[Request] = []

    async def remember(request: Request) -> Response:
        got.append(request)
        return await echo(request)

    async with demo(folder, remember) as where:
        asked = await demo_target(where).send(call, TOKEN)
    return asked, got[0]


async def test_a_request_has_a_trace_of_its_own_and_reports_it(tmp_path: Path) -> None:
    (first, got), (second, _) = await sent(CALL, tmp_path), await sent(CALL, tmp_path)
    assert re.fullmatch(rf"00-{first.trace_id}-[0-9a-f]{{16}}-00", got.value("traceparent"))
    assert re.fullmatch(r"[0-9a-f]{32}", first.trace_id)
    assert first.trace_id != second.trace_id
    assert (got.value("host"), got.value("x-a"), got.value("authorization")) == ("h.example.com", "1", f"Bearer {TOKEN}")
    assert demo_target(PORTS).check(first) == ScenarioAnswer(200, upstream=Reached.WITH_ORIGINAL)
    assert first.elapsed > 0
    assert first.response is not None
    assert TOKEN.encode() in first.response.body
    assert TOKEN not in repr(first)


@pytest.mark.parametrize(
    ("own", "trace_id"),
    [((VALID,), "ab" * 16), (("nonsense",), ""), ((f"{VALID}-more",), ""), ((f"{VALID},{VALID}",), ""), ((VALID, VALID), "")],
)
async def test_a_trace_context_of_the_call_is_kept_and_two_are_invalid(own: tuple[str, ...], trace_id: str, tmp_path: Path) -> None:
    asked, got = await sent(attrs.evolve(CALL, headers=tuple(("Traceparent", value) for value in own)), tmp_path)
    assert got.values("traceparent") == own
    assert asked.trace_id == trace_id


async def test_no_answer_is_a_result_too() -> None:
    asked = await demo_target(PORTS).send(CALL, TOKEN)
    assert asked.response is None
    assert demo_target(PORTS).check(asked) == asked.problem == "no answer: Connection refused"


def header(name: str, value: str) -> bool:
    return why_no_header(name, value) == ""


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (
            is_host,
            ("a.example.com", "a.example.com:8080", "127.0.0.1", "[::1]", "[::1]:80", "A_b"),
            ("", "a/b", "a b", "a@b", "a:", "a:b", "::1", "a\n", "a?b", "a,b"),
        ),
        (is_path, ("/", "//", "/a/../b;c?d=%2F&e", "/%zz", "/" + "a" * 8_000), ("", "a", "/a b", "/a\n", "http://h/", "/ä", "*")),
        (is_method, ("GET", "M-SEARCH"), ("", "get", "GET ", "A" * 33)),
        (partial(header, "X-A"), ("", "a", "a b\tc", "x" * 8_000), ("a\r\nb", "a\nb", " a", "a ", "ä", "\x00", "a" * 9_000)),
        (
            partial(header, value="x"),
            ("X-A", "accept"),
            ("Host", "AUTHORIZATION", "Content-Length", "Transfer-Encoding", "connection", "Upgrade", "", "a b", "a:"),
        ),
    ],
    ids=["host", "path", "method", "value", "name"],
)
def test_a_request_has_parts_that_cannot_become_another_request(
    rule: Callable[[str], object], good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    assert [part for part in good if not rule(part)] == []
    assert [part for part in bad if rule(part)] == []


def test_a_refused_header_is_not_repeated() -> None:
    assert why_no_header("X-A", "a\r\nb") == "has a value that no header can have"


def test_a_gateway_has_an_url_for_people() -> None:
    assert Gateway("127.0.0.1", 80).base_url == "http://127.0.0.1:80"
    assert Gateway("::1", 8443, client_context()).base_url == "https://[::1]:8443"
    assert Gateway("127.0.0.1", 443, client_context(), "gateway.example.com").base_url == "https://gateway.example.com:443"


def test_demo_target_shows_more_than_one_with_an_own_token() -> None:
    target = demo_target(PORTS)
    assert (target.gateway.port, target.stats, target.policy, target.lenient) == (1, ("127.0.0.1", 1), Path("/p/policy"), False)
    assert target.subjects(Subject.VALID) == PORTS.subjects.valid
    assert target.made == {Subject.NONE, Subject.VALID, Subject.EXPIRED, Subject.OPAQUE, Subject.REVOKED}
    assert target.fresh is not None
    assert target.fresh("bob").valid != PORTS.subjects.valid
    own = target.with_own_token("own-token")
    assert {own.subjects(subject) for subject in Subject if subject is not Subject.NONE} == {"own-token"}
    assert own.subjects(Subject.NONE) == ""
    assert own.made == {Subject.NONE, Subject.VALID}
    assert own.lenient
    assert own.fresh is None
    for shown in (target, own):
        assert PORTS.subjects.valid not in repr(shown)
        assert "own-token" not in repr(shown)


def test_a_call_becomes_a_request() -> None:
    call = GatewayCall("h.example.com", "/a", method="PUT", headers=(("Origin", "o"),))
    assert request_of(call, "t").headers == (("Host", "h.example.com"), ("Authorization", "Bearer t"), ("Origin", "o"))
    assert request_of(call, "").headers == (("Host", "h.example.com"), ("Origin", "o"))
    assert (request_of(call, "").method, request_of(call, "").target) == ("PUT", "/a")
