"""Strategies for policies and requests over a small alphabet, so that they meet, nest and tie."""

from typing import TypeAlias, TypeVar

from hypothesis import strategies as st

from exchanger.policy.document import PolicyDocument
from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import DenyEntry, Entry, ExchangeEntry, FailClosedRegion, MatchScope, Source, TokenTarget

ISSUERS = frozenset({"primary", "other"})
METHODS = ("GET", "HEAD", "PUT", "POST")
HOSTS = ("a.example", "b.example", "[2001:db8::1]")

T = TypeVar("T")


def rarely(rare: st.SearchStrategy[T], common: st.SearchStrategy[T], one_in: int = 20) -> st.SearchStrategy[T]:
    """Draw from ``rare`` about once in ``one_in`` times; ``one_of`` gives equal chances to all of its parts."""
    return st.integers(min_value=1, max_value=one_in).flatmap(lambda number: rare if number == one_in else common)


sources = st.builds(Source, st.sampled_from(["red", "blue"]), st.sampled_from(["one", "two"]))
hosts = rarely(st.sampled_from(HOSTS[1:]), st.just(HOSTS[0]), one_in=4)
methods = st.sampled_from(METHODS)
method_sets: st.SearchStrategy[frozenset[str] | None] = st.none() | st.frozensets(methods, min_size=1)

# Prefixes are strings, of which not all are prefixes of a plain path.
prefixes = st.sampled_from(["/", "/a", "/b", "/a/", "/aa", "/a/b", "/A", "/a/B"]) | st.text(alphabet="/ab", max_size=4).map(
    lambda rest: "/" + rest
)
segments = st.text(alphabet="ab", min_size=1, max_size=2)
plain_paths = st.builds(
    lambda parts, end: "/" + "/".join(parts) + end, st.lists(segments, min_size=1, max_size=3), st.sampled_from(["", "/"])
)
queries = st.sampled_from(["", "?", "?a", "?/../b//%61"])

# Paths that servers rewrite, or cannot read.
odd_paths = st.builds(
    lambda oddity, path, query: oddity + path + query,
    st.sampled_from(["", "/a/..", "/", "/%61", "/b;x", "/a!", "/!", "//x", "/%zz"]),
    plain_paths,
    queries,
)

case_insensitivity = rarely(st.just(value=True), st.just(value=False), one_in=5)
reaches = st.sampled_from(UnreadableReach)

Scopes: TypeAlias = st.SearchStrategy[MatchScope]


def scopes_over(prefixes: st.SearchStrategy[str]) -> tuple[Scopes, Scopes]:
    """Return scopes of entries and of regions."""
    return (
        st.builds(MatchScope, hosts, prefixes, method_sets, case_insensitivity),
        st.builds(MatchScope, st.none() | hosts, st.just("") | prefixes, method_sets, case_insensitivity),
    )


scopes, region_scopes = scopes_over(prefixes)
targets = st.builds(TokenTarget, st.sampled_from(sorted(ISSUERS)), scope=st.sampled_from(["r", "w"]))


@st.composite
def documents(
    draw: st.DrawFn,
    of: st.SearchStrategy[Source] = sources,
    max_entries: int = 4,
    max_regions: int = 1,
    scopes: Scopes = scopes,
    region_scopes: Scopes = region_scopes,
) -> PolicyDocument:
    """Draw a document: entries first, then regions, with indices in this order."""
    source = draw(of)
    entries: list[Entry] = []
    for index, (scope, target) in enumerate(draw(st.lists(st.tuples(scopes, st.none() | targets), min_size=1, max_size=max_entries))):
        entries.append(DenyEntry(source, index, scope) if target is None else ExchangeEntry(source, index, scope, target))
    regions = tuple(
        FailClosedRegion(source, scope, f"{source} {index}", index)
        for index, scope in enumerate(draw(st.lists(region_scopes, max_size=max_regions)), start=len(entries))
    )
    return PolicyDocument(source, tuple(entries), regions)


# Regions close so much that most documents should have none.
policies = st.lists(rarely(documents(), documents(max_regions=0), one_in=8), max_size=3)


def snapshot_of(policy: list[PolicyDocument], reach: UnreadableReach = UnreadableReach.UNMATCHED) -> PolicySnapshot:
    """Return the snapshot after ``policy`` has been applied in order."""
    snapshot = PolicySnapshot.EMPTY.reaching(reach)
    for document in policy:
        snapshot = snapshot.apply(document)
    return snapshot
