"""Reads a scenario file: YAML to values, or every problem with its line and field. Total; our own format is read strictly.

docs/how-to/scenarios.md describes the format.
"""

import re
from typing import Final, final

import attrs

from exchanger.http.message import Headers
from exchanger.policy.documents.yaml_nodes import Mapping, Node, Scalar
from exchanger.policy.documents.yaml_reader import Limits, Unreadable, read_nodes, read_stream
from exchanger.scenarios.answer import Exchanged, Reached, RequestedTarget, ScenarioAnswer, Upstream
from exchanger.scenarios.fields import MAX_PROBLEMS, FileProblem, ScenarioFields
from exchanger.scenarios.go_format.scenario_file import GoValues, is_go_file, read_go_scenarios
from exchanger.scenarios.go_format.template import NotRendered, render
from exchanger.scenarios.scenario import (
    MAX_HEADERS,
    EqualRequests,
    GatewayCall,
    OneRequest,
    PolicyEdit,
    Scenario,
    is_host,
    is_method,
    is_path,
    why_no_header,
)
from exchanger.scenarios.tokens import Subject
from exchanger.util.text import quoted

VERSION: Final = "v1"
# Far more than anybody waits for.
MAX_SCENARIOS: Final = 1_000
# Equal requests, each on a connection of its own: enough to show sharing, and not a load test.
MAX_AT_ONCE: Final = 100

_LIMITS: Final = Limits(size=262_144, values=65_536, depth=12)
_is_name: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?").fullmatch
_is_file: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\.ya?ml").fullmatch  # a name alone: no folder to leave
_REACHED: Final = {"no token": Reached.WITHOUT_TOKEN, "original token": Reached.WITH_ORIGINAL}
_SUBJECTS: Final = {subject.value: subject for subject in Subject}
_STATUS: Final = range(200, 600)
_GRANTS: Final = "grants"


@final
@attrs.frozen
class UnusableScenarios:
    """Why the text is not a scenario file: at least one problem."""

    problems: tuple[FileProblem, ...]


def read_scenarios(text: str, values: GoValues | None = None) -> tuple[Scenario, ...] | UnusableScenarios:
    """Return the scenarios in ``text``, in its order, or everything that is wrong with it. Never raises; the work is bounded.

    A file in the Go project's format is a template for ``values``, by default those of the Go project's demo.
    """
    roots = read_stream(text, _LIMITS)
    if _may_be_template(text, roots):
        rendered = render(text, (values or GoValues()).named())
        if isinstance(rendered, NotRendered):
            return UnusableScenarios((FileProblem(rendered.line, "the template", rendered.reason),))
        root = read_nodes(rendered)  # which resolves merge keys, as Go does
        if isinstance(root, Unreadable):
            return UnusableScenarios((FileProblem(root.line, "the file", root.reason),))
        problems: list[FileProblem] = []
        found = read_go_scenarios(root, values or GoValues(), problems)
        return _result(found, problems)
    if isinstance(roots, Unreadable):
        return UnusableScenarios((FileProblem(roots.line, "the file", roots.reason),))
    return _read_own(roots)


def _may_be_template(text: str, roots: tuple[Node, ...] | Unreadable) -> bool:
    """Whether ``text`` is in the Go project's format. A template need not be YAML before it is rendered."""
    if isinstance(roots, Unreadable):
        return "{{" in text
    return len(roots) == 1 and is_go_file(roots[0])


def _read_own(roots: tuple[Node, ...]) -> tuple[Scenario, ...] | UnusableScenarios:
    if len(roots) != 1:
        return UnusableScenarios((FileProblem(None, "the file", "must have one document"),))
    problems: list[FileProblem] = []
    root = ScenarioFields.of(roots[0], "", problems)
    if root.text("version") != VERSION and not problems:
        root.problem("version", f"must be {VERSION}")
    items = root.items("scenarios")
    if not items and not problems:
        root.problem("scenarios", "must be a list with at least one scenario")
    if len(items) > MAX_SCENARIOS:
        root.problem("scenarios", f"are more than {MAX_SCENARIOS}")
        items = ()
    root.nothing_else()
    names: set[str] = set()
    return _result(
        tuple(_scenario(ScenarioFields.of(item, f"scenarios[{index}]", problems), names) for index, item in enumerate(items)), problems
    )


def _result(scenarios: tuple[Scenario, ...], problems: list[FileProblem]) -> tuple[Scenario, ...] | UnusableScenarios:
    in_order = sorted(problems, key=lambda problem: problem.line or 0)
    return UnusableScenarios(tuple(in_order[:MAX_PROBLEMS])) if problems else scenarios


def _scenario(fields: ScenarioFields, names: set[str]) -> Scenario:
    name = fields.matching("name", _is_name, "must be of small letters, digits and hyphens, at most 64")
    if name and name in names:
        fields.problem("name", f"is that of an earlier scenario: {quoted(name)}")
    names.add(name)
    watch = fields.matching("watch", lambda text: text.strip() and text.isprintable(), "must be one line of text")
    needs = fields.matching("needs", {"", _GRANTS}.__contains__, f"must be {_GRANTS}", "")
    call = attrs.evolve(_call(fields.inner("request")), grants=needs == _GRANTS)
    expected = _answer(fields.inner("expect"))
    scenario: Scenario = OneRequest(name, watch, call, expected)
    if "edit" in fields.fields and "at_once" in fields.fields:
        fields.problem("edit", "and at_once exclude each other")
    if "edit" in fields.fields:
        edit = fields.inner("edit")
        edited = _answer(edit.inner("expect"))
        file = edit.matching("file", _is_file, "must be the name of a policy file, such as team.yaml")
        old = edit.matching("old", len, "must not be empty")
        new = edit.matching("new", lambda text: text != old, "must differ from old")
        edit.nothing_else()
        scenario = PolicyEdit(name, watch, call, expected, edited, file, old, new)
    elif "at_once" in fields.fields:
        scenario = EqualRequests(name, watch, call, expected, fields.number("at_once", range(2, MAX_AT_ONCE + 1)))
    fields.fields.pop("at_once", None)
    fields.nothing_else()
    return scenario


def _call(fields: ScenarioFields) -> GatewayCall:
    host = fields.matching("host", is_host, "must be a host, with or without a port")
    path = fields.matching("path", is_path, "must be a path as it is sent: it begins with / and has no blanks")
    method = fields.matching("method", is_method, "must be a method, such as GET", "GET")
    subject = fields.matching("subject", _SUBJECTS.__contains__, f"must be one of {', '.join(_SUBJECTS)}", Subject.VALID.value)
    headers = _headers(fields)
    fields.nothing_else()
    return GatewayCall(host, path, _SUBJECTS.get(subject, Subject.VALID), method, headers)


def _headers(fields: ScenarioFields) -> Headers:
    items = fields.items("headers")
    if len(items) > MAX_HEADERS:
        fields.problem("headers", f"are more than {MAX_HEADERS}")
        return ()
    headers = []
    for index, item in enumerate(items):
        header = ScenarioFields.of(item, f"{fields.where}.headers[{index}]", fields.problems)
        before = len(fields.problems)
        name, value = header.text("name"), header.text("value")
        if len(fields.problems) == before and (reason := why_no_header(name, value)):
            header.problem("name", reason)
        header.nothing_else()
        headers.append((name, value))
    return tuple(headers)


def _answer(fields: ScenarioFields) -> ScenarioAnswer:
    status = fields.number("status", _STATUS)
    body = fields.text("body", "")
    upstream = _upstream(fields)
    if body and upstream is not Reached.NOT:
        fields.problem("body", "is the upstream's, which upstream is about")
    answer = ScenarioAnswer(
        status=status,
        body=body,
        challenges=fields.texts("challenges"),
        upstream=upstream,
        content_type=fields.text("content_type", "application/json"),
    )
    fields.nothing_else()
    return answer


def _upstream(fields: ScenarioFields) -> Upstream:
    node = fields.fields.get("upstream")
    if isinstance(node, Mapping):
        outer = fields.inner("upstream")
        exchanged = outer.inner("exchanged")
        target = RequestedTarget(exchanged.text("scope", ""), exchanged.texts("resources"), exchanged.texts("audiences"))
        exchanged.nothing_else()
        outer.nothing_else()
        return Exchanged(target)
    if node is None:
        return Reached.NOT
    del fields.fields["upstream"]
    if isinstance(node, Scalar) and node.text in _REACHED:
        return _REACHED[node.text]
    fields.problem("upstream", f"must be exchanged with a target, or one of {', '.join(_REACHED)}; without it the upstream sees nothing")
    return Reached.NOT
