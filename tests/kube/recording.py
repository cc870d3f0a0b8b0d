"""What stands behind a reflector in tests: a sink and an observer that keep what they are told."""

from collections.abc import Mapping
from typing import Generic, TypeVar

import attrs

from exchanger.kube.list_watch import ApiFailure, Item, Key

T = TypeVar("T")


@attrs.define(eq=False)
class RecordingSink(Generic[T]):
    """Implements ``Sink``: keeps the state, every complete one it was given, and all calls in order. ``fault``: raised by each put."""

    fault: Exception | None = None
    state: dict[Key, Item[T]] = attrs.field(factory=dict)
    replacements: list[Mapping[Key, Item[T]]] = attrs.field(factory=list)
    calls: list[tuple[str, str]] = attrs.field(factory=list)

    def replaced(self, items: Mapping[Key, Item[T]], /) -> None:
        self.state = dict(items)
        self.replacements.append(items)
        self.calls.append(("replaced", ",".join(sorted(key.name for key in items))))

    def put(self, item: Item[T], /) -> None:
        if self.fault is not None:
            raise self.fault
        self.state[item.key] = item
        self.calls.append(("put", item.key.name))

    def deleted(self, key: Key, /) -> None:
        del self.state[key]
        self.calls.append(("deleted", key.name))

    def values(self) -> dict[str, T]:
        return {key.name: item.value for key, item in self.state.items()}


@attrs.define(eq=False)
class RecordingObserver:
    """Implements ``ReflectorObserver``."""

    lists: list[tuple[int, str]] = attrs.field(factory=list)
    failures: list[tuple[ApiFailure, float]] = attrs.field(factory=list)
    connections: list[bool] = attrs.field(factory=list)
    silences: list[float] = attrs.field(factory=list)
    steps_back: list[tuple[str, str]] = attrs.field(factory=list)

    def listed(self, name: str, count: int, resource_version: str, /) -> None:
        self.lists.append((count, resource_version))

    def failed(self, name: str, failure: ApiFailure, retry_in: float, /) -> None:
        self.failures.append((failure, retry_in))

    def connected(self, name: str, connected: bool, /) -> None:
        self.connections.append(connected)

    def silent(self, name: str, seconds: float, /) -> None:
        self.silences.append(seconds)

    def went_back(self, name: str, known: str, found: str, /) -> None:
        self.steps_back.append((known, found))
