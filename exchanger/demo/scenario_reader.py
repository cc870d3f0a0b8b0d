"""Reads a scenario file: YAML to values, or every problem with its line and field. Total and strict: nothing unknown, nothing guessed.

The format is in docs/scenarios.md.

Must not know: where the text comes from, or how scenarios are run.
"""

import re
from collections.abc import Callable
from typing import Final, final

import attrs

from exchanger.demo.answer import Answer, Exchanged, Reached, Upstream
from exchanger.demo.http import Headers
from exchanger.demo.request_rules import MAX_HEADERS, is_host, is_method, is_path, why_no_header
from exchanger.demo.scenario import Call, EqualRequests, OneRequest, PolicyEdit, Scenario, Subject
from exchanger.demo.token_rules import Target
from exchanger.policy.yaml_nodes import Kind, Limits, Mapping, Node, Scalar, Sequence, Unreadable, read_stream
from exchanger.util.text import quoted

VERSION: Final = "v1"
MAX_SCENARIOS: Final = 1_000
"""Far more than anybody waits for."""
MAX_AT_ONCE: Final = 100
"""Equal requests, each on a connection of its own: enough to show sharing, and no load test."""
MAX_PROBLEMS: Final = 20
"""Problems that are told at once; more than that has one cause."""

_LIMITS: Final = Limits(size=262_144, values=65_536, depth=12)
_is_name: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?").fullmatch
_is_file: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\.ya?ml").fullmatch  # a name alone: no folder to leave
_is_number: Final = re.compile(r"[0-9]{1,9}").fullmatch
_REACHED: Final = {"no token": Reached.WITHOUT_TOKEN, "original token": Reached.WITH_ORIGINAL}
_SUBJECTS: Final = {subject.value: subject for subject in Subject}
_STATUS: Final = range(200, 600)
_MAX_TEXT: Final = 4_096  # characters of any text; bodies of refusals have some hundred


@final
@attrs.frozen
class FileProblem:
    """What is wrong with the field at ``line``, counted from 1; ``None`` where there is no place to point at."""

    line: int | None
    field: str
    reason: str

    def __str__(self) -> str:
        """Return it as a line of text."""
        place = "" if self.line is None else f"line {self.line}: "
        return f"{place}{self.field} {self.reason}".strip()


@final
@attrs.frozen
class Unusable:
    """Why the text is no scenario file: at least one problem."""

    problems: tuple[FileProblem, ...]


def read_scenarios(text: str) -> tuple[Scenario, ...] | Unusable:
    """Return the scenarios in ``text``, in its order, or everything that is wrong with it. Never raises, and takes bounded work."""
    roots = read_stream(text, _LIMITS)
    if isinstance(roots, Unreadable):
        return Unusable((FileProblem(roots.line, "the file", roots.reason),))
    if len(roots) != 1:
        return Unusable((FileProblem(None, "the file", "must have one document"),))
    problems: list[FileProblem] = []
    root = _Fields.of(roots[0], "", problems)
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
    scenarios = [_scenario(_Fields.of(item, f"scenarios[{index}]", problems), names) for index, item in enumerate(items)]
    in_order = sorted(problems, key=lambda problem: problem.line or 0)
    return Unusable(tuple(in_order[:MAX_PROBLEMS])) if problems else tuple(scenarios)


@attrs.define(eq=False)
class _Fields:
    """The fields of one mapping, taken one by one. What is wrong is noted, and something of the right type is returned all the same."""

    node: Node
    where: str
    problems: list[FileProblem]
    fields: dict[str, Node]
    keys: dict[str, Node]

    @classmethod
    def of(cls, node: Node, where: str, problems: list[FileProblem]) -> "_Fields":
        """Return the fields of ``node``, none when it is no mapping."""
        fields: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        if not isinstance(node, Mapping):
            problems.append(FileProblem(node.line, where or "the file", "must be a mapping"))
            return cls(node, where, problems, fields, keys)
        for key, value in node.pairs:
            if isinstance(key, Scalar) and key.text not in fields:
                fields[key.text], keys[key.text] = value, key
            else:
                problems.append(FileProblem(key.line, where or "the file", "has a field whose name is no text"))
        return cls(node, where, problems, fields, keys)

    def statistics(self) -> int:
        """Return how many fields have not been taken yet."""
        return len(self.fields)

    def path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def problem(self, name: str, reason: str) -> None:
        """Note what is wrong with the field ``name``, at its key, or at the mapping that lacks it."""
        self.problems.append(FileProblem(self.keys.get(name, self.node).line, self.path(name), reason))

    def take(self, name: str, *, required: bool) -> Node | None:
        node = self.fields.pop(name, None)
        if node is None and required and isinstance(self.node, Mapping):
            self.problem(name, "is required")
        return node

    def text(self, name: str, default: str | None = None) -> str:
        """Return the text of a field; without a ``default`` it must be there."""
        node = self.take(name, required=default is None)
        if node is None:
            return default or ""
        if isinstance(node, Scalar) and node.kind is Kind.TEXT and len(node.text) <= _MAX_TEXT:
            return node.text
        self.problem(name, f"must be text of at most {_MAX_TEXT} characters (in quotation marks if it looks like something else)")
        return ""

    def matching(self, name: str, allowed: Callable[[str], object], reason: str, default: str | None = None) -> str:
        """Return the text of a field, which must be ``allowed``."""
        before = len(self.problems)
        text = self.text(name, default)
        if len(self.problems) == before and not allowed(text) and isinstance(self.node, Mapping):
            self.problem(name, reason)
        return text

    def number(self, name: str, allowed: range) -> int:
        node = self.take(name, required=True)
        if node is None:
            return allowed[0]
        if isinstance(node, Scalar) and node.kind is Kind.OTHER and _is_number(node.text) and int(node.text) in allowed:
            return int(node.text)
        self.problem(name, f"must be a number from {allowed[0]} to {allowed[-1]}")
        return allowed[0]

    def items(self, name: str) -> tuple[Node, ...]:
        node = self.take(name, required=False)
        if node is None or isinstance(node, Sequence):
            return () if node is None else node.items
        self.problem(name, "must be a list")
        return ()

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, empty when it is missing."""
        items = self.items(name)
        texts = tuple(item.text for item in items if isinstance(item, Scalar) and item.kind is Kind.TEXT and len(item.text) <= _MAX_TEXT)
        if len(texts) != len(items):
            self.problem(name, f"must be a list of texts of at most {_MAX_TEXT} characters")
        return texts

    def inner(self, name: str) -> "_Fields":
        """Return the fields of the mapping in a field that must be there."""
        node = self.take(name, required=True)
        if node is None:
            return _Fields(Scalar(Kind.NULL, "", self.node.line), self.path(name), self.problems, {}, {})
        return _Fields.of(node, self.path(name), self.problems)

    def nothing_else(self) -> None:
        """Note the fields that nobody has taken."""
        for name in self.fields:
            self.problems.append(FileProblem(self.keys[name].line, self.where or "the file", f"has an unknown field {quoted(name)}"))


def _scenario(fields: _Fields, names: set[str]) -> Scenario:
    name = fields.matching("name", _is_name, "must be of small letters, digits and hyphens, at most 64")
    if name and name in names:
        fields.problem("name", f"is that of an earlier scenario: {quoted(name)}")
    names.add(name)
    watch = fields.matching("watch", lambda text: text.strip() and text.isprintable(), "must be one line of text")
    call = _call(fields.inner("request"))
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


def _call(fields: _Fields) -> Call:
    host = fields.matching("host", is_host, "must be a host, with or without a port")
    path = fields.matching("path", is_path, "must be a path as it is sent: it begins with / and has no blanks")
    method = fields.matching("method", is_method, "must be a method, such as GET", "GET")
    subject = fields.matching("subject", _SUBJECTS.__contains__, f"must be one of {', '.join(_SUBJECTS)}", Subject.VALID.value)
    headers = _headers(fields)
    fields.nothing_else()
    return Call(host, path, _SUBJECTS.get(subject, Subject.VALID), method, headers)


def _headers(fields: _Fields) -> Headers:
    items = fields.items("headers")
    if len(items) > MAX_HEADERS:
        fields.problem("headers", f"are more than {MAX_HEADERS}")
        return ()
    headers = []
    for index, item in enumerate(items):
        header = _Fields.of(item, f"{fields.where}.headers[{index}]", fields.problems)
        before = len(fields.problems)
        name, value = header.text("name"), header.text("value")
        if len(fields.problems) == before and (reason := why_no_header(name, value)):
            header.problem("name", reason)
        header.nothing_else()
        headers.append((name, value))
    return tuple(headers)


def _answer(fields: _Fields) -> Answer:
    status = fields.number("status", _STATUS)
    body = fields.text("body", "")
    upstream = _upstream(fields)
    if body and upstream is not Reached.NOT:
        fields.problem("body", "is the upstream's, which upstream is about")
    answer = Answer(
        status=status,
        body=body,
        challenges=fields.texts("challenges"),
        upstream=upstream,
        content_type=fields.text("content_type", "application/json"),
    )
    fields.nothing_else()
    return answer


def _upstream(fields: _Fields) -> Upstream:
    node = fields.fields.get("upstream")
    if isinstance(node, Mapping):
        outer = fields.inner("upstream")
        exchanged = outer.inner("exchanged")
        target = Target(exchanged.text("scope", ""), exchanged.texts("resources"), exchanged.texts("audiences"))
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
