"""Finds what grants give Namespaces less than they seem to, beside everything else: nothing waits for it.

Must not know: documents, or feeds.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final, final

import attrs
import trio

from exchanger.model.notice import Notice
from exchanger.net.network import RunSync
from exchanger.policy.documents.document import Labels
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.notices import of_allowance

# Granted areas of a Namespace that are computed on the event loop, in 1 ms; more of them in a thread.
INLINE_AREAS: Final = 100
# Namespaces that are looked at in one step: each costs a microsecond per grant.
STEP: Final = 10


@final
@attrs.define(eq=False)
class Ungranted:
    """Follows the descriptions of Namespaces, and ``grants``. ``changed`` is called when the notices may differ."""

    grants: Grants
    changed: Callable[[], None]
    run_sync: RunSync
    _described: dict[str, tuple[Labels, ...] | None] = attrs.field(factory=dict, init=False, repr=False)
    _news: trio.Event = attrs.field(factory=trio.Event, init=False)
    _found: dict[str, tuple[Notice, ...]] = attrs.field(factory=dict, init=False, repr=False)

    def describe(self, described: Mapping[str, tuple[Labels, ...] | None]) -> None:
        """Take note of Namespaces with other labels, ``None`` for those that are gone."""
        if described:
            self._described.update(described)
            self._news.set()

    def use(self, grants: Grants, described: Mapping[str, tuple[Labels, ...]]) -> None:
        """Look at all Namespaces, described by these labels, under other grants."""
        self.grants = grants
        self.describe(described)

    @property
    def count(self) -> int:
        """The number of notices."""
        return sum(map(len, self._found.values()))

    def notices(self) -> Iterator[Notice]:
        """Return the notices found so far."""
        return chain.from_iterable(self._found.values())

    async def run(self) -> None:
        """Look at Namespaces until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            if await self._look():
                self.changed()

    async def _look(self) -> bool:
        """Return whether there may be a difference."""
        described, self._described, grants = self._described, {}, self.grants
        differs = False
        for number, (namespace, labels) in enumerate(described.items(), 1):
            found: tuple[Notice, ...] = ()
            if labels is not None and grants.area_count(namespace, labels) <= INLINE_AREAS:
                found = tuple(of_allowance(grants, namespace, labels))
            elif labels is not None:
                found = await self.run_sync(lambda: tuple(of_allowance(grants, namespace, labels)), abandon_on_cancel=True)  # noqa: B023 - awaited
            differs |= self._found.pop(namespace, ()) != found
            if found:
                self._found[namespace] = found
            if number % STEP == 0:
                await trio.lowlevel.checkpoint()
        return differs
