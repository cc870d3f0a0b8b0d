"""Law: null switches nothing off. In each field of each document it is a problem, or means what the document says without the field.

The documents have every field that their tables have, so a new field is judged without a line here.
"""

import copy
import json
from collections.abc import Callable, Iterator
from functools import reduce
from operator import getitem
from typing import Any, Final

import attrs
import pytest

from exchanger.commands.cases import CASES_FIELDS, read_cases
from exchanger.commands.scenarios.reader import _FILE_FIELDS as SCENARIO_FIELDS
from exchanger.commands.scenarios.reader import UnusableScenarios, read_scenarios
from exchanger.formats.yaml.fields import Table
from exchanger.model.entry import FailClosedScope, Source
from exchanger.policy.documents.document import DOCUMENT_FIELDS, parse_document
from exchanger.policy.grants.reader import GRANTS_FIELDS, read_grants

Way = tuple[str | int, ...]


@attrs.frozen
class Kind:
    """A kind of document: a good one, what is read from its text (``None`` if it is rejected), and where null counts as missing."""

    table: Table
    document: dict[str, Any]
    read: Callable[[str], object]
    nullable: frozenset[str] = frozenset()


def policy_read(text: str) -> object:
    document = parse_document(Source("team", "policy"), text, frozenset({"primary"}))
    assert all(isinstance(claim, FailClosedScope) for claim in document.closed_scopes)
    return None if document.closed_scopes else document.entries


def cases_read(text: str) -> object:
    found = read_cases(text)
    return None if any(hasattr(item, "code") for item in found) else found


def scenarios_read(text: str) -> object:
    found = read_scenarios(text)
    return None if isinstance(found, UnusableScenarios) else found


def entry(action: str) -> dict[str, Any]:
    match = {"host": "a.example", "pathPrefix": "/a", "methods": ["GET"], "pathType": "Segment", "caseInsensitive": True}
    headers = [{"name": "x-a", "value": "b"}]
    exchange = {"issuerRef": "primary", "scope": "s", "resources": ["https://a.example"], "audiences": ["a"]}
    metadata = {"resourceMetadata": "https://a.example/.well-known/oauth-protected-resource"}
    return {"match": {**match, "headers": headers}, "action": action, "exchange": {**exchange, **metadata}}


OF_EXCHANGE: Final = frozenset({"exchange", "issuerRef", "scope", "resources", "audiences", "resourceMetadata"})
TARGET: Final = {"scope": "s", "resources": ["https://a.example"], "audiences": ["a"]}
EXPECT: Final = {"status": 200, "upstream": {"exchanged": TARGET}}
REFUSED: Final = {"status": 401, "body": "b", "challenges": ["c"], "content_type": "d"}
REQUEST: Final = {"host": "a.example", "path": "/a", "method": "GET", "subject": "valid", "headers": [{"name": "a", "value": "b"}]}
KINDS: Final = {
    "policy, exchange": Kind(
        DOCUMENT_FIELDS, {"version": "v1", "entries": [entry("exchange")]}, policy_read, OF_EXCHANGE | {"entries", "methods"}
    ),
    "policy, deny": Kind(DOCUMENT_FIELDS, {"version": "v1", "entries": [entry("deny")]}, policy_read, OF_EXCHANGE | {"entries", "methods"}),
    "policy, allow": Kind(DOCUMENT_FIELDS, {"version": "v1", "entries": [entry("allow")]}, policy_read, frozenset({"entries", "exchange"})),
    "grants": Kind(
        GRANTS_FIELDS,
        {
            "version": "v1",
            "grants": [
                {
                    "namespaces": ["a"],
                    "namespaceSelector": "team=a",
                    "hosts": ["a.example"],
                    "pathPrefixes": ["/a"],
                    "actions": ["deny"],
                    **{name: ["a"] for name in ("issuers", "audiences", "resources", "scopes")},
                }
            ],
            "baseline": [
                {
                    "match": {
                        "host": "a.example",
                        "pathPrefix": "/a",
                        "methods": ["GET"],
                        "pathType": "Segment",
                        "caseInsensitive": True,
                    },
                    "action": "deny",
                }
            ],
        },
        lambda text: None if isinstance(found := read_grants(text, has_labels=True), tuple) else found,
    ),
    "tests": Kind(
        CASES_FIELDS,
        {
            "tests": [
                {
                    "request": {"method": "GET", "url": "https://a.example/a", "headers": [{"name": "a", "value": "b"}]},
                    "expect": {"decision": "exchange", "policy": "a/b", "scope": "s", "audiences": ["a"]},
                }
            ]
        },
        cases_read,
    ),
    "scenarios": Kind(
        SCENARIO_FIELDS,
        {
            "version": "v1",
            "scenarios": [
                {
                    "name": "a",
                    "watch": "b",
                    "needs": "grants",
                    "request": REQUEST,
                    "expect": EXPECT,
                    "edit": {"file": "team.yaml", "old": "a", "new": "b", "expect": EXPECT},
                },
                {"name": "c", "watch": "d", "request": REQUEST, "expect": REFUSED, "at_once": 2},
            ],
        },
        scenarios_read,
    ),
}


def ways(value: object, at: Way = ()) -> Iterator[Way]:
    """Yield the way to each field and each item."""
    if at:
        yield at
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from ways(child, (*at, key))


def fields(table: Table) -> Iterator[str]:
    for name, field in table.fields.items():
        yield name
        yield from fields(field.fields)


CASES: Final = [
    pytest.param(kind, way, id=f"{name}: {'.'.join(map(str, way))}") for name, kind in KINDS.items() for way in ways(kind.document)
]


@pytest.mark.parametrize("name", KINDS)
def test_the_documents_have_every_field(name: str) -> None:
    kind = KINDS[name]
    assert kind.read(json.dumps(kind.document)) is not None
    given = {step for way in ways(kind.document) for step in way if isinstance(step, str)}
    assert given >= set(fields(kind.table))


@pytest.mark.parametrize(("kind", "way"), CASES)
def test_null_is_a_problem_or_means_what_no_field_means(kind: Kind, way: Way) -> None:
    *before, last = way
    with_null, without = copy.deepcopy(kind.document), copy.deepcopy(kind.document)
    there: Any = reduce(getitem, before, with_null)  # type: ignore[arg-type]  # the way is right
    there[last] = None
    less: Any = reduce(getitem, before, without)  # type: ignore[arg-type]
    del less[last]
    found, expected = kind.read(json.dumps(with_null)), kind.read(json.dumps(without))
    name = next(step for step in reversed(way) if isinstance(step, str))
    if found is not None:
        assert found == expected
        assert name in kind.nullable
