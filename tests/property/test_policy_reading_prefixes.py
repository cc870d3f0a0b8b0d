"""Law: a policy's prefix is one that paths can have, or it closes the paths that its author may have meant.

What a legal prefix begins is never unmatched. What is closed for an illegal one is a legal beginning of it, or everything.
"""

from hypothesis import event, example, given
from hypothesis import strategies as st

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.path import interpretations_of
from exchanger.policy.prefix import MAX_PREFIX, read_prefix
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import MAX_QUOTED
from exchanger.values.entry import DenyEntry, MatchScope, Source
from exchanger.values.verdict import NO_MATCH

RED = Source("red", "policy")
HOST = "api.example.com"

odd = st.text(alphabet="/a.*%2fFeE;\\ ^{}?#é．", max_size=16)
texts = st.text(max_size=30) | odd | odd.map(lambda text: "/" + text)


def is_rewritten(reading: str) -> bool:
    return "//" in reading or "\\" in reading or not {".", ".."}.isdisjoint(reading.split("/"))


@given(texts)
@example("/a;/../b")
@example("/．．/b")
@example("/%25％2e")
def test_a_legal_prefix_is_what_servers_see(text: str) -> None:
    text = text.strip()
    if not text:
        return
    reading = read_prefix(text)
    event(reading.problem[:24] or "legal")
    if not reading.problem:
        assert reading.prefix == (text if text.startswith("/") else "/" + text)
        interpretations = interpretations_of(reading.prefix)
        assert isinstance(interpretations, tuple)
        assert not any(is_rewritten(each) for each in interpretations)


@given(texts)
@example("/a*%")
@example("/a" + "*.+" * 50 + "%")
def test_what_an_illegal_prefix_closes_is_a_legal_beginning_of_it(text: str) -> None:
    text = text.strip()
    if not text:
        return
    reading = read_prefix(text)
    if reading.problem:
        whole = text if text.startswith("/") else "/" + text
        assert whole.startswith(reading.prefix)
        assert not reading.prefix.endswith("/")
        assert reading.prefix == "" or not read_prefix(reading.prefix).problem
    assert reading.problem.isprintable()
    assert len(reading.problem) < 6 * MAX_QUOTED


@given(texts, st.text(max_size=12) | odd, st.sampled_from(["GET", "HEAD"]))
def test_no_path_that_begins_with_a_legal_prefix_passes_by_a_deny(text: str, rest: str, method: str) -> None:
    text = text.strip()
    if not text or read_prefix(text).problem:
        return
    prefix = read_prefix(text).prefix
    snapshot = PolicySnapshot.EMPTY.apply(PolicyDocument(RED, (DenyEntry(RED, 0, MatchScope(HOST, prefix)),)))

    assert snapshot.match(HOST, prefix + rest, method) is not NO_MATCH


segments = st.text(alphabet="ab0_~-", min_size=1, max_size=3) | st.sampled_from(
    ["a%2Fb", "a%20b", "('x')", "k:verb", "a*b", "$batch", "...", "é"]
)
clean = st.lists(segments, max_size=3).map(lambda parts: "".join("/" + part for part in parts))
everything = st.sampled_from(["/.", "/..", "/x/..", "/%2e", "/.%2E", "/..;x"])
here = st.sampled_from(
    [
        "*",
        "**",
        "/*",
        "/**",
        ".*",
        "/{id}",
        "/<id>",
        "//",
        "\\",
        "#x",
        "?x",
        "%",
        "%4",
        "%zz",
        "%00",
        "%ff",
        "\x7f",
        "\u200b",
        "/${A}",
        "(/b)?",
    ]
)
beginnings = st.sampled_from(["//", "\\", "^", "^/", "*", "https://x.example/", "//x.example/", '"/', "/*/", "/^"])


@given(clean, everything, clean)
def test_dot_segments_close_every_path(before: str, dots: str, after: str) -> None:
    reading = read_prefix(before + dots + after)

    assert (reading.prefix, bool(reading.problem)) == ("", True)


@given(beginnings, clean)
def test_a_wrong_beginning_closes_every_path(beginning: str, after: str) -> None:
    reading = read_prefix(beginning + after.removeprefix("/"))

    assert (reading.prefix, bool(reading.problem)) == ("", True)


@given(clean.filter(lambda prefix: prefix[-1:].isalnum()), here, clean)
def test_anything_else_closes_what_is_before_it(before: str, wrong: str, after: str) -> None:
    reading = read_prefix(before + wrong + after)
    rewritten = wrong in {"%00", "%ff"}

    assert reading.problem
    if not rewritten:
        assert reading.prefix == before
    assert before.startswith(reading.prefix)
    if rewritten and before.isascii() and "%" not in before:
        assert reading.prefix == before


@given(clean.filter(bool))
def test_a_clean_prefix_is_legal(prefix: str) -> None:
    assert read_prefix(prefix) == read_prefix(prefix.removeprefix("/"))
    assert not read_prefix(prefix).problem


@given(st.integers(1, 50), st.sampled_from(["a", "/a", "%", "%25", "é", "*/", "../", "{", "(", "[", "<", ",", " ", "^/", "http://", "`"]))
def test_a_prefix_is_bounded(times: int, piece: str) -> None:
    reading = read_prefix("/" + piece * (MAX_PREFIX // len(piece) + times))

    assert reading.problem
    assert len(reading.prefix) <= MAX_PREFIX
