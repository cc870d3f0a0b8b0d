"""Which entries tie: they have a host, a method and a path prefix in common, so that no request for these can be decided.

Costs nothing while policies come and go: the trie that answers requests has every rival side by side.

Must not know: requests, or who is told of a tie.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from exchanger.policy.claims import Claims, each
from exchanger.policy.prefix import prefix_spellings
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import Entry

MAX_RIVALS: Final = 3
"""Rivals of one entry that are looked for: more tell its author nothing, and thousands of entries may have the same place."""

MAX_CLAIMS: Final = 256
"""Claims on one place that are looked at, a tenth of a millisecond: one entry may name 100,000 methods."""
MAX_PREFIX: Final = 1024
"""Characters of a prefix whose rivals are looked for, a quarter of a millisecond for the worst: one of escapes alone has long spellings."""


def rivals_of(entry: Entry, snapshot: PolicySnapshot) -> tuple[Entry, ...]:
    """Return other entries that tie with ``entry``, which is in ``snapshot``, in the order of their sources; ``MAX_RIVALS`` at most.

    Costs the length of its prefix and the number of its methods; for an entry for all methods, that of those named beside it. Both are
    bounded: where there is more, rivals may be missing.

    Raises:
        KeyError: ``snapshot`` has nothing where ``entry`` should be.
    """
    if len(entry.area.path_prefix) > MAX_PREFIX:
        return ()
    trie, host = snapshot.trie, entry.area.host
    paths = trie.all_hosts if host is None else trie.hosts.get(host)
    if paths is None:
        raise KeyError(host)
    found: dict[tuple[object, int], Entry] = {}
    for spelling in prefix_spellings(entry.area.path_prefix).literal:
        cells = paths.prefixes_of(spelling)
        claims = cells[-1].entries if cells else None  # the longest prefix of a spelling is that spelling, as the entry is there
        if claims is None:
            raise KeyError(entry.area.path_prefix)
        for rival in islice(_members(claims, entry.area.methods), MAX_CLAIMS):
            if (rival.source, rival.index) != (entry.source, entry.index):
                found[rival.source, rival.index] = rival
                if len(found) == MAX_RIVALS:
                    break
        if len(found) == MAX_RIVALS:
            break
    return tuple(sorted(found.values(), key=lambda rival: (rival.source, rival.index)))


def _members(claims: Claims[Entry], methods: frozenset[str] | None) -> Iterator[Entry]:
    yield from each(claims.every)
    for method in claims.named if methods is None else methods:
        yield from each(claims.named.get(method))
