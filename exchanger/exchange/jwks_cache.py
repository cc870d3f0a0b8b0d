"""The keys of issuers: fetched, refreshed, and fetched again when a token names an unknown key.

A failure removes no key. Tokens with unknown keys cannot cause more than one fetch a minute.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from random import Random
from typing import Final, NoReturn, final

import attrs
import structlog
import trio

from exchanger.exchange.oauth.documents import Documents, NotFetched
from exchanger.exchange.oauth.metadata import REFRESH_S, RETRIES, NoMetadata, demanded_of, fetch_metadata
from exchanger.formats.jwt.keys import KeySet, KeySetProblem, key_set_in_steps
from exchanger.model.issuer import Issuer
from exchanger.model.text import ISSUER_LIMIT
from exchanger.util.backoff import BackOff
from exchanger.util.text import printable

# Seconds between two fetches that are caused by an unknown key.
UNKNOWN_KEY_S: Final = 60.0
# Minimum seconds for which keys are kept: otherwise an issuer that forbids caching would be asked all the time.
_SHORTEST_S: Final = 300.0
# Of those who wait for keys, how many are told in one turn: verifying a token again takes some 0.1 ms.
TOLD_AT_ONCE: Final = 16

Fetched = Callable[[], None]


@final
@attrs.define(eq=False)
class JwksCache:
    """The keys of the issuer ``url``.

    Args:
        url: The issuer, as tokens name it.
        address: Where its keys are, "" if its metadata say so.
        issuer: The profile that has it, whose CA file and proxy are used.
        documents: Fetches documents.
        turn: Runs a function in a turn of the reactor.

    Attributes:
        keys: ``None`` before the first successful fetch.
        version: Grows with each different set of keys.
        fetching: Whether a fetch is in progress.
        failed: Whether the last fetch failed, so that the current keys are unknown.
    """

    url: str
    address: str
    issuer: Issuer
    documents: Documents
    turn: Callable[[Callable[[], None]], None]
    random: Random
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    keys: KeySet | None = attrs.field(default=None, init=False)
    version: int = attrs.field(default=0, init=False)
    fetching: bool = attrs.field(default=True, init=False)
    failed: bool = attrs.field(default=False, init=False)
    waiters: dict[Fetched, None] = attrs.field(factory=dict, init=False)
    _wanted_at: float = attrs.field(default=0.0, init=False)
    _wanted: trio.Event = attrs.field(factory=trio.Event, init=False)

    def refetch(self, now: float) -> bool:
        """Have the keys fetched again if that is due; return whether a fetch is in progress or about to start."""
        if not self.fetching and now >= self._wanted_at:
            self.fetching, self._wanted_at = True, now + UNKNOWN_KEY_S
            self._wanted.set()
        return self.fetching

    def wait(self, fetched: Fetched) -> None:
        """Call ``fetched`` when the fetch in progress has ended, successfully or not."""
        self.waiters[fetched] = None

    def leave(self, fetched: Fetched) -> None:
        """Do not call ``fetched`` any more."""
        self.waiters.pop(fetched, None)

    async def follow(self) -> NoReturn:
        """Fetch the keys again and again, until cancelled."""
        back_off, told = BackOff(RETRIES, self.random), ""
        while True:
            found = await self._fetch()
            await trio.lowlevel.checkpoint_if_cancelled()  # other keys, or another way to them, may be active since the answer arrived
            now = trio.current_time()
            self.failed = isinstance(found, NoMetadata)
            if isinstance(found, NoMetadata):
                pause = back_off.failed(now)
                if found.why != told:
                    told = found.why
                    self._log.error("issuers.keys_failed", issuer=printable(self.url, ISSUER_LIMIT), reason=told)
            else:
                keys, pause = found
                if keys != self.keys or told:
                    self._log.info("issuers.keys_known", issuer=printable(self.url, ISSUER_LIMIT), keys=len(keys.keys))
                if keys != self.keys:
                    self.keys, self.version = keys, self.version + 1
                told = ""
            self._wanted = trio.Event()
            await self.tell_in_steps()
            with trio.move_on_after(pause):
                await self._wanted.wait()
            self.fetching = True

    def end(self) -> bool:
        """Notify some waiters after the last fetch, and return whether there are more."""
        self.fetching = False
        self.turn(partial(self._tell_some, tuple(islice(self.waiters, TOLD_AT_ONCE))))
        return bool(self.waiters)

    async def tell_in_steps(self) -> None:
        """Notify the waiters that nothing is being fetched. Each of their tokens is verified again, so others get turns in between.

        Those that are left when this is cancelled are told by ``end``.
        """
        self.fetching = False
        waiters = tuple(self.waiters)
        for at in range(0, len(waiters), TOLD_AT_ONCE):
            self.turn(partial(self._tell_some, waiters[at : at + TOLD_AT_ONCE]))
            await trio.lowlevel.checkpoint()

    def _tell_some(self, waiters: tuple[Fetched, ...]) -> None:
        for fetched in waiters:
            if fetched in self.waiters:
                del self.waiters[fetched]
                fetched()

    async def _fetch(self) -> tuple[KeySet, float] | NoMetadata:
        """Return the keys and for how many seconds they are valid."""
        address = self.address
        if not address:
            metadata = await fetch_metadata(self.documents, self.url, self.issuer)
            if isinstance(metadata, NoMetadata):
                return metadata
            address = metadata.jwks_uri
        if not address:
            return NoMetadata(f"the metadata names no jwks_uri{demanded_of(self.url)}")
        found = await self.documents.fetch(address, issuer=self.issuer)
        if isinstance(found, NotFetched):
            return NoMetadata(found.why)
        for keys in key_set_in_steps(found.members):
            if isinstance(keys, KeySetProblem):
                return NoMetadata(keys.reason)
            if keys is not None:
                age = REFRESH_S if found.max_age is None else min(max(found.max_age, _SHORTEST_S), REFRESH_S)
                return keys, age * (1.0 - 0.1 * self.random.random())
            await trio.lowlevel.checkpoint()
        raise AssertionError  # the last step is an outcome


@final
@attrs.frozen
class KeySource:
    """The keys of the issuer ``url``, by which ``profile`` has tokens verified: at ``address``, or "" where its metadata say."""

    profile: Issuer
    url: str
    address: str

    @property
    def way(self) -> tuple[object, ...]:
        """How the keys are reached."""
        return self.url, self.address, self.profile.proxy, self.profile.ca_pem


@final
@attrs.define(eq=False)
class JwksCaches:
    """The keys of all issuers by which one stage verifies tokens, by profile and issuer.

    Args:
        documents: Fetches documents.
        turn: Runs a function in a turn of the reactor.
        random: Spreads the requests.
    """

    documents: Documents
    turn: Callable[[Callable[[], None]], None]
    random: Random
    caches: dict[tuple[str, str], JwksCache] = attrs.field(factory=dict, init=False)
    followed: dict[JwksCache, trio.CancelScope] = attrs.field(factory=dict, init=False)
    _nursery: trio.Nursery | None = attrs.field(default=None, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the keys until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._follow_all(nursery)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            for jwks in self.followed:
                while jwks.end():
                    pass
            self.followed.clear()

    def use(self, sources: Iterable[KeySource]) -> None:
        """Follow these alone. Keys of an issuer that is still reached the same way remain known."""
        caches: dict[tuple[str, str], JwksCache] = {}
        for source in sources:
            place = source.profile.name, source.url
            before = self.caches.get(place)
            if before is not None and KeySource(before.issuer, before.url, before.address).way == source.way:
                before.issuer = source.profile
                caches[place] = before
            else:
                caches[place] = JwksCache(source.url, source.address, source.profile, self.documents, self.turn, self.random)
        self.caches = caches
        current = dict.fromkeys(caches.values())
        for jwks in [jwks for jwks in self.followed if jwks not in current]:
            self.followed[jwks].cancel()
            jwks.end()
        if self._nursery is not None:
            self._follow_all(self._nursery)

    def find(self, profile: str, url: str) -> JwksCache | None:
        """Return the keys; ``None`` if the profile has been replaced, or the service is stopping."""
        return None if self._nursery is None else self.caches.get((profile, url))

    def _follow_all(self, nursery: trio.Nursery) -> None:
        for jwks in [jwks for jwks in self.caches.values() if jwks not in self.followed]:
            scope = self.followed[jwks] = trio.CancelScope()
            nursery.start_soon(self._follow, jwks, scope)

    async def _follow(self, jwks: JwksCache, scope: trio.CancelScope) -> None:
        """Follow the keys until ``jwks`` is replaced, and tell the rest of those who wait."""
        with scope:
            await jwks.follow()
        await jwks.tell_in_steps()
        del self.followed[jwks]
