"""Follows each Secret that issuer profiles name by a watch of its own, so that a rotation is in force within moments.

The watch is never given up. Where the right to list or watch the Secret is missing but the one to get it is there, as with roles that were
made for the Go service, it is read again and again beside the watch (see ``issuers.secrets``), until the server takes that.

Must not know: how requests are made, or what the values are for.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random
from typing import Final, NoReturn, Protocol, final

import attrs
import trio

from exchanger.app.secret_reader import SecretState, missing_secret, secret_problem
from exchanger.issuers.secrets import PollingSecrets, SecretName, SecretProblem, SecretReader
from exchanger.kube.list_watch import ApiFailure, FailureKind, Item, Key, ListWatch
from exchanger.kube.reflector import Reflector

REFUSALS: Final = 2
"""Refusals without success in between after which the right is taken to be missing. One is not enough: an API server refuses everything
for some 20 ms after its start, until it knows its roles, and a Role may be made a moment after the Deployment; the next try is a second
later."""
FAILING_S: Final = 60.0
"""Seconds that a Secret which is known may not be followed before that is said: an API server's restart is over by then and concerns
nobody. What lasts longer and is not said by the policy's source, such as a key server without which Secrets alone cannot be read, would
otherwise show when old credentials are refused."""
SETTLED_S: Final = 1.0
"""Seconds from when the server has taken a watch until what is known by it counts as present: what has happened since it was lost is sent
at once. Before that, a version that was read in the meantime would give way to an older one for a moment."""

Learn = Callable[[SecretState], None]
Work = Callable[[Learn], Awaitable[None]]


class Secrets(SecretReader, Protocol):
    """The part of ``secret_reader.ApiSecrets`` that it takes."""

    def list_watch(self, secret: SecretName, /) -> ListWatch[SecretState]:
        """Return a resource that has this Secret alone."""


@final
@attrs.frozen
class WatchingStatistics:
    """How many Secrets are watched, and how many of them are read again and again because that may not be."""

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
        while True:  # once: a reflector runs until it is cancelled
            async with trio.open_nursery() as nursery:
                watch = _Watch(secret, _Beside(nursery, _News(learn)), partial(self._poll, secret))
                self._watched += 1
                try:
                    await Reflector(self._secrets.list_watch(secret), watch, watch, random=self._random).run()
                finally:
                    self._watched -= 1

    def statistics(self) -> WatchingStatistics:
        """Return what is followed in which way."""
        return WatchingStatistics(self._watched, self._polled)

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
class _Beside:
    """What runs beside a watch: one thing at a time, which tells nothing any more from the moment at which it is ended."""

    _nursery: trio.Nursery
    news: _News
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)

    def begin(self, work: Work) -> None:
        self.end()
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._run, work, self._scope)

    def end(self) -> None:
        self._scope.cancel()

    async def _run(self, work: Work, scope: trio.CancelScope) -> None:
        def learn(found: SecretState) -> None:
            if not scope.cancel_called:  # it may have been ended after the answer was there, and before it was taken
                self.news(found)

        with scope:
            await work(learn)


@final
@attrs.define(eq=False)
class _Watch:
    """Sink and observer of one Secret's reflector; has ``poll`` run where that is refused.

    ``known`` is what it last had of the Secret, from the first list on. ``lost_at`` is since when changes are not followed: never while
    they are, and for ever before the first time, when nothing is known and so there is nothing to wait for.
    """

    _secret: SecretName
    _beside: _Beside
    _poll: Work
    _known: SecretState = attrs.field(init=False)
    _lost_at: float = attrs.field(default=-math.inf, init=False)
    _refusals: int = attrs.field(default=0, init=False)
    _told: set[SecretProblem] = attrs.field(factory=set, init=False)

    def replaced(self, items: Mapping[Key, Item[SecretState]], /) -> None:
        """See ``reflector.Sink``."""
        found = items.get(self._key)
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
        """See ``reflector.ReflectorObserver``."""
        del name, retry_in
        if failure.kind is FailureKind.FORBIDDEN:
            self._refusals += 1
            if self._refusals == REFUSALS:
                self._beside.begin(self._poll)
        elif self._refusals < REFUSALS and trio.current_time() >= self._lost_at + FAILING_S:  # otherwise reading says what is wrong
            self._complain(secret_problem(self._secret, failure))

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the reflector's signature
        """See ``reflector.ReflectorObserver``."""
        del name
        if connected:
            self._lost_at, self._refusals = math.inf, 0
            self._told.clear()
            self._beside.begin(self._tell_again)
        else:
            self._lost_at = trio.current_time()
            self._beside.end()

    def silent(self, name: str, seconds: float, /) -> None:
        """See ``reflector.ReflectorObserver``. What is known is compared every minute then, and the policy's source says the rest."""

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """See ``reflector.ReflectorObserver``. A list follows, and with it whatever is different."""

    def _learn(self, found: SecretState) -> None:
        self._known = found
        self._beside.news(found)

    def _complain(self, problem: SecretProblem) -> None:
        """Tell each problem once until the changes are followed again: failures of two kinds take turns in some outages, for hours."""
        if problem not in self._told:
            self._told.add(problem)
            self._beside.news(problem)

    async def _tell_again(self, learn: Learn) -> None:
        """Tell what is known, in place of whatever was told while the changes were not followed."""
        await trio.sleep(SETTLED_S)
        learn(self._known)

    @property
    def _key(self) -> Key:
        return Key(self._secret.namespace, self._secret.name)
