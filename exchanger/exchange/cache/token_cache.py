"""The token cache as the pipeline sees it: find, keep, and forget, with two levels behind it.

Memory belongs to this process and answers at once. The shared level, if configured, knows what other replicas learned; it is asked after
memory, once, for a very short time. Only successes are kept. A decision always comes before a look-up, so that withdrawing a policy needs
no purge; removing an issuer or credentials removes their tokens.

Lifetimes are measured by two clocks (``lifetime``), so that no token is served after it expired, whatever the clocks do.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, final

import attrs
import trio

from exchanger.exchange.cache.active_issuers import ActiveIssuers, CacheKeyBuilder, CachingIssuer
from exchanger.exchange.cache.lifetime import Instant, Life, UnreadableExpiry, expiry_of, plan_life
from exchanger.exchange.cache.memory_store import CachedToken, Entry, MemoryStore
from exchanger.exchange.cache.recall import RefusedTokens
from exchanger.exchange.cache.sealed_token import MAX_TOKEN_CHARS, StoredToken, fingerprint
from exchanger.exchange.cache.settings import SharedSettings
from exchanger.exchange.oauth.token_response import TokenResponseRules
from exchanger.model.issuer import Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import UNREADABLE_SCOPE, Cache, ExchangedToken, ExchangeFailure, TokenRequest
from exchanger.net.network import SYSTEM, Network
from exchanger.net.proxies import EnvironmentProxies
from exchanger.util.frozen import evolver_of
from exchanger.util.key_file import KEY_BYTES

if TYPE_CHECKING:
    from exchanger.exchange.cache.shared_level import EmptyLookup, SharedLevel

__all__ = ["CachedToken", "TokenCache"]

# Names of tokens that were refused and may still be in the shared level.
MAX_REFUSED: Final = 10_000
# Status codes with which a token endpoint refuses (RFC 6749 section 5.2); others say that it could not answer.
REFUSALS: Final = frozenset({400, 401, 403})
# Seconds between two sweeps, which free expired tokens that are no longer requested; and the tokens between two turns of the loop.
SWEEP_S: Final = 30.0
_SWEPT_AT_ONCE: Final = 1000

# Seconds by which another replica's token must live longer to count as renewed.
RENEWED_BY_S: Final = 1.0


# Of every token that is kept. Looking up a member of an enum takes 0.2 µs.
_kept: Final = evolver_of(ExchangedToken, "call", "cache", "first_leg")
_HIT: Final = Cache.HIT


@final
@attrs.frozen
class _Refusal:
    """The refusal of one token (its ``only`` fingerprint, and when it was issued), or of every token that was issued until then.

    ``until`` is when it is forgotten. Times are of the steady clock.
    """

    until: float
    only: bytes = b""
    born: float = math.inf

    def concerns(self, token: Secret, born: float) -> bool:
        """Return whether a ``token`` of the shared level must not be served; one that was issued after the refused one may be."""
        return born <= self.born or fingerprint(token) == self.only


@final
@attrs.define(eq=False)
class TokenCache:
    """Keeps exchanged tokens. Nothing is kept before ``use_issuers``, nor for an issuer without a cache policy.

    Args:
        rules: What counts as a usable answer; tokens are kept separately for each rule.
        proxies: Those of the environment, through which endpoints are reached.
        shared: The shared level's settings, ``None`` for memory alone.
        network: Its clocks measure lifetimes; its random numbers spread renewals and attempts.
    """

    rules: TokenResponseRules = attrs.field(factory=TokenResponseRules)
    proxies: EnvironmentProxies = attrs.field(factory=EnvironmentProxies)
    shared: SharedSettings | None = None
    network: Network = SYSTEM
    memory: MemoryStore = attrs.field(factory=MemoryStore, init=False)
    issuers: ActiveIssuers = attrs.field(init=False)
    _recall: RefusedTokens = attrs.field(factory=RefusedTokens, init=False)
    _refused: OrderedDict[bytes, _Refusal] = attrs.field(factory=OrderedDict, init=False, repr=False)
    _looked_up: set[bytes] = attrs.field(factory=set, init=False, repr=False)
    level: "SharedLevel | None" = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.issuers = ActiveIssuers(self.memory, self.network.entropy(KEY_BYTES), (self.rules, self.proxies))
        if self.shared is not None:
            # Here, because the store's client takes 0.4 s and 28 MB to import, and before the loop runs.
            from exchanger.exchange.cache.shared_level import SharedLevel

            # Where a key is gone, what it wrote no longer counts, and memory may have it from there.
            self.level = SharedLevel(self.shared, self.memory.clear, self.network)

    @property
    def entries(self) -> int:
        """The tokens in memory."""
        return len(self.memory)

    @property
    def store_connected(self) -> bool | None:
        """Whether the store that replicas share is in use, ``None`` without one."""
        return None if self.level is None else self.level.connected

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The variable of the shared level's files, if one of these cannot be used as it is now."""
        return ("TOKEN_CACHE_KEY_FILE",) if self.level is not None and self.level.unreadable else ()

    @property
    def requests(self) -> Mapping[tuple[str, str, str], int]:
        """The look-ups since the start, by endpoint host, level (``memory``, ``shared``) and result (``hit``, ``miss``, ``error``)."""
        found: dict[tuple[str, str, str], int] = {}
        for host, tally in self.issuers.tallies.items():
            found[host, "memory", "hit"], found[host, "memory", "miss"] = tally.memory_hits, tally.memory_misses
            if self.level is not None:
                found[host, "shared", "hit"], found[host, "shared", "miss"] = tally.shared_hits, tally.shared_misses
                found[host, "shared", "error"] = tally.shared_errors
        return found

    @property
    def upstream_refusals(self) -> Mapping[str, int]:
        """The tokens that went because upstreams refused them, since the start, by endpoint host."""
        return {host: tally.upstream_refusals for host, tally in self.issuers.tallies.items()}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the shared level, and free expired tokens, until cancelled. Starting waits for nothing."""
        async with trio.open_nursery() as nursery:
            if self.level is not None:
                await nursery.start(self.level.run)
            task_status.started()
            while True:
                await trio.sleep(SWEEP_S)
                await self._sweep()

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Adopt the active issuers, and forget the tokens of those that are gone, changed, or no longer keep any."""
        self.issuers.use(issuers)

    def find(self, request: TokenRequest) -> CachedToken | None:
        """Return the token in memory for ``request``; ``None`` if there is none, or its issuer keeps none. Takes some 5 µs."""
        builder = self.issuers.builder_for(request)
        if builder is None:
            return None
        of = builder.of
        digest = builder.memory.digest(_subject(request))
        kept = self.memory.get(of.partition, digest, self.network.steady(), self.network.wall(), of.policy.max_ttl)
        if kept is None:
            of.tally.memory_misses += 1
        else:
            of.tally.memory_hits += 1
        return kept

    def keep(self, request: TokenRequest, token: ExchangedToken, *, shared: bool = True) -> None:
        """Keep the ``token`` of a call for ``request`` that has just succeeded, in memory and, later, in the shared level if ``shared``."""
        builder = self.issuers.builder_for(request)
        if builder is None:
            return
        subject = _subject(request)
        digest = builder.memory.digest(subject)
        # A target that was refused before is good again, whether or not this token is kept; an older one must not be served beside it.
        self._refused.pop(digest, None)
        self.memory.remove(builder.of.partition, digest)
        text = token.access_token.reveal()
        if token.expires_in is None or len(text) > MAX_TOKEN_CHARS:
            return
        subject_ends, ends = expiry_of(request.subject_token.reveal()), expiry_of(text)
        if isinstance(subject_ends, UnreadableExpiry) or isinstance(ends, UnreadableExpiry):
            return
        # It was issued at some time during the call: at its beginning, to be safe.
        age = 0.0 if token.call is None else token.call.duration
        now = self._now()
        life = plan_life(now, age, min(token.expires_in, builder.of.policy.max_ttl), min(subject_ends, ends), self.network.random.random())
        if life is None:
            return
        kept = _kept(token, None, _HIT, None)
        self.memory.put(builder.of.partition, digest, Entry.of(kept, life))
        if shared and self.level is not None and self.level.in_use:
            stored = StoredToken(token.access_token, life.length, life.wall_end, token.expires_in, token.expires_at)
            self.level.put(builder.shared_digests(self.level.keys, subject), stored, life.end)

    def refused(self, request: TokenRequest, failure: ExchangeFailure) -> None:
        """Record that a call for ``request`` failed.

        If the token endpoint refused it with an OAuth error, the token is forgotten, also in the shared level if it was kept here or found
        there: callers can cause any number of other refusals. Any other failure says nothing about the token, and another renewal may start
        after a while.
        """
        builder = self.issuers.builder_for(request)
        if builder is None:
            return
        if not _is_refusal(failure):
            self.renewal_failed(request)
            return
        subject = _subject(request)
        digest = builder.memory.digest(subject)
        known = self.memory.remove(builder.of.partition, digest) or digest in self._refused or digest in self._looked_up
        if self.level is not None and known:
            self._remove_shared(self.level, builder, digest, subject)

    def _remove_shared(
        self, level: "SharedLevel", builder: CacheKeyBuilder, digest: bytes, subject: bytes, only: bytes = b"", born: float = math.inf
    ) -> None:
        # The removal may be late or lost, or a look-up in progress: what was refused is not believed until ``keep``.
        self._refused[digest] = _Refusal(self.network.steady() + builder.of.policy.max_ttl, only, born)
        self._refused.move_to_end(digest)
        while len(self._refused) > MAX_REFUSED:
            self._refused.popitem(last=False)
        level.remove(builder.shared_digests(level.keys, subject), only)

    def asks_upstream(self, request: TokenRequest, /) -> bool:
        builder = self.issuers.builder_for(request)
        if builder is None or not builder.of.policy.evict_rejected:
            return False
        return self._recall.asks(builder.memory.digest(_subject(request)), self.network.steady())

    def upstream_answered(self, request: TokenRequest, token: Secret, /, *, refused: bool) -> None:
        builder = self.issuers.builder_for(request)
        if builder is None or not builder.of.policy.evict_rejected:
            return
        subject, of = _subject(request), builder.of
        digest = builder.memory.digest(subject)
        present = self.memory.peek(of.partition, digest)
        if present is not None and present.kept.token.access_token != token:  # another one is in its place
            return
        if not refused:
            if present is not None:
                self._recall.accepted(digest)
            return
        now = self.network.steady()
        if self._recall.refused(digest, now, of.policy.max_ttl, is_kept=present is not None):
            of.tally.upstream_refusals += 1
            self.memory.remove(of.partition, digest)
            if self.level is not None:
                born = now if present is None else present.life.born
                self._remove_shared(self.level, builder, digest, subject, fingerprint(token), born)

    def renewal_failed(self, request: TokenRequest) -> None:
        """Record that a renewal had no result: its call failed in a way that says nothing about the token, or was given up."""
        builder = self.issuers.builder_for(request)
        if builder is not None:
            self.memory.renew_later(builder.of.partition, builder.memory.digest(_subject(request)), self._now())

    def asks_shared(self, request: TokenRequest) -> bool:
        """Return whether ``find_shared`` may find something: a shared level is in use, and the issuer caches tokens.

        If the store is lost, this hurries the next attempt to connect to it.
        """
        return self.level is not None and self.issuers.builder_for(request) is not None and self.level.wanted()

    async def find_shared(self, request: TokenRequest) -> CachedToken | None:
        """Return the token that the shared level has for ``request``, and put it into memory. One short attempt; it never fails.

        It must live longer than the one in memory, which is to be renewed: another replica may have done so already.
        """
        level, builder = self.level, self.issuers.builder_for(request)
        if level is None or builder is None or not level.in_use:
            return None
        of, keys, subject = builder.of, level.keys, _subject(request)
        digest = builder.memory.digest(subject)
        present = self.memory.peek(of.partition, digest)
        self._looked_up.add(digest)
        try:
            found = await level.find(builder.shared_digests(keys, subject))
        finally:
            self._looked_up.discard(digest)
        if not isinstance(found, tuple):
            self._count_absent(of, found)
            return None
        of.tally.shared_hits += 1
        # Meanwhile the issuer, the keys, or what is known of the token may have changed.
        if self.issuers.builder_for(request) is not builder or level.keys != keys:
            return None
        return self._take_over(builder, request, digest, *found, None if present is None else present.life)

    def _take_over(
        self, builder: CacheKeyBuilder, request: TokenRequest, digest: bytes, stored: StoredToken, left: float, better_than: Life | None
    ) -> CachedToken | None:
        """Put a token of the shared level into memory, unless it was refused here or must not be served."""
        now = self._now()
        end = expiry_of(request.subject_token.reveal())
        if isinstance(end, UnreadableExpiry):
            return None
        # Both the writer's clock and the store's count; the shorter remaining time applies.
        left = min(left, stored.wall_end - now.wall, stored.length)
        age = stored.length - left
        length = min(stored.length, builder.of.policy.max_ttl)
        life = plan_life(now, age, length, end, self.network.random.random())
        if life is None or (better_than is not None and life.until <= better_than.until + RENEWED_BY_S):
            return None
        refusal = self._refused.get(digest)
        if refusal is not None and now.steady < refusal.until and refusal.concerns(stored.access_token, life.born):
            return None
        token = ExchangedToken(stored.access_token, None, stored.expires_in, Cache.HIT, stored.expires_at, None, UNREADABLE_SCOPE)
        entry = Entry.of(token, life)
        self.memory.put(builder.of.partition, digest, entry)
        return entry.kept

    def _count_absent(self, of: CachingIssuer, found: "EmptyLookup") -> None:
        if found.value == "error":
            of.tally.shared_errors += 1
        else:
            of.tally.shared_misses += 1

    def _now(self) -> Instant:
        return Instant(self.network.steady(), self.network.wall())

    async def _sweep(self) -> None:
        places = self.memory.names()
        for at in range(0, len(places), _SWEPT_AT_ONCE):
            self.memory.drop_if_over(iter(places[at : at + _SWEPT_AT_ONCE]), self._now())
            await trio.lowlevel.checkpoint()
        now = self.network.steady()
        while self._refused and next(iter(self._refused.values())).until <= now:
            self._refused.popitem(last=False)
        self._recall.sweep(now)


def _subject(request: TokenRequest) -> bytes:
    return request.subject_token.reveal().encode("utf-8", "surrogatepass")


def _is_refusal(failure: ExchangeFailure) -> bool:
    return failure.http_status in REFUSALS and failure.oauth_error != ""
