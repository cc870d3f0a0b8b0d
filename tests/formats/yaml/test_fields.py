"""Reading mappings by tables: what dialects change, what a missing mapping misses, and what types become in a schema."""

import pytest

from exchanger.formats.yaml.fields import FILE, STANDARD, Dialect, Field, Fields, FieldType, Findings, Table
from exchanger.formats.yaml.nodes import Node
from exchanger.formats.yaml.reader import UnreadableYaml, read_nodes
from exchanger.formats.yaml.schema import mapping

TABLE = Table.of(
    Field("name", FieldType.TEXT, required=True),
    Field("count", FieldType.NUMBER, "How many."),
    Field("labels", FieldType.PAIRS, "Names and texts."),
    Field("tags", FieldType.TEXTS),
    Field("inner", FieldType.MAPPING, fields=Table.of(Field("name", FieldType.TEXT, required=True))),
    Field("rules", FieldType.MAPPING, fields=Table.of(Field("audience", FieldType.TEXT))),
    Field("on", FieldType.BOOLEAN),
    Field("text", FieldType.TEXT),
    Field("words", FieldType.TEXTS, nullable=True),
    Field("items", FieldType.MAPPINGS, fields=Table.of(Field("name", FieldType.TEXT)), nullable=True),
)
STRICT = Dialect(longest=4, not_text="must be a word", blank="must not be blank")


def node_of(text: str) -> Node:
    node = read_nodes(text)
    assert not isinstance(node, UnreadableYaml)
    return node


def read(text: str, dialect: Dialect = STANDARD) -> tuple[tuple[object, ...], list[str]]:
    findings = Findings(dialect=dialect)
    fields = Fields.of(node_of(text), FILE, TABLE, findings)
    assert fields is not None
    values = (fields.written("name"), fields.number("count"), fields.pairs("labels"), fields.written_texts("tags"))
    fields.inner("inner").written("name")
    return values, [problem.lined for problem in findings.kept]


def test_what_is_written_is_read() -> None:
    text = "name: ' a'\ncount: -7\nlabels: {b: c}\ntags: [d, '']\ninner: {name: e}\n"
    assert read(text) == ((" a", -7, (("b", "c"),), ("d", "")), [])
    assert read("name: a\n") == (("a", 0, (), ()), [])


@pytest.mark.parametrize(
    ("text", "standard", "strict"),
    [
        ("name: null\n", "name is required", "name is required"),
        ("name: a\ntags:\n", "tags is empty: write [] for none, or remove the line", ""),
        ("name: a\ncount: ~\n", "count is empty: write a number, or remove the line", ""),
        ("name: a\nlabels: null\n", "labels is empty: write {} for none, or remove the line", ""),
        ("name: a\ninner:\n", "inner is empty: write its fields, or remove the line", ""),
        ("name: a\nrules:\n  # audience: a\n", "rules is empty: write {} for the defaults, or remove the line", ""),
        ("name: a\non:\n", "on is empty: write true or false, or remove the line", ""),
        ("name: a\ntext:\n", "text is empty: write a value, or remove the line", ""),
        ("name: 5\n", "name must be text", "name must be a word"),
        ("name: a\ntags: [null]\n", "tags must be a list of texts", "tags must be a list of texts of at most 4 characters"),
        ("name: a\nlabels: {b: 5}\n", "labels must be a mapping of texts", "labels must be a mapping of texts"),
        ("name: a\ncount: '5'\n", "count must be a whole number", "count must be a whole number"),
        ("name: a\ninner: {}\n", "inner.name is required", "inner.name is required"),
        ("name: a\ninner: []\n", "inner must be a mapping", "inner must be a mapping"),
        ("name: a\nlabel: {}\n", 'the file has an unknown field "label" (did you mean labels?)', ""),
    ],
)
def test_a_mistake_is_told_once_in_the_words_of_its_dialect(text: str, standard: str, strict: str) -> None:
    for dialect, said in ((STANDARD, standard), (STRICT, strict or standard)):
        assert [problem.partition(": ")[2] for problem in read(text, dialect)[1]] == [said]


def test_null_counts_as_missing_where_the_table_says_so() -> None:
    findings = Findings()
    for text, words in (("words:\nitems: ~\n", ()), ("words: [~, a]\nitems: [~, {name: b}]\n", ("a",))):
        fields = Fields.of(node_of(f"name: a\n{text}"), FILE, TABLE, findings)
        assert fields is not None
        assert (fields.texts("words"), len(fields.mappings("items"))) == (words, len(words))
    assert findings.kept == []


def test_null_is_a_problem_everywhere_in_strict_findings() -> None:
    findings = Findings()
    findings.strict = True
    fields = Fields.of(node_of("name: a\nwords: [~]\nitems:\n"), FILE, TABLE, findings)
    assert fields is not None
    assert fields.texts("words") is None
    assert [problem.text for problem in findings.kept] == [
        "items is empty: write its items, or remove the line",
        "words[0] must be text",
    ]


def test_what_is_wrong_is_read_as_if_it_were_missing() -> None:
    assert read("name: []\ncount: x\nlabels: []\ntags: {}\n")[0] == ("", 0, (), ())


def test_a_dialect_bounds_what_is_written() -> None:
    assert read("name: abcde\ntags: [abcde]\n")[1] == []
    assert read("name: abcde\ntags: [abcde]\n", STRICT)[1] == [
        "line 1: name must be a word",
        "line 2: tags must be a list of texts of at most 4 characters",
    ]


def test_a_schema_says_what_numbers_and_pairs_are() -> None:
    properties = mapping(TABLE)["properties"]
    assert isinstance(properties, dict)
    assert properties["count"] == {"description": "How many.", "type": "integer"}
    assert properties["words"]["type"] == ["array", "null"]
    assert properties["labels"] == {
        "description": "Names and texts.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    }
