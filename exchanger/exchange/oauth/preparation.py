"""Requests to token endpoints, ready to be sent: their address, head and body.

If something is missing, that is a failure: the address is not a URL, metadata are not known yet, a key cannot sign.
"""

from collections.abc import Callable, Mapping
from typing import Final, final

import attrs

from exchanger.exchange.oauth.client_assertion import ClientAssertions
from exchanger.exchange.oauth.resolve_endpoint import resolve_endpoint
from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.oauth.token_request import (
    ConstantParts,
    EncodedRequest,
    Shape,
    constant_parts,
    encode_client_credentials,
    encode_introspection,
    encode_request,
    form_encoded,
    trace_headers,
)
from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ActorCredentials, Issuer, SigningKey
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangeFailure, IntrospectionRequest, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.model.trace import NO_TRACE
from exchanger.net.endpoint import Endpoint, HeaderFields, PreparedHead
from exchanger.net.network import SYSTEM
from exchanger.util.frozen import constructor_of, fast_init

# Endpoints that are remembered, one for each issuer profile, and constant parts of requests, one for each issuer and target.
_MAX_ENDPOINTS: Final = 1024
_MAX_PARTS: Final = 1024

_INVALID: Final = transport_failure(ErrorKind.INVALID_TOKEN_ENDPOINT, Diagnostic.INVALID_TOKEN_ENDPOINT)
_UNKNOWN: Final = transport_failure(
    ErrorKind.METADATA_UNKNOWN, Diagnostic.METADATA_UNKNOWN, detail="the issuer's metadata is not known yet"
)
_NO_INTROSPECTION: Final = attrs.evolve(_UNKNOWN, detail="the issuer's metadata names no introspection endpoint")
_UNSENDABLE: Final = transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)
_UNSIGNED: Final = attrs.evolve(_UNSENDABLE, detail="the client assertion key cannot sign")


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class Prepared:
    """A request that can be sent; ``trace`` are fields of this one alone, for which the head has room."""

    endpoint: Endpoint
    head: PreparedHead
    body: bytes = attrs.field(repr=False)
    trace: HeaderFields = attrs.field(default=(), repr=False)


_made: Final = constructor_of(Prepared)


@final
@attrs.frozen
class _Usual:
    """What requests for one target have in common, if nothing but the caller's token differs. It keeps its key, so no other has its ids."""

    key: tuple[Issuer, TokenTarget, str, str]
    endpoint: Endpoint
    head: PreparedHead
    parts: ConstantParts


@final
@attrs.define(eq=False)
class Preparation:
    """Prepares requests.

    Args:
        settings: Those of calls to token endpoints.
        now: Seconds since the epoch.
        discovered: Returns the token endpoint of an issuer with ``discovery``, "" while it is not known.
        entropy: Makes the ids of assertions.
        introspected: As ``discovered``, for the introspection endpoint: "" if the issuer has none, ``None`` while that is not known.
    """

    settings: TokenClientSettings
    _now: Callable[[], float]
    _discovered: Callable[[Issuer], str]
    _entropy: Callable[[int], bytes] = SYSTEM.entropy
    _introspected: Callable[[Issuer], str | None] = lambda _: None
    _assertions: ClientAssertions = attrs.field(init=False)
    # ``None`` until the first issuers are active.
    _current: frozenset[Issuer] | None = attrs.field(default=None, init=False, repr=False)
    endpoints: dict[Issuer, Endpoint | ExchangeFailure] = attrs.field(factory=dict, init=False, repr=False)
    _introspection: dict[Issuer, Endpoint | ExchangeFailure] = attrs.field(factory=dict, init=False, repr=False)
    _parts: dict[Shape, ConstantParts] = attrs.field(factory=dict, init=False, repr=False)
    # By the ids of issuer and target: hashing them would take longer than the rest of preparing a request.
    _usual: dict[tuple[int, int], _Usual] = attrs.field(factory=dict, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._assertions = ClientAssertions(self._now, self._entropy)

    def forget(self) -> None:
        """Look up the endpoints again: some have become known, or have moved."""
        self.endpoints.clear()
        self._introspection.clear()
        self._usual.clear()

    def use_issuers(self, issuers: Mapping[str, Issuer]) -> None:
        """Forget what belongs to issuers that are not active any more: credentials that were removed are not to stay in memory."""
        self._current = current = frozenset(called for issuer in issuers.values() for called in issuer.as_called)
        self.endpoints = {issuer: found for issuer, found in self.endpoints.items() if issuer in current}
        self._introspection = {issuer: found for issuer, found in self._introspection.items() if issuer in current}
        self._parts = {shape: parts for shape, parts in self._parts.items() if shape[0] in current}
        self._usual.clear()
        self._assertions.use_issuers(current)

    def exchange(self, request: TokenRequest) -> Prepared | ExchangeFailure:
        """Return the HTTP request for ``request``."""
        usual = self._usual.get((id(request.issuer), id(request.target)))
        if usual is not None and usual.key[2] is request.grant_type and usual.key[3] is request.subject_token_type:
            head, parts, token = usual.head, usual.parts, request.subject_token.reveal()
            if token.isascii() and request.actor_token is None:  # as every bearer token, and where there is no actor
                trace = () if request.trace is NO_TRACE else head.fitting(trace_headers(request.trace))
                return _made(usual.endpoint, head, parts.before + form_encoded(token) + parts.after, trace)
        issuer = request.issuer
        endpoint = self.endpoint(issuer)
        if isinstance(endpoint, ExchangeFailure):
            return endpoint
        assertion = self._assertion(issuer)
        if isinstance(assertion, ExchangeFailure):
            return assertion
        prepared = _prepared(endpoint, encode_request(request, assertion, request.actor_token, constant=self._constant))
        is_usual = assertion is None and request.actor_token is None and issuer.assertion is None
        if isinstance(prepared, Prepared) and is_usual and self._is_kept(issuer):
            if len(self._usual) >= _MAX_PARTS:
                self._usual.clear()
            shape = (issuer, request.target, request.grant_type, request.subject_token_type)
            self._usual[id(issuer), id(request.target)] = _Usual(shape, endpoint, prepared.head, self._constant(shape))
        return prepared

    def _constant(self, shape: Shape) -> ConstantParts:
        found = self._parts.get(shape)
        if found is None:
            found = constant_parts(shape)
            if self._is_kept(shape[0]):
                if len(self._parts) >= _MAX_PARTS:
                    self._parts.clear()
                self._parts[shape] = found
        return found

    def _is_kept(self, issuer: Issuer) -> bool:
        """Return whether anything of ``issuer`` may be cached: exchanges in progress may outlive their issuer."""
        return self._current is None or issuer in self._current

    def client_credentials(self, issuer: Issuer, actor: ActorCredentials) -> Prepared | ExchangeFailure:
        """Return the request for a token of the client itself."""
        endpoint = self.endpoint(issuer)
        if isinstance(endpoint, ExchangeFailure):
            return endpoint
        assertion = self._assertion(issuer)
        if type(assertion) is ExchangeFailure:
            return assertion
        return _prepared(endpoint, encode_client_credentials(issuer, actor.scope, assertion))

    def introspection(self, request: IntrospectionRequest) -> Prepared | ExchangeFailure:
        """Return the HTTP request that asks about a caller's token."""
        issuer = request.issuer
        endpoint = self._remembered(self._introspection, issuer, self._look_up_introspection)
        if isinstance(endpoint, ExchangeFailure):
            return endpoint
        assertion = self._assertion(issuer)
        return assertion if isinstance(assertion, ExchangeFailure) else _prepared(endpoint, encode_introspection(request, assertion))

    def _assertion(self, issuer: Issuer) -> Secret | ExchangeFailure | None:
        """Return the client's own assertion, ``None`` if it signs none."""
        proof = issuer.credentials.proof
        if type(proof) is not SigningKey:
            return None
        return self._assertions.sign(issuer, proof) or _UNSIGNED

    def endpoint(self, issuer: Issuer) -> Endpoint | ExchangeFailure:
        """Return the issuer's token endpoint, and keep it while the issuer is active."""
        return self._remembered(self.endpoints, issuer, self._look_up)

    def _remembered(
        self,
        known: dict[Issuer, Endpoint | ExchangeFailure],
        issuer: Issuer,
        look_up: Callable[[Issuer], Endpoint | ExchangeFailure],
    ) -> Endpoint | ExchangeFailure:
        try:
            return known[issuer]
        except KeyError:
            pass
        found = look_up(issuer)
        if self._is_kept(issuer):
            if len(known) >= _MAX_ENDPOINTS:
                known.clear()
            known[issuer] = found
        return found

    def _look_up(self, issuer: Issuer) -> Endpoint | ExchangeFailure:
        address = self._discovered(issuer) if issuer.discovery else issuer.token_endpoint
        if issuer.discovery and not address:
            return _UNKNOWN
        found = resolve_endpoint(address, issuer, self.settings, as_client=True)
        return found if isinstance(found, Endpoint) else _INVALID

    def _look_up_introspection(self, issuer: Issuer) -> Endpoint | ExchangeFailure:
        rules = issuer.subject.introspection
        address = (None if rules is None else rules.endpoint) or self._introspected(issuer)
        if not address:
            return _UNKNOWN if address is None else _NO_INTROSPECTION
        found = resolve_endpoint(address, issuer, self.settings, as_client=True)
        return found if isinstance(found, Endpoint) else _INVALID


def _prepared(endpoint: Endpoint, encoded: EncodedRequest | ExchangeFailure) -> Prepared | ExchangeFailure:
    if type(encoded) is not EncodedRequest:
        return encoded
    head = endpoint.head(encoded.headers)
    return _UNSENDABLE if head is None else Prepared(endpoint, head, encoded.body, head.fitting(encoded.trace))
