"""A policy that changes, what tells its authors, and the fake server that it writes to."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import attrs
import trio
import trio.testing

from exchanger.model.entry import Source
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.selection import Change, Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.kube.api.connection import ApiConnection
from exchanger.sources.kube.event_writer import EventWriter
from exchanger.sources.kube.events import PolicyEvents, PolicyEventsSettings
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from exchanger.sources.publish.conflict_watch import ConflictWatch
from tests.lines import logger_to

NO_VERSION: Final = "version:"
REFUSED: Final = ApiFailure(FailureKind.UNREACHABLE, message="the connection was refused")
EXISTS: Final = ApiFailure(FailureKind.UNSUPPORTED, 409, "exists")


@attrs.define(eq=False)
class FakeEvents:
    """Implements ``EventSender``: keeps Events; ``failing`` is asked first."""

    failing: Callable[[str, str], ApiFailure | None] = lambda _method, _path: None
    hanging: bool = False
    answers_after: float = 0.0
    answers_lost: int = 0
    events: dict[str, dict[str, object]] = attrs.field(factory=dict)
    requests: list[tuple[float, str, str]] = attrs.field(factory=list)

    async def send(
        self, method: str, path: str, body: dict[str, object] | None = None, *, content_type: str = "application/json"
    ) -> dict[str, object] | ApiFailure:
        assert body is not None
        self.requests.append((trio.current_time(), method, path))
        if self.hanging:
            await trio.sleep_forever()
        await trio.sleep(self.answers_after)
        failure = self.failing(method, path)
        if failure is not None:
            return failure
        if method == "POST":
            metadata = body["metadata"]
            assert isinstance(metadata, dict)
            path = f"{path}/{metadata['name']}"
            if path in self.events:
                return EXISTS
            self.events[path] = dict(body)
            if self.answers_lost:
                self.answers_lost -= 1
                return REFUSED
            return body
        assert (method, content_type) == ("PATCH", "application/merge-patch+json")
        if path not in self.events:
            return ApiFailure(FailureKind.NOT_FOUND, 404)
        self.events[path].update({name: value for name, value in body.items() if name != "metadata"})
        return {**self.events[path], "metadata": {"resourceVersion": "7"}}

    def said(self) -> list[tuple[object, object, object]]:
        """Return which ConfigMap was told what, and how often."""
        return [
            (involved["name"], event["reason"], event["count"])
            for event in self.events.values()
            if isinstance(involved := event["involvedObject"], dict)
        ]


@attrs.define(eq=False)
class Stage:
    """A policy that changes, what follows it, and where it writes."""

    server: FakeEvents
    events: PolicyEvents
    conflicts: ConflictWatch
    missing: list[str]
    issuers: frozenset[str] = frozenset()
    grants: Grants = NO_GRANTS
    _texts: dict[Source, Text] = attrs.field(factory=dict)
    _snapshot: PolicySnapshot = PolicySnapshot.EMPTY

    def put(self, **documents: str | None) -> None:
        """Change documents of ``team``; ``None`` removes one."""
        self.put_in("team", **documents)

    def put_in(self, namespace: str, **documents: str | None) -> None:
        after = dict(self._texts)
        for name, text in documents.items():
            after.pop(Source(namespace, name), None)
            if text is not None:
                after[Source(namespace, name)] = Text(text)
        change = advance(self._snapshot, self._texts, after, self.issuers, grants=self.grants)
        self._texts, self._snapshot = after, change.snapshot
        self._publish(change)

    def read_all_again(self) -> None:
        """Publish what differs after every document was read again, as when issuers or grants are others."""
        change = advance(self._snapshot, self._texts, self._texts, self.issuers, afresh=True, grants=self.grants)
        changed = tuple(document for document in change.documents if self._snapshot.document(document.source) is not document)
        self._snapshot = change.snapshot
        self._publish(attrs.evolve(change, documents=changed))

    def _publish(self, change: Change) -> None:
        self.events.published(change)
        self.conflicts.published(change)

    async def settle(self) -> None:
        """Wait until there is nothing to do before time passes."""
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def stage(
    server: FakeEvents | None = None, settings: PolicyEventsSettings | None = None, connection: ApiConnection | None = None
) -> AsyncGenerator[Stage]:
    """Follow the changes of a policy until the block ends, and write to ``server``, or to a real one over ``connection``."""
    server = server or FakeEvents()
    missing: list[str] = []
    writer = EventWriter(server, Random(1), clock=trio.current_time) if connection is None else EventWriter(connection, Random(1))
    events = PolicyEvents(writer, settings or PolicyEventsSettings(), log=logger_to(lambda line: missing.append(line["reason"])))
    conflicts = ConflictWatch((events,))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(conflicts.run)
        await nursery.start(events.run)
        yield Stage(server, events, conflicts, missing)
        nursery.cancel_scope.cancel()
