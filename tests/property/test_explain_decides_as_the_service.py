"""Laws: what a question is told is what ``begin`` says of the gateway's own message, and its explanation is of that verdict."""

import json

import trio
from hypothesis import given
from hypothesis import strategies as st

from exchanger.console.access import ConsoleAccess
from exchanger.console.api import Api, ConsoleFacts, PolicyNow
from exchanger.console.message import encode
from exchanger.console.policy_view import shown_verdict
from exchanger.decision.answer import Effect, answer_of, asked_request, kind_of_credentials
from exchanger.decision.check import begin
from exchanger.decision.outcome import Deny, ExchangePending
from exchanger.envoy.authorization import decode_check
from exchanger.http.message import Request
from exchanger.tools.explain import console_target, shown_question
from exchanger.tools.policies import AssembledPolicy
from exchanger.tools.question import MalformedQuestion, Question, read_question
from exchanger.values.request import HttpRequest
from tests.property.strategies_envoy import Asked, check_request
from tests.property.strategies_envoy import requests as asked_requests
from tests.property.strategies_tools import whole_policies

# The verdicts of a policy, and what may become of such requests.
_EFFECTS = {
    "no_match": {Effect.UNMATCHED},
    "exchange": {Effect.EXCHANGE, Effect.ALLOW, Effect.REFUSED},  # OPTIONS without credentials pass, and other requests need a token
    "deny": {Effect.DENY},
    "allow": {Effect.ALLOW},
    "unhealthy": {Effect.REFUSED},
    "ambiguous": {Effect.REFUSED},
}


@given(whole_policies, asked_requests)
def test_a_question_is_decided_as_the_gateway_s_message_is(policy: AssembledPolicy, asked: Asked) -> None:
    request = decode_check(check_request(asked), with_headers=True)
    assert isinstance(request, HttpRequest)

    question = asked_request(asked.method, asked.host, asked.path, asked.headers)
    told, decided = policy.answer(question), begin(request, policy.snapshot, policy.rules)

    assert (told.effect is Effect.EXCHANGE) is isinstance(decided, ExchangePending)
    assert told == answer_of(decided)
    assert told.status == (decided.status if isinstance(decided, Deny) else None)


@given(whole_policies, asked_requests)
def test_an_explanation_is_of_the_decision(policy: AssembledPolicy, asked: Asked) -> None:
    question = Question(asked.method, asked.host, asked.path, asked.headers)

    shown = shown_question(question, policy)

    decided = answer_of(begin(question.request(), policy.snapshot, policy.rules))
    assert shown["decision"]["kind"] == decided.effect.value
    assert shown["decision"]["passes"] is decided.passes
    assert decided.effect in _EFFECTS[shown["verdict"]["kind"]]
    if policy.snapshot is not None:
        verdict = policy.snapshot.match(question.request().host, asked.path, question.request().method, headers=question.request().fields)
        assert shown["verdict"] == shown_verdict(verdict)


@given(whole_policies, asked_requests, st.booleans())
def test_the_console_says_the_same(policy: AssembledPolicy, asked: Asked, raw: bool) -> None:
    kept = tuple(header for header in asked.headers if header[0] != "cookie")
    question = Question(asked.method, asked.host, asked.path, kept, raw=raw)
    api = Api(ConsoleFacts("", ""), lambda: PolicyNow(policy.newest, 0, policy.snapshot is None), ConsoleAccess(), lambda: policy.rules)

    response = trio.run(api.explain, Request("GET", console_target(question)))

    told, said = shown_question(question, policy), json.loads(response.body)
    assert response.status == 200
    assert said == json.loads(encode(told))


@given(st.sampled_from(["GET", "get", "HEAD"]), st.from_regex(r"[a-z.]{1,9}(:[0-9]+)?", fullmatch=True), st.text("/ab?%!.;\\é", max_size=6))
def test_a_url_is_taken_as_it_is_written(method: str, host: str, rest: str) -> None:
    url_path = rest if rest.startswith(("/", "?")) else f"/{rest}"

    found = read_question(method, f"https://{host}{url_path}")

    assert isinstance(found, Question)
    assert (found.method, found.host) == (method, host)
    assert found.path == (url_path if url_path.startswith("/") else f"/{url_path}")
    assert kind_of_credentials(found.request().authorization) == "bearer"


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_any_text_is_a_question_or_no_question(method: str, url: str, headers: list[str]) -> None:
    found = read_question(method, url, headers)
    if isinstance(found, MalformedQuestion):
        assert found.reason
    else:
        assert found.host
        assert found.path.startswith("/")
        assert found.url().startswith("https://")
