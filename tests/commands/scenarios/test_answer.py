"""Answers as values: what the client got, and what the upstream saw."""

import json
from typing import get_args

import pytest

from exchanger.commands.demo.servers import echo
from exchanger.commands.demo.token_endpoint.fake import TokenEndpoint
from exchanger.commands.scenarios.answer import (
    Exchanged,
    Reached,
    RequestedTarget,
    ScenarioAnswer,
    Upstream,
    answer_of,
    describe,
    exchanged_claims,
)
from exchanger.commands.scenarios.tokens import encode
from exchanger.net.http.message import Headers, Request, Response
from tests.commands.demo.test_token_endpoint import NOW, SUBJECT, token_request

TARGET = RequestedTarget("read:orders", (), ("x", "y"))


async def exchanged(subject_token: str = SUBJECT) -> str:
    fields = (("scope", TARGET.scope), *(("audience", audience) for audience in TARGET.audiences))
    response = await TokenEndpoint(clock=lambda: NOW).answer(token_request(*fields, subject_token=subject_token))
    return str(json.loads(response.body)["access_token"])


async def echoed(*headers: tuple[str, str]) -> Response:
    return await echo(Request("GET", "/", (("host", "h"), *headers)))


async def upstream(headers: Headers, sent_token: str = SUBJECT) -> Upstream:
    answer = answer_of(await echoed(*headers), sent_token)
    assert answer == ScenarioAnswer(200, upstream=answer.upstream)
    return answer.upstream


async def test_what_the_upstream_saw_is_recognised() -> None:
    token, foreign = await exchanged(), await exchanged(encode({"sub": "bob", "exp": NOW + 60}))
    bearer = ("authorization", f"Bearer {token}")
    assert await upstream((bearer,)) == Exchanged(TARGET)
    assert await upstream((("authorization", f"Bearer {SUBJECT}"),)) is Reached.WITH_ORIGINAL
    assert await upstream(()) is Reached.WITHOUT_TOKEN
    assert await upstream((), sent_token="") is Reached.WITHOUT_TOKEN
    for other in (f"Bearer {foreign}", "Bearer abc", "Basic abc", f"Bearer {encode({'sub': 'alice'})}"):
        assert await upstream((("authorization", other),)) is Reached.WITH_OTHER
    assert await upstream((bearer, bearer)) is Reached.WITH_OTHER, "two tokens are never an exchange"
    assert await upstream((bearer, ("x-original", f"was {SUBJECT}"))) is Reached.WITH_BOTH, "under any name"
    assert await upstream((("authorization", f"Bearer {SUBJECT}"), bearer)) is Reached.WITH_BOTH
    claims = {**exchanged_claims(await echoed(bearer)), "azp": "another-client"}
    assert await upstream((("authorization", f"Bearer {encode(claims)}"),)) is Reached.WITH_OTHER
    assert exchanged_claims(await echoed(bearer))["scope"] == TARGET.scope
    assert exchanged_claims(await echoed()) == exchanged_claims(Response(200)) == {}


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b"{}", b'{"headers": []}', b"[" * 20_000])
def test_what_is_not_the_echo_has_not_reached_it(body: bytes) -> None:
    answer = answer_of(Response(200, (("content-type", "text/html"),), body), SUBJECT)
    assert answer == ScenarioAnswer(200, body.decode(), upstream=Reached.NOT, content_type="text/html")


def test_a_refusal_keeps_body_and_challenges() -> None:
    headers = (("content-type", "application/json"), ("www-authenticate", "A"), ("www-authenticate", "B"))
    assert answer_of(Response(401, headers, b'{"error":"x"}'), SUBJECT) == ScenarioAnswer(401, '{"error":"x"}', ("A", "B"))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ScenarioAnswer(200, upstream=Exchanged(TARGET)), "200 exchanged for scope read:orders, audience x y"),
        (ScenarioAnswer(200, upstream=Exchanged(RequestedTarget())), "200 exchanged for nothing"),
        (ScenarioAnswer(200, upstream=Reached.WITH_ORIGINAL), "200 passed on with the original token"),
        (ScenarioAnswer(401, '{"error":"e"}', ("Bearer",)), "401 e [Bearer]"),
        (ScenarioAnswer(500, '{"error":"e","message":"m (TXE-1003)"}'), "500 e TXE-1003"),
        (ScenarioAnswer(503, "no healthy upstream"), "503 no healthy upstream"),
        (ScenarioAnswer(503), "503 (empty)"),
        (ScenarioAnswer(401, "<html>", ("Bearer",), content_type="text/html; charset=utf-8"), "401 (a page in HTML) [Bearer]"),
        (ScenarioAnswer(500, '["error"]'), '500 ["error"]'),
    ],
)
def test_answers_in_words(answer: ScenarioAnswer, words: str) -> None:
    assert describe(answer) == words


def test_every_kind_of_upstream_has_words() -> None:
    assert set(get_args(Upstream)) == {Reached, Exchanged}
    assert all(describe(ScenarioAnswer(200, upstream=reached)).startswith("200 ") for reached in Reached)
