"""Law: a JSON Schema refuses no document that its reader accepts, and lets pass none that the reader refuses, but for what it names.

What a schema cannot say is in its ``UNSAID``; ``unsaid`` of a kind and of its parts are of these.
"""

import json
from typing import Final

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.formats.yaml.reader import UnreadableYaml, read_nodes
from tests.schemas.kinds import KINDS
from tests.schemas.law import DocumentKind, Part, instance_of, mutated

PARTS: Final = [pytest.param(kind, part, id=f"{kind.name}-{name}") for kind in KINDS for name, part in kind.parts.items()]
EXAMPLES: Final = [
    pytest.param(kind, part, value, id=f"{kind.name}-{name}-{number}")
    for kind in KINDS
    for name, part in kind.parts.items()
    for number, value in enumerate(part.examples)
]
each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def wrongly_passed(kind: DocumentKind, document: object) -> tuple[str, ...]:
    """Return what only the reader says is wrong; what only the schema refuses breaks the law."""
    refused, found = not kind.validator.is_valid(document), kind.problems(json.dumps(document))
    assert found or not refused
    return () if refused else found


@each
@given(data=st.data())
def test_the_schema_refuses_what_the_reader_refuses_and_nothing_else(kind: DocumentKind, data: st.DataObject) -> None:
    found = wrongly_passed(kind, data.draw(kind.documents))
    assert not found or kind.unsaid(found), found


@pytest.mark.parametrize(("kind", "part"), PARTS)
@given(data=st.data())
def test_they_agree_on_each_part_of_a_document(kind: DocumentKind, part: Part, data: st.DataObject) -> None:
    value = data.draw(part.values)
    found = wrongly_passed(kind, part.document(value))
    assert not found or part.unsaid(value, found), found


@pytest.mark.parametrize(("kind", "part", "value"), EXAMPLES)
def test_they_agree_on_what_once_told_them_apart(kind: DocumentKind, part: Part, value: object) -> None:
    found = wrongly_passed(kind, part.document(value))
    assert not found or part.unsaid(value, found), found


@each
@given(data=st.data())
def test_what_the_reader_reads_in_any_yaml_the_schema_accepts(kind: DocumentKind, data: st.DataObject) -> None:
    text = data.draw(mutated(kind.documents))
    root, found = read_nodes(text), kind.problems(text)
    event("refused" if found else "accepted")
    if not found:
        assert not isinstance(root, UnreadableYaml)
        assert kind.validator.is_valid(instance_of(root))
