import pytest

from exchanger.formats.yaml.nodes import Mapping, Node, Scalar, ScalarKind, Sequence
from exchanger.formats.yaml.reader import MAX_BYTES, MAX_DEPTH, MAX_NODES, UnreadableYaml, YamlLimits, read_nodes, read_stream


def text(value: str, line: int = 1) -> Scalar:
    return Scalar(ScalarKind.TEXT, value, line)


def test_nodes_have_their_lines() -> None:
    assert read_nodes("# a comment\na: x\nb:\n  - y\n  - {c: z}\n") == Mapping(
        (
            (text("a", 2), text("x", 2)),
            (text("b", 3), Sequence((text("y", 4), Mapping(((text("c", 5), text("z", 5)),), 5)), 4)),
        ),
        2,
    )


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        *((written, ScalarKind.NULL) for written in ("~", "null", "Null", "NULL")),
        *(
            (written, ScalarKind.OTHER)
            for written in ("true", "False", "TRUE", "1", "-1", "+1", "0x1F", "0o17", "1.5", ".5", "1.", "1e3", "-.inf", ".NaN")
        ),
        *((written, ScalarKind.OTHER) for written in ("!!int '3'", "!!bool x", "!own x", "!!binary eA==", "!!null ''")),
        *(
            (written, ScalarKind.TEXT)
            for written in ("a", "yes", "on", "1.2.3", "0x", "1_000", "2001-01-01", "nULL", "tRUE", "''", "'1'", '"null"')
        ),
        *((written, ScalarKind.TEXT) for written in ('"<<"', "!!str <<")),
        ("<<", ScalarKind.MERGE),
        *((written, ScalarKind.TEXT) for written in ("!!str 5", "! '5'", "! x", "|\n  5", ">\n  null")),
    ],
)
def test_scalars_mean_what_the_core_schema_says(written: str, kind: ScalarKind) -> None:
    node = read_nodes(f"- {written}\n")
    assert isinstance(node, Sequence)
    assert isinstance(node.items[0], Scalar)
    assert node.items[0].kind is kind


def test_a_collection_with_a_custom_tag_is_neither_list_nor_mapping() -> None:
    assert read_nodes("- !own [a]\n- !!set {a}\n- !!seq [a]\n- !!map {}\n") == Sequence(
        (Scalar(ScalarKind.OTHER, "", 1), Scalar(ScalarKind.OTHER, "", 2), Sequence((text("a", 3),), 3), Mapping((), 4)), 1
    )


def test_aliases_share_their_node() -> None:
    node = read_nodes("- &a {x: y}\n- *a\n- &a [z]\n- *a\n")
    assert isinstance(node, Sequence)
    assert node.items[1] is node.items[0]
    assert node.items[3] is node.items[2]
    assert node.items[2] is not node.items[0]


@pytest.mark.parametrize(
    ("written", "merged"),
    [
        ("<<: {a: b}", {"a": "b"}),
        ("{<<: {a: b}, c: d}", {"c": "d", "a": "b"}),
        ("{a: own, <<: {a: b, c: d}}", {"a": "own", "c": "d"}),
        ("<<: [{a: first}, {a: second, b: c}]", {"a": "first", "b": "c"}),
        ("<<: []", {}),
        ("<<: {<<: {a: b}, c: d}", {"c": "d", "a": "b"}),
        ("'<<': a", {"<<": "a"}),
        ("!!str <<: a", {"<<": "a"}),
    ],
)
def test_merged_fields_are_read_as_if_they_were_written_out(written: str, merged: dict[str, str]) -> None:
    node = read_nodes(written)
    assert isinstance(node, Mapping)
    assert {key.text: value.text for key, value in node.pairs if isinstance(key, Scalar) and isinstance(value, Scalar)} == merged
    assert len(node.pairs) == len(merged)


def test_an_anchor_can_be_merged_and_others_are_still_known() -> None:
    node = read_nodes("- &a {x: y, ? [k] : v}\n- {<<: *a, z: 1}\n- *a\n")
    assert isinstance(node, Sequence)
    assert node.items[2] is node.items[0]
    assert isinstance(node.items[1], Mapping)
    assert len(node.items[1].pairs) == 3


@pytest.mark.parametrize("value", ["a", "null", "[a]", "[{}, a]", "!own {}"])
def test_only_mappings_can_be_merged(value: str) -> None:
    assert read_nodes(f"a: b\n<<: {value}") == UnreadableYaml("has a merge key << of something other than mappings", 2)


def test_merging_is_bounded_as_if_it_were_written_out() -> None:
    wide = "- &a {" + ", ".join(f"k{number}: v" for number in range(1000)) + "}\n" + "- {<<: *a}\n" * 200
    chain = "- &a0 {k: v}\n" + "".join(f"- &a{number} {{<<: *a{number - 1}}}\n" for number in range(1, 100))
    for written, reason in ((wide, f"has more than {MAX_NODES} values"), (chain, f"is nested deeper than {MAX_DEPTH} levels")):
        refused = read_nodes(written)
        assert isinstance(refused, UnreadableYaml)
        assert refused.reason == reason


def test_keys_may_be_anything() -> None:
    assert read_nodes("? [a]\n: b\n? [a]\n: c\n1: d\n'1': e\n") == Mapping(
        (
            (Sequence((text("a"),), 1), text("b", 2)),
            (Sequence((text("a", 3),), 3), text("c", 4)),
            (Scalar(ScalarKind.OTHER, "1", 5), text("d", 5)),
            (text("1", 6), text("e", 6)),
        ),
        1,
    )


@pytest.mark.parametrize(
    ("written", "unreadable"),
    [
        ("", UnreadableYaml("is empty")),
        ("# only a comment\n", UnreadableYaml("is empty")),
        ("a: b\na: c\n", UnreadableYaml('has duplicate keys: "a"', 2)),
        ("a:\n  - {b: 1,\n     'b': 2}\n", UnreadableYaml('has duplicate keys: "b"', 3)),
        ("a: b\n---\nc: d\n", UnreadableYaml("has a second document", 2)),
        ("a: b\n--- ''\n", UnreadableYaml("has a second document", 2)),
        ("a: b\n--- &x\n", UnreadableYaml("has a second document", 2)),
        ("a: &x b\n---\n*x\n", UnreadableYaml("has a second document", 2)),
        ("---\n---\na: b\n", UnreadableYaml("has a second document", 2)),
        ("a: *b\n", UnreadableYaml("has an alias without an anchor before it", 1)),
        ("a: &b\n  - *b\n", UnreadableYaml("has an alias without an anchor before it", 2)),
        ("a: \ud800", UnreadableYaml("is not UTF-8")),
        ("a: \x00", UnreadableYaml("is not YAML: it has characters that YAML does not allow")),
        ("%TAG ! x\n---\na", UnreadableYaml("has a %TAG directive", 1)),
        ("\n%TAG ! x\n---\na", UnreadableYaml("has a %TAG directive", 2)),
        ("\ufeff%TAG ! x\n---\na", UnreadableYaml("has a %TAG directive", 1)),
        ("# a\r\n%TAG ! x\n---\na", UnreadableYaml("has a %TAG directive", 2)),
        ("a\u2028%TAG ! x\n---\na", UnreadableYaml("has a %TAG directive", 1)),
    ],
)
def test_unreadable_texts(written: str, unreadable: UnreadableYaml) -> None:
    assert read_nodes(written) == unreadable


@pytest.mark.parametrize(
    ("written", "line"), [("a: [b\n", 2), ("a:\n\t- b\n", 2), ("a: b: c\n", 1), ("'a", 1), ("%YAML 9.9\n---\na\n", 1), ("a: !x!y z", 1)]
)
def test_an_error_in_yaml_has_its_place(written: str, line: int) -> None:
    node = read_nodes(written)
    assert isinstance(node, UnreadableYaml)
    assert node.reason.startswith("is not YAML: ")
    assert node.line == line
    assert written != "a: b: c\n" or node.column == 5


def test_other_directives_and_document_marks_are_accepted() -> None:
    assert read_nodes("%YAML 1.2\n---\na\n...\n") == text("a", 3)
    assert read_nodes("\ufeffa\n") == text("a")


def test_long_texts_are_refused() -> None:
    too_long = UnreadableYaml(f"is longer than {MAX_BYTES} bytes")
    assert read_nodes("a" * MAX_BYTES) == text("a" * MAX_BYTES)
    assert read_nodes("a" * (MAX_BYTES + 1)) == too_long
    assert read_nodes("é" * (MAX_BYTES // 2 + 1)) == too_long


def test_depth_is_bounded() -> None:
    assert isinstance(read_nodes("[" * MAX_DEPTH + "]" * MAX_DEPTH), Sequence)
    for opening in ("[", "{a: ", "- ", "? ", "[{a: "):
        node = read_nodes(opening * 100_000)
        assert isinstance(node, UnreadableYaml)
        assert node.reason in {f"is nested deeper than {MAX_DEPTH} levels", "is not YAML: exceeded maximum nesting depth"}


def test_aliases_do_not_expand() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 30)
    )
    refused = read_nodes(bomb) == UnreadableYaml(f"has more than {MAX_NODES} values", 6)
    assert refused  # and not the comparison itself, of which a failure would be shown with the aliases written out


def test_the_number_of_values_is_bounded() -> None:
    limits = YamlLimits(values=5)
    assert isinstance(read_stream("[a, b, c, d]", limits), tuple)
    assert read_stream("[a, b, c,\n d, e]", limits) == UnreadableYaml("has more than 5 values", 2)
    assert read_stream("[a, b]\n---\n[c, d]", limits) == UnreadableYaml("has more than 5 values", 3)


def test_a_stream_has_any_number_of_documents() -> None:
    assert read_stream("a\n---\nb\n", YamlLimits()) == (text("a"), text("b", 3))
    assert read_stream("", YamlLimits()) == ()
    assert read_stream("&x a\n---\n*x\n", YamlLimits()) == UnreadableYaml("has an alias without an anchor before it", 3)
    assert isinstance(read_stream("too long", YamlLimits(size=3)), UnreadableYaml)


def test_depth_counts_with_aliases_written_out() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, MAX_DEPTH - 1))
    assert isinstance(read_nodes(chain), Mapping)
    last = MAX_DEPTH - 1
    assert read_nodes(f"{chain}a{last}: &a{last} [*a{last - 1}]\n") == UnreadableYaml(
        f"is nested deeper than {MAX_DEPTH} levels", MAX_DEPTH
    )


@pytest.mark.parametrize(
    ("written", "texts"),
    [("a: [b, {c: &d e}, *d]\n<<: {f: g}\n", "abce<<fg"), ("a: [b, c]\nd: [e", "abcde"), ("a: {b: c, b: d}", "abcbd")],
)
def test_every_node_is_found_after_those_in_it(written: str, texts: str) -> None:
    found: list[Node] = []
    root = read_nodes(written, found)
    assert "".join(node.text for node in found if isinstance(node, Scalar)) == texts
    for number, node in enumerate(found):
        below = (
            node.items
            if isinstance(node, Sequence)
            else [part for pair in node.pairs for part in pair]
            if isinstance(node, Mapping)
            else ()
        )
        assert {id(part) for part in below} <= {id(part) for part in found[:number]}
    assert isinstance(root, UnreadableYaml) or found[-1] is root


@pytest.mark.parametrize("written", ["%", "x%TAG! ", "\ufeff\ufeff%TAG "])
def test_other_marks_are_no_tag_directive(written: str) -> None:
    read = read_nodes(written * 20_000)
    assert not isinstance(read, UnreadableYaml) or "%TAG" not in read.reason
