"""What one tenant's documents cost the others: broken ones beside many grants, and what is taken away beside large ones.

    python bench/one_tenant.py

Drives the assembler of the service in this process. Figures are in NOTES.md.
"""

import gc
import resource
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from exchanger.admission.judgement import KnownPolicy, judge
from exchanger.assembly.assembler import Assembler
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.selection import Text
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import DenyEntry, Source
from exchanger.values.selector import parse_selector
from exchanger.values.verdict import NoMatch

BROKEN: Final = "version: v2"
MIB: Final = 1024 * 1024
# All entries are to decide, so that they can be taken away.
ROOMY: Final = NamespaceLimits(entries=1_000_000, kib=1_000_000)
RED, BLUE = ((("team", "red"),),), ((("team", "blue"),),)


def _deny(host: str, entries: int = 1, size: int = 0) -> str:
    lines = "".join(f"- {{match: {{host: {host}, pathPrefix: /{number}}}, action: deny}}\n" for number in range(entries))
    text = f"version: v1\nentries:\n{lines}"
    return text + "#" * (size - len(text))


@attrs.define
class _Watched:
    """The newest version, and the longest time that the event loop did not turn."""

    made: Assembler
    snapshot: PolicySnapshot = PolicySnapshot.EMPTY
    stall: float = 0.0

    async def follow(self) -> None:
        """Take each version."""
        while True:
            await self.made.news()
            change = self.made.take()
            refreshed = getattr(self.made, "refreshed", lambda: None)
            newest = refreshed() if change is None else change.snapshot
            self.snapshot = newest or self.snapshot

    async def turn(self) -> None:
        """Look how long the loop takes to come back."""
        while True:
            began = time.perf_counter()
            await trio.sleep(0.001)
            self.stall = max(self.stall, time.perf_counter() - began - 0.001)

    async def until(self, is_so: Callable[[PolicySnapshot], bool]) -> float:
        """Return the seconds until ``is_so`` of the newest version."""
        began = time.perf_counter()
        while not is_so(self.snapshot):  # noqa: ASYNC110 - as a request would find it
            await trio.sleep(0.005)
        return time.perf_counter() - began


@asynccontextmanager
async def _watched(grants: Grants) -> AsyncGenerator[_Watched]:
    made = Assembler(frozenset(), grants)
    found = _Watched(made)
    async with trio.open_nursery() as nursery:
        for task in (made.run, found.follow, found.turn):
            nursery.start_soon(task)
        yield found
        nursery.cancel_scope.cancel()


def _rss() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _broken(areas: int, documents: int) -> None:
    many = NamespaceGrant(frozenset({"evil"}), None, tuple(f"h{number}.example" for number in range(areas)))
    grants = Grants((many, NamespaceGrant(frozenset({"good"}), None, ("h",))))
    good, before = Source("good", "p"), _rss()
    async with _watched(grants) as seen:
        for number in range(documents):
            seen.made.put(Source("evil", f"p{number}"), Text(BROKEN))
        await trio.sleep(0.05)
        seen.made.put(good, Text(_deny("h")))
        edit = await seen.until(lambda snapshot: snapshot.document(good) is not None)
        every = edit + await seen.until(lambda snapshot: snapshot.document_count == documents + 1)
    memory, stall = _rss() - before, seen.stall * 1000
    print(f"{documents} x {areas} areas: edit {edit:.2f} s, all {every:.2f} s, {memory:.0f} MiB, longest stall {stall:.0f} ms")
    began = time.perf_counter()
    judge(Source("evil", "new"), Text(BROKEN), KnownPolicy(seen.snapshot, frozenset(), grants))
    print(f"  the webhook: {(time.perf_counter() - began) * 1000:.1f} ms")


async def _large(documents: int) -> None:
    own = NamespaceGrant(None, parse_selector("team=red"), ("*.example",))
    texts = {Source("evil", f"p{number}"): _deny(f"h{number}.example", 14_000, MIB) for number in range(documents)}

    def is_there(snapshot: PolicySnapshot) -> bool:
        return isinstance(snapshot.match(f"h{documents - 1}.example", "/1", "GET"), DenyEntry)

    async with _watched(Grants((own,), limits=ROOMY)) as seen:

        async def stall_of(what: str, wait: float) -> None:
            print(f"  {what}: {wait:.2f} s, longest stall {seen.stall * 1000:.0f} ms")
            while seen.made.unread:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.1)
            await trio.sleep(0.2)
            print(f"    until all is done: longest stall {seen.stall * 1000:.0f} ms")
            seen.stall = 0.0

        for source, text in texts.items():
            seen.made.put(source, Text(text, namespace_labels=RED))
        print(f"{documents} documents of 1 MiB read in {await seen.until(lambda snapshot: snapshot.document_count == documents):.1f} s")
        seen.stall = 0.0
        for source, text in texts.items():
            seen.made.put(source, Text(text, namespace_labels=BLUE))
        await stall_of("a label that a grant selects", await seen.until(lambda snapshot: not is_there(snapshot)))
        for source, text in texts.items():
            seen.made.put(source, Text(text, namespace_labels=RED))
        await stall_of("the label again", await seen.until(is_there))
        seen.made.use_grants(Grants(limits=ROOMY))
        await stall_of("narrower grants", await seen.until(lambda snapshot: not is_there(snapshot)))
        await seen.until(lambda snapshot: not snapshot.entry_count)
        seen.made.use_grants(Grants((own,), limits=ROOMY))
        await stall_of("the grants again", await seen.until(is_there))
        for source in texts:
            seen.made.put(source, None)
        hosts = [f"h{number}.example" for number in range(documents)]
        gone = await seen.until(lambda snapshot: all(isinstance(snapshot.match(host, "/1", "GET"), NoMatch) for host in hosts))
        await stall_of("the Namespace's label", gone)


def main() -> None:
    """Print the figures."""
    gc.freeze()
    trio.run(_broken, 9_900, 60)
    trio.run(_broken, 1_000, 400)
    trio.run(_large, 20)


if __name__ == "__main__":
    main()
