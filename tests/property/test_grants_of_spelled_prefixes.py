"""Laws: grants take the spellings of a path as the look-up does, so no deny is lost inside them, and nothing closes outside."""

from typing import TypeAlias

import attrs
from hypothesis import assume, event, example, given, reject
from hypothesis import strategies as st

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Grant, Grants
from exchanger.policy.grants.restriction import restrict
from exchanger.policy.path import MalformedPath, interpretations_of
from exchanger.policy.prefix import prefix_spellings, read_prefix
from exchanger.values.entry import DenyEntry, ExchangeEntry, FailClosedRegion, MatchScope, PathType, Source
from exchanger.values.headers import HeaderFields
from exchanger.values.verdict import Ambiguous, NoMatch, Unhealthy
from tests.policy.examples import HOST, RED, deny, exchange
from tests.property.strategies_policy import snapshot_of

# Granted prefixes, the scopes of entries, and the path of a request.
Places: TypeAlias = tuple[tuple[str, ...], tuple[MatchScope, ...], str]

BLUE = Source("blue", "policy")
BY_HEADER = (("x-a", "1"),)
# Each character in spellings that servers take for one another; the last of each take two decodings.
SPELLINGS = {
    "a": ("a", "A", "%61", "%41", "%2561"),
    "é": ("é", "é", "%C3%A9", "%c3%a9", "%25C3%25A9"),
    "/": ("/", "/", "%2F", "%2f", "%252F"),
}

segments = st.sampled_from(["a", "aa", "é"])
path_types = st.sampled_from(PathType)
ends = st.sampled_from(["", "", "/", "/a", "/é", "a", "%2Fa", "?a", "/%61", "%2561"])


@st.composite
def spellings(draw: st.DrawFn, plain: str) -> str:
    """Draw a legal prefix that is ``plain``, without its slash at the beginning, in another spelling."""
    found = "/" + "".join(draw(st.sampled_from(SPELLINGS[char])) for char in plain)
    assume(not read_prefix(found).problem)
    return found


@st.composite
def places(draw: st.DrawFn) -> Places:
    """Draw granted prefixes, scopes of entries and the path of a request, all of them spellings of a few nested prefixes."""
    way = draw(st.lists(segments, min_size=1, max_size=3))

    def prefix() -> str:
        chosen = "/".join(way[: draw(st.integers(0, len(way)))])
        chosen += draw(st.sampled_from(["", "", "", "a"]))
        return draw(spellings(chosen)) if chosen else ""

    granted = tuple(prefix() for _ in range(draw(st.integers(1, 2))))
    scopes = tuple(MatchScope(HOST, prefix(), None, draw(st.booleans()), draw(path_types)) for _ in range(draw(st.integers(1, 3))))
    path = prefix() + draw(ends)
    return granted, scopes, ("" if path.startswith("/") else "/") + path


def granting(*path_prefixes: str, denies: bool = True) -> Grants:
    everything = ("*",)
    actions = frozenset({"deny", "exchange"} if denies else {"exchange"})
    return Grants(
        (Grant(frozenset({RED.namespace}), None, (HOST,), path_prefixes, actions, everything, everything, everything, everything),)
    )


def is_inside(path: str, path_prefixes: tuple[str, ...]) -> bool:
    """Tell whether an interpretation of ``path`` is below a spelling of a granted prefix."""
    interpretations = interpretations_of(path.partition("?")[0])
    if isinstance(interpretations, MalformedPath):
        reject()
    known = {spelling for prefix in path_prefixes for spelling in prefix_spellings(prefix).all}
    return any(one == prefix or one.startswith(f"{prefix}/") for one in interpretations for prefix in known)


def written_by(source: Source, scopes: tuple[MatchScope, ...], does: list[str]) -> PolicyDocument:
    entries: list[DenyEntry | ExchangeEntry] = []
    regions: list[FailClosedRegion] = []
    for index, (scope, what) in enumerate(zip(scopes, does, strict=False)):
        if what == "region":
            regions.append(FailClosedRegion(source, scope, "", index))
        else:
            entry = exchange("/", index=index) if what == "exchange" else deny("/", index=index)
            entries.append(attrs.evolve(entry, source=source, match=scope))
    return PolicyDocument(source, tuple(entries), tuple(regions))


def place(granted: str, prefix: str, path: str, path_type: PathType = PathType.PREFIX, *, ignores_case: bool = False) -> Places:
    return (granted,), (MatchScope(HOST, "/other"), MatchScope(HOST, prefix, None, ignores_case, path_type))[::-1], path


@example(drawn=place("/b", "/b%2Fx", "/b/x", ignores_case=True), what="deny", raw=True, denies=True)
@example(drawn=place("/é", "/%C3%A9", "/é", ignores_case=True), what="deny", raw=True, denies=True)
@example(drawn=place("/%C3%A9", "/é", "/%C3%A9/x", ignores_case=True), what="region", raw=True, denies=True)
@example(drawn=place("/b", "/%62", "/%62/x", ignores_case=True), what="region", raw=True, denies=True)
@example(drawn=(("/a", "/ab"), (MatchScope(HOST, "/a"),), "/ab/c"), what="deny", raw=True, denies=True)
@example(drawn=(("/a", "/ab"), (MatchScope(HOST, "/a"),), "/ab/c"), what="deny", raw=True, denies=False)
@example(drawn=(("/a", "/ab/c"), (MatchScope(HOST, "/a"),), "/ab/c/d"), what="deny", raw=True, denies=True)
@example(drawn=place("/b", "/b%3Fx", "/b?x"), what="deny", raw=True, denies=True)
@example(drawn=place("/b", "/b%252Fx", "/b%252Fx"), what="region", raw=True, denies=True)
@example(drawn=place("/b%252Fx", "/b/x", "/b%252Fx"), what="region", raw=True, denies=True)
@given(places(), st.sampled_from(["deny", "region"]), st.booleans(), st.booleans())
def test_what_an_entry_closes_inside_the_grants_stays_closed_in_every_spelling(drawn: Places, what: str, raw: bool, denies: bool) -> None:
    granted, scopes, path = drawn
    written = written_by(RED, scopes[:1], [what])
    left = restrict(written, granting(*granted, denies=denies), ())

    alone = snapshot_of([written]).match(HOST, path, "GET", raw=raw)
    found = snapshot_of([left]).match(HOST, path, "GET", raw=raw)

    if not is_inside(path, granted):
        event("outside")
        assert isinstance(found, NoMatch)
    elif isinstance(alone, DenyEntry | Unhealthy):
        event("closed inside")
        # A plain prefix that is now one of whole segments covers /a%2Fb in one of its interpretations.
        in_doubt = left.entries != written.entries and isinstance(found, Ambiguous)
        assert in_doubt or isinstance(found, DenyEntry | Unhealthy)


@example(drawn=(("/a%2Fb",), (MatchScope(HOST, "/a/b/c"), MatchScope(HOST)), "/a/b/c"), does=["region"], what="exchange")
@given(places(), st.lists(st.sampled_from(["exchange", "deny", "region"]), min_size=3, max_size=3), st.sampled_from(["exchange", "deny"]))
def test_grants_let_nothing_pass_that_is_closed_without_them(drawn: Places, does: list[str], what: str) -> None:
    granted, scopes, path = drawn
    written, other = written_by(RED, scopes[1:], does), written_by(BLUE, scopes[:1], [what])
    left = restrict(written, granting(*granted), ())

    alone = snapshot_of([written, other]).match(HOST, path, "GET", raw=True)
    found = snapshot_of([left, other]).match(HOST, path, "GET", raw=True)

    if not is_inside(path, granted):
        event("outside")
        assert found == snapshot_of([other]).match(HOST, path, "GET", raw=True)
    elif isinstance(alone, DenyEntry | Unhealthy):
        event("closed inside")
        assert isinstance(found, DenyEntry | Unhealthy | Ambiguous)


@example(
    drawn=(("/a",), (MatchScope(HOST, "/a"), MatchScope(HOST, "/a", path_type=PathType.SEGMENT)), "/a/b"),
    does=["exchange", "deny"],
    with_headers=[True, False],
)
@given(
    places(),
    st.lists(st.sampled_from(["exchange", "deny", "region"]), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_the_entries_of_a_namespace_keep_their_order_inside_the_grants(drawn: Places, does: list[str], with_headers: list[bool]) -> None:
    granted, scopes, path = drawn
    written = written_by(RED, scopes, does)
    entries = [
        attrs.evolve(entry, match=attrs.evolve(entry.match, headers=BY_HEADER)) if with_headers[entry.index] else entry
        for entry in written.entries
    ]
    written = attrs.evolve(written, entries=tuple(entries))
    left = restrict(written, granting(*granted), ())

    headers = HeaderFields(BY_HEADER, raw=True)
    alone, found = (snapshot_of([one]).match(HOST, path, "GET", raw=True, headers=headers) for one in (written, left))

    if not is_inside(path, granted):
        event("outside")
        assert isinstance(found, NoMatch)
    elif isinstance(alone, DenyEntry | Unhealthy):
        event("closed inside")
        assert isinstance(found, DenyEntry | Unhealthy | Ambiguous)
    elif isinstance(alone, ExchangeEntry):
        event("exchanged inside")
        assert isinstance(found, ExchangeEntry | DenyEntry | Unhealthy | Ambiguous)


@example(drawn=place("/a%2Fb", "/a/b/c", ""), what="exchange", more=[])
@given(places(), st.sampled_from(["exchange", "deny"]), st.lists(spellings("a/é"), max_size=2))
def test_more_granted_prefixes_never_allow_less(drawn: Places, what: str, more: list[str]) -> None:
    granted, scopes, _ = drawn
    written = written_by(RED, scopes[:1], [what])
    left = restrict(written, granting(*granted), ())

    assert not left.entries or restrict(written, granting(*granted, *more), ()).entries
    # Nor does it matter how many others there are.
    others = tuple(f"/other{number}" for number in range(20))
    crowded = restrict(written, granting(*granted, *others), ())
    assert set(crowded.regions) >= set(left.regions)
    assert crowded.entries == left.entries
