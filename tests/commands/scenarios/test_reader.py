"""A scenario file, and what is said about one that is wrong; its laws are in tests/property."""

import pytest

from exchanger.commands.scenarios.answer import Exchanged, RequestedTarget, ScenarioAnswer
from exchanger.commands.scenarios.reader import MAX_AT_ONCE, MAX_PROBLEMS, MAX_SCENARIOS, UnusableScenarios, read_scenarios
from exchanger.commands.scenarios.scenario import EqualRequests, GatewayCall, OneRequest, PolicyEdit
from exchanger.commands.scenarios.tokens import Subject

GOOD = """\
version: v1
scenarios:
  - name: first
    watch: something
    request:
      host: a.example.com
      path: /a
    expect:
      status: 200
"""


def problems(text: str) -> list[str]:
    read = read_scenarios(text)
    assert isinstance(read, UnusableScenarios), read
    return [problem.lined for problem in read.problems]


def test_optional_fields_have_defaults() -> None:
    assert read_scenarios(GOOD) == (OneRequest("first", "something", GatewayCall("a.example.com", "/a"), ScenarioAnswer(200)),)


def test_every_field_is_read() -> None:
    text = """
version: v1
scenarios:
  - name: equal
    watch: w
    request: {method: PUT, host: "[::1]:80", path: "/?a", subject: expired, headers: [{name: X, value: "1"}, {name: X, value: ""}]}
    expect: &answer {status: 401, body: no, challenges: [Basic, Bearer], content_type: text/plain}
    at_once: 2
  - name: edit
    watch: w
    needs: grants
    request: {host: h, path: /}
    expect: *answer
    edit:
      file: team.yml
      old: a
      new: ""
      expect: {status: 200, upstream: {exchanged: {scope: a b, resources: [c], audiences: [d, e]}}}
"""
    refused = ScenarioAnswer(401, "no", ("Basic", "Bearer"), content_type="text/plain")
    assert read_scenarios(text) == (
        EqualRequests("equal", "w", GatewayCall("[::1]:80", "/?a", Subject.EXPIRED, "PUT", (("X", "1"), ("X", ""))), refused, 2),
        PolicyEdit(
            "edit",
            "w",
            GatewayCall("h", "/", grants=True),
            refused,
            ScenarioAnswer(200, upstream=Exchanged(RequestedTarget("a b", ("c",), ("d", "e")))),
            "team.yml",
            "a",
            "",
        ),
    )


EDIT = "edit: {{file: {file}, old: a, new: {new}, expect: {{status: 200}}}}\n    expect:"
MISTAKES = [
    ("version: v1", "version: v2", "1: version must be v1"),
    ("version: v1\n", "", "1: version is required"),
    ("name: first", "name: First", "3: scenarios[0].name must be lower-case letters, digits and hyphens, at most 64"),
    ("name: first", "name: 5", "3: scenarios[0].name must be text of at most 4096 characters (in quotation marks if it looks"),
    ("watch: something", 'watch: "a\\nb"', "4: scenarios[0].watch must be one line of text"),
    ("watch: something", "watch: something\n    needs: luck", "5: scenarios[0].needs must be grants"),
    ("host: a.example.com", "host: http://a", "6: scenarios[0].request.host must be a host, with or without a port"),
    ("path: /a", "path: a", "7: scenarios[0].request.path must be a path as it is sent"),
    ("path: /a", "path: /a\n      method: get", "8: scenarios[0].request.method must be a method"),
    ("path: /a", "path: /a\n      subject: mine", "8: scenarios[0].request.subject must be one of none, valid, expired"),
    ("path: /a", "path: /a\n      headers: [{name: host, value: a}]", "8: scenarios[0].request.headers[0].name cannot be Host: the"),
    ("status: 200", "body: a", "9: scenarios[0].expect.status is required"),
    ("status: 200", "status: 600", "9: scenarios[0].expect.status must be a number from 200 to 599"),
    ("status: 200", "status: 200\n      upstream: nowhere", "10: scenarios[0].expect.upstream must be exchanged with a target, or"),
    ("status: 200", "status: 200\n      upstream: {}", "10: scenarios[0].expect.upstream.exchanged is required"),
    ("status: 200", "status: 200\n      upstream: no token\n      body: a", "11: scenarios[0].expect.body is the upstream's, which"),
    ("expect:", "at_once: 1\n    expect:", f"8: scenarios[0].at_once must be a number from 2 to {MAX_AT_ONCE}"),
    ("expect:", "at_once: 2\n    " + EDIT.format(file="a.yaml", new="b"), "9: scenarios[0].edit and at_once are mutually exclusive"),
    ("expect:", EDIT.format(file="../a.yaml", new="b"), "8: scenarios[0].edit.file must be the name of a policy file, such as team.yaml"),
    ("expect:", EDIT.format(file="a.yaml", new="a"), "8: scenarios[0].edit.new must differ from old"),
    ("path: /a", "path: /a\n      headers: {}", "8: scenarios[0].request.headers must be a list"),
    ("status: 200", 'status: "200"', "9: scenarios[0].expect.status must be a number from 200 to 599"),
    ("status: 200", "status: 200\n      challenges: [1]", "10: scenarios[0].expect.challenges must be a list of texts"),
    ("request:\n", "request: []\n    other:\n", "5: scenarios[0].request must be a mapping"),
    ("version", ": version", "1: the file is not YAML"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_a_mistake_is_reported_with_its_line_and_field(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert any(problem.startswith(f"line {said}") for problem in problems(GOOD.replace(old, new))), problems(GOOD.replace(old, new))


def test_problems_are_listed_in_the_order_of_the_file_and_bounded() -> None:
    text = GOOD.replace("first", "First").replace("status: 200", "status: no") + "extra: 1\n"
    assert [problem.split(":")[0] for problem in problems(text)] == ["line 3", "line 9", "line 10"]
    assert len(problems("version: v1\nscenarios: [" + "{}, " * 50 + "]")) == MAX_PROBLEMS


def test_names_are_unique_and_scenarios_bounded() -> None:
    again = GOOD + GOOD.partition("scenarios:\n")[2]
    assert problems(again) == ['line 10: scenarios[1].name is already used by an earlier scenario: "first"']
    assert problems(f"version: v1\nscenarios: [{'a, ' * (MAX_SCENARIOS + 1)}]") == [f"line 2: scenarios are more than {MAX_SCENARIOS}"]


def test_an_authorization_header_is_refused_without_being_repeated() -> None:
    text = GOOD.replace("path: /a", "path: /a\n      headers: [{name: Authorization, value: Bearer a-secret}]")
    assert "a-secret" not in " ".join(problems(text))
