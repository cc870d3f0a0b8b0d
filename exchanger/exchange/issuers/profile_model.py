"""An issuer profile as operators write it: each field with its schema, and the rules by which it becomes an issuer. Pure.

A profile can be wrong in many ways at once, and all are reported. The resulting issuer cannot be wrong: it lacks at most values in Secrets
and files, and has references to these.

Must not know: how the file is read, clocks, or the content of Secrets.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, final

import attrs

from exchanger.exchange.issuers.assertion_fields import AssertionExchange
from exchanger.exchange.issuers.client_fields import (
    CertificateFiles,
    ClientAssertion,
    ClientAssertionFile,
    SecretKeyRef,
    in_secret,
)
from exchanger.exchange.issuers.exchange_fields import Actor, AskingClient, SubjectToken, is_uri, parameter_problems
from exchanger.exchange.issuers.issued_fields import IssuedToken
from exchanger.exchange.issuers.rules import MAX_ITEMS, ProfileRules, chosen, described, one_of, path_problems, words_of
from exchanger.exchange.issuers.value_sources import Reference, Shape, ValueSource, in_files, references
from exchanger.formats.yaml.text_rules import BLANKS, NOT_BLANK, whole
from exchanger.model.issuer import (
    ID_JAG,
    ID_TOKEN,
    ActorCredentials,
    Assertion,
    AuthMethod,
    CachePolicy,
    CallLimits,
    ClientCertificate,
    Credentials,
    EndpointProtocol,
    ErrorStyle,
    Grant,
    GrantType,
    Issuer,
    SigningKey,
    SubjectRules,
)
from exchanger.model.proxy import ProxyProblem, read_proxy
from exchanger.model.secret import Secret
from exchanger.net.endpoint import EndpointProblem
from exchanger.util.json_schema import about
from exchanger.util.text import quoted

# Secrets and files that one file may refer to: each is read separately, all the time.
MAX_PLACES: Final = 256
# Problems of one version of the file that are listed in a summary.
_SUMMED_UP: Final = 10

PUBLIC: Final = "none"
METHODS: Final = words_of(AuthMethod)
PROTOCOLS: Final = words_of(EndpointProtocol)
GRANTS: Final = words_of(GrantType)
ERROR_STYLES: Final = words_of(ErrorStyle)

_SECRET: Final = "clientSecret"
_NO_PROOF: Final = f"tokenEndpointAuthMethod {PUBLIC}"
_HTTP: Final = "[Hh][Tt][Tt][Pp][Ss]?"
_ESCAPED: Final = "%[0-9A-Fa-f]{2}"
_PROXY: Final = rf"{_HTTP}://(?:(?:[^@/?#%\\{BLANKS}]|{_ESCAPED})*@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{{0,5}})?/?"

Proof = Secret | SigningKey[Reference] | Assertion[Reference] | ClientCertificate[Reference] | Reference | None


@final
@attrs.frozen
class IssuerProfile:
    """A profile as written."""

    name: str = described("The name by which policies refer to the profile (issuerRef).", {"pattern": NOT_BLANK})
    token_endpoint: str = described(
        "The absolute https URL of the token endpoint, without user information and fragment.",
        {"pattern": f"^[{BLANKS}]*(?:{_HTTP}://[^/?#@]+(?:[/?][^#]*)?)?$"},
        default="",
        nullable=True,
    )
    bearer_realm: str = described("The realm of 401 challenges. Default: TOKEN_EXCHANGE_BEARER_REALM.", default="", nullable=True)
    token_endpoint_auth_method: str = described(
        "How the service authenticates to the token endpoint (RFC 6749 section 2.3.1). Default: TOKEN_ENDPOINT_AUTH_METHOD.",
        one_of({**METHODS, PUBLIC: None}, blank=True),
        default="",
        nullable=True,
    )
    client_id: str = described("The client id. Give this or clientIDSecretRef.", default="", nullable=True)
    client_secret: Secret = described(
        "The client secret; keep the file in a Secret then. Give this, clientSecretFile or clientSecretSecretRef.",
        {"pattern": f"^$|{NOT_BLANK}"},
        default=Secret(""),
        nullable=True,
    )
    client_secret_file: str = described(
        "The absolute path of a file with the client secret. The service reads it again when it changes.", default=""
    )
    client_id_secret_ref: SecretKeyRef | None = described("The Secret with the client id.", default=None, nullable=True)
    client_secret_secret_ref: SecretKeyRef | None = described("The Secret with the client secret.", default=None, nullable=True)
    proxy: Secret | None = described(
        "The URL of an HTTP proxy in front of the token endpoint, with http or https. A user and a password have special characters "
        "escaped with %; keep the file in a Secret then.",
        {"pattern": whole(_PROXY)},
        default=None,
        nullable=True,
    )
    token_endpoint_protocol: str = described(
        "How to speak to the token endpoint. Default: auto, which is HTTP/2 where TLS agrees on it.",
        one_of(PROTOCOLS, blank=True),
        default="",
        nullable=True,
    )
    cache: CachePolicy | None = described("How tokens of this issuer are cached. Without it, they are not.", default=None)
    limits: CallLimits | None = described(
        "How the token endpoint is protected from overload. Without it, there are no limits.", default=None
    )
    discovery: str = described(
        "The issuer's URL, whose metadata has the token endpoint (RFC 8414, OpenID Connect Discovery). Give this or tokenEndpoint.",
        {"pattern": f"^[{BLANKS}]*(?:{_HTTP}://[^/?#@]+(?:/[^?#]*)?)?$"},
        default="",
    )
    client_assertion: ClientAssertion | None = described(
        "The service signs an assertion for each request (private_key_jwt, RFC 7523).", default=None
    )
    client_assertion_file: ClientAssertionFile | None = described(
        "The service sends an assertion from a file, such as a projected ServiceAccount token or a JWT-SVID.", default=None
    )
    client_certificate: CertificateFiles | None = described("The service authenticates with a certificate in TLS (RFC 8705).", default=None)
    ca_file: str = described(
        "The absolute path of the CA certificates to trust for this issuer, instead of the system's, in PEM.", default=""
    )
    grant_type: str = described("The grant. Default: token-exchange (RFC 8693).", one_of(GRANTS), default="")
    requested_token_type: str = described("The type of token requested (RFC 8693 section 2.1).", default="")
    actor_token: Actor | None = described("Who acts for the caller (RFC 8693 section 2.1).", default=None)
    parameters: tuple[tuple[str, str], ...] = attrs.field(
        default=(),
        repr=False,  # a value may be secret
        metadata=about(
            "Additional parameters of token requests. Those that the service sets itself are not allowed.",
            {"additionalProperties": {"type": "string"}, "maxProperties": MAX_ITEMS},
        ),
    )
    subject_token: SubjectToken | None = described("Where the caller's token is, and which tokens are accepted.", default=None)
    issued_token: IssuedToken | None = described(
        "What exchanged tokens must be. A token that is not is neither kept nor handed out. Without it, they are not verified.",
        default=None,
    )
    assertion: AssertionExchange | None = described(
        "The assertion that is sent with grantType jwt-bearer comes from another profile's issuer, to which the caller's token is sent. "
        "Without it, the caller's token is the assertion.",
        default=None,
    )
    errors: str = described("How failures are reported to callers: reference (the default) or strict.", one_of(ERROR_STYLES), default="")

    def issuer(self, rules: ProfileRules) -> Issuer[Reference] | tuple[str, ...]:
        """Return the issuer, or everything that is wrong with this."""
        problems = [] if self.name else ["needs a name"]
        host = self._host(rules, problems)
        protocol = chosen("tokenEndpointProtocol", self.token_endpoint_protocol, PROTOCOLS, EndpointProtocol.AUTO, problems)
        errors = chosen("errors", self.errors, ERROR_STYLES, ErrorStyle.REFERENCE, problems)
        method, credentials = self._client(rules, problems)
        if isinstance(credentials.proof, ClientCertificate) and (self.token_endpoint or self.discovery)[:6].lower() != "https:":
            problems.append("clientCertificate needs a token endpoint with https")
        proxy = None if self.proxy is None else read_proxy(self.proxy.reveal().strip())
        if isinstance(proxy, ProxyProblem):
            problems.append(f"proxy {proxy.reason}")
            proxy = None
        if self.ca_file:
            problems += path_problems("caFile", self.ca_file)
        grant = self._grant(problems)
        client = AskingClient(
            self.token_endpoint_auth_method == PUBLIC, isinstance(credentials.proof, ClientCertificate), bool(self.discovery)
        )
        subject = SubjectRules() if self.subject_token is None else self.subject_token.subject(client, rules, problems)
        issued = None if self.issued_token is None else self.issued_token.issued(self.discovery, grant.type, rules, problems)
        assertion = None
        if self.assertion is not None:
            assertion = self.assertion.source(self.discovery, grant.type, problems, has_client_id=bool(credentials.client_id))
            if subject.introspection is not None:  # it would send the caller's token to the second issuer
                problems.append("subjectToken.introspection belongs into the profile that assertion.from names")
        if problems:
            return tuple(problems)
        return Issuer(
            name=self.name,
            token_endpoint=self.token_endpoint,
            endpoint_host=host,
            auth_method=method,
            credentials=credentials,
            bearer_realm=self.bearer_realm,
            proxy=proxy,
            protocol=protocol,
            cache=self.cache,
            limits=self.limits or CallLimits(),
            discovery=self.discovery,
            ca_pem=in_files("caFile", Shape.AUTHORITIES, self.ca_file, made=str) if self.ca_file else None,
            grant=grant,
            subject=subject,
            errors=errors,
            issued=issued,
            assertion=assertion,
        )

    def chain_problem(self, profiles: "Mapping[str, IssuerProfile]") -> str:
        """Return why the profile that ``assertion`` names, one of ``profiles``, cannot issue it; "" if it can, or if there is none."""
        if self.assertion is None or not self.assertion.from_:
            return ""
        first = profiles.get(self.assertion.from_)
        if self.assertion.from_ == self.name:
            return "assertion.from must name another profile"
        if first is None:
            return "assertion.from names a profile that does not exist"
        if first.assertion is not None:
            return "assertion.from names a profile that has an assertion itself; at most two issuers can be chained"
        if first.grant_type not in ("", GrantType.TOKEN_EXCHANGE.value):
            return f"assertion.from must name a profile with the grantType {GrantType.TOKEN_EXCHANGE.value}"
        return ""

    def _host(self, rules: ProfileRules, problems: list[str]) -> str:
        """Return the host of the token endpoint, or of the issuer that will say where that is."""
        if self.token_endpoint and self.discovery:
            problems.append("has tokenEndpoint and discovery; give one of them")
        field, address = ("discovery", self.discovery) if self.discovery else ("tokenEndpoint", self.token_endpoint)
        if not address:
            problems.append("needs a tokenEndpoint or discovery")
            return ""
        host = rules.host_of(address)
        if isinstance(host, EndpointProblem):
            problems.append(f"{field} {host.reason}")
            return ""
        # An issuer has no query (RFC 8414 section 2): there would be no place for the well-known path.
        if self.discovery and "?" in address:
            problems.append("discovery must not have a query")
        # Writing the address of the metadata is a common mistake; no metadata could name it as the issuer.
        if self.discovery and "/.well-known/" in address:
            problems.append("discovery must be the issuer's own URL, without /.well-known/ and what follows")
        return host

    def _client(self, rules: ProfileRules, problems: list[str]) -> tuple[AuthMethod, Credentials[Reference]]:
        """Return how the client authenticates: in exactly one way, with everything that this way needs."""
        written = self.token_endpoint_auth_method
        ways: dict[str, Callable[[list[str]], Proof]] = {}
        if self.client_secret.reveal() or self.client_secret_file or self.client_secret_secret_ref is not None:
            ways[_SECRET] = partial(self._secret, rules)
        if self.client_assertion is not None:
            ways["clientAssertion"] = partial(self.client_assertion.proof, self.discovery, rules)
        if self.client_assertion_file is not None:
            ways["clientAssertionFile"] = self.client_assertion_file.proof
        if self.client_certificate is not None:
            ways["clientCertificate"] = self.client_certificate.proof
        if written == PUBLIC:
            ways[_NO_PROOF] = _no_proof
        if len(ways) > 1:
            problems.append(f"has {' and '.join(ways)}; a client authenticates in one way")
        way, proof = next(iter(ways.items()), (_SECRET, partial(self._secret, rules)))
        if way not in (_SECRET, _NO_PROOF) and written:
            problems.append(f"tokenEndpointAuthMethod applies only to client secrets, and there is {way}; leave it out")
        elif written not in ("", PUBLIC, *METHODS):
            problems.append(f"tokenEndpointAuthMethod must be one of {', '.join((*METHODS, PUBLIC))}")
        client_id = self._client_id(rules, problems, optional=way == "clientAssertionFile")
        default = AuthMethod.CLIENT_SECRET_BASIC if written else rules.auth_method
        return METHODS.get(written, default), Credentials(client_id, proof(problems))

    def _client_id(self, rules: ProfileRules, problems: list[str], *, optional: bool) -> str | Reference:
        if optional and not self.client_id and self.client_id_secret_ref is None:
            return ""
        found = in_secret("clientID", Secret(self.client_id), self.client_id_secret_ref, rules, problems, made=str)
        return self.client_id if found is None else found

    def _secret(self, rules: ProfileRules, problems: list[str]) -> Secret | Reference | None:
        if self.client_secret_file:
            problems += path_problems("clientSecretFile", self.client_secret_file)
            if self.client_secret.reveal() or self.client_secret_secret_ref is not None:
                other = _SECRET if self.client_secret.reveal() else f"{_SECRET}SecretRef"
                problems.append(f"{_SECRET}File and {other} are both given")
            return in_files("clientSecretFile", Shape.TEXT, self.client_secret_file)
        if not self.client_secret.reveal() and self.client_secret_secret_ref is None:
            others = f"clientAssertion, clientAssertionFile, clientCertificate or {_NO_PROOF}"
            problems.append(f"needs {_SECRET}, {_SECRET}SecretRef or another way to authenticate: {others}")
            return None
        found = in_secret(_SECRET, self.client_secret, self.client_secret_secret_ref, rules, problems)
        return self.client_secret if found is None else found

    def _grant(self, problems: list[str]) -> Grant[Reference]:
        """Return what token requests say."""
        kind = chosen("grantType", self.grant_type, GRANTS, GrantType.TOKEN_EXCHANGE, problems)
        if kind is not GrantType.TOKEN_EXCHANGE:
            fields = (("requestedTokenType", self.requested_token_type), ("actorToken", self.actor_token))
            problems += (f"{name} is for the grantType {GrantType.TOKEN_EXCHANGE.value} alone" for name, value in fields if value)
        if self.requested_token_type and not is_uri(self.requested_token_type):
            problems.append("requestedTokenType must be a URI such as urn:ietf:params:oauth:token-type:access_token")
        actor = None if self.actor_token is None else self.actor_token.actor(problems)
        problems += parameter_problems(self.parameters)
        # RFC 6749 section 4.4 (https://www.rfc-editor.org/rfc/rfc6749#section-4.4): for confidential clients alone.
        if isinstance(actor, ActorCredentials) and self.token_endpoint_auth_method == PUBLIC:
            problems.append(f"actorToken.clientCredentials needs a client that authenticates, and tokenEndpointAuthMethod is {PUBLIC}")
        return Grant(kind, self.requested_token_type, actor, self.parameters)


def _no_proof(_problems: list[str]) -> None:
    """The client is public."""


@final
@attrs.frozen
class Plan:
    """A valid version of a file. ``needed`` are the references of each profile: they are used at each change of a Secret."""

    profiles: tuple[Issuer[Reference], ...] = ()
    needed: tuple[tuple[Reference, ...], ...] = attrs.field(init=False, eq=False, repr=False)

    @needed.default
    def _needed(self) -> tuple[tuple[Reference, ...], ...]:
        return tuple(tuple(references(profile)) for profile in self.profiles)

    @property
    def places(self) -> frozenset[ValueSource]:
        """The Secrets and files that it refers to."""
        return frozenset(reference.place for needed in self.needed for reference in needed)


@final
@attrs.frozen
class Rejected:
    """A version of a file that cannot be used; ``problems`` has a readable line each, without values."""

    problems: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The first problems."""
        more = len(self.problems) - _SUMMED_UP
        return "; ".join((*self.problems[:_SUMMED_UP], *((f"and {more} more",) if more > 0 else ())))


def responses_needed(plan: Plan) -> tuple[str, ...]:
    """Return for each profile that needs upstreams' responses that it does: only the gateway knows whether the service gets them."""
    needing = (profile.name for profile in plan.profiles if profile.cache is not None and profile.cache.evict_rejected)
    text = "has no effect behind ext_authz, which sees no responses; with ext_proc, it needs allow_mode_override"
    return tuple(f'issuer profile "{name}" cache.evictRejected {text}' for name in needing)


def id_tokens_needed(plan: Plan) -> tuple[str, ...]:
    """Return for each profile whose assertion is an ID-JAG whose ID tokens its identity provider accepts (ID-JAG draft, section 4.3)."""
    first = {profile.name: profile for profile in plan.profiles}
    return tuple(
        f'issuer profile "{profile.name}" assertion works only with ID tokens whose aud is {_client_of(first[source.profile])}'
        for profile in plan.profiles
        if (source := profile.assertion) is not None and source.token_type == ID_JAG
    )


def _client_of(issuer: Issuer[Reference]) -> str:
    client_id = issuer.credentials.client_id
    named = f"{quoted(client_id)}, " if isinstance(client_id, str) else ""
    lacking = "" if issuer.subject.token_type == ID_TOKEN else f"; its subjectToken.type is not {ID_TOKEN}"
    return f"{named}the client ID of the profile {quoted(issuer.name)}{lacking}"


def plan_profiles(profiles: tuple[IssuerProfile, ...], rules: ProfileRules) -> Plan | Rejected:
    """Return the plan for ``profiles``, or everything that is wrong with them."""
    planned: list[Issuer[Reference]] = []
    problems: list[str] = []
    names: set[str] = set()
    by_name = {profile.name: profile for profile in profiles}
    for profile in profiles:
        found = profile.issuer(rules)
        wrong = () if isinstance(found, Issuer) else found
        if profile.name and profile.name in names:
            wrong = (*wrong, "is defined twice")
        if broken := profile.chain_problem(by_name):
            wrong = (*wrong, broken)
        names.add(profile.name)
        problems += [f'issuer profile "{profile.name}" {problem}' for problem in wrong]
        if isinstance(found, Issuer):
            planned.append(found)
    plan = Plan(tuple(planned))
    if len(plan.places) > MAX_PLACES:
        problems.append(f"issuer profiles refer to more than {MAX_PLACES} Secrets and files")
    return Rejected(tuple(problems)) if problems else plan
