"""What the law of all JSON Schemas is about: a kind of document, and mostly valid ones of it."""

from collections.abc import Callable
from typing import Any, Final

import attrs
import yaml
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from exchanger.commands.schemas import SCHEMAS
from exchanger.formats.yaml.nodes import Mapping, Node, Scalar, ScalarKind, Sequence
from tests.property.strategies_policy import rarely

BLANKS: Final = ["", " ", "\t", "\n", "\r\n ", "\x1c", "\x85", "\u00a0", "\u2003", "\u2028", "\ufeff", "\u200b"]
Found = tuple[str, ...]


@attrs.frozen
class Part:
    """Values of one field, in a document that is right otherwise; ``unsaid`` tells which mistakes in it the schema cannot express."""

    values: st.SearchStrategy[Any]
    document: Callable[[Any], object]
    unsaid: Callable[[Any, Found], object] = lambda _value, _found: False
    examples: tuple[object, ...] = ()


@attrs.frozen
class DocumentKind:
    """A kind of document: what its reader says is wrong with a text, and documents of which the schema can say nearly all."""

    name: str
    problems: Callable[[str], Found]
    documents: st.SearchStrategy[object]
    parts: dict[str, Part]
    unsaid: Callable[[Found], object] = lambda _found: False
    validator: Draft202012Validator = attrs.field(init=False, repr=False)

    @validator.default
    def _of_schema(self) -> Draft202012Validator:
        return Draft202012Validator(SCHEMAS[self.name]())


blanks = rarely(st.sampled_from(BLANKS), st.just(""), one_in=4)


def around(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Put blanks, and what only looks like one, around a text."""
    return st.builds(lambda before, text, after: before + text + after, blanks, texts, blanks)


def mostly(right: list[str], *wrong: str, one_in: int = 9) -> st.SearchStrategy[str]:
    """Draw one of the texts, mostly a right one, with blanks around it."""
    return around(rarely(st.sampled_from(wrong), st.sampled_from(right), one_in))


# JSON writes characters beyond U+FFFF as two escapes, which YAML does not read.
some_texts = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=12)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 1)
    | st.just(1.5)
    | st.sampled_from(["", " ", "v1", "exchange", "/a", "a.example", "GET", "*"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["", "host", "x"]), inner, max_size=2),
    max_leaves=4,
)


def mapping(optional: tuple[str, ...], **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw a mapping, mostly of known fields with values of the right type; once in a while something is missing, added or replaced."""
    values = {name: rarely(anything, value, one_in=30) for name, value in known.items()}
    right = st.fixed_dictionaries(
        {name: value for name, value in values.items() if name not in optional},
        optional={name: value for name, value in values.items() if name in optional},
    )
    poor = st.fixed_dictionaries({}, optional=values)
    rich = st.builds(
        lambda whole, more: {**whole, **more}, right, st.dictionaries(st.sampled_from(["Host", "x", ""]), anything, min_size=1)
    )
    return rarely(anything | poor | rich, right, one_in=15)


def instance_of(node: Node) -> object:
    """Return what a JSON Schema is applied to when ``node`` is read by the core schema of YAML 1.2. What has a tag is some number."""
    match node:
        case Scalar(ScalarKind.TEXT, text):
            return text
        case Scalar(ScalarKind.NULL):
            return None
        case Scalar(_, text):
            if text.lower() in {"true", "false"}:
                return text.lower() == "true"
            return int(text) if text.isascii() and text.isdecimal() else 1.5
        case Sequence(items):
            return [instance_of(item) for item in items]
        case Mapping(pairs):
            return {
                key.text if isinstance(key, Scalar) and key.kind is ScalarKind.TEXT else repr(key): instance_of(value)
                for key, value in pairs
            }


@st.composite
def mutated(draw: st.DrawFn, documents: st.SearchStrategy[object]) -> str:
    """Draw the YAML of a document, with a piece or two of it replaced."""
    text = draw(documents.map(lambda document: yaml.safe_dump(document, allow_unicode=True, width=1000)))
    pieces = st.sampled_from(["", "&a ", "*a", "- ", "\n", "{}", "[]", "null", "~", "true", "1", "v1", "'", "!x ", "# ", "<<", "deny", "/"])
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(pieces) + text[start + draw(st.integers(0, 6)) :]
    return text
