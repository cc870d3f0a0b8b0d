"""The JSON Schema (2020-12) of an issuer profiles file, generated from the classes that it is read into. It never refuses a valid file.

A field's name, type and whether it is required are those of its class; its metadata has the rest.

Must not know: how profiles are resolved.
"""

from collections.abc import Iterator
from typing import Final

from exchanger.exchange.issuers.profile_model import MAX_PLACES, PUBLIC, IssuerProfile
from exchanger.formats.yaml.schema import BEYOND_JSON
from exchanger.formats.yaml.text_rules import NOT_BLANK, whole
from exchanger.model.secret import Secret
from exchanger.util.duration import PATTERN as DURATION
from exchanger.util.json_schema import Schema, document, schema_of

# What the reader refuses, and the schema cannot express.
UNSAID: Final = (
    BEYOND_JSON,
    "two profiles with the same name",
    "whether host and port of a tokenEndpoint or a proxy can be used, and what user information a proxy may have",
    "that http token endpoints need TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT",
    "that discovery must not be the address of the metadata",
    "that references to Secrets need POLICY_SOURCE=kubernetes, and without a namespace POD_NAMESPACE",
    f"references to more than {MAX_PLACES} Secrets and files",
    "which fields go together, except client id, client secret and token endpoint",
    "a client id or client secret of more than one line",
    "the parameters that the service sets itself",
    "header names and paths that cannot exist",
    "a maxTTL of less than 1s or more than 24h, a maxLifetime of more than a year, and a cacheTTL of more than 5m",
    "whole numbers written in anything but decimal digits",
    "the length of strings",
)

# Types with a special form in the file.
_KINDS: Final[dict[object, Schema]] = {
    Secret: {"type": "string"},
    float: {"type": "string", "pattern": whole(DURATION)},  # of seconds
    tuple[tuple[str, str], ...]: {"type": "object"},
}


def issuers_schema() -> Schema:
    """Return the schema of the file that TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names."""
    profile = schema_of(IssuerProfile, _KINDS, {"pattern": NOT_BLANK})
    profile["allOf"] = list(_client_rules())
    issuers: Schema = {"description": "The issuer profiles.", "type": ["array", "null"], "items": profile}
    body: Schema = {"type": "object", "additionalProperties": False, "properties": {"issuers": issuers}}
    description = "The issuer profiles of exchanger: the file that TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names."
    return document("issuers", "v1", description, UNSAID, body)


def _client_rules() -> Iterator[Schema]:
    """Yield how the fields of the client go together. Without a file of assertions, a client needs an id."""
    secret, reference = _given("clientSecret", {"minLength": 1}), _object("clientSecretSecretRef")
    file = _given("clientSecretFile", {"minLength": 1})
    public: Schema = {"properties": {_METHOD: {"type": "string", "pattern": whole(PUBLIC)}}, "required": [_METHOD]}
    others = [_object("clientAssertion"), _object("clientAssertionFile"), _object("clientCertificate")]
    yield {"oneOf": [{"anyOf": [secret, file, reference]}, *others, public]}
    yield {"anyOf": [{"oneOf": [secret, file, reference]}, {"not": {"anyOf": [secret, file, reference]}}]}
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
