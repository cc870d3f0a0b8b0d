import pytest

from exchanger.model.selector import Above, Absent, Below, NoneOf, OneOf, Present, Selector, parse_selector


@pytest.mark.parametrize(
    ("text", "requirements"),
    [
        ("", ()),
        ("team=orders", (OneOf("team", frozenset({"orders"})),)),
        ("team==orders", (OneOf("team", frozenset({"orders"})),)),
        ("team=", (OneOf("team", frozenset({""})),)),
        ("team!=orders", (NoneOf("team", frozenset({"orders"})),)),
        ("team!=", (NoneOf("team", frozenset({""})),)),
        ("stage in (test,dev)", (OneOf("stage", frozenset({"test", "dev"})),)),
        ("stage in (test,,dev)", (OneOf("stage", frozenset({"test", "", "dev"})),)),
        ("stage in (,)", (OneOf("stage", frozenset({""})),)),
        ("stage notin ( test , dev )", (NoneOf("stage", frozenset({"test", "dev"})),)),
        ("example.com/enabled", (Present("example.com/enabled"),)),
        ("!legacy", (Absent("legacy"),)),
        ("size>5", (Above("size", 5),)),
        ("size < 5", (Below("size", 5),)),
        ("in in (in,notin)", (OneOf("in", frozenset({"in", "notin"})),)),
        ("a=b,!c , d", (OneOf("a", frozenset({"b"})), Absent("c"), Present("d"))),
    ],
)
def test_a_selector_is_read(text: str, requirements: tuple[object, ...]) -> None:
    assert parse_selector(text).requirements == requirements


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (",", "label key"),
        ("a,", "after the last comma"),
        ("a b", "after the label key 'a', found 'b'"),
        ("a=b c", "expected a comma"),
        ("!a=b", "expected a comma"),
        ("!", "expected a label key"),
        ("=b", "expected a label key, found '='"),
        ("a in b", r"expected '\(' before a set of values, found 'b'"),
        ("a in ()", "must not be empty"),
        ("a in (b", r"expected ',' or '\)' in a set of values"),
        ("a in (b c)", r"expected ',' or '\)' in a set of values, found 'c'"),
        ("a in ((b))", "label value"),
        ("a=(b)", "label value"),
        ("a=b)", "expected a comma"),
        ("a=!b", "label value"),
        ("a>b", "expected an integer"),
        ("a>9223372036854775808", "expected an integer"),
        ("-a=b", "label key"),
        ("Example.com/a=b", "before '/'"),
        ("example.com/", "label key"),
        ("a/b/c", "before '/'"),
        ("x" * 64, "label key"),
        ("x" * 254 + "/a", "before '/'"),
        ("a=" + "x" * 64, "label value"),
        ("a=b\u00e4", "label value"),
        ("a\x00=b", "label key"),
    ],
)
def test_a_wrong_selector_is_refused_with_its_reason(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=part):
        parse_selector(text)


@pytest.mark.parametrize("text", ["x" * 63, "a" * 63 + "." + "b" * 63 + "/" + "x" * 63, "a=" + "x" * 63, "0/0=0", "A_b.c-D=E_f.g-H"])
def test_keys_and_values_may_be_as_long_as_kubernetes_lets_them(text: str) -> None:
    assert len(parse_selector(text).requirements) == 1


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        ("", {}, True),
        ("", {"a": "b"}, True),
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "c"}, False),
        ("a=b", {}, False),
        ("a=", {"a": ""}, True),
        ("a=", {}, False),
        ("a!=b", {"a": "b"}, False),
        ("a!=b", {"a": "c"}, True),
        ("a!=b", {}, True),
        ("a!=", {}, True),
        ("a!=", {"a": ""}, False),
        ("a in (b,c)", {"a": "c"}, True),
        ("a in (b,c)", {"a": "d"}, False),
        ("a in (b,)", {"a": ""}, True),
        ("a in (b,)", {}, False),
        ("a notin (b,c)", {"a": "b"}, False),
        ("a notin (b,c)", {}, True),
        ("a", {"a": ""}, True),
        ("a", {"b": ""}, False),
        ("!a", {"a": ""}, False),
        ("!a", {}, True),
        ("a>5", {"a": "6"}, True),
        ("a>5", {"a": "5"}, False),
        ("a>5", {"a": "x"}, False),
        ("a>5", {"a": "1" * 30}, False),
        ("a>5", {"a": "0" * 30 + "6"}, True),
        ("a<5", {"a": "0" * 62}, True),
        ("a>5", {}, False),
        ("a<5", {"a": "4"}, True),
        ("a<5", {"a": "5"}, False),
        ("a<5", {}, False),
        ("a=b,c!=d", {"a": "b"}, True),
        ("a=b,c!=d", {"a": "b", "c": "d"}, False),
        ("A=b", {"a": "b"}, False),
    ],
)
def test_labels_are_matched_as_the_api_server_matches_them(text: str, labels: dict[str, str], selected: bool) -> None:
    assert parse_selector(text).matches(labels) is selected


def test_the_text_of_a_selector_is_canonical() -> None:
    assert str(parse_selector("a == b , !c, d in (f,e), g!=, h=, i>4, j<3, k")) == "a in (b),!c,d in (e,f),g!=,h=,i>4,j<3,k"


def test_equal_selectors_are_equal_values() -> None:
    assert parse_selector("a=b") == parse_selector("a in (b)") == Selector((OneOf("a", frozenset({"b"})),))
