"""What one tenant's documents cost the others: broken ones beside many grants, and what is taken away beside large ones.

    python bench/one_tenant.py

Drives what reads and publishes policies in this process. Figures are in NOTES.md.
"""

import gc
import resource
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import attrs
import trio

from exchanger.app.admission.judgement import KnownPolicy, check
from exchanger.model.entry import DenyEntry, Source
from exchanger.model.policy_decision import NoMatch
from exchanger.model.selector import parse_selector
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.selection import Change, DocumentText, Text
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish.machine import Machine
from exchanger.sources.publish.runner import Runner

BROKEN: Final = "version: v2"
MIB: Final = 1024 * 1024
# All entries are to decide, so that they can be taken away.
ROOMY: Final = NamespaceLimits(entries=1_000_000, kib=1_000_000)


def _deny(host: str, entries: int = 1, size: int = 0) -> str:
    lines = "".join(f"- {{match: {{host: {host}, pathPrefix: /{number}}}, action: deny}}\n" for number in range(entries))
    text = f"version: v1\nentries:\n{lines}"
    return text + "#" * (size - len(text))


@attrs.define
class _Watched:
    """The newest version, and the longest time that the event loop did not turn."""

    grants: Grants
    snapshot: PolicySnapshot = PolicySnapshot.EMPTY
    stall: float = 0.0
    runner: Runner = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.runner = Runner(Machine((), frozenset(), PolicySnapshot(self.grants)), self.publish)

    def publish(self, change: Change, _reopens: bool) -> None:  # noqa: FBT001 - the runner's signature
        """Take a version."""
        self.snapshot = change.snapshot

    def put(self, texts: Mapping[Source, DocumentText | None], team: str = "") -> None:
        """Report texts, and the label of their Namespace."""
        labels = {source.namespace: ((("team", team),),) for source in texts if team}
        self.runner.do(self.runner.machine.applied(texts, trio.current_time(), labels))

    def use(self, grants: Grants) -> None:
        """Report other grants."""
        self.runner.do(self.runner.machine.granted(grants, trio.current_time()))

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
    found = _Watched(grants)
    async with trio.open_nursery() as nursery:
        for task in (found.runner.run, found.turn):
            nursery.start_soon(task)
        found.put({})
        yield found
        nursery.cancel_scope.cancel()


def _rss() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _broken(areas: int, documents: int) -> None:
    many = NamespaceGrant(frozenset({"evil"}), None, tuple(f"h{number}.example" for number in range(areas)))
    grants = Grants((many, NamespaceGrant(frozenset({"good"}), None, ("h",))))
    good, before = Source("good", "p"), _rss()
    async with _watched(grants) as seen:
        seen.put({Source("evil", f"p{number}"): Text(BROKEN) for number in range(documents)})
        await trio.sleep(0.05)
        seen.put({good: Text(_deny("h"))})
        edit = await seen.until(lambda snapshot: snapshot.document(good) is not None)
        every = edit + await seen.until(lambda snapshot: snapshot.document_count == documents + 1)
    memory, stall = _rss() - before, seen.stall * 1000
    print(f"{documents} x {areas} areas: edit {edit:.2f} s, all {every:.2f} s, {memory:.0f} MiB, longest stall {stall:.0f} ms")
    began = time.perf_counter()
    check(Source("evil", "new"), Text(BROKEN), KnownPolicy(seen.snapshot, frozenset(), grants))
    print(f"  the webhook: {(time.perf_counter() - began) * 1000:.1f} ms")


async def _large(documents: int) -> None:
    own = NamespaceGrant(None, parse_selector("team=red"), ("*.example",))
    texts = {Source("evil", f"p{number}"): Text(_deny(f"h{number}.example", 14_000, MIB)) for number in range(documents)}

    def is_there(snapshot: PolicySnapshot) -> bool:
        return isinstance(snapshot.match(f"h{documents - 1}.example", "/1", "GET"), DenyEntry)

    async with _watched(Grants((own,), limits=ROOMY)) as seen:

        async def stall_of(what: str, wait: float) -> None:
            print(f"  {what}: {wait:.2f} s, longest stall {seen.stall * 1000:.0f} ms")
            while seen.runner.machine.unread:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.1)
            await trio.sleep(0.2)
            print(f"    until all is done: longest stall {seen.stall * 1000:.0f} ms")
            seen.stall = 0.0

        seen.put(texts, "red")
        print(f"{documents} documents of 1 MiB read in {await seen.until(lambda snapshot: snapshot.document_count == documents):.1f} s")
        seen.stall = 0.0
        seen.put(texts, "blue")
        await stall_of("a label that a grant selects", await seen.until(lambda snapshot: not is_there(snapshot)))
        seen.put(texts, "red")
        await stall_of("the label again", await seen.until(is_there))
        seen.use(Grants(limits=ROOMY))
        await stall_of("narrower grants", await seen.until(lambda snapshot: not is_there(snapshot)))
        await seen.until(lambda snapshot: not snapshot.entry_count)
        seen.use(Grants((own,), limits=ROOMY))
        await stall_of("the grants again", await seen.until(is_there))
        seen.put(dict.fromkeys(texts))
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
