"""Strategies for policies and requests over a small alphabet, so that they meet, nest and tie."""

from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from hypothesis import strategies as st

from exchanger.model.entry import AllowEntry, DenyEntry, Entry, ExchangeEntry, FailClosedScope, MatchScope, PathType, Source, TokenTarget
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.policy.table import VirtualHost
from tests.policy.examples import EVERYTHING_GRANTED
from tests.property.policy_model import DOUBTFUL, HEADER_NAMES, HEADER_VALUES, METHODS, ODDITIES, QUERIES

ISSUERS = frozenset({"primary", "other"})
HOSTS = ("a.example", "b.example", "[2001:db8::1]")

T = TypeVar("T")


def rarely(rare: st.SearchStrategy[T], common: st.SearchStrategy[T], one_in: int = 20) -> st.SearchStrategy[T]:
    """Draw from ``rare`` about once in ``one_in`` times; ``one_of`` gives equal chances to all of its parts."""
    return st.integers(min_value=1, max_value=one_in).flatmap(lambda number: rare if number == one_in else common)


sources = st.builds(Source, st.sampled_from(["red", "blue"]), st.sampled_from(["one", "two"]))
# Hosts of entries and fail-closed scopes, of which some are wildcards above those of requests.
policy_hosts = rarely(st.sampled_from([*HOSTS[1:], "*.example", "*.a.example", "*.b.a.example"]), st.just(HOSTS[0]), one_in=3)
hosts = rarely(st.sampled_from([*HOSTS[1:], "x.a.example", "x.b.a.example"]), st.just(HOSTS[0]), one_in=3)
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
queries = st.sampled_from(QUERIES)

# Paths that servers rewrite, or cannot read.
odd_paths = st.builds(
    lambda oddity, path, query: oddity + path + query,
    st.sampled_from(ODDITIES),
    plain_paths,
    queries,
)

case_insensitivity = rarely(st.just(value=True), st.just(value=False), one_in=5)
reaches = st.sampled_from(UnreadableReach)

Scopes: TypeAlias = st.SearchStrategy[MatchScope]


path_types = rarely(st.sampled_from([PathType.SEGMENT, PathType.EXACT]), st.just(PathType.PREFIX), one_in=3)
header_values = st.sampled_from(HEADER_VALUES)
header_sets = rarely(
    st.dictionaries(st.sampled_from(HEADER_NAMES), header_values, min_size=1).map(lambda named: tuple(sorted(named.items()))),
    st.just(()),
    one_in=3,
)
# Header fields of a request, each with any name and value that may cause doubt.
header_fields = st.lists(st.tuples(st.sampled_from(["x-a", "X-A", "x_a", "x-b"]), header_values | st.sampled_from(DOUBTFUL)), max_size=3)


def _scope(
    host: str | None,
    prefix: str,
    methods: frozenset[str] | None,
    case_insensitive: bool,
    path_type: PathType,
    headers: tuple[tuple[str, str], ...],
) -> MatchScope:
    prefix = prefix.rstrip("/") if path_type is PathType.SEGMENT else prefix
    return MatchScope(host, prefix, methods, case_insensitive, path_type, headers)


def scopes_over(
    prefixes: st.SearchStrategy[str],
    headers: st.SearchStrategy[tuple[tuple[str, str], ...]] = header_sets,
    methods: st.SearchStrategy[frozenset[str] | None] = method_sets,
) -> tuple[Scopes, Scopes]:
    """Return scopes of entries and of fail-closed scopes."""
    return (
        st.builds(_scope, policy_hosts, prefixes, methods, case_insensitivity, path_types, headers),
        st.builds(_scope, st.none() | policy_hosts, st.just("") | prefixes, methods, case_insensitivity, path_types, st.just(())),
    )


scopes, fail_closed_matches = scopes_over(prefixes)
targets = st.builds(TokenTarget, st.sampled_from(sorted(ISSUERS)), scope=st.sampled_from(["r", "w"]))
metadata = rarely(st.sampled_from(["https://a.example/1", "https://a.example/2"]), st.just(""), one_in=3)


# Whether the host of a fail-closed scope is what its namespace is granted, and not what its author wrote.
guesses = rarely(st.just(value=True), st.just(value=False), one_in=3)


@st.composite
def documents(
    draw: st.DrawFn,
    of: st.SearchStrategy[Source] = sources,
    max_entries: int = 4,
    max_closed_scopes: int = 1,
    scopes: Scopes = scopes,
    fail_closed_matches: Scopes = fail_closed_matches,
) -> PolicyDocument:
    """Draw a document: entries first, then fail-closed scopes, with indices in this order."""
    source = draw(of)
    entries: list[Entry] = []
    pairs = st.tuples(scopes, st.sampled_from(["deny", "allow"]) | targets)
    for index, (scope, does) in enumerate(draw(st.lists(pairs, min_size=1, max_size=max_entries))):
        if isinstance(does, TokenTarget):
            entries.append(ExchangeEntry(source, index, scope, does, draw(metadata)))
        else:
            entries.append(AllowEntry(source, index, scope) if does == "allow" else DenyEntry(source, index, scope))
    closed_scopes = tuple(
        FailClosedScope(source, scope, f"{source} {index}", index, guessed=scope.host is not None and draw(guesses))
        for index, scope in enumerate(draw(st.lists(fail_closed_matches, max_size=max_closed_scopes)), start=len(entries))
    )
    return PolicyDocument(source, tuple(entries), closed_scopes)


# Fail-closed scopes close so much that most documents should have none.
policies = st.lists(rarely(documents(), documents(max_closed_scopes=0), one_in=8), max_size=3)


def snapshot_of(
    policy: Iterable[PolicyDocument], reach: UnreadableReach = UnreadableReach.UNMATCHED, grants: Grants = EVERYTHING_GRANTED
) -> PolicySnapshot:
    """Return the snapshot after ``policy`` has been applied in order."""
    snapshot = PolicySnapshot(grants, reach)
    for document in policy:
        snapshot = snapshot.changed({document.source: document})
    return snapshot


def contents_of(snapshot: PolicySnapshot) -> object:
    """Return all that a snapshot has, without the order in which it came."""
    hosts: dict[str | None, VirtualHost] = dict(snapshot.hosts.by_name.items())
    if snapshot.hosts.every is not None:
        hosts[None] = snapshot.hosts.every
    return (
        {
            document.source: (document.document, document.entries, document.problems, document.refused, document.is_over_quota)
            for document in snapshot.documents()
        },
        {
            name: (
                one.labels,
                one.allowances,
                one.limits,
                one.enforced,
                one.used_entries,
                one.used_scopes,
                (one.expansion.route_count, dict(one.expansion.closed), dict(one.expansion.documents)),
                dict(one.over_quota),
                one.over_depth,
                one.to_read_again,
            )
            for name, one in snapshot.namespaces.items()
        },
        {
            host: (frozenset(there.routes()), there.with_methods, there.with_headers, there.yielding, there.hidden.prefixes)
            for host, there in hosts.items()
        },
        (snapshot.hosts.wildcards, snapshot.hosts.yielding, snapshot.hosts.with_headers, snapshot.needs_headers),
        counters_of(snapshot),
    )


def counters_of(snapshot: PolicySnapshot) -> tuple[int, int, int, int]:
    """Return how many documents and entries count, and how many documents fail closed, and entries are refused."""
    return snapshot.document_count, snapshot.entry_count, snapshot.invalid_documents, snapshot.refused_count


def recounted(snapshot: PolicySnapshot) -> tuple[int, int, int, int]:
    """Return the counters of a snapshot, counted anew."""
    found = list(snapshot.documents())
    return (
        len(found),
        sum(len(document.entries) for document in found),
        sum(bool(document.problems) for document in found),
        sum(len(document.refused) for document in found),
    )
