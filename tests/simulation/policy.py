"""Policy as its authors change it, the API server that has it, and what the plain model says of each version."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any, Final, final

import attrs

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.values.entry import EVERYWHERE, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, MatchScope, Source, TokenTarget
from tests.kube.fake_api_server import FakeApiServer, FakeListWatch, FakeResource
from tests.property.policy_model import Answer, answer
from tests.simulation.kernel import Kernel
from tests.simulation.plan import Plan

NAMESPACE_LABELS: Final = {"ext-authz-token-exchange.magneticflux.net/policy": "enabled"}
LABELS: Final = {"ext-authz-token-exchange.magneticflux.net/enabled": "true"}
PATHS: Final = ("/a", "/a/b", "/c", "/c/d")
# The ConfigMaps of each namespace, and the paths that each has entries for.
CONFIG_MAPS: Final = {"one": ("/a", "/c/d"), "two": ("/a/b", "/c")}
# A denial that is always somewhere, and moves.
MOVING_HOST: Final = "moving.example.com"
MOVING: Final = ("here", "there")
_DENIAL: Final = json.dumps({"version": "v1", "entries": [{"match": {"host": MOVING_HOST, "pathPrefix": "/"}, "action": "deny"}]})
BROKEN: Final = "version: v1\nentries: [{match: {host: "

# Seconds from a change until it is in force at the latest, while nothing is wrong: two gathers, two reads, and what is held back for
# documents that are still to be read.
_PROMPT: Final = 3.0
# Seconds from the end of an outage until changes are followed again at the latest: the longest pause between two attempts, and what a
# server that was silent may take to be noticed.
_RECOVERY: Final = 40.0

Texts = dict[tuple[str, str], str]


@final
@attrs.frozen
class Version:
    """All documents from a time on (seconds)."""

    since: float
    texts: Texts


@final
@attrs.define(eq=False)
class Authors:
    """Writes policy into the API server, and remembers every version of it."""

    kernel: Kernel
    plan: Plan
    server: FakeApiServer = attrs.field(factory=FakeApiServer)
    versions: list[Version] = attrs.field(factory=list, init=False)
    outages: list[tuple[float, float]] = attrs.field(factory=list, init=False)
    chance: Random = attrs.field(init=False)
    # Every ConfigMap's text, and the namespaces that count.
    _texts: Texts = attrs.field(factory=dict, init=False)
    _joined: set[str] = attrs.field(factory=set, init=False)
    _denial: tuple[str, str] = attrs.field(default=("", ""), init=False)
    _mover: Random = attrs.field(init=False)
    _namespaces: FakeResource[Namespace] = attrs.field(init=False)
    _config_maps: FakeResource[ConfigMap] = attrs.field(init=False)
    _documents: dict[tuple[str, str, str], PolicyDocument] = attrs.field(factory=dict, init=False)
    _answers: dict[tuple[int, str, str], Answer] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.chance, self._mover = self.kernel.random("authors"), self.kernel.random("movers")
        self._namespaces = FakeResource(self.server, "namespaces")
        self._config_maps = FakeResource(self.server, "configmaps")

    # What the service asks for.

    def namespaces(self, _selector: str, /) -> FakeListWatch[Namespace]:
        return self._namespaces.list_watch(selects=lambda labels: dict(labels).items() >= NAMESPACE_LABELS.items())

    def config_maps(self, _selector: str, namespace: str, /) -> FakeListWatch[ConfigMap]:
        return self._config_maps.list_watch(namespace=namespace, selects=lambda labels: dict(labels).items() >= LABELS.items())

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
        namespace = self._mover.choice(self.names)
        if namespace != self._denial[0] and self._mover.random() < 0.5:
            (self._leave if namespace in self._joined else self._join)(namespace)
            self._remember()
            return
        left, self._denial = self._denial, (namespace, self._mover.choice(MOVING))
        if left == self._denial:
            return
        self._put(*self._denial, _DENIAL)
        self._remember()
        if namespace not in self._joined:
            self._join(namespace)
            self._remember()
        if left[0] != namespace and self._mover.random() < 0.5:
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
        self.versions.append(Version(self.kernel.now, {key: text for key, text in self._texts.items() if key[0] in self._joined}))

    def _join(self, name: str) -> None:
        self._told(name, "joins")
        self._joined.add(name)
        self._namespaces.put(name, Namespace(name, tuple(sorted(NAMESPACE_LABELS.items()))), labels=NAMESPACE_LABELS)

    def _leave(self, name: str) -> None:
        self._told(name, "leaves")
        self._joined.remove(name)
        self._namespaces.put(name, Namespace(name, ()), labels={})

    def _put(self, namespace: str, name: str, text: str) -> None:
        self._told(f"{namespace}/{name}", text)
        self._texts[namespace, name] = text
        value = ConfigMap(namespace, name, tuple(sorted(LABELS.items())), text)
        self._config_maps.put(name, value, namespace=namespace, labels=LABELS)

    def _delete(self, namespace: str, name: str) -> None:
        self._told(f"{namespace}/{name}", "nothing")
        self._texts.pop((namespace, name), None)
        self._config_maps.delete(name, namespace=namespace)

    def _told(self, name: str, text: str) -> None:
        self.kernel.tell("an author", "writes", name, text)

    def _text(self, namespace: str, name: str) -> str:
        """Return a document with an entry for some of its paths, sometimes of another namespace's host or another document's path."""
        chance, entries = self.chance, []
        for path in CONFIG_MAPS[name] if chance.random() < 0.9 else PATHS:
            host = f"{chance.choice(self.names) if chance.random() < 0.1 else namespace}.example.com"
            match = {"host": host, "pathPrefix": path}
            kind = chance.random()
            if kind < 0.6:
                issuer = f"issuer-{chance.randrange(self.plan.issuers)}"
                target = {"issuerRef": issuer, "scope": chance.choice(["read", "write"]), "audiences": [chance.choice(["x", "y"])]}
                entries.append({"match": match, "action": "exchange", "exchange": target})
            elif kind < 0.75:
                entries.append({"match": match, "action": "deny"})
        return json.dumps({"version": "v1", "entries": entries})

    # What happens to the API server.

    def strike(self) -> None:
        """Let something happen to the server, for a while."""
        if not self.plan.cluster_faults:
            return
        kind = self.chance.choice(sorted(self.plan.cluster_faults))
        seconds = self.chance.choice([0.1, 1.0, 5.0])
        server = self.server
        failing = ApiFailure(FailureKind.UNREACHABLE, message="connection refused")
        match kind:
            case "down":
                server.stop()
            case "cut":
                server.cut()
            case "paused":
                server.pause()
            case "compacted":
                server.compact()
                server.cut(failing)
            case "429":
                server.failing = ApiFailure(FailureKind.TOO_MANY_REQUESTS, 429, "slow down", retry_after=1.0)
                server.cut()
            case "forbidden":
                server.failing = ApiFailure(FailureKind.FORBIDDEN, 403, "forbidden")
                server.cut()
            case "slow":
                server.latency = 0.5
            case "buffers":
                server.buffers = True
        self.kernel.tell("api server", kind, seconds)
        self.outages.append((self.kernel.now, self.kernel.now + seconds + _RECOVERY))
        self.kernel.after(seconds, self.heal)

    def heal(self) -> None:
        """End what happens to the server."""
        self.server.latency = 0.0
        self.server.heal()

    # What the model says.

    def since(self, when: float) -> float:
        """Return when the oldest version was written that may be in force at ``when``."""
        since = when - _PROMPT
        for begins, ends in reversed(self.outages):
            if begins <= when and ends >= since:
                since = min(since, begins - _PROMPT)
        return since

    def answers(self, host: str, path: str, asked: float, answered: float) -> Iterator[Answer]:
        """Yield what each version says that may have been in force between two times."""
        oldest = self.since(asked)
        for number in range(len(self.versions) - 1, -1, -1):
            version = self.versions[number]
            if version.since <= answered:
                yield self._answer(number, host, path)
            if version.since <= oldest:
                return

    def newest_answer(self, host: str, path: str) -> Answer:
        """Return what the newest version says."""
        return self._answer(len(self.versions) - 1, host, path)

    def _answer(self, number: int, host: str, path: str) -> Answer:
        if (found := self._answers.get((number, host, path))) is None:
            documents = [self._document(*key, text) for key, text in self.versions[number].texts.items()]
            found = self._answers[number, host, path] = answer(documents, UnreadableReach.UNMATCHED, host, path, "GET")
        return found

    def _document(self, namespace: str, name: str, text: str) -> PolicyDocument:
        """Return the document as the model reads it, which shares no code with the service's reader."""
        key = namespace, name, text
        if key not in self._documents:
            source = Source(namespace, name)
            if text == BROKEN:
                read = PolicyDocument(source, regions=(FailClosedRegion(source, EVERYWHERE, "it cannot be read"),))
            else:
                read = PolicyDocument(source, tuple(_entry(source, *entry) for entry in enumerate(json.loads(text)["entries"])))
            self._documents[key] = read
        return self._documents[key]


def _entry(source: Source, index: int, written: dict[str, Any]) -> Entry:
    match = MatchScope(written["match"]["host"], written["match"]["pathPrefix"])
    if written["action"] == "deny":
        return DenyEntry(source, index, match)
    target = written["exchange"]
    return ExchangeEntry(source, index, match, TokenTarget(target["issuerRef"], target["scope"], audiences=tuple(target["audiences"])))
