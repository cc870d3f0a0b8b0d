"""Policy as its authors change it, in a cluster or in a folder, and what the plain model says of each version."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, chain, combinations
from random import Random
from typing import Any, Final, final

import attrs

from exchanger.model.entry import (
    EVERYWHERE,
    AllowEntry,
    Claim,
    DenyEntry,
    ExchangeEntry,
    FailClosedScope,
    MatchScope,
    PathType,
    Source,
    TokenTarget,
)
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.snapshot import UnreadableReach
from tests.property.policy_model import CLOSED, Answer, decision, over_quota, parts_of, strictness
from tests.simulation.cluster import LABELS, NAMESPACE_LABELS, RECOVERY, Cluster
from tests.simulation.folder import Folder
from tests.simulation.grammar import GRAMMAR, MOVING_HOST, PATHS, Grammar, Request
from tests.simulation.grants import PlatformTeam
from tests.simulation.kernel import Kernel
from tests.simulation.plan import Plan

# The ConfigMaps of each namespace, and the paths that each has entries for.
CONFIG_MAPS: Final = {"one": ("/a", "/c/d"), "two": ("/a/b", "/c")}
# Where the denial is that moves.
MOVING: Final = ("here", "there")
_DENIAL: Final = json.dumps({"version": "v1", "entries": [{"match": {"host": MOVING_HOST, "pathPrefix": "/"}, "action": "deny"}]})
BROKEN: Final = "version: v1\nentries: [{match: {host: "
# Seconds until a ConfigMap is read for which a namespace has room again: a minute, and what a list may take.
_READ_AGAIN: Final = 75.0
# Seconds until a document is read again for which its namespace's quota has room.
_READ_AT_ONCE: Final = 2.0
# Seconds until both watches have said all after an API server stood still.
_GOES_ON: Final = 1.0
# What authors get wrong in an entry, which then closes what its match says, or all that it might have meant.
_UNKNOWN_ACTION: Final = "permit"
_UNKNOWN_ISSUER: Final = "issuer-none"
SLIPS: Final = ("action", "issuer", "host", "path")
# All refusals are alike for what a version may not loosen.
_REFUSES: Final = strictness(DenyEntry(Source("", ""), 0, EVERYWHERE))

# A ConfigMap: its namespace, and its name.
Named = tuple[str, str]
Texts = dict[Named, str]


@final
@attrs.frozen
class Version:
    """All ConfigMaps from a time on (seconds), and the namespaces whose count."""

    since: float
    texts: Texts
    joined: frozenset[str]


@final
@attrs.define(eq=False)
class Authors:
    """Writes policy to a ``place``, and remembers every version of it. ``grants`` say what counts, if there are any."""

    kernel: Kernel
    plan: Plan
    place: Cluster | Folder
    grants: PlatformTeam | None = None
    versions: list[Version] = attrs.field(factory=list, init=False)
    outages: list[tuple[float, float, str]] = attrs.field(factory=list, init=False)
    chance: Random = attrs.field(init=False)
    # Every ConfigMap's text, and the namespaces that count.
    _texts: Texts = attrs.field(factory=dict, init=False)
    _joined: set[str] = attrs.field(factory=set, init=False)
    _denial: tuple[str, str] = attrs.field(default=("", ""), init=False)
    _grammar: Grammar = attrs.field(init=False)
    # What gateways ask about.
    requests: list[Request] = attrs.field(init=False)
    # What is still being written, and how often each ConfigMap was.
    _late: Texts = attrs.field(factory=dict, init=False)
    _writes: Counter[tuple[str, str]] = attrs.field(factory=Counter, init=False)
    _documents: dict[tuple[str, str, str], PolicyDocument] = attrs.field(factory=dict, init=False)
    _beyond_limits: dict[int, frozenset[Named]] = attrs.field(factory=dict, init=False)
    _hosts_over_quota: dict[int, frozenset[str | None]] = attrs.field(factory=dict, init=False)
    _answers: dict[tuple[int, int, Request, frozenset[str], frozenset[Named]], Answer] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = self.kernel.random("authors")
        self._grammar = Grammar(self.plan.grammar, {kind: self.kernel.random(f"grammar {kind}") for kind in GRAMMAR})
        self.requests = self._grammar.requests(self.hosts, PATHS)

    # What authors do.

    @property
    def names(self) -> list[str]:
        return [f"team-{number}" for number in range(self.plan.namespaces)]

    @property
    def hosts(self) -> list[str]:
        return [*(f"{name}.example.com" for name in self.names), *([MOVING_HOST] if self.plan.moves else ())]

    def begin(self) -> None:
        """Write the first version."""
        for name in self.names:
            self._join(name)
            for config_map in CONFIG_MAPS:
                self._put(name, config_map, self._text(name, config_map))
        if self.plan.moves:
            self._denial = self.names[0], MOVING[0]
            self._put(*self._denial, _DENIAL)
        self._remember()

    def edit(self) -> None:
        """Change one ConfigMap: write it anew, break it, or delete it."""
        namespace, name = self.chance.choice(self.names), self.chance.choice([*CONFIG_MAPS])
        what = self.chance.random()
        if what < 0.15:
            self._delete(namespace, name)
        else:
            self._put(namespace, name, BROKEN if what < 0.3 else self._text(namespace, name))
        self._remember()

    def move(self) -> None:
        """Move the denial to another ConfigMap, which has it first; or let a namespace leave, or come back."""
        chance = self.kernel.stream("movers")
        namespace = chance.choice(self.names)
        if namespace != self._denial[0] and chance.random() < 0.5:
            (self._leave if namespace in self._joined else self._join)(namespace)
            self._remember()
            return
        left, self._denial = self._denial, (namespace, chance.choice(MOVING))
        if left == self._denial:
            return
        self._put(*self._denial, _DENIAL)
        self._remember()
        if namespace not in self._joined:
            self._join(namespace)
            self._remember()
        if left[0] != namespace and chance.random() < 0.5:
            self._leave(left[0])
            self._remember()
        self._delete(*left)
        self._remember()

    def mend(self) -> None:
        """Write a policy for each namespace that is valid, as the storm ends."""
        for name in self.names:
            if name not in self._joined:
                self._join(name)
        for key in [(name, config_map) for name in self.names for config_map in CONFIG_MAPS]:
            if self._texts.get(key, BROKEN) == BROKEN:
                self._put(*key, self._text(*key))
        self._remember()

    def _remember(self) -> None:
        self.versions.append(Version(self.kernel.now, dict(self._texts), frozenset(self._joined)))

    def _join(self, name: str) -> None:
        self._told(name, "joins")
        self._joined.add(name)
        self.place.namespace(name, NAMESPACE_LABELS)

    def _leave(self, name: str) -> None:
        self._told(name, "leaves")
        self._joined.remove(name)
        self.place.namespace(name, {})

    def _put(self, namespace: str, name: str, text: str) -> None:
        self._told(f"{namespace}/{name}", text)
        key = namespace, name
        self._writes[key] += 1
        if seconds := self.place.put(namespace, name, LABELS, text):  # until then, what was there counts
            self._late[key] = text
            self.kernel.after(seconds, self._arrives, key, self._writes[key])
        else:
            self._late.pop(key, None)
            self._texts[key] = text

    def _arrives(self, key: tuple[str, str], write: int) -> None:
        if self._writes[key] == write and key in self._late:
            self._texts[key] = self._late.pop(key)
            self._remember()

    def settle(self) -> None:
        """All of what was being written is there now."""
        if self._late:
            self._texts |= self._late
            self._late.clear()
            self._remember()

    def _delete(self, namespace: str, name: str) -> None:
        self._told(f"{namespace}/{name}", "nothing")
        self._texts.pop((namespace, name), None)
        self._writes[namespace, name] += 1
        self._late.pop((namespace, name), None)
        self.place.delete(namespace, name)

    def _told(self, name: str, text: str) -> None:
        self.kernel.tell("an author", "writes", name, text)

    def _text(self, namespace: str, name: str) -> str:
        """Return a document with an entry for some of its paths, sometimes of another namespace's host or another document's path."""
        chance, slips, entries = self.chance, self.kernel.stream("slips of authors"), []
        for path in CONFIG_MAPS[name] if chance.random() < 0.9 else PATHS:
            host = f"{chance.choice(self.names) if chance.random() < 0.1 else namespace}.example.com"
            match = {"host": host, "pathPrefix": path}
            kind = chance.random()
            if kind < 0.6:
                number = chance.randrange(self.plan.issuers)
                target: dict[str, Any] = {"issuerRef": f"issuer-{number}", "scope": chance.choice(["read", "write"])}
                audiences = [chance.choice(["x", "y"])]
                target |= {"audiences": audiences} if number >= self.plan.chained else {}  # that of a chain is in its profile
                entries.append({"match": match, "action": "exchange", "exchange": target})
                self._grammar.entry(entries[-1])
            elif kind < 0.75:
                entries.append({"match": match, "action": "deny"})
                self._grammar.entry(entries[-1])
            if entries and slips.random() < self.plan.slips:
                _spoil(entries[-1], slips.choice(SLIPS))
        long = slips.choice([300, 700]) if self.plan.room and self.plan.kib == 1 else 0  # so that some exceed it
        return json.dumps({"version": "v1", "entries": entries}).ljust(long)

    def strike(self) -> None:
        """Let something happen to where the policies are, for a while."""
        kind, seconds = self.place.strike(self.chance)
        if kind:
            self.kernel.tell("policies", kind, seconds)
            self.outages.append((self.kernel.now, self.kernel.now + seconds, kind))

    def delay(self) -> None:
        """Let what happens to ConfigMaps arrive late for a while."""
        if isinstance(self.place, Cluster):
            late, seconds = self.place.delay(self.kernel.stream("late watches"))
            self.kernel.tell("policies", "late", late, seconds)
            self.outages.append((self.kernel.now, self.kernel.now + seconds, "late"))

    # What the model says.

    def since(self, when: float) -> float:
        """Return when the oldest version was written that may be active at ``when``."""
        since = when - self.place.prompt
        for begins, ends, _ in reversed(self.outages):
            if begins <= when and ends >= since:
                since = min(since, begins - self.place.prompt)
        return since

    def _beyond(self, number: int) -> frozenset[Named]:
        """Return the ConfigMaps of a version that are beyond the limits of their namespaces; each closes what a broken one does."""
        room, kib = self.plan.room, self.plan.kib
        if not room:
            return frozenset()
        if (known := self._beyond_limits.get(number)) is not None:
            return known
        found, count, size, texts = set[Named](), Counter[str](), Counter[str](), self.versions[number].texts
        for key in sorted(texts):
            namespace = key[0]
            count[namespace] += 1
            size[namespace] += len(texts[key])  # beyond the first without room, all are without
            if count[namespace] > room or size[namespace] > 1024 * kib:
                found.add(key)
        self._beyond_limits[number] = frozenset(found)
        return self._beyond_limits[number]

    def _without_room(self, since: float, until: float) -> frozenset[Named]:
        """Return what was beyond the limits of a namespace between two times."""
        return frozenset().union(*map(self._beyond, self._between(since, until))) if self.plan.room else frozenset()

    def _between(self, since: float, until: float) -> Iterator[int]:
        """Yield the numbers of the versions that were there at some time between two."""
        ends = (version.since for version in self.versions[1:])
        spans = zip(self.versions, [*ends, float("inf")], strict=True)
        yield from (number for number, (version, end) in enumerate(spans) if version.since <= until and end >= since)

    def _was_over_quota(self, host: str, since: float, until: float) -> bool:
        """Tell whether a document that names ``host`` was over the quota of its namespace between two times."""
        return bool(self.plan.quota) and any({host, None} & self._over_quota(number) for number in self._between(since, until))

    def _over_quota(self, number: int) -> frozenset[str | None]:
        """Return the hosts of the documents of a version that are over the quotas of their namespaces, ``None`` for all hosts."""
        if number not in self._hosts_over_quota:
            documents = [self._document(*named, text) for named, text in self.versions[number].texts.items()]
            closing = {*self._limited(documents)} - {*documents}
            self._hosts_over_quota[number] = frozenset(
                closed_scope.match.host for document in closing for closed_scope in document.closed_scopes
            )
        return self._hosts_over_quota[number]

    def _limited(self, documents: list[PolicyDocument]) -> list[PolicyDocument]:
        return over_quota(documents, NamespaceLimits(entries=self.plan.quota)) if self.plan.quota else documents

    def _active(self, asked: float, answered: float, born: float) -> range:
        """Return the numbers of the versions that may have been active between two times."""
        oldest = max(self.since(asked), born)
        first = max((number for number, version in enumerate(self.versions) if version.since <= oldest), default=0)
        return range(first, sum(version.since <= answered for version in self.versions))

    def _granted(self, asked: float, answered: float) -> list[int]:
        return [0] if self.grants is None else [*self.grants.active(asked, answered)]

    def answers(self, request: Request, asked: float, answered: float, born: float = 0.0) -> Iterator[Answer]:
        """Yield what each version says that may have been active between two times, for a service that was ``born`` (seconds)."""
        granted = self._granted(asked, answered)
        for number in reversed(self._active(asked, answered, born)):
            yield from (self._answer(number, one, request) for one in granted)
        if self._without_room(asked - _READ_AGAIN, answered) or self._was_over_quota(
            request.host, self.since(asked) - _READ_AT_ONCE, answered
        ):
            yield CLOSED  # what has room again is read later

    def answers_between(self, request: Request, asked: float, answered: float, born: float = 0.0) -> Iterator[Answer]:
        """Yield what states say that no version has had, but that may have been active: what ``answers`` leaves out, since it is seldom.

        A ConfigMap that has room again may not be read yet, while others are. After an outage of the API server, the watch of Namespaces is
        back before that of ConfigMaps, or after it: which namespaces count is of another version than the texts. The versions before
        stay active beside such a mixture, so it never loosens what all of them refuse, or exchange; except where a proxy holds the events
        of both back, or an API server goes on after seconds in which it stood still, which nothing shows.
        """
        late = self._without_room(asked - _READ_AGAIN, answered)
        numbers = self._active(asked, answered, born)
        outages = {kind: ends for begins, ends, kind in self.outages if begins <= answered and ends >= asked}
        mixed = isinstance(self.place, Cluster) and bool(outages)
        hidden = "buffers" in outages or asked <= outages.get("paused", 0.0) - RECOVERY + _GOES_ON
        for one in self._granted(asked, answered):
            for unread in _subsets(self._about(request.host, late, numbers)):
                linear = (self._answer(number, one, request, unread=unread) for number in numbers)
                loosest = list(accumulate((min(strictness(said), _REFUSES) for said in linear), min))
                for number in numbers:
                    yield self._answer(number, one, request, unread=unread)
                    for joined, until in self._joined_in(numbers, number).items() if mixed else ():
                        said = self._answer(number, one, request, joined, unread)
                        if hidden or min(strictness(said), _REFUSES) >= loosest[until - numbers.start]:
                            yield said

    def _joined_in(self, numbers: range, texts: int) -> dict[frozenset[str], int]:
        """Return which namespaces counted in these versions, and the newest version that may be held beside them and these ``texts``."""
        found: dict[frozenset[str], int] = {}
        for number in numbers:
            joined = self.versions[number].joined
            found[joined] = max(found.get(joined, numbers.start), min(number, texts))
        return found

    def _about(self, host: str, keys: frozenset[Named], numbers: range) -> list[Named]:
        """Return those of ``keys`` whose text names ``host`` in any of these versions; of the others, it matters only that they close."""
        return sorted(key for key in keys if any(host in self.versions[number].texts.get(key, "") for number in numbers))

    def newest_answer(self, request: Request) -> Answer:
        """Return what the newest version says."""
        return self._answer(len(self.versions) - 1, 0 if self.grants is None else len(self.grants.versions) - 1, request)

    def _answer(
        self,
        number: int,
        granted: int,
        request: Request,
        joined: frozenset[str] | None = None,
        unread: frozenset[Named] = frozenset(),
    ) -> Answer:
        """Return what the texts of a version say if the namespaces that have ``joined`` count, and ConfigMaps are ``unread``."""
        if self.grants is not None and (denial := self.grants.denial(granted, request.host, request.path)) is not None:
            return denial
        version = self.versions[number]
        joined = version.joined if joined is None else joined
        key = number, granted, request, joined, unread
        if (found := self._answers.get(key)) is None:
            closed = self._beyond(number) | unread
            texts = {named: BROKEN if named in closed else text for named, text in version.texts.items() if named[0] in joined}
            documents = [self._document(*named, text) for named, text in texts.items()]
            documents = self._limited(documents)
            parts = parts_of(documents)
            if self.grants is not None:
                parts = [part for document in documents for part in self.grants.left(granted, document)]
            found = self._answers[key] = decision(
                parts, UnreadableReach.UNMATCHED, request.host, request.path, request.method, [*request.fields]
            )
        return found

    def _document(self, namespace: str, name: str, text: str) -> PolicyDocument:
        """Return the document as the model reads it, which shares no code with the service's reader."""
        key = namespace, name, text
        if key not in self._documents:
            source = Source(namespace, name)
            if text == BROKEN:
                read = PolicyDocument(source, closed_scopes=(FailClosedScope(source, EVERYWHERE, "it cannot be read"),))
            else:
                claims = [_claim(source, *entry) for entry in enumerate(json.loads(text)["entries"])]
                closed_scopes = tuple(claim for claim in claims if isinstance(claim, FailClosedScope))
                read = PolicyDocument(source, tuple(claim for claim in claims if not isinstance(claim, FailClosedScope)), closed_scopes)
            self._documents[key] = read
        return self._documents[key]


def _subsets(keys: list[Named]) -> Iterator[frozenset[Named]]:
    yield from map(frozenset, chain.from_iterable(combinations(keys, count) for count in range(len(keys) + 1)))


def _spoil(entry: dict[str, Any], slip: str) -> None:
    match slip:
        case "action":
            entry["action"] = _UNKNOWN_ACTION
        case "issuer" if "exchange" in entry:
            entry["exchange"]["issuerRef"] = _UNKNOWN_ISSUER
        case "host":
            entry["match"].pop("host", None)
        case "path":
            entry["match"].pop("pathPrefix", None)


def _claim(source: Source, index: int, written: dict[str, Any]) -> Claim:
    said = written["match"]
    methods, kind = said.get("methods"), PathType(said.get("pathType", PathType.PREFIX.value))
    match = MatchScope(
        said.get("host"),
        said.get("pathPrefix", ""),
        None if methods is None else frozenset(methods),
        said.get("caseInsensitive", False),
        kind,
        tuple(sorted((one["name"], one["value"]) for one in said.get("headers", ()))),
    )
    target, action = written.get("exchange", {}), written["action"]
    if not {"host", "pathPrefix"} <= said.keys() or action == _UNKNOWN_ACTION or target.get("issuerRef") == _UNKNOWN_ISSUER:
        kind = kind if "pathPrefix" in said else PathType.PREFIX
        return FailClosedScope(source, attrs.evolve(match, headers=(), path_type=kind), "it is invalid", index)
    if action != "exchange":
        return (DenyEntry if action == "deny" else AllowEntry)(source, index, match)
    return ExchangeEntry(
        source, index, match, TokenTarget(target["issuerRef"], target["scope"], audiences=tuple(target.get("audiences", ())))
    )
