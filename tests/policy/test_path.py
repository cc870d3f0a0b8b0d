import pytest

from exchanger.policy.path import (
    MAX_INTERPRETATIONS,
    MAX_NON_ASCII_PATH,
    MAX_ODD_PATH,
    MAX_WORK,
    MalformedPath,
    read_path,
    remove_dot_segments,
)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/a-b._~!$&'()*+,=:@0/Z",
        "/...",
        "/.well-known/x",
        "/a..b/.c/d.",
        "/a?",
        "/a?url=http://x/../y",
        "/?a?b",
        "/a?" + "é",
        "/" + "a" * 65_535,
        "/" + "a" * (MAX_ODD_PATH + 1) + "?//",
    ],
)
def test_a_plain_path_has_one_interpretation(path: str) -> None:
    assert read_path(path, "GET") == (path,)


@pytest.mark.parametrize(
    ("path", "interpretations"),
    [
        ("/a///b//", {"/a/b/"}),
        ("//a/b", {"/a/b", "/b"}),
        ("//", {"/"}),
        ("///a/b", {"/a/b", "/b"}),
        ("//a//b", {"/a/b", "//b", "/b", "/"}),
        ("/\\a/b", {"//a/b", "/a/b", "/b"}),
        ("/a/..", {"/"}),
        ("/a//../b", {"/a/b", "/a/../b", "/b"}),
        ("/%2561", {"/%61", "/a"}),
        ("/a%2Fb%41", {"/a/bA", "/a%2FbA"}),
        ("/a\\b", {"/a/b"}),
        ("/a%5cb", {"/a\\b", "/a/b"}),
        ("/a;p/b;q=1", {"/a/b"}),
        ("/a/..;/b", {"/a/../b", "/b"}),
        ("/a%3bp", {"/a;p", "/a"}),
        ("/a/..%3b/b", {"/a/..;/b", "/a/../b", "/b"}),
        ("/x%2fy/%2e%2e/b", {"/x/y/../b", "/x/b", "/x%2fy/../b", "/b"}),
        ("/%ef%bc%a1", {"/\uff21", "/A"}),
        ("/\uff21", {"/A"}),
        ("/\uff0e\uff0e/b", {"/../b", "/b"}),
        ("/\uff05\uff12f", {"/%2f", "//", "/"}),
        ("/%25zz", {"/%zz"}),
        ("/a%3fb", {"/a?b"}),
        ("/%c3%a9", {"/\u00e9"}),
        ("/a/../b?x=/../%2f;y", {"/b?x=/../%2f;y"}),  # the query stays as it is
        ("/a/../b?", {"/b?"}),
    ],
)
def test_an_odd_path_has_all_its_interpretations(path: str, interpretations: set[str]) -> None:
    found = read_path(path, "GET")
    assert isinstance(found, tuple)
    assert found[0] == path
    assert set(found[1:]) == interpretations
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("orders", MalformedPath.NOT_ORIGIN_FORM),
        ("?x", MalformedPath.NOT_ORIGIN_FORM),
        ("http://api.example.com/orders", MalformedPath.NOT_ORIGIN_FORM),
        ("/a#f", MalformedPath.FRAGMENT),
        ("/a?b#f", MalformedPath.FRAGMENT),
        ("/a b", MalformedPath.UNPRINTABLE),
        ("/a\x00", MalformedPath.UNPRINTABLE),
        ("/a\x85", MalformedPath.UNPRINTABLE),
        ("/a%00", MalformedPath.UNPRINTABLE),
        ("/a%2500", MalformedPath.UNPRINTABLE),  # NO-BREAK SPACE is a space under NFKC
        ("/a%2", MalformedPath.BROKEN_ESCAPE),
        ("/%zz", MalformedPath.BROKEN_ESCAPE),
        ("/%ff", MalformedPath.NOT_UTF8),
        ("/%c0%af", MalformedPath.NOT_UTF8),
        ("/\udcff", MalformedPath.NOT_UTF8),
        ("/a?\udcff", MalformedPath.NOT_UTF8),
    ],
)
def test_a_path_that_no_server_can_read_is_malformed(path: str, why: MalformedPath) -> None:
    assert read_path(path, "GET") is why


def test_the_asterisk_form_is_for_options() -> None:
    assert read_path("*", "OPTIONS") == ("*",)
    assert read_path("**", "OPTIONS") is MalformedPath.NOT_ORIGIN_FORM


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/" + "a/../" * 10_000, MalformedPath.TOO_LONG),
        ("/" + "%61" * MAX_ODD_PATH, MalformedPath.TOO_LONG),
        ("/" + "%252561" * (MAX_ODD_PATH // 8), MalformedPath.TOO_LONG),
        ("/" + "\u00e9" * MAX_NON_ASCII_PATH, MalformedPath.TOO_LONG),
        ("/" + "\ufb03" * (MAX_NON_ASCII_PATH // 2) + "\u00e9", MalformedPath.TOO_LONG),
        ("/%" + "25" * MAX_INTERPRETATIONS, MalformedPath.TOO_MANY_INTERPRETATIONS),
        ("/" + "a%252f..;x\\%2e//%5c./" * 20, MalformedPath.TOO_MANY_INTERPRETATIONS),
    ],
)
def test_work_is_bounded(path: str, why: MalformedPath) -> None:
    assert read_path(path, "GET") is why


def test_the_bounds_themselves_are_allowed() -> None:
    assert read_path("/" + "a" * (MAX_ODD_PATH - 3) + "//", "GET") == (
        "/" + "a" * (MAX_ODD_PATH - 3) + "//",
        "/" + "a" * (MAX_ODD_PATH - 3) + "/",
    )
    assert read_path("/" + "a" * (MAX_ODD_PATH - 2) + "//", "GET") is MalformedPath.TOO_LONG
    assert read_path("/" + "%61" * (MAX_WORK // 3), "GET") == ("/" + "%61" * (MAX_WORK // 3), "/" + "a" * (MAX_WORK // 3))
    assert read_path("/" + "\uff41" * 251, "GET") == ("/" + "\uff41" * 251, "/" + "a" * 251)  # MAX_WORK exactly
    assert read_path("/" + "\uff41" * 252, "GET") is MalformedPath.TOO_LONG
    interpretations = read_path("/%" + "25" * (MAX_INTERPRETATIONS - 1), "GET")
    assert isinstance(interpretations, tuple)
    assert len(interpretations) == MAX_INTERPRETATIONS


# The examples of RFC 3986 sections 5.2.4 and 5.4, and what is at their edges.
@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/a/b/c/./../../g", "/a/g"),
        ("/b/c/.", "/b/c/"),
        ("/..", "/"),
        ("/../../g", "/g"),
        ("/b/c/../../../g", "/g"),
        ("/..g/g../.g/g.", "/..g/g../.g/g."),
        ("/a//../b", "/a/b"),
        ("/..//x", "//x"),
    ],
)
def test_dot_segments_are_removed_as_the_rfc_does(path: str, resolved: str) -> None:
    assert remove_dot_segments(path) == resolved
