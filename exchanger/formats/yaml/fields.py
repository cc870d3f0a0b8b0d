"""The fields of a document's mappings: tables of the possible fields, and strict reading by name.

From the tables follow values, problems with their places, guesses at what was meant, and the JSON Schema (``schema``).

Must not know: which fields exist, or what they mean.
"""

import enum
import re
from collections.abc import Collection
from collections.abc import Mapping as Map
from itertools import islice
from typing import Final, final

import attrs

from exchanger.formats.yaml.nodes import Mapping, Node, Scalar, ScalarKind, Sequence, is_null, text_of
from exchanger.formats.yaml.syntax import RENDER, is_template
from exchanger.formats.yaml.text_rules import ANY_TEXT, EVERY_METHOD, TextRule
from exchanger.model.codes import policy as codes
from exchanger.model.codes.code import Code
from exchanger.model.codes.problem import Problem
from exchanger.util.text import MAX_QUOTED, closest, distance, is_near, quoted

BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}  # YAML 1.2 core schema

# Problems of one entry, or one file, that are kept; authors correct these before they read more.
MAX_PROBLEMS: Final = 128
# Unknown fields of one mapping, and wrong items of one list, that are reported.
MAX_ITEMS: Final = 16
# Names that are compared for one document, in a few milliseconds.
MAX_COMPARISONS: Final = 512
# Characters of a name that is recognised in spite of two slips.
_LONG_NAME: Final = 6
# Characters of a name that may be a part of a longer one.
_WORD: Final = 4

_is_number: Final = re.compile(r"[-+]?[0-9]{1,9}").fullmatch
_is_scope_word: Final = re.compile(r"[!#-\[\]-~]+").fullmatch
_is_word: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*").fullmatch


@enum.unique
class FieldType(enum.Enum):
    """What a field holds."""

    TEXT = "text"
    TEXTS = "list of texts"
    NUMBER = "whole number"
    BOOLEAN = "boolean"
    MAPPING = "mapping"
    MAPPINGS = "list of mappings"
    PAIRS = "mapping of texts"


@final
@attrs.frozen
class Table:
    """The fields that a mapping may have, by name. ``says`` is what its JSON Schema says beyond them."""

    fields: Map[str, "Field"] = attrs.field(factory=dict)
    says: Map[str, object] = attrs.field(factory=dict)

    @classmethod
    def of(cls, *fields: "Field", says: Map[str, object] | None = None) -> "Table":
        """Return the table of ``fields``."""
        return cls({field.name: field for field in fields}, says or {})


@final
@attrs.frozen
class Field:
    """A field that a mapping may have.

    ``description`` is shown by authors' editors. ``required``: it must not be missing, null or blank. ``rule`` applies to the field's text,
    or each of its texts. ``fields`` are those of the mapping, or of each mapping, in it. ``nullable``: null counts as missing, and a null
    item of its list is skipped. Only fields that the Go service has are, and those without which nothing is weaker; in any other field,
    null is a problem (see ``empty``). ``says`` is what its JSON
    Schema says beyond all this. ``aliases`` are names of the same thing elsewhere, in lower case and without dashes: an author who writes
    one means this field.
    """

    name: str
    type: FieldType
    description: str = ""
    required: bool = False
    rule: TextRule = ANY_TEXT
    fields: Table = attrs.field(factory=Table)
    nullable: bool = False
    says: Map[str, object] = attrs.field(factory=dict)
    aliases: frozenset[str] = frozenset()


@final
@attrs.frozen
class Dialect:
    """How the documents of one kind are read, and the words of their problems, where kinds differ.

    ``longest``: the most characters of a literal text, ``None`` for any number. ``not_text`` describes a value that should be a text, and
    ``blank`` a text that must not be blank.
    """

    longest: int | None = None
    not_text: str = "must be text"
    blank: str = "is required"

    def is_too_long(self, text: str) -> bool:
        """Return whether ``text`` is too long."""
        return self.longest is not None and len(text) > self.longest


STANDARD: Final = Dialect()


@final
@attrs.define(eq=False)
class Hints:
    """Guesses what was meant, for one document: ``left`` is the number of names that may still be compared, so that junk costs little."""

    left: int = MAX_COMPARISONS

    def meant(self, name: str, candidates: Collection[str]) -> str:
        """Return the candidate that ``name`` probably means, "" if there is none."""
        self.left -= len(candidates)
        return (closest(name, candidates) or "") if self.left >= 0 else ""


@final
@attrs.define(eq=False)
class Findings:
    """The problems of one entry, or one file (``entry`` is ``None``): their ``count``, and the first ones.

    ``strict``: null is a problem in ``nullable`` fields as well, and so is a blank item of a list.
    """

    entry: int | None = None
    hints: Hints = attrs.field(factory=Hints)
    dialect: Dialect = STANDARD
    strict: bool = attrs.field(default=False, init=False)
    kept: list[Problem] = attrs.field(factory=list, init=False)
    count: int = attrs.field(default=0, init=False)

    def add(
        self,
        code: Code,
        text: str,
        node: Node | None,
        field: str,
        *,
        hint: str = "",
        instead: str = "",
        summary: str | None = None,
        advice: str = "",
    ) -> None:
        """Record a problem at ``node``, or nowhere."""
        self.count += 1
        if len(self.kept) < MAX_PROBLEMS:
            line, column = (None, None) if node is None else (node.line, node.column)
            if code is codes.WRONG_TYPE and is_template(node):
                hint, instead = RENDER, ""
            self.kept.append(Problem(code, text, self.entry, field, line, column, hint, instead, summary, advice=advice))


# What to write in place of null, by the type of the field.
_INSTEAD: Final = {
    FieldType.TEXT: "write a value",
    FieldType.TEXTS: "write [] for none",
    FieldType.NUMBER: "write a number",
    FieldType.BOOLEAN: "write true or false",
    FieldType.MAPPING: "write {} for the defaults",
    FieldType.MAPPINGS: "write [] for none",
    FieldType.PAIRS: "write {} for none",
}
# The same where the empty mapping or list is no better than null.
_FILLED: Final = {FieldType.MAPPING: "write its fields", FieldType.MAPPINGS: "write its items", FieldType.TEXTS: "write its items"}


def empty(kind: FieldType, *, needs: bool = False) -> str:
    """Return why a field of this kind must not be null, in words that follow its path. ``needs``: an empty value is no better.

    Null is what remains of a block whose lines were commented out, or of a template that rendered to nothing. To take it for a missing
    field would switch a protection off in silence.
    """
    return f"is empty: {(needs and _FILLED.get(kind)) or _INSTEAD[kind]}, or remove the line"


# The path of a file's own mapping. Those inside begin with a field's name.
FILE: Final = "the file"


def _path(where: str, name: str) -> str:
    return name if where == FILE else f"{where}.{name}"


@final
@attrs.define(eq=False)
class Fields:
    """The existing fields of one mapping, ``node``. ``where`` is the mapping's path, for sentences; see ``FILE``.

    Each field that is read is checked. Problems are added to ``findings``, and something of the right type is returned anyway. ``meant``
    are the missing fields that a problem with another name is about: one mistake is one problem.
    """

    where: str
    node: Node
    known: Map[str, Field]
    findings: Findings
    nodes: dict[str, Node]
    meant: frozenset[str] = frozenset()

    @classmethod
    def of(cls, node: Node, where: str, table: Table, findings: Findings) -> "Fields | None":
        """Return the fields of ``node``, ``None`` if it is not a mapping. ``findings`` receives problems, now and later."""
        if not isinstance(node, Mapping):
            findings.add(codes.WRONG_TYPE, f"{where} must be a mapping", node, where)
            return None
        known = table.fields
        nodes: dict[str, Node] = {}
        unknown: list[Node] = []
        null: dict[str, Node] = {}
        for key, value in node.pairs:
            name = text_of(key)
            if name is None or name not in known:
                unknown.append(key)
            elif is_null(value):
                null[name] = key
            else:
                nodes[name] = value
        meant: set[str] = set()
        for name, place in null.items():
            field = known[name]
            outside = [key for key in unknown if field.type is FieldType.MAPPING and text_of(key) in field.fields.fields]
            if outside:
                _report_unindented(name, outside, where, findings)
                meant.add(name)
                unknown = [key for key in unknown if key not in outside]
            elif not field.required and (findings.strict or not field.nullable):
                incomplete = field.type is FieldType.MAPPING and any(inner.required for inner in field.fields.fields.values())
                path = _path(where, name)
                findings.add(codes.EMPTY_FIELD, f"{path} {empty(field.type, needs=field.nullable or incomplete)}", place, path)
                meant.add(name)
        missing = [field for name, field in known.items() if name not in nodes and name not in meant]
        meant |= report_unknown(unknown, f"{where} has", where, missing, findings)
        return cls(where, node, known, findings, nodes, frozenset(meant))

    def path(self, name: str) -> str:
        """Return the path of the field ``name``."""
        return _path(self.where, name)

    def problem(
        self, code: Code, name: str, text: str, *, hint: str = "", instead: str = "", summary: str | None = None, advice: str = ""
    ) -> None:
        """Record a problem with the field ``name``; ``text`` and ``summary`` continue after its path."""
        path = self.path(name)
        whole = f"{path} {summary}" if summary else summary
        node = self.nodes.get(name, self.node)
        self.findings.add(code, f"{path} {text}", node, path, hint=hint, instead=instead, summary=whole, advice=advice)

    def wrong(self, name: str, text: str, *, hint: str = "", instead: str = "") -> None:
        """Record that the field ``name`` has an impossible value; ``text`` continues after its path."""
        self.problem(codes.WRONG_TYPE, name, text, hint=hint, instead=instead)

    def _skips_null(self, name: str) -> bool:
        return self.known[name].nullable and not self.findings.strict

    def _missing(self, name: str) -> None:
        # The fields of a mapping that is itself missing are not missing.
        if isinstance(self.node, Mapping) and name not in self.meant:
            self.problem(codes.MISSING_FIELD, name, "is required")

    def mapping(self, name: str, *, required: bool = False) -> "Fields | None":
        """Return the fields of the mapping in the field ``name``, ``None`` if it is missing or something else.

        A missing mapping is a problem if the table or the caller says that it is ``required``.
        """
        field, node = self.known[name], self.nodes.get(name)
        if node is not None:
            return Fields.of(node, self.path(name), field.fields, self.findings)
        if required or field.required:
            self._missing(name)
        return None

    def inner(self, name: str) -> "Fields":
        """Return the same as ``mapping``, but instead of ``None`` a mapping without any fields, in which none is missed."""
        place = self.nodes.get(name, self.node)
        nothing = Scalar(ScalarKind.NULL, "", place.line, place.column)
        return self.mapping(name) or Fields(self.path(name), nothing, self.known[name].fields.fields, self.findings, {})

    def text(self, name: str, *, required: bool = False, listed: bool = False) -> str:
        """Return the trimmed text of a field, "" if it is missing or something else; ``required`` as for a mapping.

        ``listed``: the text has words separated by spaces, so a list was probably meant so.
        """
        node = self.nodes.get(name)
        text = "" if node is None else text_of(node)
        if text is None:
            hint = (_as_words(node) if listed else "") or _as_quoted(node)
            self.wrong(name, self.findings.dialect.not_text, hint=hint, instead=_as_text(node))
            return ""
        text = text.strip()
        if not text and (required or self.known[name].required):
            if node is None:
                self._missing(name)
            else:
                self.problem(codes.MISSING_FIELD, name, self.findings.dialect.blank)
        return text

    def written(self, name: str, default: str = "", *, empty: bool = True) -> str:
        """Return the text of a field, surrounding blanks included, ``default`` if it is missing, and "" if it is not a text.

        Unless ``empty``, the text must have a character. The field's rule checks an existing text.
        """
        node, field, dialect = self.nodes.get(name), self.known[name], self.findings.dialect
        text = default if node is None else text_of(node)
        if text is None or dialect.is_too_long(text):
            self.wrong(name, dialect.not_text, instead=_as_text(node))
            return ""
        if (node is None and field.required) or not (text or empty):
            self._missing(name)
        elif node is not None and field.rule.accepts is not None and not field.rule.accepts(text):
            self.wrong(name, field.rule.reason)
        return text

    def mappings(self, name: str, *, required: bool = False) -> "tuple[Fields, ...]":
        """Return the fields of each mapping of a list; anything else in it is a problem."""
        field, node = self.known[name], self.nodes.get(name)
        if node is None:
            if required:
                self._missing(name)
            return ()
        if not isinstance(node, Sequence):
            self.wrong(name, "must be a list of mappings")
            return ()
        items = [
            Fields.of(item, f"{self.path(name)}[{index}]", field.fields, self.findings)
            for index, item in enumerate(node.items)
            if not (self._skips_null(name) and is_null(item))
        ]
        return tuple([item for item in items if item is not None])

    def number(self, name: str, allowed: range | None = None) -> int:
        """Return a whole number of at most nine digits, the first that is ``allowed`` or 0 if it is missing or something else."""
        node, least = self.nodes.get(name), 0 if allowed is None else allowed[0]
        if node is None:
            if self.known[name].required:
                self._missing(name)
            return least
        text = node.text if isinstance(node, Scalar) and node.kind is ScalarKind.OTHER else ""
        if _is_number(text) and (allowed is None or (text.isdecimal() and int(text) in allowed)):
            return int(text)
        self.wrong(name, "must be a whole number" if allowed is None else f"must be a number from {least} to {allowed[-1]}")
        return least

    def boolean(self, name: str) -> bool | None:
        """Return a boolean field, False if it is missing, ``None`` if it is something else."""
        node = self.nodes.get(name)
        if node is None:
            return False
        value = BOOLEANS.get(node.text) if isinstance(node, Scalar) and node.kind is ScalarKind.OTHER else None
        if value is None:
            instead = _as_boolean(node)
            self.wrong(name, "must be true or false", hint=instead and f"{instead} without quotation marks", instead=instead)
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """Return the trimmed texts of a list, without blank ones, unless these are problems; ``None`` if it is not a list of texts."""
        node = self.nodes.get(name)
        if node is None:
            return ()
        if isinstance(node, Sequence):
            skips = self._skips_null(name)
            present = [(place, item) for place, item in enumerate(node.items) if not (skips and is_null(item))]
            texts = [text for _, item in present if (text := text_of(item)) is not None]
            if len(texts) == len(present):
                found = tuple(trimmed for text in texts if (trimmed := text.strip()))
                if self.findings.strict and len(found) < len(texts):
                    self.problem(codes.EMPTY_FIELD, name, "has a blank item: write a value, or remove the item")
                return found
            path = self.path(name)
            whole = f"{path} must be a list of texts"
            for place, item in islice((pair for pair in present if text_of(pair[1]) is None), MAX_ITEMS):
                text = f"{path}[{place}] must be text"
                self.findings.add(codes.WRONG_TYPE, text, item, path, instead=_as_text(item), summary=whole)
                whole = ""
            return None
        self.wrong(name, "must be a list of texts", instead=_as_list(node))
        return None

    def written_texts(self, name: str) -> tuple[str, ...]:
        """Return the texts of a list with the blanks around them, none if it is missing or something else. Null is not a text."""
        node, dialect = self.nodes.get(name, _NO_ITEMS), self.findings.dialect
        items = [text_of(item) for item in node.items] if isinstance(node, Sequence) else [None]
        texts = tuple(text for text in items if text is not None and not dialect.is_too_long(text))
        if len(texts) == len(items):
            return texts
        bound = "" if dialect.longest is None else f" of at most {dialect.longest} characters"
        self.wrong(name, f"must be a list of texts{bound}")
        return ()

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """Return the names and texts of a mapping of texts, in its order, none if it is missing or something else."""
        node = self.nodes.get(name, _NO_PAIRS)
        pairs = [(text_of(key), text_of(value)) for key, value in node.pairs] if isinstance(node, Mapping) else [(None, None)]
        texts = tuple((key, value) for key, value in pairs if key is not None and value is not None)
        if len(texts) == len(pairs):
            return texts
        self.wrong(name, "must be a mapping of texts")
        return ()


_NO_ITEMS: Final = Sequence((), 0)
_NO_PAIRS: Final = Mapping((), 0)


def report_unknown(unknown: list[Node], what: str, where: str, missing: list[Field], findings: Findings) -> frozenset[str]:
    """Record the keys of unknown fields, and return the names of the ``missing`` ones that were probably meant.

    ``what`` are the first words of the sentence.
    """
    candidates, named = [field.name for field in missing], set[str]()
    for number, key in enumerate(unknown[:MAX_ITEMS]):
        name = text_of(key)
        text = f"{what} an unknown field {'that is not text' if name is None else quoted(name)}"
        more = f"{text} and {len(unknown) - 1} more" if len(unknown) > 1 else None
        alias = next((field.name for field in missing if name and _plain(name) in field.aliases), "")
        hint = alias or (name and (findings.hints.meant(name, candidates) or _longer(name, candidates))) or ""
        instead = hint if alias or (name and is_unambiguous(name, hint, candidates)) else ""
        findings.add(codes.UNKNOWN_FIELD, text, key, where, hint=hint, instead=instead, summary="" if number else more)
        named.add(hint)
    return frozenset(named - {""})


def _report_unindented(name: str, outside: list[Node], where: str, findings: Findings) -> None:
    """Record the keys ``outside`` of the empty mapping ``name`` that are fields of it."""
    names = ", ".join(dict.fromkeys(text_of(key) or "" for key in outside))
    text = f"{_path(where, name)} is empty: indent {names} below it"
    findings.add(codes.UNKNOWN_FIELD, text, outside[0], where, advice=f"Indent {names} below {name}.")


def is_unambiguous(name: str, hint: str, candidates: Collection[str]) -> bool:
    """Return whether ``hint``, one of ``candidates``, is the only one that ``name`` can be a slip for."""
    if not hint or _plain(name) == _plain(hint):
        return bool(hint)
    near = [candidate for candidate in candidates if is_near(name.casefold(), candidate.casefold())]
    return near == [hint] and (len(name) >= _LONG_NAME or distance(name.casefold(), hint.casefold()) == 1)


def _longer(name: str, candidates: Collection[str]) -> str:
    """Return the first candidate that begins or ends with ``name``, such as resourceMetadata for metadata, "" if none does."""
    if len(name) < _WORD:
        return ""
    folded = name.casefold()
    begin = [one for one in candidates if one.casefold().startswith(folded)]
    end = [one for one in candidates if one.casefold().endswith(folded)]
    return next(iter(begin + end), "")


def _plain(name: str) -> str:
    return name.strip().casefold().replace("-", "").replace("_", "")


def _as_text(node: Node | None) -> str:
    """Return the YAML of a number or boolean as text, "" for anything else."""
    is_plain = isinstance(node, Scalar) and node.kind is ScalarKind.OTHER and 0 < len(node.text) <= MAX_QUOTED
    return f'"{node.text}"' if is_plain and isinstance(node, Scalar) else ""


def _as_words(node: Node | None) -> str:
    """Return the YAML of a list of words as one text, "" for anything else."""
    words = [text_of(item) or "" for item in node.items] if isinstance(node, Sequence) else []
    return quoted(" ".join(words)) if words and all(map(_is_scope_word, words)) else ""


def _as_quoted(node: Node | None) -> str:
    """Return the YAML of a text with a colon and a blank in it, which is a mapping without quotation marks, "" for anything else."""
    pair = node.pairs[0] if isinstance(node, Mapping) and len(node.pairs) == 1 else ()
    words = [text_of(item) or "" for item in pair]
    text = ": ".join(words)
    return f'"{text}"' if words and all(map(_is_scope_word, words)) and len(text) <= MAX_QUOTED else ""


def _as_boolean(node: Node) -> str:
    """Return the boolean that a text stands for."""
    text = text_of(node)
    return "" if text is None or text.lower() not in {"true", "false"} else text.lower()


def _as_list(node: Node) -> str:
    """Return the YAML of a list of the single word, unless that would be wrong in a list, too."""
    text = text_of(node) or ""
    return f"[{text}]" if len(text) <= MAX_QUOTED and _is_word(text) and text.upper() not in EVERY_METHOD else ""
