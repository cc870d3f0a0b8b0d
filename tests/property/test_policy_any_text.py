"""Law: any text is a policy document, and what cannot be understood of it is closed.

An unreadable document closes every host, path and method; an invalid entry closes its own area. Nothing raises, and nothing is left out.
"""

import json
from typing import Any

import yaml
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.policy.documents.document import UNREADABLE_REACH, PolicyDocument, parse_document
from exchanger.util.text import MAX_QUOTED
from exchanger.values.entry import Source
from tests.property.strategies_policy import ISSUERS, rarely

RED = Source("red", "policy")

# JSON writes characters beyond U+FFFF as two escapes, which YAML does not read.
texts = st.text(st.characters(max_codepoint=0xD7FF), max_size=8) | st.sampled_from(
    ["*", "a.example", "/a", "GET", "exchange", "deny", "primary", "v1", "<<", "x" * 100]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8)


def fields(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Most of the known fields, mostly with values of the right kind, and once in a while something else."""
    some = st.fixed_dictionaries(
        {name: rarely(anything, value) for name, value in list(known.items())[:2]},
        optional={name: rarely(anything, value) for name, value in list(known.items())[2:]},
    )
    return rarely(anything | st.builds(lambda one, other: {**one, **other}, some, st.dictionaries(texts, anything, max_size=1)), some)


lists_of_texts = st.lists(texts, max_size=2)
urls = texts | st.sampled_from(["https://a.example/x", "https://b.example", "https://u@a.example", "https://a.example:99999"])
matches = fields(host=texts, pathPrefix=texts, methods=lists_of_texts)
exchanges = fields(
    issuerRef=st.sampled_from(["primary", "nobody"]), scope=texts, resources=lists_of_texts, audiences=lists_of_texts, resourceMetadata=urls
)
entries = fields(match=matches, action=st.sampled_from(["exchange", "deny"]), exchange=exchanges)
structures = fields(version=st.just("v1"), entries=st.lists(entries, max_size=3))
written = st.one_of(
    structures.map(json.dumps),
    structures.map(lambda structure: yaml.safe_dump(structure, allow_unicode=True)),
    structures.map(lambda structure: yaml.safe_dump(structure, default_flow_style=True)),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Draw a document, and then cut, double or overwrite some pieces of it."""
    text = draw(written)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 10)))
        piece = draw(
            st.sampled_from(["", text[start:end] * 2, "&a ", "*a", "- ", "\n", "{", "]", ": ", "\t", "---\n", "!x ", "'", "\0"])
            | st.text(max_size=3)
        )
        text = text[:start] + piece + text[end:]
    return text


def check(text: str) -> PolicyDocument:
    document = parse_document(RED, text, ISSUERS)
    event("unreadable" if any(region.index is None for region in document.regions) else f"{len(document.entries)}+{len(document.problems)}")
    if any(region.index is None for region in document.regions):
        assert document.entries == ()
        (region,) = document.regions
        assert region.match == UNREADABLE_REACH
    indices = [claim.index for claim in (*document.entries, *document.problems)]
    assert len(set(indices)) == len(indices)
    for region in document.regions:
        assert region.reason.isprintable()
        assert len(region.reason) < 2_000
        assert "x" * MAX_QUOTED not in region.reason or "x" * MAX_QUOTED not in text
        assert region.line is None or 1 <= region.line <= len(text.splitlines()) + 1
    return document


@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"%#?,\n\t \ud800\0é"))
def test_any_text_is_a_document(text: str) -> None:
    check(text)


@given(st.text().map(lambda text: "version: v1\nentries:\n- " + text))
def test_any_text_is_an_entry_or_closes(text: str) -> None:
    check(text)


@given(mutated())
def test_a_broken_document_is_a_document(text: str) -> None:
    check(text)


@given(structures)
def test_every_entry_of_a_document_is_accounted_for(structure: object) -> None:
    document = check(json.dumps(structure))

    if not any(region.index is None for region in document.regions):
        assert isinstance(structure, dict)
        written = [index for index, entry in enumerate(structure["entries"] or ()) if entry is not None]
        assert sorted(claim.index or 0 for claim in (*document.entries, *document.problems)) == written


class QuotingDumper(yaml.SafeDumper):
    """Quotes every text: PyYAML writes by YAML 1.1, where a plain ``0E0`` is a text, and the reader goes by YAML 1.2, where it is none."""


QuotingDumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@given(structures)
def test_json_and_yaml_are_read_alike(structure: object) -> None:
    from_json = parse_document(RED, json.dumps(structure), ISSUERS)
    from_yaml = parse_document(RED, yaml.dump(structure, Dumper=QuotingDumper, sort_keys=False), ISSUERS)

    assert from_json.entries == from_yaml.entries
    assert [(region.match, region.reason) for region in from_json.regions] == [
        (region.match, region.reason) for region in from_yaml.regions
    ]
