"""What is told of a run: everything that can be seen, and no token."""

import json

import attrs
import pytest

from exchanger.http.message import Response
from exchanger.playground.results import MAX_BODY, MAX_TRACES, result_of_finding, result_of_request
from exchanger.scenarios.answer import differs
from exchanger.scenarios.runner import Finding
from exchanger.scenarios.scenario import Call
from exchanger.scenarios.target import Asked, Gateway, ScenarioTarget
from exchanger.scenarios.tokens import Subject, encode

SENT = encode({"sub": "alice", "n": 1})
RECEIVED = encode({"sub": "alice", "scope": "a"})
CALL = Call("h", "/")


def ground() -> ScenarioTarget:
    def token(subject: Subject) -> str:
        return "" if subject is Subject.NONE else SENT

    return ScenarioTarget(Gateway("127.0.0.1", 1), token, recognise=differs)


def asked(*, body: str = "", status: int = 200, sent: str = SENT, trace_id: str = "1" * 32) -> Asked:
    return Asked(CALL, trace_id, sent, Response(status, (("x-seen", f"Bearer {sent}"),), body.encode()), elapsed=0.0125)


def echoed(token: str, *extra: str) -> str:
    return json.dumps({"headers": {"authorization": f"Bearer {token}", "x": list(extra)}})


@attrs.frozen
class Judged:
    verified: bool
    text: str
    kid: str | None


async def verify(token: str) -> Judged:
    return Judged(verified=token == RECEIVED, text="signed", kid="k1")


async def test_what_came_is_told_with_what_is_in_the_tokens() -> None:
    finding = Finding("one", "200 x", "200 y", ok=False, elapsed=0.0125, details=("why",), asked=(asked(body=echoed(RECEIVED)),))
    found = await result_of_finding(finding, verify)
    assert found == {
        "name": "one",
        "ok": False,
        "expected": "200 x",
        "got": "200 y",
        "elapsed_ms": 12.5,
        "details": ["why"],
        "trace_ids": ["1" * 32],
        "answer": {"status": 200, "headers": [["x-seen", "Bearer (token)"]], "body": echoed("(token)")},
        "tokens": {
            "sent": {"header": {"alg": "none", "typ": "JWT"}, "claims": {"sub": "alice", "n": 1}, "signature": "none"},
            "received": {"header": {"alg": "none", "typ": "JWT"}, "claims": {"sub": "alice", "scope": "a"}, "signature": "none"},
            "verification": {"verified": True, "text": "signed", "kid": "k1"},
        },
    }


async def test_without_an_exchange_or_keys_nothing_is_said_of_signatures_and_without_an_answer_nothing_at_all() -> None:
    refused = await result_of_request(asked(status=403, body="{}", sent=""), ground(), verify)
    assert refused["tokens"] == {"sent": None, "received": None, "verification": None}
    assert (refused["ok"], refused["got"], refused["elapsed_ms"]) == (None, "403 {}", 12.5)
    unknown = await result_of_request(asked(body=echoed(RECEIVED)), ground(), None)
    assert unknown["got"] == "200 exchanged: differs from what was sent"
    assert isinstance(unknown["tokens"], dict)
    assert unknown["tokens"]["verification"] is None
    silent = await result_of_request(Asked(CALL, "", SENT, None, "no answer within 8 s"), ground(), verify)
    assert (silent["answer"], silent["got"], silent["trace_ids"]) == (None, "no answer within 8 s", [])


async def test_what_was_skipped_is_neither_good_nor_bad() -> None:
    found = await result_of_finding(Finding("one", "e", "skipped", ok=True, elapsed=0.0, skipped="because"), verify)
    assert (found["ok"], found["got"], found["answer"]) == (None, "skipped: because", None)


@pytest.mark.parametrize("own", ["opaque-token-of-mine", SENT])
async def test_no_token_is_in_it_wherever_it_came_back(own: str) -> None:
    back = asked(body=echoed(RECEIVED, own, f"a{own}b", RECEIVED), sent=own)
    finding = Finding("one", "e", f"200 {own}", ok=False, elapsed=1, details=(f"got {own} and {RECEIVED}",), asked=(back,))
    for found in (await result_of_finding(finding, verify), await result_of_request(back, ground(), verify)):
        text = json.dumps(found)
        assert own not in text
        assert RECEIVED not in text


async def test_of_many_requests_the_first_is_told_and_all_can_be_found() -> None:
    many = tuple(asked(status=403, body=str(number), trace_id=f"{number:032x}") for number in range(MAX_TRACES + 1))
    found = await result_of_finding(Finding("one", "e", "g", ok=True, elapsed=0, asked=many), None)
    assert found["trace_ids"] == [f"{number:032x}" for number in range(MAX_TRACES)]
    assert isinstance(found["answer"], dict)
    assert found["answer"]["body"] == "0"


async def test_a_long_body_is_cut_after_tokens_are_taken_out() -> None:
    opaque = "opaque-token-of-mine"
    found = await result_of_request(asked(status=403, body="x" * (MAX_BODY - 5) + opaque, sent=opaque), ground(), None)
    assert isinstance(found["answer"], dict)
    assert found["answer"]["body"].endswith("x(toke")
