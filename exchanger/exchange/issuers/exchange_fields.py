"""The fields of a profile about the exchange itself: the actor, parameters, and the caller's token. As written, with rules and schema.

Must not know: files, clocks, or the content of Secrets.
"""

import re
from collections.abc import Iterator
from typing import Final, final

import attrs

from exchanger.exchange.issuers.material import subject_of
from exchanger.exchange.issuers.rules import MAX_ITEMS, ProfileRules, chosen, described, one_of, path_problems
from exchanger.exchange.issuers.value_sources import Reference, Shape, in_files
from exchanger.formats.yaml.text_rules import NOT_BLANK
from exchanger.model.issuer import (
    AUTHORIZATION,
    CACHE_TTL,
    MAX_ACTORS,
    MAX_CACHE_TTL,
    ActorCredentials,
    ActorToken,
    IntrospectionRules,
    SubjectRules,
)
from exchanger.net.endpoint import EndpointProblem
from exchanger.util.json_schema import about

# Parameters that the service sets itself, by whichever grant (RFC 6749, RFC 7521, RFC 7523, RFC 8693, Microsoft's on-behalf-of flow).
RESERVED: Final = frozenset(
    {
        *("grant_type", "scope", "resource", "audience", "client_id", "client_secret", "client_assertion", "client_assertion_type"),
        *("subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type"),
        *("assertion", "requested_token_use"),
    }
)
# Characters of a parameter's name and value.
MAX_NAME: Final = 128
MAX_VALUE: Final = 4096

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # RFC 8693 section 3
_is_name: Final = re.compile(r"[!-~]+").fullmatch
is_uri: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+").fullmatch
# A field name (RFC 9110 section 5.1, https://www.rfc-editor.org/rfc/rfc9110#section-5.1).
_is_header: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch
# They define how the message is framed and routed, and a gateway removes none of them; or they are logged, or sent to token endpoints.
_NO_TOKENS: Final = frozenset(
    {
        *("connection", "content-length", "cookie", "host", "te", "trailer", "transfer-encoding", "upgrade"),
        *("baggage", "traceparent", "tracestate", "x-request-id"),
    }
)
# Envoy's own headers, which its ext_proc filter silently keeps unless its mutation rules allow removing them.
_OF_ENVOY: Final = "x-envoy"
_LISTED: Final = {"minItems": 1, "maxItems": MAX_ITEMS}
_WHEN: Final = {"opaque": False, "always": True}
MIN_CACHE_TTL: Final = "0s"


@final
@attrs.frozen
class Actor:
    """The actor: the subject of a token in a file, or the client itself."""

    file: str = described("The absolute path of the actor's token. The service reads it again when it changes.", default="")
    type: str = described("The type of the token in the file. Default: an access token.", default="")
    client_credentials: ActorCredentials | None = described(
        "The actor is the service itself, which gets its token with the client credentials grant.", default=None
    )

    def actor(self, problems: list[str]) -> ActorToken[Reference] | ActorCredentials | None:
        """Return the actor. Problems are added to ``problems``."""
        if self.client_credentials is not None:
            problems += (f"actorToken.{name} is not for clientCredentials" for name in ("file", "type") if getattr(self, name))
            return self.client_credentials
        if not self.file:
            problems.append("actorToken needs file or clientCredentials")
            return None
        problems += path_problems("actorToken.file", self.file)
        if self.type and not is_uri(self.type):
            problems.append("actorToken.type must be a URI such as urn:ietf:params:oauth:token-type:jwt")
        file = in_files("actorToken.file", Shape.TOKEN, self.file)
        return ActorToken(file, self.type or ACCESS_TOKEN, attrs.evolve(file, made=subject_of))


def parameter_problems(pairs: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Yield the problems of additional parameters of token requests."""
    if len(pairs) > MAX_ITEMS:
        yield f"parameters has more than {MAX_ITEMS} entries"
    for name, value in pairs:
        if name.lower() in RESERVED:
            yield f"parameters must not have {name.lower()}, which the service sets itself"
        elif not _is_name(name) or len(name) > MAX_NAME or len(value) > MAX_VALUE:
            yield f"parameters has a name that is not 1 to {MAX_NAME} characters of visible ASCII, or a value of more than {MAX_VALUE}"


@final
@attrs.frozen
class SubjectHeader:
    """A header that may hold the caller's token."""

    header: str = described("The name of a header.", {"pattern": NOT_BLANK})


@final
@attrs.frozen
class Introspection:
    """Which tokens their issuer is asked about."""

    endpoint: str = described("The URL of the introspection endpoint. Default: where the metadata of discovery say.", default="")
    when: str = described(
        "Which tokens the issuer is asked about: opaque (the default), which is those that are not JWTs, or always.",
        one_of(_WHEN),
        default="",
    )
    cache_ttl: float | None = attrs.field(
        default=None,
        metadata=about(
            "How long the issuer's word that a token is active counts, such as 30s (the default); 0s: it is asked for each request.",
            least=MIN_CACHE_TTL,
            most=MAX_CACHE_TTL,
        ),
    )

    def rules(self, client: "AskingClient", rules: ProfileRules, problems: list[str]) -> IntrospectionRules:
        """Return the rules for asking. Problems are added to ``problems``."""
        always = chosen("subjectToken.introspection.when", self.when, _WHEN, False, problems)
        if client.is_public:
            problems.append("subjectToken.introspection needs a client that authenticates, and tokenEndpointAuthMethod is none")
        if not self.endpoint and not client.has_discovery:
            problems.append("subjectToken.introspection needs endpoint, since the profile has no discovery")
        elif self.endpoint and isinstance(found := rules.host_of(self.endpoint), EndpointProblem):
            problems.append(f"subjectToken.introspection.endpoint {found.reason}")
        elif self.endpoint and client.has_certificate and self.endpoint[:6].lower() != "https:":
            problems.append("clientCertificate needs a subjectToken.introspection.endpoint with https")
        return IntrospectionRules(self.endpoint, always, CACHE_TTL if self.cache_ttl is None else self.cache_ttl)


@final
@attrs.frozen
class AskingClient:
    """What matters of the client that asks an issuer: it must authenticate, and know where."""

    is_public: bool
    has_certificate: bool
    has_discovery: bool


@final
@attrs.frozen
class SubjectToken:
    """Where the caller's token is, and which tokens are accepted."""

    from_: tuple[SubjectHeader, ...] = described(
        "The headers that may hold the caller's token. Default: Authorization. They are removed from the request.", _LISTED, default=()
    )
    issuers: tuple[str, ...] = described(
        "The issuers whose tokens are exchanged (iss). Without it, only the token endpoint verifies tokens.", _LISTED, default=()
    )
    audiences: tuple[str, ...] = described("A token is exchanged if it is for one of these audiences (aud).", _LISTED, default=())
    jwks_uri: str = described("The URL of the issuer's keys (JWKS), if it publishes no metadata.", default="")
    type: str = described(
        "The type of the caller's token (subject_token_type), a URI. Default: TOKEN_EXCHANGE_SUBJECT_TOKEN_TYPE.", default=""
    )
    max_actors: int | None = attrs.field(
        default=None,
        metadata=about(
            f"How many actors the chain in a caller's token (act) may have at most. Default: {MAX_ACTORS}.", least=0, most=MAX_ACTORS
        ),
    )
    introspection: Introspection | None = described(
        "The issuer is asked whether tokens are active (RFC 7662), as their signature does not tell, or not in time.", default=None
    )

    def subject(self, client: AskingClient, rules: ProfileRules, problems: list[str]) -> SubjectRules:
        """Return the rules for callers' tokens. Problems are added to ``problems``."""
        headers = tuple(item.header.lower() for item in self.from_)
        problems += _header_problems(headers)
        for name, texts in (("issuers", self.issuers), ("audiences", self.audiences)):
            if len(texts) > MAX_ITEMS or len(set(texts)) < len(texts) or not all(texts):
                problems.append(f"subjectToken.{name} must be at most {MAX_ITEMS} different texts, none of them empty")
        if self.type and not is_uri(self.type):
            problems.append("subjectToken.type must be a URI such as urn:ietf:params:oauth:token-type:id_token")
        problems += self._verification_problems(rules)
        most = MAX_ACTORS if self.max_actors is None else self.max_actors
        asked = None if self.introspection is None else self.introspection.rules(client, rules, problems)
        return SubjectRules(headers or (AUTHORIZATION,), self.issuers, self.audiences, self.jwks_uri, most, self.type, asked)

    def _verification_problems(self, rules: ProfileRules) -> Iterator[str]:
        """A verification that lacks something would accept either every token or none."""
        if not self.issuers:
            yield from self._problems_without_issuers()
            return
        if not self.audiences:
            yield "subjectToken.issuers needs subjectToken.audiences: a token that is meant for others must not be exchanged"
        if not self.jwks_uri:
            for issuer in self.issuers:
                found = rules.host_of(issuer)
                # As for ``discovery``: the path of the metadata cannot be added below a query.
                reason = found.reason if isinstance(found, EndpointProblem) else "must not have a query" if "?" in issuer else ""
                if reason:
                    yield f"subjectToken.issuers must lead to keys, and one of them {reason}; correct it, or give subjectToken.jwksURI"
            return
        if len(self.issuers) > 1:
            yield "subjectToken.jwksURI holds the keys of one issuer, and subjectToken.issuers has several"
        if isinstance(found := rules.host_of(self.jwks_uri), EndpointProblem):
            yield f"subjectToken.jwksURI {found.reason}"

    def _problems_without_issuers(self) -> Iterator[str]:
        if self.jwks_uri:
            yield "subjectToken.jwksURI needs subjectToken.issuers"
        if self.introspection is None:
            if self.audiences:
                yield "subjectToken.audiences needs subjectToken.issuers"
            if self.max_actors is not None:
                yield "subjectToken.maxActors needs subjectToken.issuers: without it, callers' tokens are not read"
        elif not _WHEN.get(self.introspection.when, False):
            yield "subjectToken.introspection needs subjectToken.issuers, by whose keys JWTs are verified, or when: always"


def _header_problems(headers: tuple[str, ...]) -> Iterator[str]:
    if len(headers) > MAX_ITEMS or len(set(headers)) < len(headers):
        yield f"subjectToken.from must name at most {MAX_ITEMS} different headers"
    for header in headers:
        if not _is_header(header):
            yield "subjectToken.from has a text that is not the name of a header"
        elif header in _NO_TOKENS or header.startswith(_OF_ENVOY):
            yield f"subjectToken.from must not name the header {header}"
