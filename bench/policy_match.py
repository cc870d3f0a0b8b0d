"""What a match and a change of policy cost, in µs, at several sizes of policy; and the worst paths.

Run: python bench/policy_match.py
"""

import time
from collections.abc import Callable, Iterator
from functools import partial

import attrs

from exchanger.model.entry import (
    BASELINE,
    EVERYWHERE,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedScope,
    MatchScope,
    PathType,
    Source,
    TokenTarget,
)
from exchanger.model.request import HeaderFields
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.grants.allowance import NO_GRANTS
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.path import read_path
from exchanger.policy.snapshot import PolicySnapshot

SIZES = (10, 10_000, 100_000)  # entries
ENTRIES_A_DOCUMENT = 10
HOSTS_SHARE = 100  # entries a host
TARGET = TokenTarget("primary", scope="read:orders")
# Room for more entries than a namespace may have, so that they are looked up.
ROOMY = attrs.evolve(NO_GRANTS, limits=NamespaceLimits(entries=100_000))

PATHS = {
    "hit": "/team-3/orders/12345",
    "miss": "/nothing/here",
    "query": "/team-3/orders?page=2",
    "odd": "/team-3/orders/a%2Fb",
    "marks": "/team-3/orders/hi!",
}

# What a policy on the same host can make of the marks of one path.
MASKED = {
    "many beyond ASCII": ([f"/{chr(0x4E00 + number)}x" for number in range(15_000)], "/!x"),
    "long beyond ASCII": ([f"/{chr(0x4E00 + number)}{'é' * 500}" for number in range(1_500)], "/" + "!" * 64),
    "runs of marks": (["/" + "!" * marks + "a" * rest for marks in range(100) for rest in range(100)], "/" + "!" * 64 + "a" * 60_000),
    "marks or none": (["/" + "".join("!" * (number >> bit & 1) + "a" for bit in range(14)) for number in range(16_000)], "/" + "!a" * 20),
}

HOSTILE = {
    "10,000 x a/../": "/" + "a/../" * 10_000,
    "64 KiB plain": "/" + "a" * 65_535,
    "dots": "/" + "a/../" * 1_600,
    "escapes": "/" + "%61" * 2_700,
    "double escapes": "/" + "%2561" * 1_600,
    "encoded slashes": "/" + "%2Fa" * 2_000,
    "everything at once": "/" + "a%252f..;x\\%2e//%5c./" * 300,
    "everything, short": "/" + "a%252f..;x\\%2e//%5c./" * 40,
    "deep escapes": "/%" + "25" * 4_000,
    "nested escapes": "/" + ("%" + "25" * 20 + "61") * 40,
    "marks": "/a" + "\u0345\u0334" * 500,
    "marks, escaped": "/a" + "%CD%85%CC%B4" * 400,
    "marks and the rest": "/a;b//c\\d/./" + "\u0345\u0334" * 240,
    "expanding": "/" + "\ufdfa" * 1_000,
    "expanding, odd": "/a;b//c\\d/./" + "\ufdfa" * 240,
}


def timed(call: Callable[[], object], seconds: float = 0.2) -> float:
    """Return the µs of one call: the best of many short series."""
    best, until = float("inf"), time.perf_counter() + seconds
    count = 1
    while time.perf_counter() < until:
        began = time.perf_counter()
        for _ in range(count):
            call()
        took = time.perf_counter() - began
        best = min(best, took / count)
        if took < seconds / 100:
            count *= 2
    return best * 1e6


def entry(source: Source, index: int, number: int) -> Entry:
    """Return the entry with ``number``: hosts get ``HOSTS_SHARE`` entries each, prefixes repeat from host to host."""
    area = MatchScope(f"host-{number // HOSTS_SHARE}.example.com", f"/team-{number % HOSTS_SHARE}/orders")
    return DenyEntry(source, index, area) if number % 2 else ExchangeEntry(source, index, area, TARGET)


def documents(size: int) -> Iterator[PolicyDocument]:
    """Return documents that have ``size`` entries together."""
    for first in range(0, size, ENTRIES_A_DOCUMENT):
        source = Source(f"team-{first}", "policy")
        yield PolicyDocument(source, tuple(entry(source, index, first + index) for index in range(ENTRIES_A_DOCUMENT)))


def yaml_text(entries: int) -> str:
    """Return a document of ``entries`` exchange entries."""
    lines = ["version: v1", "entries:"]
    for index in range(entries):
        lines += [
            f"  - match: {{host: api.example.com, pathPrefix: /orders/{index}, methods: [GET, POST]}}",
            "    action: exchange",
            "    exchange: {issuerRef: primary, scope: read:orders, resources: [https://api.example.com/orders]}",
        ]
    return "\n".join(lines)


def report_size(size: int) -> None:
    """Print what a policy of ``size`` entries costs to build, ask and change."""
    snapshot = PolicySnapshot.EMPTY
    began = time.perf_counter()
    for document in documents(size):
        snapshot = _with(snapshot, document)
    built = time.perf_counter() - began
    print(f"{size:>7} entries: built in {built:.2f} s, {built / size * 1e6:.0f} µs an entry")
    for name, path in PATHS.items():
        print(f"{'':>7}   match, {name}: {timed(partial(snapshot.match, 'host-0.example.com', path, 'GET')):.2f} µs")
    print(f"{'':>7}   match, HEAD: {timed(partial(snapshot.match, 'host-0.example.com', PATHS['hit'], 'HEAD')):.2f} µs")
    source = Source("broken", "one")
    unreadable = PolicyDocument(source, closed_scopes=(FailClosedScope(source, EVERYWHERE, "unreadable"),))
    broken = _with(snapshot, unreadable)
    print(
        f"{'':>7}   match, hit, a document is unreadable: {timed(partial(broken.match, 'host-0.example.com', PATHS['hit'], 'GET')):.2f} µs"
    )
    folded = DenyEntry(Source("new", "one"), 0, MatchScope("host-0.example.com", "/Folded", case_insensitive=True))
    beside = _with(snapshot, PolicyDocument(folded.source, (folded,)))
    print(f"{'':>7}   match, hit, a prefix has no case: {timed(partial(beside.match, 'host-0.example.com', PATHS['hit'], 'GET')):.2f} µs")
    report_language(snapshot)
    print(f"{'':>7}   match, no policy: {timed(partial(snapshot.match, 'other.example.com', '/a', 'GET')):.2f} µs")
    newcomer = PolicyDocument(Source("new", "one"), (entry(Source("new", "one"), 0, 5),))
    print(f"{'':>7}   put, one entry: {timed(partial(_with, snapshot, newcomer)):.1f} µs")
    print(f"{'':>7}   remove, one entry: {timed(partial(_with(snapshot, newcomer).changed, {newcomer.source: None})):.1f} µs")
    found = {document.source: document for document in documents(size)}
    began = time.perf_counter()
    PolicySnapshot.EMPTY.changed(found)
    print(f"{'':>7}   built at once in {time.perf_counter() - began:.2f} s")


def _with(snapshot: PolicySnapshot, document: PolicyDocument) -> PolicySnapshot:
    return snapshot.changed({document.source: document})


def report_language(snapshot: PolicySnapshot) -> None:
    """Print what matches cost beside entries with wildcards, path types and headers."""
    source, prefix = Source("new", "two"), "/team-3/orders"
    scopes = (
        MatchScope("*.example.com", prefix),
        MatchScope("*.apps.test", prefix, path_type=PathType.SEGMENT),
        MatchScope("host-0.example.com", "/tools", headers=(("mcp-name", "delete_order"),)),
    )
    plain = _with(snapshot, PolicyDocument(source, tuple(DenyEntry(source, index, scopes[index]) for index in (0, 1))))
    snapshot = _with(snapshot, PolicyDocument(source, tuple(DenyEntry(source, index, scope) for index, scope in enumerate(scopes))))
    fields = HeaderFields((*((f"x-{number}", "value") for number in range(11)), ("mcp-name", "list_orders")), raw=True)
    baseline = snapshot.with_grants(attrs.evolve(NO_GRANTS, baseline=(DenyEntry(BASELINE, 0, MatchScope("*.example.com", "/internal")),)))
    for name, policy, host, path in (
        ("hit, wildcards elsewhere", plain, "host-0.example.com", PATHS["hit"]),
        ("by a wildcard", plain, "other.example.com", PATHS["hit"]),
        ("by a wildcard and whole segments", plain, "other.apps.test", PATHS["hit"]),
        ("hit, headers elsewhere", snapshot, "host-0.example.com", PATHS["hit"]),
        ("where an entry names one of 12 headers", snapshot, "host-0.example.com", "/tools"),
        ("hit, below a baseline", baseline, "host-0.example.com", PATHS["hit"]),
    ):
        print(f"{'':>7}   match, {name}: {timed(partial(policy.match, host, path, 'GET', headers=fields)):.2f} µs")


def report_masks() -> None:
    """Print what the worst policies that were found cost a path with marks."""
    source = Source("team", "policy")
    for name, (prefixes, path) in MASKED.items():
        entries = tuple(DenyEntry(source, index, MatchScope("h", prefix)) for index, prefix in enumerate(prefixes))
        snapshot = PolicySnapshot.EMPTY.with_grants(ROOMY).changed({source: PolicyDocument(source, entries)})
        print(f"marks, {name}: {timed(partial(snapshot.match, 'h', path, 'GET'), 0.1):.0f} µs")


def main() -> None:
    """Print the figures."""
    report_masks()
    for size in SIZES:
        report_size(size)
    for entries in (1, 1_000):
        text = yaml_text(entries)
        parsed = timed(partial(parse_document, Source("a", "b"), text, frozenset({"primary"})))
        print(f"parse, {entries} entries, {len(text)} characters: {parsed:.0f} µs")
    for name, path in HOSTILE.items():
        interpretations = read_path(path, "GET")
        outcome = f"{len(interpretations)} interpretations" if isinstance(interpretations, tuple) else interpretations.value
        print(f"path, {name}: {timed(partial(read_path, path, 'GET'), 0.1):.0f} µs ({outcome})")


if __name__ == "__main__":
    main()
