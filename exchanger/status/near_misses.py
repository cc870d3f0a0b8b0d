"""Looks through all Namespaces and ConfigMaps for those that were probably meant to be policy, which the service never asks for.

It is for somebody who waits for an answer, so it looks at a bounded number of objects, and a missing right only makes it say so.

Must not know: how the server is reached, or how what is found is shown.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeVar, final

import attrs
import trio

from exchanger.kube.index import EVERY_NAMESPACE
from exchanger.kube.informer import missing_right
from exchanger.kube.list_watch import ApiFailure, ListWatch
from exchanger.kube.settings import KubernetesSettings
from exchanger.kube.source import ListWatches
from exchanger.kube.store import PAGE_SIZE
from exchanger.policy.notices import is_declined, of_config_maps, of_namespaces
from exchanger.policy.objects import Namespace
from exchanger.policy.selector import Selector
from exchanger.values.notice import Notice

T = TypeVar("T")

MAX_OBJECTS: Final = 20_000
"""Objects of a kind that are looked at: 40 pages, which a server sends within seconds. They are dropped page by page."""
TIMEOUT_S: Final = 30.0
"""Seconds for everything: somebody waits in front of a terminal."""
NOWHERE: Final = Selector()


@final
@attrs.define(eq=False)
class NearMisses:
    """What was found. ``namespaces`` are those that are there, each with whether its labels settle the matter.

    ``gaps`` says what was not looked at, and why.
    """

    notices: list[Notice] = attrs.field(factory=list, init=False)
    namespaces: dict[str, bool] = attrs.field(factory=dict, init=False)
    gaps: list[str] = attrs.field(factory=list, init=False)

    async def look(self, list_watches: ListWatches, settings: KubernetesSettings) -> None:
        """Look at what there is, whatever its labels."""
        with trio.move_on_after(TIMEOUT_S) as scope:
            if not settings.namespaces:
                await self._look_at_namespaces(list_watches, settings)
            for namespace in settings.namespaces or (EVERY_NAMESPACE,):
                await self._look_at_config_maps(list_watches, settings, namespace)
        if scope.cancelled_caught:
            self.gaps.append(f"what could not be listed within {TIMEOUT_S:.0f} s")

    async def _look_at_namespaces(self, list_watches: ListWatches, settings: KubernetesSettings) -> None:
        selector = settings.namespace_selector
        async with aclosing(self._pages("namespaces", EVERY_NAMESPACE, list_watches.namespaces(str(NOWHERE)))) as pages:
            async for page in pages:
                self.namespaces.update((item.name, _is_settled(item, selector)) for item in page)
                unsettled = (item for item in page if not self.namespaces[item.name])
                self.notices += of_namespaces(unsettled, selector, settings.configmap_selector)

    async def _look_at_config_maps(self, list_watches: ListWatches, settings: KubernetesSettings, namespace: str) -> None:
        selector = settings.configmap_selector
        async with aclosing(self._pages("configmaps", namespace, list_watches.config_maps(str(NOWHERE), namespace))) as pages:
            async for page in pages:
                others = [item for item in page if not selector.matches(dict(item.labels))]
                self.notices += of_config_maps(others, {}, selector, settings.namespace_selector)

    async def _pages(self, resource: str, namespace: str, list_watch: ListWatch[T]) -> AsyncGenerator[tuple[T, ...]]:
        token, seen = "", 0
        while True:
            page = await list_watch.list_page(limit=PAGE_SIZE, continue_token=token)
            if isinstance(page, ApiFailure):
                self.gaps.append(missing_right(resource, namespace, page) or f"{list_watch.name}: {page.kind.value.replace('_', ' ')}")
                return
            yield tuple(item.value for item in page.items)
            token, seen = page.continue_token, seen + len(page.items)
            if not token:
                return
            if seen >= MAX_OBJECTS or not page.items:
                self.gaps.append(f"{list_watch.name} beyond the first {seen}")
                return


def _is_settled(namespace: Namespace, selector: Selector) -> bool:
    return selector.matches(dict(namespace.labels)) or is_declined(namespace.labels, selector)
