"""Follows each Secret that issuer profiles name by a watch of its own, so that a rotation is in force within moments.

Where the right to list and watch it is missing but the one to get it is there, as with roles that were made for the Go service, it is read
again and again instead (see ``issuers.polling``).

Must not know: how requests are made, or what the values are for.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, NoReturn, Protocol, final

import attrs
import trio

from exchanger.issuers.polling import PollingSecrets
from exchanger.issuers.secrets import SecretName, SecretReader
from exchanger.kube.list_watch import ApiFailure, FailureKind, Item, Key, ListWatch
from exchanger.kube.reflector import Reflector
from exchanger.secret_reader import SecretState, missing_secret, secret_problem

WATCH_AGAIN_S: Final = 600.0
"""Seconds for which a Secret that may not be watched is read before it is tried again: there is no hurry, since reading does the same a
little later."""

Learn = Callable[[SecretState], None]


class Secrets(SecretReader, Protocol):
    """The part of ``secret_reader.ApiSecrets`` that it takes."""

    def list_watch(self, secret: SecretName, /) -> ListWatch[SecretState]:
        """Return a resource that has this Secret alone."""


@final
@attrs.frozen
class WatchingStatistics:
    """How many Secrets are watched, and how many are read again and again because they may not be."""

    watched: int
    polled: int


@final
@attrs.define(eq=False)
class WatchingSecrets:
    """Implements ``issuers.secrets.SecretFollower``."""

    _secrets: Secrets
    _random: Random = attrs.field(factory=Random)
    _polling: PollingSecrets = attrs.field(init=False)
    _watched: int = attrs.field(default=0, init=False)
    _polled: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._polling = PollingSecrets(self._secrets, self._random)

    async def follow(self, secret: SecretName, learn: Learn, /) -> NoReturn:
        """See ``issuers.secrets.SecretFollower``."""
        news = _News(learn)
        while True:
            await self._watch(secret, news)
            with trio.move_on_after(WATCH_AGAIN_S):
                await self._poll(secret, news)

    def statistics(self) -> WatchingStatistics:
        """Return what is followed in which way."""
        return WatchingStatistics(self._watched, self._polled)

    async def _watch(self, secret: SecretName, learn: Learn) -> None:
        """Return when a right to do so is missing."""
        with trio.CancelScope() as scope:
            watch = _Watch(secret, learn, scope.cancel)
            self._watched += 1
            try:
                await Reflector(self._secrets.list_watch(secret), watch, watch, random=self._random).run()
            finally:
                self._watched -= 1

    async def _poll(self, secret: SecretName, learn: Learn) -> None:
        self._polled += 1
        try:
            await self._polling.follow(secret, learn)
        finally:
            self._polled -= 1


@final
@attrs.define(eq=False)
class _News:
    """Passes on what is other than what was passed on last."""

    _learn: Learn
    _last: SecretState | None = attrs.field(default=None, init=False)

    def __call__(self, found: SecretState) -> None:
        if found != self._last:
            self._last = found
            self._learn(found)


@final
@attrs.define(eq=False)
class _Watch:
    """Sink and observer of one Secret's reflector."""

    _secret: SecretName
    _learn: Learn
    _on_forbidden: Callable[[], None]
    _known: bool = attrs.field(default=False, init=False)

    def replaced(self, items: Mapping[Key, Item[SecretState]], /) -> None:
        """See ``reflector.Sink``."""
        found = items.get(self._key)
        self._known = True
        self._learn(missing_secret(self._secret) if found is None else found.value)

    def put(self, item: Item[SecretState], /) -> None:
        """See ``reflector.Sink``."""
        if item.key == self._key:  # whatever the server makes of the field selector
            self._learn(item.value)

    def deleted(self, key: Key, /) -> None:
        """See ``reflector.Sink``."""
        if key == self._key:
            self._learn(missing_secret(self._secret))

    def listed(self, name: str, count: int, resource_version: str, /) -> None:
        """See ``reflector.ReflectorObserver``."""

    def failed(self, name: str, failure: ApiFailure, retry_in: float, /) -> None:
        """See ``reflector.ReflectorObserver``. An outage is told by the policy's own source; what is known of the Secret stays."""
        del name, retry_in
        if failure.kind is FailureKind.FORBIDDEN:
            self._on_forbidden()
        elif not self._known:
            self._learn(secret_problem(self._secret, failure))

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the reflector's signature
        """See ``reflector.ReflectorObserver``."""

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """See ``reflector.ReflectorObserver``. A list follows, and with it whatever is different."""

    @property
    def _key(self) -> Key:
        return Key(self._secret.namespace, self._secret.name)
