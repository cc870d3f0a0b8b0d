"""Issuer profiles as operators write them: the fields of the file, before references are resolved and defaults filled in.

Must not know: how the file is read, or which combinations of fields make sense.
"""

from typing import Final, final

import attrs

from exchanger.values.issuer import CachePolicy, CallLimits
from exchanger.values.secret import Secret


@final
@attrs.frozen
class SecretKeyRef:
    """One key of a Kubernetes Secret; ``namespace`` "" is the service's own."""

    name: str
    key: str
    namespace: str = ""


@final
@attrs.frozen
class ClientAssertion:
    """The client signs an assertion for each request (private_key_jwt)."""

    algorithm: str
    key_secret_ref: SecretKeyRef | None = None
    key_file: str = ""
    key_id: str = ""
    audience: str = ""


@final
@attrs.frozen
class ClientAssertionFile:
    """Somebody else makes the client's assertions, and puts them into a file."""

    path: str
    type: str = ""


@final
@attrs.frozen
class CertificateFiles:
    """The client authenticates with a certificate in TLS."""

    cert_file: str
    key_file: str


@final
@attrs.frozen
class ActorByCredentials:
    """The actor is the client, whose token it asks for."""

    scope: str = ""


@final
@attrs.frozen
class Actor:
    """Who acts for the subject: whoever a file's token is about, or the client itself."""

    file: str = ""
    type: str = ""
    client_credentials: ActorByCredentials | None = None


@final
@attrs.frozen
class SubjectHeader:
    """A header that may hold the caller's token."""

    header: str


@final
@attrs.frozen
class SubjectToken:
    """Where the caller's token is, and which tokens are good enough."""

    headers: tuple[SubjectHeader, ...] = ()
    issuers: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    jwks_uri: str = ""


@final
@attrs.frozen
class Parameters:
    """Names and values that are added to token requests."""

    pairs: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)


@final
@attrs.frozen
class IssuerProfile:
    """A profile as written."""

    name: str
    token_endpoint: str = ""
    bearer_realm: str = ""
    token_endpoint_auth_method: str = ""
    client_id: str = ""
    client_secret: Secret = attrs.field(default=Secret(""))
    client_id_secret_ref: SecretKeyRef | None = None
    client_secret_secret_ref: SecretKeyRef | None = None
    proxy: Secret | None = None
    token_endpoint_protocol: str = ""
    cache: CachePolicy | None = None
    limits: CallLimits | None = None
    discovery: str = ""
    client_assertion: ClientAssertion | None = None
    client_assertion_file: ClientAssertionFile | None = None
    client_certificate: CertificateFiles | None = None
    ca_file: str = ""
    grant_type: str = ""
    requested_token_type: str = ""
    actor_token: Actor | None = None
    parameters: Parameters | None = None
    subject_token: SubjectToken | None = None
    errors: str = ""


SPELLING: Final = {
    "token_endpoint": "tokenEndpoint",
    "bearer_realm": "bearerRealm",
    "token_endpoint_auth_method": "tokenEndpointAuthMethod",
    "client_id": "clientID",
    "client_secret": "clientSecret",
    "client_id_secret_ref": "clientIDSecretRef",
    "client_secret_secret_ref": "clientSecretSecretRef",
    "token_endpoint_protocol": "tokenEndpointProtocol",
    "max_ttl": "maxTTL",
    "max_entries": "maxEntries",
    "max_in_flight": "maxInFlight",
    "client_assertion": "clientAssertion",
    "client_assertion_file": "clientAssertionFile",
    "client_certificate": "clientCertificate",
    "ca_file": "caFile",
    "grant_type": "grantType",
    "requested_token_type": "requestedTokenType",
    "actor_token": "actorToken",
    "subject_token": "subjectToken",
    "key_secret_ref": "keySecretRef",
    "key_file": "keyFile",
    "key_id": "keyID",
    "cert_file": "certFile",
    "client_credentials": "clientCredentials",
    "headers": "from",
    "jwks_uri": "jwksURI",
}
