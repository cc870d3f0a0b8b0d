"""Scenarios are judged rightly, whatever the gateway does: here it is a stand-in for service and Envoy."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from exchanger.demo.answer import Answer, Exchanged, Reached
from exchanger.demo.echo import echo
from exchanger.demo.ground import ground_of, ground_with_token
from exchanger.demo.http import Request, Response, serve_http
from exchanger.demo.runner import NO_FRESH_USER, NO_POLICY, NO_STATS, UNSEEN_EDIT, Finding, run_scenario, summary
from exchanger.demo.scenarios import SCENARIOS, Call, EqualRequests, OneRequest, PolicyEdit, Scenario, Subject
from exchanger.demo.service import write_sample_policy
from exchanger.demo.site import Site, make_subjects
from exchanger.demo.token_endpoint import TokenEndpoint
from exchanger.demo.token_rules import Target
from exchanger.demo.unsigned_jwt import bearer_of
from tests.demo.test_client import answering
from tests.demo.test_token_endpoint import token_request

CALL = Call("h.example.com", "/orders")
DENIED = Answer(403, '{"error":"policy_denied"}')
DENIAL = Response(403, (("Content-Type", "application/json"),), b'{"error":"policy_denied"}')
EQUAL = EqualRequests("equal", "w", CALL, Answer(200, upstream=Exchanged(Target("a"))), count=3)
EDIT = PolicyEdit(
    "edit",
    "w",
    CALL,
    Answer(200, upstream=Exchanged(Target("read:orders"))),
    Answer(200, upstream=Exchanged(Target("edited"))),
    file="yellow.yaml",
    old="read:orders",
    new="edited",
)


@attrs.define(eq=False)
class Gateway:
    """Exchanges every token for ``scope``, or the scope that the policy file names; ``shared`` makes one token request for all."""

    issuer: TokenEndpoint
    policy: Path
    shared: bool = True
    watches: bool = True
    issued: Response | None = None
    flight: trio.Lock = attrs.Factory(trio.Lock)

    async def exchange(self, request: Request) -> Response:
        scope = "edited" if self.watches and "edited" in (self.policy / "yellow.yaml").read_text() else "read:orders"
        subject_token = bearer_of(request.header("authorization"))
        return await self.passed_on(request, await self.issuer.answer(token_request(("scope", scope), subject_token=subject_token)))

    async def equal(self, request: Request) -> Response:
        token = bearer_of(request.header("authorization"))
        async with self.flight:
            if self.issued is None or not self.shared:
                self.issued = await self.issuer.answer(token_request(("scope", "a"), subject_token=token))
            issued = self.issued
        return await self.passed_on(request, issued)

    async def deny(self, request: Request) -> Response:
        return DENIAL

    async def passed_on(self, request: Request, issued: Response) -> Response:
        token = json.loads(issued.body)["access_token"]
        return await echo(Request(request.method, request.target, (("authorization", f"Bearer {token}"),)))


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    write_sample_policy(tmp_path / "policy")
    return Gateway(TokenEndpoint(), tmp_path / "policy")


@asynccontextmanager
async def site(gateway: Gateway, handler: str) -> AsyncIterator[Site]:
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, getattr(gateway, handler), "127.0.0.1", 0)
        token_port: int = await nursery.start(serve_http, gateway.issuer.answer, "127.0.0.1", 0)
        yield Site(
            envoy_port=port,
            grpc_port=1,
            metrics_port=1,
            token_port=token_port,
            upstream_port=1,
            policy=gateway.policy,
            subjects=make_subjects(),
        )
        nursery.cancel_scope.cancel()


async def finding(scenario: Scenario, gateway: Gateway, handler: str) -> Finding:
    async with site(gateway, handler) as where:
        found = await run_scenario(scenario, ground_of(where))
    assert found.name == scenario.name
    assert found.expected == summary(scenario)
    assert found.ok == (found.details == ())
    return found


async def test_one_request_as_expected(gateway: Gateway) -> None:
    found = await finding(OneRequest("one", "w", CALL, DENIED), gateway, "deny")
    assert found.ok
    assert found.got == found.expected == "403 policy_denied"


@pytest.mark.parametrize(
    "expected",
    [
        Answer(401, DENIED.body),
        Answer(403, DENIED.body + " "),
        Answer(403, DENIED.body, ("Bearer",)),
        Answer(403, DENIED.body, content_type="text/plain"),
        Answer(403, upstream=Reached.WITH_ORIGINAL),
    ],
)
async def test_one_request_that_differs_in_anything(expected: Answer, gateway: Gateway) -> None:
    found = await finding(OneRequest("one", "w", CALL, expected), gateway, "deny")
    assert not found.ok
    assert found.got == "403 policy_denied"
    assert len(found.details) == 2


async def test_no_answer_is_a_finding(gateway: Gateway) -> None:
    async with site(gateway, "deny") as where:
        found = await run_scenario(OneRequest("one", "w", CALL, DENIED), ground_of(attrs.evolve(where, envoy_port=1)))
    assert not found.ok
    assert "no answer" in found.got


async def test_equal_requests_that_share_one_token_request(gateway: Gateway) -> None:
    found = await finding(EQUAL, gateway, "equal")
    assert found.ok
    assert found.got == found.expected == "3 × 200 exchanged for scope a, 1 token request"


async def test_equal_requests_that_do_not_share(gateway: Gateway) -> None:
    gateway.shared = False
    found = await finding(EQUAL, gateway, "equal")
    assert found.details == ("token requests: 3, not 1",)


async def test_equal_requests_that_are_not_answered_equally(gateway: Gateway) -> None:
    assert not (await finding(EQUAL, gateway, "deny")).ok


async def test_equal_requests_whose_token_requests_cannot_be_counted(gateway: Gateway) -> None:
    async with site(gateway, "equal") as where:
        found = await run_scenario(EQUAL, ground_of(attrs.evolve(where, token_port=1)))
    assert found.details == ("token requests: unknown, not 1",)


async def test_an_edit_that_takes_effect_is_put_back(gateway: Gateway) -> None:
    before = (gateway.policy / "yellow.yaml").read_text()
    found = await finding(EDIT, gateway, "exchange")
    assert found.ok, found.details
    assert (gateway.policy / "yellow.yaml").read_text() == before
    assert sorted(file.name for file in gateway.policy.iterdir()) == ["blue.yaml", "red.yaml", "yellow.yaml"]


async def test_an_edit_without_effect_is_found_and_put_back(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.demo.runner.EDIT_BOUND", 0.0)
    gateway.watches = False
    before = (gateway.policy / "yellow.yaml").read_text()
    assert not (await finding(EDIT, gateway, "exchange")).ok
    assert (gateway.policy / "yellow.yaml").read_text() == before


async def test_an_edit_that_finds_nothing_to_edit(gateway: Gateway) -> None:
    (gateway.policy / "yellow.yaml").write_text("")
    assert (await finding(EDIT, gateway, "exchange")).got == "nothing to edit"


@pytest.mark.parametrize("broken", ["away", "folder", "bytes"])
async def test_an_edit_of_what_is_no_text(gateway: Gateway, broken: str) -> None:
    file = gateway.policy / "yellow.yaml"
    file.unlink()
    if broken == "folder":
        file.mkdir()
    elif broken == "bytes":
        file.write_bytes(b"\xff")
    found = await finding(EDIT, gateway, "deny")
    assert (found.got, len(found.details)) == ("nothing to edit", 1)
    assert "yellow.yaml" in found.details[0]


async def test_an_edit_leaves_the_ends_of_lines_as_they_are(gateway: Gateway) -> None:
    file = gateway.policy / "yellow.yaml"
    before = file.read_bytes().replace(b"\n", b"\r\n")
    file.write_bytes(before)
    assert (await finding(EDIT, gateway, "exchange")).ok
    assert file.read_bytes() == before


async def test_a_call_carries_the_subject_token_that_it_names(gateway: Gateway) -> None:
    expected = Answer(200, upstream=Reached.WITHOUT_TOKEN)

    async def answer(request: Request) -> Response:
        return await echo(request)

    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, answer, "127.0.0.1", 0)
        where = Site(
            envoy_port=port, grpc_port=1, metrics_port=1, token_port=1, upstream_port=1, policy=gateway.policy, subjects=make_subjects()
        )
        none = await run_scenario(OneRequest("none", "w", attrs.evolve(CALL, subject=Subject.NONE), expected), ground_of(where))
        valid = await run_scenario(OneRequest("valid", "w", CALL, Answer(200, upstream=Reached.WITH_ORIGINAL)), ground_of(where))
        nursery.cancel_scope.cancel()
    assert none.ok
    assert valid.ok


async def test_a_finding_has_the_requests_that_it_is_about(gateway: Gateway) -> None:
    one = await finding(OneRequest("one", "w", CALL, DENIED), gateway, "deny")
    equal = await finding(EQUAL, gateway, "equal")
    edit = await finding(EDIT, gateway, "exchange")
    assert [len(found.asked) for found in (one, equal, edit)] == [1, EQUAL.count, 2]
    asked = [asked for found in (one, equal, edit) for asked in found.asked]
    assert len({each.trace_id for each in asked}) == len(asked)
    assert all(each.response is not None and each.sent not in repr(found) for found in (one, equal, edit) for each in found.asked)


@pytest.mark.parametrize(
    ("scenario", "missing", "reason"),
    [(EQUAL, {"stats": None}, NO_STATS), (EQUAL, {"fresh": None}, NO_FRESH_USER), (EDIT, {"policy": None}, NO_POLICY)],
)
async def test_what_cannot_be_seen_or_changed_is_skipped_with_the_reason(
    scenario: Scenario, missing: dict[str, Any], reason: str, gateway: Gateway
) -> None:
    async with site(gateway, "exchange") as where:
        found = await run_scenario(scenario, attrs.evolve(ground_of(where), **missing))
    assert (found.ok, found.skipped, found.asked) == (True, reason, ())


OWN = "a-token-of-ones-own"
EXCHANGED = OneRequest("exchanged", "w", CALL, Answer(200, upstream=Exchanged(Target("whatever it is"))))


async def test_with_a_token_of_ones_own_any_other_token_is_an_exchanged_one(gateway: Gateway) -> None:
    async def other(_request: Request) -> Response:
        return await echo(Request("GET", "/", (("authorization", "Bearer opaque-and-new"),)))

    async def same(request: Request) -> Response:
        return await echo(request)

    async def both(request: Request) -> Response:
        return await echo(
            Request("GET", "/", (("authorization", "Bearer opaque-and-new"), ("x-original", request.header("authorization"))))
        )

    async def none(_request: Request) -> Response:
        return await echo(Request("GET", "/"))

    found = []
    for handler in (other, same, both, none):
        async with trio.open_nursery() as nursery:
            port: int = await nursery.start(serve_http, handler, "127.0.0.1", 0)
            where = Site(
                envoy_port=port, grpc_port=1, metrics_port=1, token_port=1, upstream_port=1, policy=gateway.policy, subjects=make_subjects()
            )
            found.append(await run_scenario(EXCHANGED, ground_with_token(ground_of(where), OWN)))
            nursery.cancel_scope.cancel()
    assert [each.ok for each in found] == [True, False, False, False]
    assert found[0].got == found[0].expected == "200 exchanged: differs from what was sent"
    assert all(OWN not in str(attrs.astuple(each, recurse=False)) for each in found)


async def test_a_token_of_ones_own_is_sent_unless_none_is(gateway: Gateway) -> None:
    async with site(gateway, "deny") as where:
        ground = ground_with_token(ground_of(where), OWN)
        valid = await run_scenario(OneRequest("valid", "w", CALL, DENIED), ground)
        none = await run_scenario(OneRequest("none", "w", attrs.evolve(CALL, subject=Subject.NONE), DENIED), ground)
        expired = await run_scenario(OneRequest("expired", "w", attrs.evolve(CALL, subject=Subject.EXPIRED), DENIED), ground)
        equal, edit = await run_scenario(EQUAL, ground), await run_scenario(EDIT, ground)
    assert [each.sent for found in (valid, none) for each in found.asked] == [OWN, ""]
    assert "expired" in expired.skipped
    assert (equal.skipped, edit.skipped) == (NO_FRESH_USER, UNSEEN_EDIT)


async def test_what_is_shown_has_neither_tokens_nor_what_a_terminal_obeys(gateway: Gateway) -> None:
    """The worst of gateways repeats what it got, in several places and spellings, and where it is cut."""
    sent, issued = make_subjects(), make_subjects("somebody-else").valid
    spelt = "".join(f"\\u{ord(character):04x}" for character in sent.valid)
    tail = f"{sent.valid} {issued}"
    bodies = [f'{{"error":"{spelt}"}}', f'{{"error":"{"x" * 300} {tail}"}}', "x" * 470 + tail, "x" * 30 + tail, "\x1b[2J\x9b"]
    for body in bodies:
        head = f"HTTP/1.1 403 Forbidden\r\nWWW-Authenticate: Bearer {sent.valid}\r\nContent-Type: text/\x9b2J\r\n\r\n"
        async with answering(head.encode("latin-1") + body.encode()) as port:
            where = Site(envoy_port=port, grpc_port=1, metrics_port=1, token_port=1, upstream_port=1, policy=gateway.policy, subjects=sent)
            found = await run_scenario(OneRequest("one", "w", CALL, DENIED), ground_of(where))
        shown = " ".join((found.got, *found.details))
        assert found.got.startswith("403 ")
        assert shown.isprintable()
        for token in (sent.valid, issued):
            assert token[:20] not in shown
            assert token[-20:] not in shown


def test_summaries_are_short_enough_for_a_terminal() -> None:
    assert max(len(summary(scenario)) for scenario in SCENARIOS) <= 80
