"""A machine with its time and its threads in the test's hands, and what is expected of every version that it publishes."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import attrs

from exchanger.model.entry import AllowEntry, Source
from exchanger.model.policy_decision import PolicyDecision
from exchanger.policy.documents.document import Labels
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.selection import Change, DocumentText, Text, read
from exchanger.policy.snapshot import PolicySnapshot, stricter
from exchanger.sources.publish.build import Build, Read, Regrant, Revoke
from exchanger.sources.publish.machine import Action, Close, HoldBack, Machine, Publish, SetTimer

ISSUERS: Final = frozenset({"one"})
PATHS: Final = ("/x", "/y", "/x/z")
DENY: Final = "{match: {host: h, pathPrefix: %s}, action: deny}"
ALLOW: Final = "{match: {host: h, pathPrefix: %s}, action: allow}"
EXCHANGE: Final = "{match: {host: h, pathPrefix: %s}, action: exchange, exchange: {issuerRef: one, scope: s}}"
# Every namespace may allow, too.
FREE: Final = Grants((NamespaceGrant(None, None, ("*",), actions=frozenset({"exchange", "deny", "allow"}), issuers=("*",), scopes=("*",)),))
# What a thread may be busy with.
JOBS: Final = ("light", "heavy", "build", "revoke", "regrant")
Job = Read | Build | Revoke | Regrant


def text_of(*entries: str, size: int = 0) -> Text:
    """Return a document with ``size`` more characters than its entries need."""
    return Text(f"version: v1\nentries: [{', '.join(entries)}]\n{'#' * size}")


def denial(path: str, size: int = 0) -> Text:
    return text_of(DENY % path, size=size)


def is_refused(decision: PolicyDecision, *, refuses_unmatched: bool = False) -> bool:
    """Tell whether a request neither passes nor is exchanged."""
    return type(decision).__name__ in {"DenyEntry", "Unhealthy", "Ambiguous", *(("NoMatch",) if refuses_unmatched else ())}


def name_of(job: Job) -> str:
    return job.lane.value if isinstance(job, Read) else type(job).__name__.lower()


def no_cpu() -> float:
    return 0.0


@attrs.define(eq=False)
class World:
    """Carries out what a ``machine`` says. ``check`` sees each version that is to decide requests, ``None`` for none.

    Each job that a thread does ends when the test lets it. The clock moves when the test says so, and the timer is kept.
    """

    machine: Machine
    check: Callable[[PolicySnapshot], None] = lambda _version: None
    cpu: Callable[[], float] = no_cpu
    now: float = 0.0
    timer: float = math.inf
    jobs: dict[str, Job] = attrs.field(factory=dict)
    active: PolicySnapshot | None = None
    changes: list[Change] = attrs.field(factory=list)
    said: list[str] = attrs.field(factory=list)
    began: Callable[[Job], None] = lambda _job: None

    def do(self, actions: Iterable[Action]) -> None:
        self.timer = math.inf
        for action in actions:
            match action:
                case Read() | Build() | Revoke() | Regrant():
                    assert name_of(action) not in self.jobs
                    self.jobs[name_of(action)] = action
                    self.began(action)
                case Publish(change, reopens):
                    self.said += ["open", "publish"] if reopens else ["publish"]
                    self.changes.append(change)
                    self.active = change.snapshot
                    self.check(change.snapshot)
                case Close(known_until):
                    self.said.append(f"close {known_until:g}")
                    self.active = None
                case HoldBack(held):
                    self.said.append("held back" if held else "active")
                case SetTimer(at):
                    assert at >= self.now
                    self.timer = at

    def apply(
        self,
        texts: Mapping[Source, DocumentText | None],
        labels: Mapping[str, tuple[Labels, ...] | None] = {},
        *,
        feeds: Collection[str] = ("",),
    ) -> None:
        self.do(self.machine.applied(texts, self.now, labels, feeds=feeds))
        self.take_steps()

    def catch_up(self, *feeds: str) -> None:
        for feed in feeds:
            self.do(self.machine.caught_up(feed, self.now))
        self.take_steps()

    def use_issuers(self, names: frozenset[str]) -> None:
        self.do(self.machine.use_issuers(names, self.now))
        self.take_steps()

    def finish(self, *names: str) -> None:
        """End what threads are doing, if they are."""
        for name in names or JOBS:
            match self.jobs.pop(name, None):
                case Read(lane) as job:
                    documents, costs = job.run(self.cpu)
                    self.do(self.machine.read(lane, documents, self.now, costs))
                case Build() as job:
                    self.do(self.machine.built(job.run(), self.now))
                case Revoke() as job:
                    self.do(self.machine.revoked(job.run(), self.now))
                case Regrant() as job:
                    self.do(self.machine.regranted(*job.run(), self.now))
        self.take_steps()

    def take_steps(self) -> None:
        """Let the machine look at all that has been reported."""
        while self.timer <= self.now:
            self.do(self.machine.tick(self.now))

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self.timer <= end:
            self.now = max(self.now, self.timer)
            self.do(self.machine.tick(self.now))
        self.now = end

    def end(self) -> None:
        """Let everything be done that is to be done, without waiting for anything else."""
        for _ in range(1000):
            self.finish()
            if not self.jobs:
                self.pause(0.04)
            if not self.jobs:
                return
        raise AssertionError("there is always more to do")


def begun(
    before: Mapping[Source, DocumentText],
    *,
    feeds: str = "x",
    grants: Grants | None = None,
    max_staleness: float = 0.0,
    labels: Mapping[str, tuple[Labels, ...] | None] = {},
) -> World:
    """Return a world whose first version is published, with these documents."""
    start = PolicySnapshot.EMPTY if grants is None else PolicySnapshot(grants)
    world = World(Machine(tuple(feeds), ISSUERS, start, max_staleness))
    world.apply(before, labels)
    world.catch_up(*feeds)
    world.end()
    assert world.active is not None
    assert world.active.settled is None
    return world


def fresh(
    texts: Mapping[Source, DocumentText],
    issuers: frozenset[str] = ISSUERS,
    grants: Grants | None = None,
    labels: Mapping[str, tuple[Labels, ...]] = {},
) -> PolicySnapshot:
    """Return the version of a service that starts now."""
    start = PolicySnapshot.EMPTY if grants is None else PolicySnapshot(grants)
    return start.changed({source: read(source, text, issuers) for source, text in texts.items()}, labels)


def told(version: PolicySnapshot) -> object:
    """Return what two versions have in common that mean the same."""
    documents = {
        one.source: (one.text, one.document.entries, one.document.closed_scopes, one.entries, one.problems, one.refused, one.is_over_quota)
        for one in version.documents()
    }
    described = {name: (own.labels, own.allowances, dict(own.over_quota), own.over_depth) for name, own in version.namespaces.items()}
    counts = version.document_count, version.entry_count, version.invalid_documents, version.refused_count
    routes = {(host, route) for host, there in version.hosts.by_name.items() for route in there.routes()}
    return documents, described, counts, routes, version.grants, version.revocation, version.settled


def check_that_nothing_that_tightens_waits(version: PolicySnapshot, *, refuses_unmatched: bool = False) -> None:
    """See that a version refuses whatever its newest documents refuse, and allows nothing else."""
    newest = attrs.evolve(version, settled=None)
    for path in PATHS:
        found, own = (one.match("h", path, "GET", refuses_unmatched=refuses_unmatched) for one in (version, newest))
        assert type(stricter(found, own, refuses_unmatched=refuses_unmatched)) is type(found), "what tightens waits"


def allowing_sources(version: PolicySnapshot) -> set[Source]:
    """Return the documents of the newest version that let a request pass without an exchange."""
    newest = attrs.evolve(version, settled=None)
    decisions = [newest.match("h", path, "GET") for path in PATHS]
    return {decision.source for decision in decisions if isinstance(decision, AllowEntry)}
