"""One resource on its way from a reflector into the index, and what is to be known of it: whether it is complete, and how old.

Must not know: what follows from a change.
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Generic, TypeVar, final

import attrs
import trio

from exchanger.kube.freshness import Freshness
from exchanger.kube.index import EVERY_NAMESPACE, PolicyIndex
from exchanger.kube.list_watch import ApiFailure, Item, Key, ListWatch
from exchanger.kube.observer import KubernetesObserver, missing_right
from exchanger.kube.reflector import Reflector, Sink
from exchanger.kube.settings import KubernetesSettings
from exchanger.policy.objects import ConfigMap, Namespace

T = TypeVar("T")


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
    _reflector: Reflector[T] = attrs.field(init=False)
    _freshness: Freshness = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._freshness = Freshness(self.settings.silence)
        self._reflector = Reflector(self.list_watch, self.sink, self, self.settings.reflector, self.random)

    async def run(self) -> None:
        """Follow the resource until cancelled."""
        await self._reflector.run()

    @property
    def is_connected(self) -> bool:
        """Tell whether changes are followed."""
        return self._reflector.statistics().connected

    def current_until(self, now: float) -> float:
        """Return the last moment (seconds of trio's clock) up to which what is known was current; ``now`` when it still is."""
        last_contact = self._reflector.statistics().last_contact
        return now if last_contact is None else self._freshness.current_until(now, last_contact)

    def listed(self, name: str, count: int, resource_version: str, /) -> None:
        """See ``reflector.ReflectorObserver``."""
        del resource_version
        self.observer.listed(name, count)
        self.complete = True
        self.changed()

    def failed(self, name: str, failure: ApiFailure, retry_in: float, /) -> None:
        """See ``reflector.ReflectorObserver``."""
        self.observer.failed(name, failure, missing_right(self.resource, self.namespace, failure), retry_in)

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the reflector's signature
        """See ``reflector.ReflectorObserver``."""
        (self._freshness.opened if connected else self._freshness.lost)(trio.current_time())
        self.observer.connected(name, connected)

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """See ``reflector.ReflectorObserver``."""
        self.observer.went_back(name, known, found)
