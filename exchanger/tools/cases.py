"""Tests of policies as values, and the reader of the files that have them. Strict: whatever is not understood is a problem with its line.

A file is a mapping with ``tests``, a list of mappings with ``request`` (``method``, ``url``, ``headers``) and ``expect`` (``decision``,
``policy``, ``scope``, ``audiences``).
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar, final

import attrs

from exchanger.decision.answer import Effect
from exchanger.policy.documents import yaml_nodes as nodes
from exchanger.policy.documents.fields import FILE, Field, FieldType
from exchanger.policy.documents.yaml_reader import Unreadable, read_nodes
from exchanger.tools.question import Header, MalformedQuestion, Question, read_question
from exchanger.util.text import closest, quoted
from exchanger.values.entry import BASELINE, Source

T = TypeVar("T")

# The word for the platform's baseline where a policy is named.
BASELINE_NAME: Final = "baseline"
# Problems of one file that are told.
MAX_PROBLEMS: Final = 100


@final
@attrs.frozen
class ExpectedDecision:
    """The decision that a request must get. ``None`` is no matter of the test; scopes and audiences count in any order.

    ``refused`` is an answer of 400, 401 or 500, ``unmatched`` that of requests to which no entry applies, whether they pass or not.
    """

    decision: Effect
    policy: Source | None = None
    scope: frozenset[str] | None = None
    audiences: frozenset[str] | None = None


@final
@attrs.frozen
class Case:
    """One test, with the line in its file, counted from 1."""

    question: Question
    expect: ExpectedDecision
    line: int


@final
@attrs.frozen
class CaseProblem:
    """What is wrong with a file of tests, and where; ``None`` for the file as a whole."""

    reason: str
    line: int | None = None
    column: int | None = None


def read_cases(text: str) -> tuple[Case, ...] | tuple[CaseProblem, ...]:
    """Return the tests in a file's text, or everything that is wrong with it. Never raises."""
    root = read_nodes(text)
    if isinstance(root, Unreadable):
        return (CaseProblem(f"the file {root.reason}", root.line, root.column),)
    reader = _CaseReader()
    cases = reader.read(root)
    if not cases and not reader.problems:
        return (CaseProblem("the file has no tests: they are a list under tests", root.line, root.column),)
    return tuple(reader.problems[:MAX_PROBLEMS]) or cases


DECISIONS: Final = tuple(effect.value for effect in Effect)
# Header by header, if one comes more than once.
HEADER_FIELDS: Final = (
    Field("name", FieldType.TEXT, "The header's name, in any case.", required=True),
    Field("value", FieldType.TEXT, "Its value.", required=True),
)
_REQUEST_FIELDS: Final = (
    Field("method", FieldType.TEXT, "The method, such as GET.", required=True),
    Field("url", FieldType.TEXT, "The URL, such as https://orders.example.com/orders/1.", required=True),
    Field(
        "headers",
        FieldType.MAPPINGS,
        "Headers by name, or a list of mappings with name and value. A bearer token is assumed; an empty Authorization is none.",
        fields=HEADER_FIELDS,
    ),
)
_EXPECT_FIELDS: Final = (
    Field("decision", FieldType.TEXT, f"What the request must get: {', '.join(DECISIONS)}.", required=True),
    Field("policy", FieldType.TEXT, f"The ConfigMap that decides, as NAMESPACE/NAME, or {BASELINE_NAME}."),
    Field("scope", FieldType.TEXT, "The scopes that are asked for, in any order; with decision: exchange."),
    Field("audiences", FieldType.TEXTS, "The audiences that are asked for, in any order; with decision: exchange."),
)
_TEST_FIELDS: Final = (
    Field("request", FieldType.MAPPING, "The request.", required=True, fields=_REQUEST_FIELDS),
    Field(
        "expect",
        FieldType.MAPPING,
        "What has to become of it. Fields that are left out do not matter.",
        required=True,
        fields=_EXPECT_FIELDS,
    ),
)
CASES_FIELDS: Final = (Field("tests", FieldType.MAPPINGS, "The tests, one or more.", required=True, fields=_TEST_FIELDS),)


@final
@attrs.define(eq=False)
class _CaseReader:
    """Reads one file; ``problems`` has what is wrong so far."""

    problems: list[CaseProblem] = attrs.field(factory=list, init=False)

    def read(self, root: nodes.Node) -> tuple[Case, ...]:
        found = self._fields(root, FILE, CASES_FIELDS)
        items = None if found is None else found.get("tests")
        if items is None:
            return ()
        if not isinstance(items, nodes.Sequence):
            self._wrong(items, "tests must be a list")
            return ()
        read = [self._case(item, f"tests[{index}]") for index, item in enumerate(items.items)]
        return tuple(case for case in read if case is not None)

    def _wrong(self, node: nodes.Node, reason: str) -> None:
        self.problems.append(CaseProblem(reason, node.line, node.column))

    def _fields(self, node: nodes.Node, where: str, fields: tuple[Field, ...]) -> dict[str, nodes.Node] | None:
        """Return the fields of a mapping that are not null; unknown and missing ones are problems."""
        if not isinstance(node, nodes.Mapping):
            self._wrong(node, f"{where} must be a mapping")
            return None
        known = [field.name for field in fields]
        found: dict[str, nodes.Node] = {}
        for key, value in node.pairs:
            name = nodes.text_of(key)
            if name is None or name not in known:
                meant = None if name is None else closest(name, known)
                hint = "" if meant is None else f"; did you mean {meant}?"
                self._wrong(key, f"{where} has an unknown field {'that is not text' if name is None else quoted(name)}{hint}")
            elif not nodes.is_null(value):
                found[name] = value
        for field in fields:
            if field.required and field.name not in found:
                self._wrong(node, f"{field.name if where == FILE else f'{where}.{field.name}'} is required")
        return found

    def _case(self, node: nodes.Node, where: str) -> Case | None:
        found = self._fields(node, where, _TEST_FIELDS)
        if found is None or len(found) < len(_TEST_FIELDS):
            return None
        question = self._question(found["request"], f"{where}.request")
        expect = self._expectation(found["expect"], f"{where}.expect")
        return None if question is None or expect is None else Case(question, expect, node.line)

    def _question(self, node: nodes.Node, where: str) -> Question | None:
        found = self._fields(node, where, _REQUEST_FIELDS)
        if found is None:
            return None
        before = len(self.problems)
        method, url = self._text(found, "method", where), self._text(found, "url", where)
        headers = tuple(self._headers(found["headers"], f"{where}.headers")) if "headers" in found else ()
        if not method or not url or len(self.problems) > before:
            return None
        question = read_question(method, url, headers)
        if isinstance(question, MalformedQuestion):
            self._wrong(node, f"{where}: {question.reason}")
            return None
        return question

    def _headers(self, node: nodes.Node, where: str) -> Iterator[Header]:
        """Yield the headers of a mapping of names to values, or of a list of mappings with name and value, in which a name may repeat."""
        if isinstance(node, nodes.Mapping):
            for key, value in node.pairs:
                name, text = nodes.text_of(key), nodes.text_of(value)
                if name is None or text is None:
                    self._wrong(value, f"{where} must have texts; put numbers and true/false in quotes")
                else:
                    yield name, text
        elif isinstance(node, nodes.Sequence):
            for index, item in enumerate(node.items):
                place = f"{where}[{index}]"
                found = self._fields(item, place, HEADER_FIELDS)
                if found is not None and len(found) == 2:  # noqa: PLR2004 - name and value
                    yield self._text(found, "name", place), self._words(found["value"], f"{place}.value")
        else:
            self._wrong(node, f"{where} must be a mapping of names to values, or a list of mappings with name and value")

    def _expectation(self, node: nodes.Node, where: str) -> ExpectedDecision | None:
        found = self._fields(node, where, _EXPECT_FIELDS)
        if found is None:
            return None
        before = len(self.problems)
        decision = self._text(found, "decision", where)
        if decision and decision not in DECISIONS:
            meant = closest(decision, DECISIONS)
            hint = "" if meant is None else f"; did you mean {meant}?"
            self._wrong(found["decision"], f"{where}.decision must be one of {', '.join(DECISIONS)}, not {quoted(decision)}{hint}")
        policy = self._given(found, "policy", where, self._policy)
        scope = self._given(found, "scope", where, lambda node, place: frozenset(self._words(node, place).split()))
        audiences = self._given(found, "audiences", where, self._audiences)
        exchanges = decision == Effect.EXCHANGE.value
        for name in ("scope", "audiences"):
            if name in found and decision in DECISIONS and not exchanges:
                self._wrong(found[name], f"{where}.{name} goes with decision: exchange")
        return None if not decision or len(self.problems) > before else ExpectedDecision(Effect(decision), policy, scope, audiences)

    def _given(self, found: dict[str, nodes.Node], name: str, where: str, read: Callable[[nodes.Node, str], T]) -> T | None:
        return read(found[name], f"{where}.{name}") if name in found else None

    def _text(self, found: dict[str, nodes.Node], name: str, where: str) -> str:
        """Return the trimmed text of a required field, "" where there is none, which is a problem."""
        before = len(self.problems)
        text = self._words(found[name], f"{where}.{name}").strip() if name in found else ""
        if name in found and not text and len(self.problems) == before:
            self._wrong(found[name], f"{where}.{name} must not be blank")
        return text

    def _words(self, node: nodes.Node, where: str) -> str:
        text = nodes.text_of(node)
        if text is None:
            self._wrong(node, f"{where} must be text; put numbers and true/false in quotes")
        return text or ""

    def _policy(self, node: nodes.Node, where: str) -> Source:
        text = self._words(node, where).strip()
        if text == BASELINE_NAME:
            return BASELINE
        namespace, slash, name = text.partition("/")
        if not (slash and namespace and name) or "/" in name:
            self._wrong(node, f"{where} must be NAMESPACE/NAME, not {quoted(text)}")
        return Source(namespace, name)

    def _audiences(self, node: nodes.Node, where: str) -> frozenset[str]:
        texts = [nodes.text_of(item) for item in node.items] if isinstance(node, nodes.Sequence) else [None]
        if None in texts:
            self._wrong(node, f"{where} must be a list of texts")
        return frozenset(text for text in texts if text is not None)
