"""Finds out why documents of a cluster are no longer in force.

A watch with a selector reports an object that lost its label as deleted, and nothing in the event tells the two apart. So the server is
asked for the object by name, after the document is gone: this changes nothing, and what cannot be told in time is left open.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, TypeVar, final

import attrs
import trio

from exchanger.kube.api.connection import ApiConnection
from exchanger.kube.api.decoding import CONFIG_MAP, NAMESPACE, Kind
from exchanger.kube.api.resource import Resource, path_of
from exchanger.kube.list_watch import ApiFailure
from exchanger.kube.settings import KubernetesSettings
from exchanger.policy.selection import Change, PolicyObject
from exchanger.policy.withdrawal import Reasons, why_gone
from exchanger.values.entry import Source

# Documents of one version whose reasons are looked for, by two small requests each at most.
MAX_ASKED: Final = 20
# Seconds for all of them: a working API server takes milliseconds for each.
ASK_S: Final = 2.0
# Versions that wait for their reasons; beyond, these are left open.
MAX_WAITING: Final = 10

T = TypeVar("T")

Then = Callable[[Change, Reasons], None]


@final
@attrs.define(eq=False)
class Withdrawals:
    """Tells of versions, in order, with the reasons for what is gone. ``settings`` returns those of the source now."""

    connection: ApiConnection
    settings: Callable[[], KubernetesSettings]
    _waiting: deque[tuple[Change, Then]] = attrs.field(factory=deque, init=False, repr=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)

    def explain(self, change: Change, then: Then) -> None:
        """Call ``then`` with ``change``: at once if nothing is gone, otherwise as soon as the reasons are known."""
        if not self._waiting and not change.withdrawn:
            then(change, {})
            return
        self._waiting.append((change, then))
        self._news.set()

    async def run(self) -> None:
        """Ask until cancelled; what waits then is told without reasons."""
        try:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                while self._waiting:
                    change, _ = self._waiting[0]
                    reasons: Reasons = {}
                    if change.withdrawn and len(self._waiting) <= MAX_WAITING:
                        with trio.move_on_after(ASK_S):
                            reasons = await self._ask(islice(change.withdrawn, MAX_ASKED))
                    self._tell(reasons)
        finally:
            while self._waiting:
                self._tell({})

    def _tell(self, reasons: Reasons) -> None:
        change, then = self._waiting.popleft()
        then(change, reasons)

    async def _ask(self, sources: Iterable[Source]) -> Reasons:
        settings = self.settings()
        objects: list[PolicyObject] = []
        asked: list[Source] = []
        known: set[str] = set()
        for source in sources:
            namespace = source.namespace
            if settings.namespaces and namespace not in settings.namespaces:  # no longer named, which is enough, and leaves no right to ask
                asked.append(source)
                continue
            if not settings.namespaces and namespace not in known:
                known.add(namespace)
                found = await self._named(path_of("api", "v1", "namespaces"), NAMESPACE, namespace)
                if found is None:
                    break
                objects += found
            config_maps = await self._named(path_of("api", "v1", "namespaces", namespace, "configmaps"), CONFIG_MAP, source.name)
            if config_maps is None:
                break
            objects += config_maps
            asked.append(source)
        return why_gone(asked, objects, settings.namespace_selector, settings.configmap_selector, settings.namespaces)

    async def _named(self, path: str, kind: Kind[T], name: str) -> tuple[T, ...] | None:
        """Return the object of this name at ``path``, if it is there; ``None`` if that cannot be told."""
        page = await Resource(self.connection, path, kind, field_selector=f"metadata.name={name}").list_page(limit=1)
        return None if isinstance(page, ApiFailure) else tuple(item.value for item in page.items)
