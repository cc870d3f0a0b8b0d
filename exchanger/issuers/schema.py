"""The JSON Schema (2020-12) of an issuer profiles file, made from the classes that it is read into. It never refuses what is a valid file.

A field's name, type and whether it is required are those of its class; ``_ABOUT`` has the rest, and a field without it is an error.

Must not know: how profiles are resolved.
"""

from typing import Final

from exchanger.issuers.plan import MAX_SECRETS
from exchanger.issuers.profiles import MAX_ENTRIES, MAX_IN_FLIGHT, SPELLING, IssuerProfile, SecretKeyRef
from exchanger.policy.fields import BLANKS, NOT_BLANK, whole
from exchanger.policy.schema import BEYOND_JSON, words_or
from exchanger.util.duration import PATTERN as DURATION
from exchanger.util.json_schema import About, Classes, Schema, document
from exchanger.values.issuer import AuthMethod, CachePolicy, CallLimits, EndpointProtocol
from exchanger.values.secret import Secret

# What the reader refuses, and the schema cannot express.
UNSAID: Final = (
    BEYOND_JSON,
    "two profiles of one name",
    "whether host and port of a tokenEndpoint or a proxy can be used, and what user information a proxy may have",
    "that http token endpoints need TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT",
    "that references to Secrets need POLICY_SOURCE=kubernetes, and without a namespace POD_NAMESPACE",
    f"references to more than {MAX_SECRETS} Secrets",
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
    IssuerProfile: {
        "name": About("The name by which policies refer to the profile (issuerRef).", {"pattern": NOT_BLANK}),
        "token_endpoint": About(
            "The absolute https URL of the token endpoint, without user information and fragment.",
            {"pattern": f"^[{BLANKS}]*{_HTTP}://[^/?#@]+(?:[/?][^#]*)?$"},
        ),
        "bearer_realm": About("The realm of 401 challenges. Default: TOKEN_EXCHANGE_BEARER_REALM."),
        "token_endpoint_auth_method": About(
            "How the service authenticates to the token endpoint (RFC 6749 section 2.3.1). Default: TOKEN_ENDPOINT_AUTH_METHOD.",
            _one_of(*(method.value for method in AuthMethod)),
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
            _one_of(*(protocol.value for protocol in EndpointProtocol)),
        ),
        "cache": About("How tokens of this issuer are kept. Without it, none is."),
        "limits": About("How the token endpoint is spared. Without it, there are no limits."),
    },
}
_CLASSES: Final = Classes(SPELLING, _ABOUT, frozenset({Secret}))


def issuers_schema() -> Schema:
    """Return the schema of the file that TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names."""
    profile = _CLASSES.schema(IssuerProfile)
    profile["allOf"] = [_either("clientID", {"pattern": NOT_BLANK}), _either("clientSecret", {"minLength": 1})]
    issuers: Schema = {"description": "The issuer profiles.", "type": ["array", "null"], "items": profile}
    body: Schema = {"type": "object", "additionalProperties": False, "properties": {"issuers": issuers}}
    description = "The issuer profiles of exchanger: the file that TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names."
    return document("issuers", "v1", description, UNSAID, body)


def _either(name: str, given: Schema) -> Schema:
    """Return that either the field ``name`` is ``given``, or its reference to a Secret."""
    value: Schema = {"properties": {name: {"type": "string", **given}}, "required": [name]}
    reference: Schema = {"properties": {f"{name}SecretRef": {"type": "object"}}, "required": [f"{name}SecretRef"]}
    return {"oneOf": [value, reference]}
