"""How issuers are spared: for each that has limits, a breaker, and a bound on the calls under way. Knows nothing of calls or tokens."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, final

import attrs

from exchanger.exchange.breaker import Breaker
from exchanger.net.concurrency import InFlight
from exchanger.values.issuer import Issuer

T = TypeVar("T")


@final
@attrs.define(eq=False)
class Guard(Generic[T]):
    """The limits of one issuer; ``breaker`` and ``places`` are ``None`` where its profile has none."""

    name: str
    endpoint_host: str
    breaker: Breaker | None
    places: InFlight[T] | None

    @property
    def is_open(self) -> bool:
        """Whether the issuer is not called because it fails."""
        return self.breaker is not None and self.breaker.is_open

    @property
    def queued(self) -> int:
        """Exchanges that wait for a place."""
        return 0 if self.places is None else self.places.queued


@final
@attrs.define(eq=False)
class Guards(Generic[T]):
    """The guards of the issuers in force, by name. What is known of an endpoint stays while its profile names it."""

    _guards: dict[str, tuple[str, Guard[T]]] = attrs.field(factory=dict, init=False)

    def __iter__(self) -> Iterator[Guard[T]]:
        return (guard for _, guard in self._guards.values())

    def of(self, issuer: Issuer) -> Guard[T] | None:
        """Return the guard of ``issuer``, ``None`` if it has no limits."""
        found = self._guards.get(issuer.name)
        return None if found is None else found[1]

    def use(self, issuers: Mapping[str, Issuer]) -> tuple[T, ...]:
        """Take over the issuers in force, and return the items that have a place now."""
        before, self._guards = self._guards, {}
        admitted: list[T] = []
        for name, issuer in issuers.items():
            limits = issuer.limits
            if limits.max_in_flight is None and not limits.breaker:
                continue
            endpoint, old = before.get(name, ("", None))
            if old is None or endpoint != issuer.address:
                old = Guard(name, issuer.endpoint_host, None, None)
            breaker = (old.breaker or Breaker()) if limits.breaker else None
            places = old.places
            if limits.max_in_flight is None:
                places = None
            elif places is None:
                places = InFlight(limits.max_in_flight)
            elif places.limit != limits.max_in_flight:
                admitted += places.resize(limits.max_in_flight)
            self._guards[name] = (issuer.address, Guard(name, issuer.endpoint_host, breaker, places))
        return tuple(admitted)
