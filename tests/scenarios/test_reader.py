"""A scenario file, and what is said about one that is wrong; its laws are in tests/property."""

import importlib.resources

import pytest

from exchanger.scenarios.answer import Answer, Exchanged, Target
from exchanger.scenarios.builtin import SCENARIOS
from exchanger.scenarios.reader import MAX_AT_ONCE, MAX_PROBLEMS, MAX_SCENARIOS, Unusable, read_scenarios
from exchanger.scenarios.scenario import Call, EqualRequests, OneRequest, PolicyEdit, is_host, is_method, is_path, why_no_header
from exchanger.scenarios.tokens import Subject

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
    assert isinstance(read, Unusable), read
    return [str(problem) for problem in read.problems]


def test_what_need_not_be_said_has_the_usual_meaning() -> None:
    assert read_scenarios(GOOD) == (OneRequest("first", "something", Call("a.example.com", "/a"), Answer(200)),)


def test_all_that_can_be_said() -> None:
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
    request: {host: h, path: /}
    expect: *answer
    edit:
      file: team.yml
      old: a
      new: ""
      expect: {status: 200, upstream: {exchanged: {scope: a b, resources: [c], audiences: [d, e]}}}
"""
    refused = Answer(401, "no", ("Basic", "Bearer"), content_type="text/plain")
    assert read_scenarios(text) == (
        EqualRequests("equal", "w", Call("[::1]:80", "/?a", Subject.EXPIRED, "PUT", (("X", "1"), ("X", ""))), refused, 2),
        PolicyEdit(
            "edit",
            "w",
            Call("h", "/"),
            refused,
            Answer(200, upstream=Exchanged(Target("a b", ("c",), ("d", "e")))),
            "team.yml",
            "a",
            "",
        ),
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version: v1", "version: v2", "line 1: version must be v1"),
        ("version: v1\n", "", "line 1: version is required"),
        ("version: v1", "version: v1\nmore: 1", 'line 2: the file has an unknown field "more"'),
        ("name: first", "name: First", "line 3: scenarios[0].name must be of small letters, digits and hyphens, at most 64"),
        ("name: first", "name: 5", "line 3: scenarios[0].name must be text of at most 4096 characters (in quotation marks if it looks"),
        ("name: first", "nam: first", "line 3: scenarios[0].name is required"),
        ("watch: something", 'watch: "a\\nb"', "line 4: scenarios[0].watch must be one line of text"),
        ("host: a.example.com", "host: http://a", "line 6: scenarios[0].request.host must be a host, with or without a port"),
        ("path: /a", "path: a", "line 7: scenarios[0].request.path must be a path as it is sent"),
        ("path: /a", "path: /a\n      method: get", "line 8: scenarios[0].request.method must be a method"),
        ("path: /a", "path: /a\n      subject: mine", "line 8: scenarios[0].request.subject must be one of none, valid, expired"),
        ("path: /a", "path: /a\n      headers: {}", "line 8: scenarios[0].request.headers must be a list"),
        (
            "path: /a",
            "path: /a\n      headers:\n      - {name: host, value: a}",
            "line 9: scenarios[0].request.headers[0].name cannot be Host: the request has a field for it",
        ),
        ("status: 200", "status: 600", "line 9: scenarios[0].expect.status must be a number from 200 to 599"),
        ("status: 200", 'status: "200"', "line 9: scenarios[0].expect.status must be a number from 200 to 599"),
        (
            "status: 200",
            "status: 200\n      upstream: nowhere",
            "line 10: scenarios[0].expect.upstream must be exchanged with a target, or",
        ),
        ("status: 200", "status: 200\n      upstream: {}", "line 10: scenarios[0].expect.upstream.exchanged is required"),
        ("status: 200", "status: 200\n      challenges: [1]", "line 10: scenarios[0].expect.challenges must be a list of texts"),
        (
            "status: 200",
            "status: 200\n      upstream: no token\n      body: a",
            "line 11: scenarios[0].expect.body is the upstream's, which upstream is about",
        ),
        ("    expect:", "    at_once: 1\n    expect:", f"line 8: scenarios[0].at_once must be a number from 2 to {MAX_AT_ONCE}"),
        (
            "    expect:",
            "    at_once: 2\n    edit: {file: ../a.yaml, old: a, new: b, expect: {status: 200}}\n    expect:",
            "line 9: scenarios[0].edit and at_once exclude each other",
        ),
        (
            "    expect:",
            "    edit: {file: ../a.yaml, old: a, new: b, expect: {status: 200}}\n    expect:",
            "line 8: scenarios[0].edit.file must be the name of a policy file, such as team.yaml",
        ),
        (
            "    expect:",
            "    edit: {file: a.yaml, old: a, new: a, expect: {status: 200}}\n    expect:",
            "line 8: scenarios[0].edit.new must differ from old",
        ),
        ("request:\n", "request: []\n    other:\n", "line 5: scenarios[0].request must be a mapping"),
        ("version", ": version", "line 1: the file is not YAML"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_field(old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert any(problem.startswith(said) for problem in problems(GOOD.replace(old, new))), problems(GOOD.replace(old, new))


def test_all_problems_are_told_in_the_order_of_the_file_and_not_too_many() -> None:
    text = GOOD.replace("first", "First").replace("status: 200", "status: no") + "extra: 1\n"
    assert [problem.split(":")[0] for problem in problems(text)] == ["line 3", "line 9", "line 10"]
    assert len(problems("version: v1\nscenarios: [" + "{}, " * 50 + "]")) == MAX_PROBLEMS


def test_names_are_unique() -> None:
    again = GOOD + GOOD.partition("scenarios:\n")[2]
    assert problems(again) == ['line 10: scenarios[1].name is that of an earlier scenario: "first"']


@pytest.mark.parametrize("text", ["", "a", "[]", "---\n---\n", "{}", "version: v1", "version: v1\nscenarios: []", "\x00", "a: b: c"])
def test_what_is_no_scenario_file_at_all(text: str) -> None:
    assert problems(text)


def test_more_scenarios_than_anybody_waits_for_are_refused() -> None:
    text = f"version: v1\nscenarios: [{'a, ' * (MAX_SCENARIOS + 1)}]"
    assert problems(text) == [f"line 2: scenarios are more than {MAX_SCENARIOS}"]


def test_an_authorization_header_is_refused_without_being_repeated() -> None:
    text = GOOD.replace("path: /a", "path: /a\n      headers: [{name: Authorization, value: Bearer a-secret}]")
    assert "a-secret" not in " ".join(problems(text))


def test_the_packaged_scenarios_keep_the_rules_that_a_file_has_to() -> None:
    text = (importlib.resources.files("exchanger.scenarios") / "builtin.yaml").read_text("utf-8")
    assert read_scenarios(text) == SCENARIOS
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    for scenario in SCENARIOS:
        assert scenario.watch.isprintable()
        assert is_host(scenario.call.host)
        assert is_path(scenario.call.path)
        assert is_method(scenario.call.method)
        assert [reason for name, value in scenario.call.headers if (reason := why_no_header(name, value))] == []
