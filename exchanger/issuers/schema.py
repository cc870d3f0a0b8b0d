"""The JSON Schema (2020-12) of an issuer profiles file, made from the classes that it is read into. It never refuses what is a valid file.

A field's name, type and whether it is required are those of its class; ``_ABOUT`` has the rest, and a field without it is an error.

Must not know: how profiles are resolved.
"""

from collections.abc import Iterator
from typing import Final

from exchanger.issuers.client_plan import ALGORITHMS, ASSERTION_TYPES, METHODS, NONE
from exchanger.issuers.exchange_plan import GRANTS, MAX_ITEMS
from exchanger.issuers.plan import ERROR_STYLES, MAX_PLACES, PROTOCOLS
from exchanger.issuers.profile_model import (
    SPELLING,
    Actor,
    ActorByCredentials,
    CertificateFiles,
    ClientAssertion,
    ClientAssertionFile,
    IssuerProfile,
    Parameters,
    SecretKeyRef,
    SubjectHeader,
    SubjectToken,
)
from exchanger.issuers.profiles import MAX_ENTRIES, MAX_IN_FLIGHT
from exchanger.util.duration import PATTERN as DURATION
from exchanger.util.json_schema import About, Classes, Schema, document
from exchanger.values.issuer import CachePolicy, CallLimits
from exchanger.values.secret import Secret
from exchanger.yaml.schema import BEYOND_JSON
from exchanger.yaml.text_rules import BLANKS, NOT_BLANK, whole, words_or

# What the reader refuses, and the schema cannot express.
UNSAID: Final = (
    BEYOND_JSON,
    "two profiles of one name",
    "whether host and port of a tokenEndpoint or a proxy can be used, and what user information a proxy may have",
    "that http token endpoints need TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT",
    "that discovery must not be the address of the metadata",
    "that references to Secrets need POLICY_SOURCE=kubernetes, and without a namespace POD_NAMESPACE",
    f"references to more than {MAX_PLACES} Secrets and files",
    "which fields go together, but for client id, client secret and token endpoint",
    "the parameters that the service sets itself",
    "names of headers, and paths, that cannot be",
    "a maxTTL of less than 1s or more than 24h",
    "whole numbers that are not written in decimal digits alone",
    "the length of texts",
)

_HTTP: Final = "[Hh][Tt][Tt][Pp][Ss]?"
_ESCAPED: Final = "%[0-9A-Fa-f]{2}"
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"


def _pattern(pattern: str) -> Schema:
    return {"pattern": whole(pattern)}


def _one_of(*words: str) -> Schema:
    """Return the schema of a text that is one of ``words``, or blank, which is the default."""
    return words_or(words, whole(f"(?:{'|'.join(words)})?"))


def _count_to(most: int) -> Schema:
    return {"minimum": 1, "maximum": most}


_LISTED: Final = {"minItems": 1, "maxItems": MAX_ITEMS}
_ABOUT: Final = {
    SecretKeyRef: {
        "name": About("The name of the Secret.", _pattern(rf"{_LABEL}(?:\.{_LABEL})*")),
        "key": About("The key in the Secret's data.", _pattern("[A-Za-z0-9._-]+")),
        "namespace": About("The Secret's namespace. Default: the service's own.", _pattern(f"(?:{_LABEL})?")),
    },
    CachePolicy: {
        "max_ttl": About(
            "For how long a token is kept at most, such as 90s or 5m; not beyond its own life.",
            {"type": "string", **_pattern(DURATION)},
        ),
        "max_entries": About("How many tokens are kept at most.", _count_to(MAX_ENTRIES)),
    },
    CallLimits: {
        "max_in_flight": About(
            "How many calls to the token endpoint run at a time; more wait. Default: no limit.", _count_to(MAX_IN_FLIGHT)
        ),
        "breaker": About("Whether the token endpoint is left alone for a while when it fails. Default: false."),
    },
    ClientAssertion: {
        "algorithm": About("How assertions are signed.", words_or(ALGORITHMS, whole("|".join(ALGORITHMS)))),
        "key_secret_ref": About("Where the private key is in a Secret, in PEM. Give this or keyFile."),
        "key_file": About("The absolute path of the private key, in PEM. The service reads it again when it changes."),
        "key_id": About("The kid of assertions, by which the issuer finds the public key."),
        "audience": About("The aud of assertions. Default: discovery, or else the token endpoint."),
    },
    ClientAssertionFile: {
        "path": About("The absolute path of the assertion. The service reads it again when it changes."),
        "type": About("What the assertion is: jwt-bearer (the default) or jwt-spiffe.", _one_of(*ASSERTION_TYPES)),
    },
    CertificateFiles: {
        "cert_file": About("The absolute path of the certificate and those of its authorities, in PEM."),
        "key_file": About("The absolute path of its private key, in PEM."),
    },
    ActorByCredentials: {"scope": About("The scope of the actor's token.")},
    Actor: {
        "file": About("The absolute path of the actor's token. The service reads it again when it changes."),
        "type": About("The type of the token in the file. Default: an access token."),
        "client_credentials": About("The actor is the service itself, which asks for its token with the client credentials grant."),
    },
    SubjectHeader: {"header": About("The name of a header.", {"pattern": NOT_BLANK})},
    SubjectToken: {
        "headers": About(
            "The headers that may hold the caller's token. Default: Authorization. They are removed from the request.",
            _LISTED,
        ),
        "issuers": About("The issuers whose tokens are exchanged (iss). Without it, the token endpoint judges alone.", _LISTED),
        "audiences": About("A token is exchanged if it is for one of these audiences (aud).", _LISTED),
        "jwks_uri": About("The URL of the issuer's keys, where it does not publish its metadata."),
    },
    IssuerProfile: {
        "name": About("The name by which policies refer to the profile (issuerRef).", {"pattern": NOT_BLANK}),
        "token_endpoint": About(
            "The absolute https URL of the token endpoint, without user information and fragment.",
            {"pattern": f"^[{BLANKS}]*(?:{_HTTP}://[^/?#@]+(?:[/?][^#]*)?)?$"},
        ),
        "bearer_realm": About("The realm of 401 challenges. Default: TOKEN_EXCHANGE_BEARER_REALM."),
        "token_endpoint_auth_method": About(
            "How the service authenticates to the token endpoint (RFC 6749 section 2.3.1). Default: TOKEN_ENDPOINT_AUTH_METHOD.",
            _one_of(*METHODS),
        ),
        "client_id": About("The client id. Give this or clientIDSecretRef."),
        "client_secret": About("The client secret; keep the file in a Secret then. Give this or clientSecretSecretRef."),
        "client_id_secret_ref": About("Where the client id is in a Secret."),
        "client_secret_secret_ref": About("Where the client secret is in a Secret."),
        "proxy": About(
            "The URL of an HTTP proxy in front of the token endpoint, with http or https. A user and a password have special characters "
            "escaped with %; keep the file in a Secret then.",
            _pattern(rf"{_HTTP}://(?:(?:[^@/?#%\\{BLANKS}]|{_ESCAPED})*@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{{0,5}})?/?"),
        ),
        "token_endpoint_protocol": About(
            "How to speak to the token endpoint. Default: auto, which is HTTP/2 where TLS agrees on it.",
            _one_of(*PROTOCOLS),
        ),
        "cache": About("How tokens of this issuer are kept. Without it, none is."),
        "limits": About("How the token endpoint is spared. Without it, there are no limits."),
        "discovery": About(
            "The issuer's URL, whose metadata has the token endpoint (RFC 8414, OpenID Connect Discovery). Give this or tokenEndpoint.",
            {"pattern": f"^[{BLANKS}]*(?:{_HTTP}://[^/?#@]+(?:/[^?#]*)?)?$"},
        ),
        "client_assertion": About("The service signs an assertion for each request (private_key_jwt, RFC 7523)."),
        "client_assertion_file": About(
            "The service sends an assertion from a file, such as a projected ServiceAccount token or a JWT-SVID."
        ),
        "client_certificate": About("The service authenticates with a certificate in TLS (RFC 8705)."),
        "ca_file": About("The absolute path of the only authorities that are trusted for this issuer, in PEM. Default: the system's."),
        "grant_type": About("What is asked for. Default: token-exchange (RFC 8693).", _one_of(*GRANTS)),
        "requested_token_type": About("The type of token that is asked for (RFC 8693 section 2.1)."),
        "actor_token": About("Who acts for the caller (RFC 8693 section 2.1)."),
        "parameters": About(
            "More parameters of token requests. The service's own cannot be set.",
            {"additionalProperties": {"type": "string"}, "maxProperties": MAX_ITEMS},
        ),
        "subject_token": About("Where the caller's token is, and which tokens are good enough."),
        "errors": About("How failures are told to callers: reference (the default) or strict.", _one_of(*ERROR_STYLES)),
    },
}
_CLASSES: Final = Classes(SPELLING, _ABOUT, frozenset({Secret}), frozenset({Parameters}))


def issuers_schema() -> Schema:
    """Return the schema of the file that TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names."""
    profile = _CLASSES.schema(IssuerProfile)
    profile["allOf"] = list(_client_rules())
    issuers: Schema = {"description": "The issuer profiles.", "type": ["array", "null"], "items": profile}
    body: Schema = {"type": "object", "additionalProperties": False, "properties": {"issuers": issuers}}
    description = "The issuer profiles of exchanger: the file that TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names."
    return document("issuers", "v1", description, UNSAID, body)


def _client_rules() -> Iterator[Schema]:
    """Yield how the fields of the client go together. Without a file of assertions, a client needs an id."""
    secret, reference = _given("clientSecret", {"minLength": 1}), _object("clientSecretSecretRef")
    public: Schema = {"properties": {_METHOD: {"type": "string", "pattern": whole(NONE)}}, "required": [_METHOD]}
    others = [_object("clientAssertion"), _object("clientAssertionFile"), _object("clientCertificate")]
    yield {"oneOf": [{"anyOf": [secret, reference]}, *others, public]}
    yield {"not": {"allOf": [secret, reference]}}
    yield {"if": {"anyOf": others}, "then": {"properties": {_METHOD: {"pattern": whole("")}}}}
    name, name_reference = _given("clientID", {"pattern": NOT_BLANK}), _object("clientIDSecretRef")
    yield {
        "if": _object("clientAssertionFile"),
        "then": {"not": {"allOf": [name, name_reference]}},
        "else": {"oneOf": [name, name_reference]},
    }
    yield {"oneOf": [_given(field, {"pattern": NOT_BLANK}) for field in ("tokenEndpoint", "discovery")]}


_METHOD: Final = "tokenEndpointAuthMethod"


def _given(name: str, given: Schema) -> Schema:
    return {"properties": {name: {"type": "string", **given}}, "required": [name]}


def _object(name: str) -> Schema:
    return {"properties": {name: {"type": "object"}}, "required": [name]}
