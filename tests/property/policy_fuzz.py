"""Random policies and requests without a strategy's cost, decided by a snapshot and by the model. See ``test_policy_lookup``.

Run for longer: python -m tests.property.policy_fuzz SECONDS SEED
"""

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

import attrs

from exchanger.model.entry import (
    EVERYWHERE,
    AllowEntry,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedScope,
    MatchScope,
    PathType,
    Source,
    TokenTarget,
)
from exchanger.model.policy_decision import Ambiguous, NoMatch, PolicyDecision, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from tests.policy.examples import ACTIONS, EVERYTHING_GRANTED
from tests.property import grants_model
from tests.property.grants_model import MODEL
from tests.property.policy_model import (
    CLOSED,
    DISPUTED,
    UNMATCHED,
    Answer,
    Part,
    agreed,
    answer,
    decision,
    over_quota,
    parts_of,
    read_otherwise,
    some_dropped,
)
from tests.property.strategies_policy import snapshot_of

HOSTS = ("a.example", "*.example", "*.a.example", "x.a.example", "b.example")
ASKED = ("a.example", "x.a.example", "z.x.a.example", "b.example", "other.test", "")
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


# Hosts and prefixes of grants.
GRANTED = ("a.example", "*.example", "*.a.example", "x.a.example", "b.example", "*")
GRANTED_PREFIXES = (("",), ("/a",), ("/a", "/ab"), ("/a/b", "/b"), ("/A",), ())
PLAIN_PATHS = (*grants_model.PATHS, *grants_model.UNHEARD_OF)
# Characters that a ``!`` may stand for: those of prefixes, and one that no prefix has.
BEYOND_ASCII = "éяž"

FEW = 5  # differences that are shown


@attrs.frozen
class Asked:
    """A request."""

    host: str
    path: str
    method: str
    raw: bool
    fields: HeaderFields


def scopes(rng: random.Random, prefixes: tuple[str, ...], *, of_closed_scope: bool) -> MatchScope:
    kind = rng.choice([PathType.PREFIX, PathType.PREFIX, PathType.SEGMENT, PathType.EXACT])
    prefix = rng.choice(prefixes)
    if of_closed_scope and rng.random() < 0.3:
        prefix, kind = "", PathType.PREFIX
    if kind is PathType.SEGMENT:
        prefix = prefix.rstrip("/")
    host = None if of_closed_scope and rng.random() < 0.3 else rng.choice(HOSTS)
    return MatchScope(host, prefix, rng.choice(METHODS), rng.random() < 0.2, kind, () if of_closed_scope else rng.choice(HEADERS))


def document(rng: random.Random, source: Source, prefixes: tuple[str, ...] = PREFIXES) -> PolicyDocument:
    entries: list[Entry] = []
    for index in range(rng.randint(1, 4)):
        match, what = scopes(rng, prefixes, of_closed_scope=False), rng.random()
        if what < 0.4:
            entries.append(DenyEntry(source, index, match))
        elif what < 0.6:
            entries.append(AllowEntry(source, index, match))
        else:
            target = TokenTarget(rng.choice(["primary", "other"]), rng.choice(["r", "w"]))
            entries.append(ExchangeEntry(source, index, match, target))
    closed_scopes: tuple[FailClosedScope, ...] = ()
    if rng.random() < 0.3:
        match = scopes(rng, prefixes, of_closed_scope=True)
        closed_scopes = (FailClosedScope(source, match, "bad", len(entries), guessed=match.host is not None and rng.random() < 0.4),)
    return PolicyDocument(source, tuple(entries), closed_scopes)


def policies(rng: random.Random, prefixes: tuple[str, ...] = PREFIXES) -> list[PolicyDocument]:
    sources = [Source(rng.choice(["red", "blue"]), rng.choice(["one", "two"])) for _ in range(rng.randint(1, 4))]
    return list({source: document(rng, source, prefixes) for source in sources}.values())


def grants(rng: random.Random) -> Grants:
    return Grants(tuple(_grant(rng) for _ in range(rng.randint(1, 3))))


def _grant(rng: random.Random) -> NamespaceGrant:
    return NamespaceGrant(
        frozenset(rng.choice([("red",), ("blue",), ("red", "blue")])),
        None,
        tuple(rng.sample(GRANTED, rng.randint(0, 2))),
        rng.choice(GRANTED_PREFIXES),
        ACTIONS if rng.random() < 0.5 else frozenset(rng.sample(sorted(ACTIONS), rng.randint(1, 2))),
        rng.choice([("primary",), ("*",)]),
        scopes=rng.choice([("r",), ("*",)]),
    )


def requests(rng: random.Random, paths: tuple[str, ...] = PATHS) -> Iterator[Asked]:
    for host in ASKED:
        for path in rng.sample(paths, 4):
            for method in ("GET", "HEAD", "PUT"):
                raw = rng.random() < 0.5
                yield Asked(host, path, method, raw, HeaderFields(rng.choice(FIELDS), raw=raw))


def said(decision: PolicyDecision) -> Answer:
    """Return what callers see of a decision, as the model says it."""
    if isinstance(decision, NoMatch):
        return UNMATCHED
    if isinstance(decision, Unhealthy):
        return CLOSED
    return DISPUTED if isinstance(decision, Ambiguous) else decision


def comparable(found: Answer) -> object:
    """Return what matters of an answer beside grants, which change the scope of an entry that decides."""
    return found if isinstance(found, str) else attrs.evolve(found, match=EVERYWHERE)


def is_right(parts: list[Part], snapshot: PolicySnapshot, asked: Asked) -> bool:
    """Tell whether a snapshot decides as the model of ``parts``; a ``!`` that may hide something, and too many levels, open nothing."""
    match, fields = snapshot.match, list(asked.fields.fields)
    found = said(match(asked.host, asked.path, asked.method, raw=asked.raw, headers=asked.fields))
    if found == CLOSED and any(namespace.over_depth for namespace in snapshot.namespaces.values()):
        return True
    if asked.raw or "!" not in asked.path:
        expected = decision(parts, snapshot.reach, asked.host, asked.path, asked.method, fields, raw=asked.raw)
        return comparable(found) == comparable(expected)
    if found in {CLOSED, DISPUTED}:
        return True
    possible = sorted({*read_otherwise(asked.path, BEYOND_ASCII), *some_dropped(asked.path)})
    return agreed([found, *(answer(parts, snapshot.reach, asked.host, one, asked.method, fields) for one in possible)]) == found


# A policy as its authors wrote it, what counts of it, and how it is decided.
Case = tuple[list[PolicyDocument], list[Part], PolicySnapshot]


def cases(rng: random.Random) -> tuple[Case, tuple[str, ...]]:
    """Draw a policy with everything granted, over its quota, or beside grants, and the paths of its requests."""
    what, reach = rng.random(), rng.choice(list(UnreadableReach))
    if what < 0.6:
        policy = policies(rng)
        return (policy, parts_of(policy), snapshot_of(policy, reach)), PATHS
    if what < 0.8:
        policy, limits = policies(rng), NamespaceLimits(rng.randint(0, 8), rng.randint(0, 2), rng.randint(0, 2))
        return (
            policy,
            parts_of(over_quota(policy, limits)),
            snapshot_of(policy, reach, attrs.evolve(EVERYTHING_GRANTED, limits=limits)),
        ), PATHS
    policy, granted = policies(rng, grants_model.PREFIXES), grants(rng)
    return (policy, [part for one in policy for part in MODEL.left(one, granted.grants)], snapshot_of(policy, reach, granted)), PLAIN_PATHS


def differences(rng: random.Random, count: int) -> Iterator[tuple[str, tuple[list[PolicyDocument], Asked] | None]]:
    """Yield the kind of each decision, with the policy and request if it is not that of the model."""
    for _ in range(count):
        (policy, left, snapshot), paths = cases(rng)
        for asked in requests(rng, paths):
            found = snapshot.match(asked.host, asked.path, asked.method, raw=asked.raw, headers=asked.fields)
            yield type(found).__name__, None if is_right(left, snapshot, asked) else (policy, asked)


def main(seconds: float, seed: int) -> int:
    rng, end = random.Random(seed), time.monotonic() + seconds
    kinds, differ = Counter[str](), 0
    while time.monotonic() < end:
        for kind, found in differences(rng, 10):
            kinds[kind] += 1
            if found is not None:
                differ += 1
                if differ <= FEW:
                    policy, asked = found
                    print("DIFFERS", asked, *(claim for one in policy for claim in (*one.entries, *one.closed_scopes)), sep="\n  ")
    print(f"{kinds.total()} requests, {differ} differ: {dict(kinds)}")
    return min(differ, 1)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2])))
