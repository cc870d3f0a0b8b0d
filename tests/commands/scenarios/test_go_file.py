"""Scenario files of the Go project: what is read, what is refused, and what is compared."""

import json

import pytest

from exchanger.commands.scenarios.expectation import ExpectedAnswer
from exchanger.commands.scenarios.go_format.scenario_file import GoValues
from exchanger.commands.scenarios.reader import UnusableScenarios, read_scenarios
from exchanger.commands.scenarios.scenario import GatewayCall, LooseRequest
from exchanger.commands.scenarios.tokens import Subject
from exchanger.net.http.message import Response

BEHAVIOR = "behavior: {summary: s, detail: d}"
VALUES = GoValues("http://gw.example.com:8080", "team", "system", "own-token")


def one(request: str, expect: str = "{}", more: str = "") -> str:
    return f"version: v1\nscenarios:\n  - {{name: a, summary: b, request: {request}, expect: {expect}, {BEHAVIOR}{more}}}\n"


def read(text: str) -> LooseRequest:
    found = read_scenarios(text, VALUES)
    assert not isinstance(found, UnusableScenarios), found
    (scenario,) = found
    assert isinstance(scenario, LooseRequest)
    return scenario


def problems(text: str) -> list[str]:
    found = read_scenarios(text, VALUES)
    assert isinstance(found, UnusableScenarios), found
    return [problem.lined for problem in found.problems]


def test_every_field_is_read() -> None:
    text = """
version: v1
note: unknown fields do not count
scenarios:
  - Name: Some scenario
    summary: what
    request:
      method: put
      path: anything/yellow
      headers: {X-Number: 5, Host: other.example.com}
      token: {prefill: literal, value: incoming}
    policy: "{{ .NamespacePrefix }}-yellow/yellow-policy"
    exchange: /token/yellow
    behavior: {summary: s, detail: d}
    expect:
      status: 401
      upstreamAuthorization: Bearer {{ .BearerToken }}
      error: some_error
      wwwAuthenticateContains: 'realm="{{ $.SystemNamespace }}"'
      CorsOrigin: https://client.example.test
"""
    call = GatewayCall("gw.example.com:8080", "/anything/yellow", Subject.VALID, "PUT", (("X-Number", "5"),), "incoming")
    expected = ExpectedAnswer(401, "Bearer own-token", "some_error", 'realm="system"', "https://client.example.test")
    assert read(text) == LooseRequest("Some scenario", "what", call, expected)


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", (Subject.NONE, "", False)),
        (", bearer: older", (Subject.VALID, "older", False)),
        (", token: {prefill: none}", (Subject.NONE, "", False)),
        (", token: {prefill: literal, value: 123}", (Subject.VALID, "123", False)),
        (", token: {prefill: keycloak-subject}", (Subject.VALID, "", True)),
        (", token: {prefill: keycloak-untrusted-issuer}", (Subject.FOREIGN, "", True)),
        (", headers: {authorization: Bearer other}, bearer: older", (Subject.VALID, "other", False)),
    ],
)
def test_the_token_is_none_or_in_the_file_or_an_issuer_s(token: str, expected: tuple[Subject, str, bool]) -> None:
    call = read(one(f"{{path: /a{token}}}")).call
    assert (call.subject, call.literal, call.signed) == expected
    assert call.headers == ()
    assert "older" not in repr(call)


@pytest.mark.parametrize(
    ("path", "joined"), [("a//b/../c/", "/a/c/"), ("/a?b=c", "/a%3Fb=c"), ("/../..", "/"), ("/%2Fa/é b", "/%2Fa/%C3%A9%20b"), ("//x", "/x")]
)
def test_paths_are_joined_as_go_joins_them(path: str, joined: str) -> None:
    assert read(one(f'{{path: "{path}"}}')).call.path == joined


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (one("{path: /a}").replace("v1", "v2"), "line 1: version must be v1"),
        (one("{method: GET}"), "line 3: scenarios[0].request.path is required"),
        (one("{path: /a}").replace("detail: d", 'detail: " "'), "line 3: scenarios[0].behavior.detail is required"),
        ("version: v1\nscenarios: [{name: a, request: {path: /, bearer: b}}]", "line 2: scenarios[0].behavior.summary is required"),
        (one("{path: /a}").replace("name: a", 'name: ""'), "line 3: scenarios[0].name must be one line of text"),
        (one("{path: /a, token: {prefill: literal}}"), "line 3: scenarios[0].request.token.value is required"),
        (one("{path: /a, headers: {X: [1]}}"), "line 3: scenarios[0].request.headers must be a mapping of texts"),
        (one("{path: /a}", '{status: "200"}'), "line 3: scenarios[0].expect.status must be a whole number"),
        (one("{path: /a}", "[]"), "line 3: scenarios[0].expect must be a mapping"),
        (one("{path: /a}", more=", note: '{{ .Unknown }}'"), 'line 3: the template has no field ".Unknown": '),
        (one("{path: /a}", more=", note: '{{ if .BaseURL }}'"), "line 3: the template has an action that is not supported: "),
    ],
)
def test_what_the_go_project_refuses_is_refused(text: str, problem: str) -> None:
    assert problems(text)[0].startswith(problem)


def test_no_problem_repeats_a_token() -> None:
    text = one('{path: /a, token: {prefill: literal, value: "a secret!"}, headers: {Authorization: Basic c2VjcmV0}}')
    assert "secret" not in str(problems(text))
    assert "c2VjcmV0" not in str(problems(text))


def test_a_name_is_that_of_one_scenario() -> None:
    text = one("{path: /a}")
    assert "earlier scenario" in problems(text + text.splitlines()[-1])[0]


def response(status: int, body: object, *headers: tuple[str, str]) -> Response:
    return Response(status, headers, json.dumps(body).encode())


def test_an_expectation_in_words_fits_a_line() -> None:
    assert str(ExpectedAnswer(401, challenge="Bearer")) == "401 [… Bearer …]"
    shown = str(ExpectedAnswer(401, challenge="Bearer " + "x" * 100))
    assert (len(shown), shown[-2:]) == (80, "x…")


@pytest.mark.parametrize(
    ("expected", "got", "differs"),
    [
        (ExpectedAnswer(), response(200, {}), False),
        (ExpectedAnswer(), response(201, {}), True),
        (ExpectedAnswer(error="e"), response(200, {"error": "e", "more": 1}), False),
        (ExpectedAnswer(error="e"), response(200, {"error": ["e"]}), True),
        (ExpectedAnswer(authorization="Bearer a"), response(200, {"headers": {"AUTHORIZATION": ["Bearer a", "b"]}}), False),
        (ExpectedAnswer(authorization="Bearer a"), response(200, {"headers": {}}), True),
        (ExpectedAnswer(authorization="Bearer a"), Response(200, (), b"no json"), True),
        (ExpectedAnswer(challenge="realm"), response(200, {}, ("WWW-Authenticate", 'Bearer realm="a"')), False),
        (ExpectedAnswer(challenge="realm"), response(200, {}, ("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "realm")), True),
        (ExpectedAnswer(cors_origin="https://a"), response(200, {}, ("Access-Control-Allow-Origin", "https://a")), False),
        (ExpectedAnswer(cors_origin="https://a"), response(200, {}, ("Access-Control-Allow-Origin", "*")), True),
    ],
)
def test_only_what_is_expected_is_compared(expected: ExpectedAnswer, got: Response, differs: bool) -> None:
    differences = expected.differences(got)
    assert bool(differences) == differs
    assert "Bearer a" not in str(expected) + str(differences) + repr(expected)
