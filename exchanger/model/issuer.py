"""Issuers: the token endpoints that operators offer to policies, with the credentials of this client.

``Issuer`` is complete. ``Issuer[R]`` is the same with an ``R`` in place of each value that must still be looked up.

Must not know: where credentials are stored, or HTTP.
"""

import enum
from typing import TYPE_CHECKING, Final, Generic, Never, final

import attrs

from exchanger.model.entry import TokenTarget
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.util.json_schema import about

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # for its default, which Python has from 3.13 on

    R = TypeVar("R", default=Never)
else:
    from typing import TypeVar

    R = TypeVar("R")


@enum.unique
class AuthMethod(enum.Enum):
    """How a client secret is sent to the token endpoint (RFC 6749 section 2.3.1)."""

    CLIENT_SECRET_BASIC = "client_secret_basic"
    CLIENT_SECRET_POST = "client_secret_post"


@enum.unique
class SigningAlgorithm(enum.Enum):
    """How client assertions are signed (RFC 7518 section 3.1, RFC 8037 section 3.1)."""

    RS256 = "RS256"
    PS256 = "PS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"


@final
@attrs.frozen
class SigningKey(Generic[R]):
    """Signs an assertion for each request (private_key_jwt, RFC 7523 section 2.2). ``pem`` is a private key in PEM, unencrypted.

    ``audience`` "" is the token endpoint.
    """

    pem: Secret | R
    algorithm: SigningAlgorithm
    key_id: str = ""
    audience: str = ""


@enum.unique
class AssertionType(enum.Enum):
    """The type of an assertion that another party issued for this client; the ``client_assertion_type`` (RFC 7521 section 4.2)."""

    JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    JWT_SPIFFE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"


@final
@attrs.frozen
class Assertion(Generic[R]):
    """An assertion that another party issued for this client, such as a projected ServiceAccount token.

    ``subject`` identifies its subject, which stays the same when the assertion is renewed.
    """

    text: Secret | R
    type: AssertionType
    subject: str | R


@final
@attrs.frozen
class ClientCertificate(Generic[R]):
    """The certificate by which the client authenticates in TLS (RFC 8705), with those of its authorities, and its key, all in PEM."""

    chain: str | R = attrs.field(repr=False)
    key: Secret | R


# What shows that the client is who it says; ``None``: nothing does, the client is public (RFC 6749 section 2.1).
ClientProof = Secret | SigningKey | Assertion | ClientCertificate | None


@final
@attrs.frozen
class Credentials(Generic[R]):
    """Client id and proof; a ``Secret`` is a client secret. The id may be "" if the proof names the client.

    ``generation`` grows with each rotation, so that exchanges under different credentials are never shared.
    """

    client_id: str | R
    proof: Secret | SigningKey[R] | Assertion[R] | ClientCertificate[R] | R | None
    generation: int = 0

    @property
    def client(self: "Credentials") -> tuple[str, str]:
        """What identifies the client at the issuer: with another secret, key or certificate, it is issued the same tokens."""
        return self.client_id, self.proof.subject if isinstance(self.proof, Assertion) else ""


@enum.unique
class EndpointProtocol(enum.Enum):
    """The protocol of the token endpoint; ``AUTO``: HTTP/2 if the TLS handshake agrees on it, otherwise HTTP/1.1."""

    AUTO = "auto"
    HTTP1 = "http1"
    HTTP2 = "http2"

    __hash__ = object.__hash__


# How long a token may be kept, whatever its issuer says. Less than a second saves nothing; a day is as long as any user should remain able
# to act after having been removed at the issuer.
MIN_TTL: Final = "1s"
MAX_TTL: Final = "24h"
# Tokens of one issuer that may be kept: at some 2 KiB each, more would not fit into a usual pod.
MAX_ENTRIES: Final = 1_000_000
# Calls to one issuer at a time: each may need a connection, and with it a file descriptor.
MAX_IN_FLIGHT: Final = 10_000


@final
@attrs.frozen
class CachePolicy:
    """How tokens of an issuer are cached: each for ``max_ttl`` seconds at most, and at most ``max_entries`` of them.

    ``evict_rejected``: one that an upstream rejects is not served again.
    """

    max_ttl: float = attrs.field(
        metadata=about("How long a token is cached at most, such as 90s or 5m; never beyond its expiry.", least=MIN_TTL, most=MAX_TTL)
    )
    max_entries: int = attrs.field(metadata=about("How many tokens are cached at most.", least=1, most=MAX_ENTRIES))
    evict_rejected: bool = attrs.field(
        default=False,
        metadata=about(
            "Whether a token that an upstream rejects (401) is evicted. Needs ext_proc with allow_mode_override; without effect behind "
            "ext_authz. Default: false."
        ),
    )


@final
@attrs.frozen
class CallLimits:
    """Overload protection for an issuer: at most ``max_in_flight`` calls at a time (``None``: any number).

    ``breaker``: it is not called while it is down.
    """

    max_in_flight: int | None = attrs.field(
        default=None,
        metadata=about(
            "How many calls to the token endpoint may run at a time; more are queued. Default: no limit.", least=1, most=MAX_IN_FLIGHT
        ),
    )
    breaker: bool = attrs.field(
        default=False, metadata=about("Whether a failing token endpoint is not called for a while. Default: false.")
    )


@enum.unique
class GrantType(enum.Enum):
    """The grant requested at the token endpoint; the value is the profile's ``grantType``."""

    TOKEN_EXCHANGE = "token-exchange"  # RFC 8693
    JWT_BEARER = "jwt-bearer"  # RFC 7523 section 2.1
    ENTRA_OBO = "entra-obo"  # Microsoft's on-behalf-of flow

    __hash__ = object.__hash__


@final
@attrs.frozen
class ActorToken(Generic[R]):
    """The actor's token (RFC 8693 section 2.1); ``subject`` identifies its subject, which stays the same when the token is renewed."""

    token: Secret | R
    type: str
    subject: str | R


@final
@attrs.frozen
class ActorCredentials:
    """The actor is this client: its token is requested with the client credentials grant (RFC 6749 section 4.4)."""

    scope: str = attrs.field(default="", metadata=about("The scope of the actor's token."))


@final
@attrs.frozen
class Grant(Generic[R]):
    """Parameters of a token request besides subject, target and client. ``requested_token_type`` "" is not sent.

    ``parameters`` are names and values that the operator adds; a value may be secret. ``assertion``: the token is for
    another issuer.
    """

    type: GrantType = GrantType.TOKEN_EXCHANGE
    requested_token_type: str = ""
    actor: ActorToken[R] | ActorCredentials | None = None
    parameters: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    assertion: bool = False


AUTHORIZATION: Final = "authorization"


# Actors in a chain (RFC 8693 section 4.1): each is a service that the call has passed.
MAX_ACTORS: Final = 10


# How long an issuer's word that a token is active counts: half a minute is no longer than users expect a logout to take. Above five minutes
# tokens with a short lifetime, verified by keys, would be safer.
CACHE_TTL: Final = 30.0
MAX_CACHE_TTL: Final = "5m"


@final
@attrs.frozen
class IntrospectionRules:
    """Which callers' tokens their issuer is asked about (RFC 7662), at ``endpoint``, or "" where its metadata say.

    It is asked about all tokens (``always``), or about those that are no JWTs. Its word counts for ``cache_ttl`` seconds.
    """

    endpoint: str = ""
    always: bool = False
    cache_ttl: float = CACHE_TTL


@final
@attrs.frozen
class SubjectRules:
    """Where a caller's token is read from, and which tokens may be exchanged.

    ``headers`` are names in lower case. With ``issuers``, a token passes only if one of them issued it, for one of ``audiences``, and its
    signature fits a key at ``jwks_uri``, or "" one that its issuer publishes, and if its chain of actors is not longer than ``max_actors``.
    With ``introspection``, its issuer must say that it is active. Without either, only the token endpoint verifies. ``token_type`` is the
    ``subject_token_type``, "" for the global one.

    ``removed`` are the headers that must be removed on an exchange; Authorization holds the new token.
    """

    headers: tuple[str, ...] = (AUTHORIZATION,)
    issuers: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    jwks_uri: str = ""
    max_actors: int = MAX_ACTORS
    token_type: str = ""
    introspection: IntrospectionRules | None = None
    removed: tuple[str, ...] = attrs.field(init=False, eq=False, repr=False)

    @removed.default
    def _removed(self) -> tuple[str, ...]:
        return tuple(header for header in self.headers if header != AUTHORIZATION)


@final
@attrs.frozen
class AssertionRules:
    """What an assertion must be: valid now, and as an ID-JAG, for the client ``client_id``, which is "" for other assertions."""

    client_id: str = ""


@enum.unique
class ActorRule(enum.Enum):
    """Which actor (``act``, RFC 8693 section 4.1) an exchanged token may name; the value is the profile's word.

    ``SAME``: the actor whose token was sent. If none was, nobody, the actors in the caller's token, or this client.
    """

    SAME = "same"
    NONE = "none"
    ANY = "any"

    __hash__ = object.__hash__


@final
@attrs.frozen
class IssuedTokenRules:
    """What an exchanged token must be, beside what was requested of its issuer.

    ``issuer``: its ``iss``, "" if any. ``audiences``: what its ``aud`` may name; empty: what the request asks for. ``subject``: the claim
    that must equal that of the caller's token, "" if none. ``actor``: ``None`` is ``ANY`` if an actor's token is sent, since issuers name
    actors in their own way, and ``SAME`` otherwise. ``scope``: whether it may grant no more than was requested and ``scope_also``.
    ``max_lifetime`` is in seconds, ``None`` without a limit. ``signature``: whether keys must verify it, those at ``jwks_uri``, or "" those
    that the metadata of ``keys_of`` name. ``opaque``: whether a token that is not a JWT passes. ``assertion``: what it must be as an
    assertion for another issuer, ``None`` if it is not one.
    """

    issuer: str
    audiences: tuple[str, ...] = ()
    subject: str = ""
    scope: bool = False
    scope_also: tuple[str, ...] = ()
    max_lifetime: float | None = None
    signature: bool = False
    jwks_uri: str = ""
    keys_of: str = ""
    opaque: bool = False
    assertion: AssertionRules | None = None
    actor: ActorRule | None = None


ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # RFC 8693 section 3
# The assertion of draft-ietf-oauth-identity-assertion-authz-grant, which names the client that may use it.
ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"


@final
@attrs.frozen
class AssertionSource:
    """Where the assertion of an issuer's jwt-bearer requests comes from: an exchange at another issuer, for ``audience``.

    ``profile`` names that issuer; ``issuer`` is it as it is called for assertions, and ``verifier`` as its profile says; both are ``None``
    as long as profiles are not active together. ``reuse``: an assertion may be sent more than once.
    """

    profile: str
    token_type: str
    audience: str
    reuse: bool = False
    issuer: "Issuer | None" = None
    verifier: "Issuer | None" = None


@enum.unique
class ErrorStyle(enum.Enum):
    """How the caller learns of failures; ``REFERENCE``: as from the Go service."""

    REFERENCE = "reference"
    STRICT = "strict"

    __hash__ = object.__hash__


@final
@attrs.frozen(cache_hash=True)
class Issuer(Generic[R]):
    """An issuer by its profile. ``bearer_realm`` "" means the global realm, ``proxy`` ``None`` the environment's, ``cache`` ``None`` none.

    ``token_endpoint`` is "" if the metadata of the issuer ``discovery`` names it (RFC 8414). ``ca_pem`` are the only trusted CA
    certificates, ``None`` those of the system. ``issued``: how exchanged tokens are verified, ``None`` if they are not. ``assertion``: the
    other issuer whose assertion is sent to this one, ``None`` if that is the caller's token.

    ``previous`` are the recent predecessors of ``credentials`` at the same token endpoint, which may not know the new ones yet. They count
    in comparisons: exchanges that may fall back to them are not shared with those that may not.
    """

    name: str
    token_endpoint: str
    endpoint_host: str
    auth_method: AuthMethod
    credentials: Credentials[R]
    bearer_realm: str = ""
    previous: Credentials[R] | None = None
    proxy: Proxy | None = None
    protocol: EndpointProtocol = EndpointProtocol.AUTO
    cache: CachePolicy | None = None
    limits: CallLimits = CallLimits()
    discovery: str = ""
    ca_pem: str | R | None = attrs.field(default=None, repr=False)
    grant: Grant[R] = Grant()
    subject: SubjectRules = SubjectRules()
    errors: ErrorStyle = ErrorStyle.REFERENCE
    issued: IssuedTokenRules | None = None
    assertion: AssertionSource | None = None

    @property
    def as_called(self: "Issuer") -> "tuple[Issuer, ...]":
        """The issuers that calls are made with: this one, after a rotation with each of its credentials alone, and the first of a chain."""
        first: tuple[Issuer, ...] = ()
        if self.assertion is not None and self.assertion.issuer is not None:
            first = self.assertion.issuer.as_called
        if self.previous is None:
            return self, *first
        alone = attrs.evolve(self, previous=None)
        return self, alone, attrs.evolve(alone, credentials=self.previous), *first

    @property
    def verifying(self: "Issuer") -> "Issuer":
        """The issuer whose rules for callers' tokens apply: that to which these are sent, unless the second of a chain has rules, too."""
        source = self.assertion
        return self if source is None or source.verifier is None or self.subject.issuers else source.verifier

    def unrequestable(self, target: TokenTarget) -> tuple[str, ...]:
        """Return the fields of ``target`` that requests to this issuer have no place for.

        Microsoft's on-behalf-of flow has only a scope. In a chain, the audience is that of the assertion.
        """
        on_behalf, chained = self.grant.type is GrantType.ENTRA_OBO, self.assertion is not None
        fields = (("resources", target.resources, on_behalf), ("audiences", target.audiences, on_behalf or chained))
        return tuple(name for name, texts, refused in fields if texts and refused)

    @property
    def address(self) -> str:
        """The URL that the operator gave: the token endpoint's, or the issuer's."""
        return self.token_endpoint or self.discovery


def in_chain(issuer: Issuer, source: AssertionSource, first: Issuer) -> Issuer:
    """Return ``issuer``, whose assertions come from ``first`` by ``source``, with that issuer as it is called for them.

    The callers' tokens are for ``first``, so its profile says their type, unless that of ``issuer`` does. No actor takes part: an assertion
    is about the caller alone.
    """
    client_id = issuer.credentials.client_id if source.token_type == ID_JAG else ""
    rules = first.issued or IssuedTokenRules("")
    called = attrs.evolve(
        first,
        grant=attrs.evolve(first.grant, requested_token_type=source.token_type, actor=None, assertion=True),
        issued=attrs.evolve(rules, audiences=(source.audience,), opaque=False, assertion=AssertionRules(client_id)),
        cache=first.cache if source.reuse else None,
    )
    subject = attrs.evolve(issuer.subject, token_type=issuer.subject.token_type or first.subject.token_type)
    return attrs.evolve(issuer, assertion=attrs.evolve(source, issuer=called, verifier=first), subject=subject)
