"""One resource on its way from a reflector into the index, and what is to be known of it: whether it is complete, and how old.

Must not know: what follows from a change.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final, Generic, TypeVar, final

import attrs
import trio

from exchanger.kube.index import EVERY_NAMESPACE, PolicyIndex
from exchanger.kube.list_watch import ApiFailure, Item, Key, ListWatch
from exchanger.kube.observer import KubernetesObserver, missing_right
from exchanger.kube.reflector import Reflector, Sink
from exchanger.kube.settings import KubernetesSettings
from exchanger.policy.selection import ConfigMap, Namespace

T = TypeVar("T")

REFUSALS: Final = 2
"""Refusals in a row after which a right is missing: an API server refuses everything for a moment at its start. The second one comes a
second later."""


Taking = Callable[[], Iterator[None] | None]
"""Has the index take something, at once or in steps of bounded work."""


@final
@attrs.frozen
class NamespaceSink:
    """Hands Namespaces on to the index, by telling ``said`` how it is to take them."""

    _index: PolicyIndex
    _said: Callable[[Taking], None]

    def replaced(self, items: Mapping[Key, Item[Namespace]], /) -> None:
        """See ``reflector.Sink``."""
        self._said(lambda: self._index.replacing_namespaces(item.value for item in items.values()))

    def put(self, item: Item[Namespace], /) -> None:
        """See ``reflector.Sink``."""
        self._said(lambda: self._index.putting_namespace(item.value))

    def deleted(self, key: Key, /) -> None:
        """See ``reflector.Sink``."""
        self._said(lambda: self._index.deleting_namespace(key.name))


@final
@attrs.frozen
class ConfigMapSink:
    """Hands on the ConfigMaps of ``namespace``, or all, in the same way; others are not this list's to speak of."""

    _index: PolicyIndex
    _said: Callable[[Taking], None]
    _namespace: str = EVERY_NAMESPACE

    def replaced(self, items: Mapping[Key, Item[ConfigMap]], /) -> None:
        """See ``reflector.Sink``."""
        self._said(lambda: self._index.replacing_config_maps((item.value for item in items.values()), self._namespace))

    def put(self, item: Item[ConfigMap], /) -> None:
        """See ``reflector.Sink``."""
        if self._namespace in {EVERY_NAMESPACE, item.key.namespace}:
            self._said(lambda: self._index.put_config_map(item.value))

    def deleted(self, key: Key, /) -> None:
        """See ``reflector.Sink``."""
        if self._namespace in {EVERY_NAMESPACE, key.namespace}:
            self._said(lambda: self._index.delete_config_map(key.namespace, key.name))


@final
@attrs.define(eq=False)
class Feed(Generic[T]):
    """Runs the reflector of one resource, ``namespaces`` or ``configmaps``, and is its observer."""

    resource: str
    namespace: str
    list_watch: ListWatch[T]
    sink: Sink[T]
    observer: KubernetesObserver
    changed: Callable[[], None]
    settings: KubernetesSettings
    random: Random
    complete: bool = attrs.field(default=False, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _refusals: int = attrs.field(default=0, init=False)
    """How often in a row the server has said that a right is missing."""
    _reflector: Reflector[T] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reflector = Reflector(self.list_watch, self.sink, self, self.settings.reflector, self.random)

    async def run(self) -> None:
        """Follow the resource until cancelled, or until ``close``."""
        with self._scope:
            await self._reflector.run()

    def close(self) -> None:
        """Follow it no longer."""
        self._scope.cancel()
        self._refused(0)

    @property
    def is_unreadable(self) -> bool:
        """Tell whether the right to read it is missing."""
        return self._refusals >= REFUSALS

    @property
    def is_connected(self) -> bool:
        """Tell whether changes are followed."""
        return self._reflector.statistics().connected

    def current_until(self, now: float) -> float:
        """Return the last moment (seconds of trio's clock) up to which what is known was current; ``now`` when it still is.

        It is while changes are followed and the server is silent for no longer than servers are. Otherwise it was current at the last
        sign of life, however much later the silence was found. Where watches are in doubt, nothing shows what was not said between signs.
        """
        known = self._reflector.statistics()
        if known.last_contact is None:
            return now
        silent = now - known.last_contact > self.settings.reflector.silence
        return now if known.connected and not known.doubted and not silent else known.last_contact

    def hurry(self, hurried: bool) -> None:  # noqa: FBT001 - the one thing there is to say
        """See ``Reflector.hurry``."""
        self._reflector.hurry(hurried)

    def listed(self, name: str, count: int, resource_version: str, /) -> None:
        """See ``reflector.ReflectorObserver``."""
        del resource_version
        self.observer.listed(name, count)
        self.complete = True
        self.changed()

    def failed(self, name: str, failure: ApiFailure, retry_in: float, /) -> None:
        """See ``reflector.ReflectorObserver``."""
        right = missing_right(self.resource, self.namespace, failure)
        self.observer.failed(name, failure, right, retry_in)
        if right:
            self._refused(self._refusals + 1, right)

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the reflector's signature
        """See ``reflector.ReflectorObserver``."""
        if connected:
            self._refused(0)
        self.observer.connected(name, connected)

    def silent(self, name: str, seconds: float, /) -> None:
        """See ``reflector.ReflectorObserver``."""
        self.observer.silent(name, seconds)

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """See ``reflector.ReflectorObserver``."""
        self.observer.went_back(name, known, found)

    def _refused(self, times: int, right: str = "") -> None:
        """Note how often in a row the server has refused, and tell when that makes a difference to a Namespace that is named."""
        before, self._refusals = self.is_unreadable, times
        if self.namespace != EVERY_NAMESPACE and self.is_unreadable is not before:
            self.observer.unreadable(self.namespace, self.is_unreadable, right)
