"""Random policies and requests without a strategy's cost, to compare two ways to look them up. See ``test_policy_routing``.

Run for longer: python -m tests.property.policy_fuzz SECONDS SEED
"""

import random
import sys
import time
from collections.abc import Iterator
from unittest import mock

import attrs

from exchanger.policy import shares
from exchanger.policy.authority import read_authority
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.routing.lookup import decide
from exchanger.policy.routing.table import VirtualHosts
from exchanger.policy.snapshot import UnreadableReach
from exchanger.values.entry import AllowEntry, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, MatchScope, PathType, Source, TokenTarget
from exchanger.values.request import HeaderFields
from exchanger.values.verdict import Unhealthy, Verdict
from tests.property.strategies_policy import snapshot_of

HOSTS = ("a.example", "*.example", "*.a.example", "x.a.example", "b.example")
ASKED = ("a.example", "x.a.example", "z.x.a.example", "b.example", "other", "")
PREFIXES = ("/", "/a", "/a/", "/a/b", "/ab", "/b", "/A", "/a/B", "/a%2Fb", "/%C3%A9", "/é", "/éb", "/я", "/a/b/c", "/a b", "/a!b")
PATHS = (
    "/",
    "/a",
    "/a/",
    "/ab",
    "/a/b",
    "/a/b/",
    "/a/bc",
    "/A",
    "/A/b",
    "/a/b/c",
    "/a%2Fb",
    "/a%2fb/x",
    "/%61",
    "/é",
    "/%C3%A9/x",
    "/a?b",
    "/a/b?x",
    "/a/../b",
    "//a",
    "/a;x/b",
    "/%zz",
    "/a%252Fb",
    "/a\\b",
    "*",
    "/x",
    "/!",
    "/!b",
    "/a!b",
    "/!/x",
    "/a/!b",
    "/a!/b?!",
    "/!/../я",
)
METHODS = (None, None, frozenset({"GET"}), frozenset({"HEAD"}), frozenset({"GET", "PUT"}), frozenset({"HEAD", "GET"}))
HEADERS = ((), (), (), (("x-a", "1"),), (("x-a", "2"),), (("x-b", "1"),), (("x-a", "1"), ("x-b", "1")), (("x_a", "1"),), (("x-a", "é"),))
FIELDS = (
    (),
    (("x-a", "1"),),
    (("X-A", "1"), ("x-b", "1")),
    (("x_a", "1"),),
    (("x-a", "1,2"),),
    (("x-a", "1"), ("x-a", "1")),
    (("x-a", "2"), ("x-b", "1")),
    (("x-a", "!"),),
)


FEW = 5  # differences that are shown


@attrs.frozen
class Asked:
    """A request."""

    host: str
    path: str
    method: str
    raw: bool
    fields: HeaderFields


def scopes(rng: random.Random, *, of_region: bool) -> MatchScope:
    kind = rng.choice([PathType.PREFIX, PathType.PREFIX, PathType.SEGMENT, PathType.EXACT])
    prefix = rng.choice(PREFIXES)
    if of_region and rng.random() < 0.3:
        prefix, kind = "", PathType.PREFIX
    if kind is PathType.SEGMENT:
        prefix = prefix.rstrip("/")
    host = None if of_region and rng.random() < 0.3 else rng.choice(HOSTS)
    return MatchScope(host, prefix, rng.choice(METHODS), rng.random() < 0.2, kind, () if of_region else rng.choice(HEADERS))


def document(rng: random.Random, source: Source) -> PolicyDocument:
    entries: list[Entry] = []
    for index in range(rng.randint(1, 4)):
        match, what = scopes(rng, of_region=False), rng.random()
        if what < 0.4:
            entries.append(DenyEntry(source, index, match))
        elif what < 0.6:
            entries.append(AllowEntry(source, index, match))
        else:
            target = TokenTarget(rng.choice(["primary", "other"]), rng.choice(["r", "w"]))
            entries.append(ExchangeEntry(source, index, match, target))
    regions: tuple[FailClosedRegion, ...] = ()
    if rng.random() < 0.3:
        match = scopes(rng, of_region=True)
        regions = (FailClosedRegion(source, match, "bad", len(entries), guessed=match.host is not None and rng.random() < 0.4),)
    return PolicyDocument(source, tuple(entries), regions)


def policies(rng: random.Random) -> list[PolicyDocument]:
    sources = [Source(rng.choice(["red", "blue"]), rng.choice(["one", "two"])) for _ in range(rng.randint(1, 4))]
    return list({source: document(rng, source) for source in sources}.values())


def requests(rng: random.Random) -> Iterator[Asked]:
    for host in ASKED:
        for path in rng.sample(PATHS, 4):
            for method in ("GET", "HEAD", "PUT"):
                raw = rng.random() < 0.5
                yield Asked(host, path, method, raw, HeaderFields(rng.choice(FIELDS), raw=raw))


def plain(verdict: Verdict) -> object:
    """Return what callers see of a verdict."""
    return "closed" if isinstance(verdict, Unhealthy) else verdict


def new_verdict(policy: list[PolicyDocument], asked: Asked, reach: UnreadableReach) -> Verdict:
    hosts = VirtualHosts.of(claim for one in policy for claim in (*one.entries, *one.regions))
    return decide(
        hosts,
        read_authority(asked.host),
        asked.path,
        asked.method,
        RequestHeaders(asked.fields),
        raw=asked.raw,
        is_global=reach is UnreadableReach.GLOBAL,
    )


def differences(rng: random.Random, count: int) -> Iterator[tuple[list[PolicyDocument], Asked, Verdict, Verdict] | None]:
    """Yield each request on which the new look-up differs from the old one, and ``None`` for each on which both agree."""
    for _ in range(count):
        policy, reach = policies(rng), rng.choice(list(UnreadableReach))
        with mock.patch.object(shares, "MAX_LOOKUPS", 1 << 20):
            old = snapshot_of(policy, reach)
        for asked in requests(rng):
            before = old.match(asked.host, asked.path, asked.method, raw=asked.raw, headers=asked.fields)
            after = new_verdict(policy, asked, reach)
            yield None if plain(before) == plain(after) else (policy, asked, before, after)


def main(seconds: float, seed: int) -> int:
    rng, end = random.Random(seed), time.monotonic() + seconds
    requests_seen = differ = 0
    while time.monotonic() < end:
        for found in differences(rng, 10):
            requests_seen += 1
            if found is not None:
                differ += 1
                if differ <= FEW:
                    policy, asked, before, after = found
                    print("DIFFERS", asked, before, after, *(e for d in policy for e in (*d.entries, *d.regions)), sep="\n  ")
    print(f"{requests_seen} requests, {differ} differ")
    return min(differ, 1)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2])))
