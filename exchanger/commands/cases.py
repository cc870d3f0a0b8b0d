"""Tests of policies as values, and the reader of their files. Strict: anything it does not understand is a problem with its line.

A file is a mapping with ``tests``, a list of mappings with ``request`` (``method``, ``url``, ``headers``) and ``expect`` (``decision``,
``policy``, ``scope``, ``audiences``).
"""

from collections.abc import Iterator
from typing import Final, final

import attrs

from exchanger.authz.decision.answer import Effect
from exchanger.commands.question import MAX_HEADERS, Header, MalformedQuestion, Question, read_question
from exchanger.formats.yaml.fields import FILE, Dialect, Field, Fields, FieldType, Findings, Table
from exchanger.formats.yaml.nodes import Mapping, Sequence, text_of
from exchanger.formats.yaml.reader import UnreadableYaml, read_nodes
from exchanger.formats.yaml.schema import BEYOND_JSON, mapping
from exchanger.formats.yaml.text_rules import BLANKS, NOT_BLANK, TextRule, whole
from exchanger.model.codes.policy import MISSING_FIELD, WRONG_TYPE
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import BASELINE, Source
from exchanger.policy.headers import TOKEN
from exchanger.util.json_schema import Schema, document
from exchanger.util.text import quoted

# The word for the platform's baseline in place of a policy.
BASELINE_NAME: Final = "baseline"
# Problems of one file that are reported.
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


DECISIONS: Final = tuple(effect.value for effect in Effect)
_NAME: Final = TextRule(whole(TOKEN))
# Header by header, if one comes more than once.
_HEADER_FIELDS: Final = Table.of(
    Field("name", FieldType.TEXT, "The header's name, in any case.", required=True, rule=_NAME),
    Field("value", FieldType.TEXT, "Its value.", required=True),
)
_HTTP: Final = "(?:[Hh][Tt][Tt][Pp][Ss]?|[Ww][Ss][Ss]?)://"
# Of a URL, behind its scheme: no user information, and no fragment.
_REST: Final = "[^/?#@]*(?:[/?][^#]*)?$"
_URL: Final[Schema] = {
    "allOf": [{"pattern": NOT_BLANK}],
    "anyOf": [
        {"pattern": f"^[{BLANKS}]*{_HTTP}{_REST}"},
        {
            "pattern": f"^[{BLANKS}]*{_REST}",
            "not": {
                "description": "The scheme of a URL has to be http or https.",
                "pattern": f"^[{BLANKS}]*[A-Za-z][A-Za-z0-9+.-]*://",
            },
        },
    ],
}
_REQUEST_FIELDS: Final = Table.of(
    Field(
        "method",
        FieldType.TEXT,
        "The method, such as GET.",
        required=True,
        rule=TextRule(whole(TOKEN), examples=("GET", "POST", "PUT", "PATCH", "DELETE")),
    ),
    Field("url", FieldType.TEXT, "The URL, such as https://orders.example.com/orders/1.", required=True, says=_URL),
    Field(
        "headers",
        FieldType.MAPPINGS,
        "Headers by name, or a list of mappings with name and value. A bearer token is assumed; an empty Authorization is none.",
        fields=_HEADER_FIELDS,
        says={
            "type": ["object", "array"],
            "propertyNames": {"pattern": _NAME.pattern},
            "additionalProperties": {"type": "string"},
        },
    ),
)
_EXCHANGE_ONLY: Final = ("scope", "audiences")
_EXPECT_FIELDS: Final = Table.of(
    Field(
        "decision",
        FieldType.TEXT,
        f"The expected decision: {', '.join(DECISIONS)}.",
        required=True,
        rule=TextRule(whole("|".join(DECISIONS)), words=DECISIONS),
    ),
    Field(
        "policy",
        FieldType.TEXT,
        f"The ConfigMap that decides, as NAMESPACE/NAME, or {BASELINE_NAME}.",
        rule=TextRule(whole(f"{BASELINE_NAME}|[^/{BLANKS}][^/]*/[^/]*[^/{BLANKS}]")),
    ),
    Field("scope", FieldType.TEXT, "The requested scopes, in any order; with decision: exchange."),
    Field("audiences", FieldType.TEXTS, "The requested audiences, in any order; with decision: exchange."),
    says={
        "if": {"properties": {"decision": {"type": "string", "pattern": whole(Effect.EXCHANGE.value)}}},
        "else": {"properties": dict.fromkeys(_EXCHANGE_ONLY, False)},
    },
)
_TEST_FIELDS: Final = Table.of(
    Field("request", FieldType.MAPPING, "The request.", required=True, fields=_REQUEST_FIELDS),
    Field(
        "expect",
        FieldType.MAPPING,
        "The expected result. Fields that are left out are not checked.",
        required=True,
        fields=_EXPECT_FIELDS,
    ),
)
CASES_FIELDS: Final = Table.of(
    Field(
        "tests",
        FieldType.MAPPINGS,
        "The tests, one or more.",
        required=True,
        fields=_TEST_FIELDS,
        says={"minItems": 1},
    )
)
# What the reader refuses, and the schema cannot express.
UNSAID: Final = (
    BEYOND_JSON,
    f"more than {MAX_HEADERS} headers of a request",
    "a url without a host where no header Host names one",
)
_DIALECT: Final = Dialect(not_text="must be text; put numbers and true/false in quotes", blank="must not be blank")


def tests_schema() -> Schema:
    """Return the JSON Schema (2020-12) of a file of tests. It refuses no file that is read."""
    description = "Requests and their expected decisions: a file for exchanger test."
    return document("tests", "v1", description, UNSAID, mapping(CASES_FIELDS))


def read_cases(text: str) -> tuple[Case, ...] | tuple[Problem, ...]:
    """Return the tests in a file's text, or everything that is wrong with it. Never raises."""
    root = read_nodes(text)
    if isinstance(root, UnreadableYaml):
        return (root.problem(FILE),)
    findings = Findings(dialect=_DIALECT)
    file = Fields.of(root, FILE, CASES_FIELDS, findings)
    cases = [] if file is None else [_case(test) for test in file.mappings("tests", required=True)]
    if not cases and not findings.kept:
        findings.add(MISSING_FIELD, f"{FILE} has no tests: they are a list under tests", root, "tests")
    return tuple(findings.kept[:MAX_PROBLEMS]) or tuple(case for case in cases if case is not None)


def _case(test: Fields) -> Case | None:
    request, expect = test.mapping("request"), test.mapping("expect")
    question = None if request is None else _question(request)
    expected = None if expect is None else _expectation(expect)
    return None if question is None or expected is None else Case(question, expected, test.node.line)


def _question(request: Fields) -> Question | None:
    before = request.findings.count
    method, url, headers = request.text("method"), request.text("url"), tuple(_headers(request))
    if request.findings.count > before:
        return None
    question = read_question(method, url, headers)
    if isinstance(question, MalformedQuestion):
        request.findings.add(WRONG_TYPE, f"{request.where}: {question.reason}", request.node, request.where)
        return None
    return question


def _headers(request: Fields) -> Iterator[Header]:
    """Yield the headers of a mapping of names to values, or of a list of mappings with name and value, in which a name may repeat."""
    match request.nodes.get("headers"):
        case None:
            return
        case Mapping(pairs):
            for key, value in pairs:
                name, text = text_of(key), text_of(value)
                if name is None or text is None:
                    words = "must have texts; put numbers and true/false in quotes"
                    request.findings.add(WRONG_TYPE, f"{request.path('headers')} {words}", value, request.path("headers"))
                else:
                    yield name, text
        case Sequence():
            for header in request.mappings("headers"):
                yield header.text("name"), header.written("value")
        case _:
            request.wrong("headers", "must be a mapping of names to values, or a list of mappings with name and value")


def _expectation(expect: Fields) -> ExpectedDecision | None:
    before = expect.findings.count
    decision = expect.text("decision")
    if decision and decision not in DECISIONS:
        hint = expect.findings.hints.meant(decision, DECISIONS)
        expect.wrong("decision", f"must be one of {', '.join(DECISIONS)}, not {quoted(decision)}", hint=hint)
    policy = _policy(expect) if "policy" in expect.nodes else None
    scope = frozenset(expect.text("scope").split()) if "scope" in expect.nodes else None
    audiences = frozenset(expect.written_texts("audiences")) if "audiences" in expect.nodes else None
    if decision in DECISIONS and decision != Effect.EXCHANGE.value:
        for name in _EXCHANGE_ONLY:
            if name in expect.nodes:
                expect.wrong(name, "goes with decision: exchange")
    return None if expect.findings.count > before else ExpectedDecision(Effect(decision), policy, scope, audiences)


def _policy(expect: Fields) -> Source:
    text = expect.text("policy")
    if text == BASELINE_NAME:
        return BASELINE
    namespace, slash, name = text.partition("/")
    if not (slash and namespace and name) or "/" in name:
        expect.wrong("policy", f"must be NAMESPACE/NAME, not {quoted(text)}")
    return Source(namespace, name)
