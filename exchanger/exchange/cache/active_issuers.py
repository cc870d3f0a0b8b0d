"""The issuers that cache tokens, and what look-ups for each of them have in common.

Everything in a token's key except its subject token is the same for many requests, so it is prepared once for each shape of request. Shapes
are compared by the identity of their parts, which is quick and safe: equal parts that are not the same object only make another shape.

Must not know: what is kept (except that it goes with its issuer), for how long, or stores.
"""

import hashlib
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, final

import attrs

from exchanger.exchange.cache.identity import EXEMPT, Digester, MemoryNames, encoded
from exchanger.exchange.cache.keys import FORMAT, CacheKey
from exchanger.exchange.cache.memory_store import IssuerPartition, MemoryStore
from exchanger.model.issuer import CachePolicy, Issuer
from exchanger.model.token import TokenRequest

# Prepared shapes of requests. There are as many as policies have targets, and making one takes about 70 µs.
MAX_BUILDERS: Final = 4096
# Everything in a request that shapes its answer, except for the subject token; fields that are added later are included.
_shape: Final = operator.attrgetter(*(field.name for field in attrs.fields(TokenRequest) if field.name not in EXEMPT[TokenRequest]))


@final
@attrs.define(eq=False)
class Tally:
    """Look-ups at one endpoint host, and tokens of it that upstreams refused."""

    memory_hits: int = 0
    memory_misses: int = 0
    shared_hits: int = 0
    shared_misses: int = 0
    shared_errors: int = 0
    upstream_refusals: int = 0


@final
@attrs.define(eq=False)
class CachingIssuer:
    """An active issuer that caches tokens."""

    policy: CachePolicy
    partition: IssuerPartition
    tally: Tally


@final
@attrs.define(eq=False)
class CacheKeyBuilder:
    """Builds the names of tokens for requests of one shape (issuer, target, …). It keeps the shape, so that its ``id`` is not used again.

    ``fixed`` is a digest: written out, a shape contains everything of its issuer, including the certificates of authorities.
    """

    shape: tuple[object, ...]
    of: CachingIssuer
    fixed: bytes
    memory: MemoryNames
    _keys: tuple[CacheKey, ...] = ()
    _shared: tuple[Digester, ...] = ()

    def shared_digests(self, keys: tuple[CacheKey, ...], subject: bytes) -> tuple[bytes, ...]:
        """Return the name under each of ``keys``."""
        if self._keys is not keys:
            self._keys, self._shared = keys, tuple(Digester(key.for_digests(), self.fixed) for key in keys)
        return tuple(digester.digest(subject) for digester in self._shared)


def _with_first(issuers: Iterable[Issuer]) -> Iterator[Issuer]:
    """Yield ``issuers``, and the first ones of chains: assertions that may be sent again are kept like tokens, apart from those."""
    for issuer in issuers:
        yield issuer
        if issuer.assertion is not None and issuer.assertion.issuer is not None:
            yield issuer.assertion.issuer


@final
@attrs.define(eq=False)
class ActiveIssuers:
    """Knows which issuers cache tokens.

    Args:
        memory: Has a partition for each of them.
        key: Of the names in memory.
        context: Everything that shapes the answers of every issuer.
    """

    memory: MemoryStore
    _key: bytes = attrs.field(repr=False)
    _context: tuple[object, ...] = attrs.field(repr=False)
    tallies: dict[str, Tally] = attrs.field(factory=dict, init=False)
    _issuers: dict[bytes, CachingIssuer] = attrs.field(factory=dict, init=False, repr=False)  # by identity
    _builders: dict[tuple[int, ...], CacheKeyBuilder] = attrs.field(factory=dict, init=False, repr=False)

    def use(self, issuers: Mapping[str, Issuer]) -> None:
        """Adopt the active issuers, and forget the tokens of those that are gone, changed, or no longer keep any.

        Other bounds alone change nothing that is kept: look-ups apply the new ones.
        """
        self._builders.clear()
        keeping = {encoded(issuer): (issuer, issuer.cache) for issuer in _with_first(issuers.values()) if issuer.cache is not None}
        for identity in [identity for identity in self._issuers if identity not in keeping]:
            self.memory.remove_partition(self._issuers.pop(identity).partition)
        for identity, (issuer, policy) in keeping.items():
            present = self._issuers.get(identity)
            if present is None:
                partition = self.memory.add_partition(policy.max_entries)
                tally = self.tallies.setdefault(issuer.endpoint_host, Tally())
                self._issuers[identity] = CachingIssuer(policy, partition, tally)
            else:
                present.policy = policy
                self.memory.resize(present.partition, policy.max_entries)

    def builder_for(self, request: TokenRequest) -> CacheKeyBuilder | None:
        """Return what names the token for ``request``; ``None`` if its issuer keeps nothing, or is not active."""
        shape = _shape(request)
        place = tuple(map(id, shape))
        builder = self._builders.get(place)
        if builder is not None:
            return builder
        issuer = request.issuer
        if issuer.cache is None:
            return None
        of = self._issuers.get(encoded(issuer))
        if of is None:
            return None
        # Everything in the request except its subject token, whatever fields it has: see ``identity``.
        fixed = hashlib.sha256(encoded((FORMAT, *self._context, request))).digest()
        builder = CacheKeyBuilder(shape, of, fixed, MemoryNames(self._key, fixed))
        if len(self._builders) >= MAX_BUILDERS:
            self._builders.clear()
        self._builders[place] = builder
        return builder
