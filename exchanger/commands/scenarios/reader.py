"""Reads a scenario file: YAML to values, or every problem with its line and field. Total; our own format is read strictly.

docs/how-to/scenarios.md describes the format.
"""

import re
from collections.abc import Callable
from typing import Final, final

import attrs

from exchanger.commands.scenarios.answer import Exchanged, Reached, RequestedTarget, ScenarioAnswer, Upstream
from exchanger.commands.scenarios.go_format.scenario_file import GoValues, is_go_file, read_go_scenarios
from exchanger.commands.scenarios.go_format.template import NotRendered, render
from exchanger.commands.scenarios.scenario import (
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
from exchanger.commands.scenarios.tokens import Subject
from exchanger.formats.yaml.fields import FILE, Dialect, Field, Fields, FieldType, Findings, Table
from exchanger.formats.yaml.nodes import Mapping, Node, Scalar, Sequence
from exchanger.formats.yaml.reader import UnreadableYaml, YamlLimits, read_nodes, read_stream
from exchanger.formats.yaml.text_rules import TextRule
from exchanger.model.codes.policy import NOT_YAML, SECOND_DOCUMENT
from exchanger.model.codes.problem import Problem
from exchanger.net.http.message import Headers
from exchanger.util.text import quoted

VERSION: Final = "v1"
# Far longer than any user waits.
MAX_SCENARIOS: Final = 1_000
# Equal requests, each on its own connection: enough to show sharing, and not a load test.
MAX_AT_ONCE: Final = 100

_LIMITS: Final = YamlLimits(size=262_144, values=65_536, depth=12)
_is_name: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?").fullmatch
_is_file: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\.ya?ml").fullmatch  # a name alone: no folder to leave
_REACHED: Final = {"no token": Reached.WITHOUT_TOKEN, "original token": Reached.WITH_ORIGINAL}
_SUBJECTS: Final = {subject.value: subject for subject in Subject}
_STATUS: Final = range(200, 600)
_GRANTS: Final = "grants"
_MAX_TEXT: Final = 4_096  # characters of any text; bodies of refusals have some hundred
# Problems reported at once; more than that have one cause.
MAX_PROBLEMS: Final = 20
_DIALECT: Final = Dialect(
    longest=_MAX_TEXT,
    not_text=f"must be text of at most {_MAX_TEXT} characters (in quotation marks if it looks like something else)",
)


def _text(name: str, accepts: Callable[[str], object], reason: str, *, required: bool = True) -> Field:
    return Field(name, FieldType.TEXT, required=required, rule=TextRule(accepts=accepts, reason=reason))


_HEADER_FIELDS: Final = Table.of(Field("name", FieldType.TEXT, required=True), Field("value", FieldType.TEXT, required=True))
_REQUEST_FIELDS: Final = Table.of(
    _text("host", is_host, "must be a host, with or without a port"),
    _text("path", is_path, "must be a path as it is sent: it begins with / and has no blanks"),
    _text("method", is_method, "must be a method, such as GET", required=False),
    _text("subject", _SUBJECTS.__contains__, f"must be one of {', '.join(_SUBJECTS)}", required=False),
    Field("headers", FieldType.MAPPINGS, fields=_HEADER_FIELDS),
)
_TARGET_FIELDS: Final = Table.of(Field("scope", FieldType.TEXT), Field("resources", FieldType.TEXTS), Field("audiences", FieldType.TEXTS))
_EXPECT_FIELDS: Final = Table.of(
    Field("status", FieldType.NUMBER, required=True),
    Field("body", FieldType.TEXT),
    Field("challenges", FieldType.TEXTS),
    Field("content_type", FieldType.TEXT),
    Field(
        "upstream",
        FieldType.MAPPING,
        fields=Table.of(Field("exchanged", FieldType.MAPPING, required=True, fields=_TARGET_FIELDS)),
    ),
)
_EDIT_FIELDS: Final = Table.of(
    _text("file", _is_file, "must be the name of a policy file, such as team.yaml"),
    _text("old", len, "must not be empty"),
    Field("new", FieldType.TEXT, required=True),
    Field("expect", FieldType.MAPPING, required=True, fields=_EXPECT_FIELDS),
)
_SCENARIO_FIELDS: Final = Table.of(
    _text("name", _is_name, "must be lower-case letters, digits and hyphens, at most 64"),
    _text("watch", lambda text: text.strip() and text.isprintable(), "must be one line of text"),
    _text("needs", {"", _GRANTS}.__contains__, f"must be {_GRANTS}", required=False),
    Field("request", FieldType.MAPPING, required=True, fields=_REQUEST_FIELDS),
    Field("expect", FieldType.MAPPING, required=True, fields=_EXPECT_FIELDS),
    Field("edit", FieldType.MAPPING, fields=_EDIT_FIELDS),
    Field("at_once", FieldType.NUMBER),
)
_FILE_FIELDS: Final = Table.of(
    _text("version", VERSION.__eq__, f"must be {VERSION}"),
    Field("scenarios", FieldType.MAPPINGS, fields=_SCENARIO_FIELDS),
)


@final
@attrs.frozen
class UnusableScenarios:
    """Why the text is not a scenario file: at least one problem."""

    problems: tuple[Problem, ...]


def read_scenarios(text: str, values: GoValues | None = None) -> tuple[Scenario, ...] | UnusableScenarios:
    """Return the scenarios in ``text``, in its order, or everything that is wrong with it. Never raises; the work is bounded.

    A file in the Go project's format is a template for ``values``, by default those of the Go project's demo.
    """
    roots = read_stream(text, _LIMITS)
    if _may_be_template(text, roots):
        findings, values = Findings(), values or GoValues()
        rendered = render(text, values.named())
        if isinstance(rendered, NotRendered):
            return UnusableScenarios((Problem(NOT_YAML, f"the template {rendered.reason}", line=rendered.line),))
        root = read_nodes(rendered)  # which resolves merge keys, as Go does
        if isinstance(root, UnreadableYaml):
            return UnusableScenarios((root.problem(FILE),))
        scenarios: tuple[Scenario, ...] = read_go_scenarios(root, values, findings)
    elif isinstance(roots, UnreadableYaml):
        return UnusableScenarios((roots.problem(FILE),))
    elif len(roots) != 1:
        return UnusableScenarios((Problem(SECOND_DOCUMENT, f"{FILE} must have one document"),))
    else:
        findings = Findings(dialect=_DIALECT)
        scenarios = _read_own(roots[0], findings)
    in_order = sorted(findings.kept, key=lambda problem: problem.line or 0)
    return UnusableScenarios(tuple(in_order[:MAX_PROBLEMS])) if in_order else scenarios


def _may_be_template(text: str, roots: tuple[Node, ...] | UnreadableYaml) -> bool:
    """Whether ``text`` is in the Go project's format. A template need not be YAML before it is rendered."""
    if isinstance(roots, UnreadableYaml):
        return "{{" in text
    return len(roots) == 1 and is_go_file(roots[0])


def _read_own(root: Node, findings: Findings) -> tuple[Scenario, ...]:
    file = Fields.of(root, FILE, _FILE_FIELDS, findings)
    if file is None:
        return ()
    before = findings.count
    file.written("version")
    items = file.nodes.get("scenarios")
    if isinstance(items, Sequence) and len(items.items) > MAX_SCENARIOS:
        file.wrong("scenarios", f"are more than {MAX_SCENARIOS}")
        return ()
    scenarios = file.mappings("scenarios")
    if not scenarios and findings.count == before:
        file.wrong("scenarios", "must be a list with at least one scenario")
    names: set[str] = set()
    return tuple(_scenario(scenario, names) for scenario in scenarios)


def _scenario(fields: Fields, names: set[str]) -> Scenario:
    name = fields.written("name")
    if name and name in names:
        fields.wrong("name", f"is already used by an earlier scenario: {quoted(name)}")
    names.add(name)
    watch, needs = fields.written("watch"), fields.written("needs")
    call = attrs.evolve(_call(fields.inner("request")), grants=needs == _GRANTS)
    expected = _answer(fields.inner("expect"))
    if "edit" in fields.nodes and "at_once" in fields.nodes:
        fields.wrong("edit", "and at_once are mutually exclusive")
    if "edit" in fields.nodes:
        edit = fields.inner("edit")
        edited = _answer(edit.inner("expect"))
        file, old, new = edit.written("file"), edit.written("old"), edit.written("new")
        if "new" in edit.nodes and new == old:
            edit.wrong("new", "must differ from old")
        return PolicyEdit(name, watch, call, expected, edited, file, old, new)
    if "at_once" in fields.nodes:
        return EqualRequests(name, watch, call, expected, fields.number("at_once", range(2, MAX_AT_ONCE + 1)))
    return OneRequest(name, watch, call, expected)


def _call(fields: Fields) -> GatewayCall:
    host, path, method = fields.written("host"), fields.written("path"), fields.written("method", "GET")
    subject = _SUBJECTS.get(fields.written("subject", Subject.VALID.value), Subject.VALID)
    return GatewayCall(host, path, subject, method, _headers(fields))


def _headers(fields: Fields) -> Headers:
    headers = fields.mappings("headers")
    if len(headers) > MAX_HEADERS:
        fields.wrong("headers", f"are more than {MAX_HEADERS}")
        return ()
    return tuple(_header(header) for header in headers)


def _header(header: Fields) -> tuple[str, str]:
    before = header.findings.count
    name, value = header.written("name"), header.written("value")
    if header.findings.count == before and (reason := why_no_header(name, value)):
        header.wrong("name", reason)
    return name, value


def _answer(fields: Fields) -> ScenarioAnswer:
    status, body, upstream = fields.number("status", _STATUS), fields.written("body"), _upstream(fields)
    if body and upstream is not Reached.NOT:
        fields.wrong("body", "is the upstream's, which upstream is about")
    challenges, content_type = fields.written_texts("challenges"), fields.written("content_type", "application/json")
    return ScenarioAnswer(status=status, body=body, challenges=challenges, upstream=upstream, content_type=content_type)


def _upstream(fields: Fields) -> Upstream:
    match fields.nodes.get("upstream"):
        case None:
            return Reached.NOT
        case Mapping():
            exchanged = fields.inner("upstream").inner("exchanged")
            target = RequestedTarget(exchanged.written("scope"), exchanged.written_texts("resources"), exchanged.written_texts("audiences"))
            return Exchanged(target)
        case Scalar(text=text) if text in _REACHED:
            return _REACHED[text]
        case _:
            reason = f"must be exchanged with a target, or one of {', '.join(_REACHED)}; without it the upstream sees nothing"
            fields.wrong("upstream", reason)
            return Reached.NOT
