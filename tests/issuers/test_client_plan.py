"""How clients authenticate: each way on its own, complete, and with a sentence for whatever is missing or too much."""

from typing import Final

import pytest

from exchanger.app.settings import endpoint_check
from exchanger.issuers.client_plan import PlannedKey
from exchanger.issuers.exchange_plan import PlannedActor
from exchanger.issuers.plan import Rejected, UnresolvedProfile, plan_profiles
from exchanger.issuers.profiles import parse_profiles
from exchanger.issuers.rules import ProfileRules
from exchanger.issuers.value_sources import Shape, in_files
from exchanger.values.issuer import ErrorStyle, SigningAlgorithm, SubjectRules

RULES: Final = ProfileRules(namespace="home", with_secrets=True)
BASE: Final = "name: primary, tokenEndpoint: 'https://issuer.example.com/token', clientID: exchanger"
SECRET: Final = f"{BASE}, clientSecret: canary"


def read(fields: str) -> UnresolvedProfile | tuple[str, ...]:
    profiles, problems = parse_profiles(f"issuers:\n  - {{{fields}}}\n".encode(), "f")
    if problems:
        return problems
    found = plan_profiles(profiles, RULES, endpoint_check(allow_http=False))
    if isinstance(found, Rejected):
        assert "canary" not in repr(found)
        return tuple(problem.removeprefix('issuer profile "primary" ') for problem in found.problems)
    return found.profiles[0]


def good(fields: str) -> UnresolvedProfile:
    found = read(fields)
    assert isinstance(found, UnresolvedProfile), found
    return found


def test_a_key_in_a_file() -> None:
    found = good(f"{BASE}, clientAssertion: {{keyFile: /keys/private.pem, algorithm: PS256, keyID: k1, audience: 'https://a'}}").client
    key = in_files("clientAssertion.keyFile", Shape.RSA_KEY, "/keys/private.pem")
    assert found.proof == PlannedKey(key, SigningAlgorithm.PS256, "k1", "https://a")
    assert found.references == (key,)


def test_assertions_are_for_the_issuer_by_default() -> None:
    proof = good(
        "name: primary, discovery: 'https://issuer.example.com/realm', clientID: a, clientAssertion: {keyFile: /k, algorithm: EdDSA}"
    ).client.proof
    assert isinstance(proof, PlannedKey)
    assert proof.audience == "https://issuer.example.com/realm"


def test_all_about_the_exchange() -> None:
    found = good(
        f"{SECRET}, requestedTokenType: 'urn:x:y', actorToken: {{file: /tokens/actor}}, parameters: {{tenant: blue}}, errors: strict, "
        "subjectToken: {from: [{header: X-Forwarded-Access-Token}, {header: Authorization}], issuers: ['https://login.example.com'], "
        "audiences: [gateway]}, caFile: /tls/ca.crt"
    )
    assert found.grant.requested_token_type == "urn:x:y"
    assert isinstance(found.grant.actor, PlannedActor)
    assert found.grant.parameters == (("tenant", "blue"),)
    assert found.errors is ErrorStyle.STRICT
    assert found.subject == SubjectRules(("x-forwarded-access-token", "authorization"), ("https://login.example.com",), ("gateway",))
    assert {str(reference.place) for reference in found.references} == {"/tokens/actor", "/tls/ca.crt"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (BASE, "needs clientSecret, clientSecretSecretRef or another way to authenticate: clientAssertion, "),
        (
            f"{SECRET}, clientAssertion: {{keyFile: /k, algorithm: ES256}}",
            "clientSecret and clientAssertion; a client",
        ),
        (f"{SECRET}, tokenEndpointAuthMethod: none", "clientSecret and tokenEndpointAuthMethod none"),
        (f"{BASE}, clientAssertion: {{keyFile: /k, algorithm: HS256}}", "algorithm must be one of RS256, PS256, ES256, EdDSA"),
        (f"{BASE}, clientAssertion: {{algorithm: ES256}}", "clientAssertion needs keyFile or keySecretRef"),
        (f"{BASE}, clientAssertion: {{keyFile: k, algorithm: ES256}}", "clientAssertion.keyFile must be an absolute path"),
        (f"{BASE}, clientAssertion: {{keyFile: /k, keySecretRef: {{name: a, key: b}}, algorithm: ES256}}", "give one of them"),
        (f"{BASE}, clientAssertionFile: {{path: /a, type: saml}}", "clientAssertionFile.type must be one of jwt-bearer, jwt-spiffe"),
        (f"{BASE}, clientAssertionFile: {{path: /a}}, tokenEndpointAuthMethod: client_secret_post", "is for client secrets alone"),
        (
            f"{BASE}, clientAssertion: {{keyFile: /k, algorithm: ES256}}, tokenEndpointAuthMethod: private_key_jwt",
            "is for client secrets alone, and there is clientAssertion; leave it out",
        ),
        (
            "name: primary, tokenEndpoint: 'https://a.example', clientAssertion: {keyFile: /k, algorithm: ES256}",
            "needs clientID or clientIDSecretRef",
        ),
        (f"{SECRET}, discovery: 'https://a.example'", "has tokenEndpoint and discovery; give one of them"),
        ("name: primary, discovery: 'https://a.example?x', clientID: a, clientSecret: canary", "discovery must not have a query"),
        (
            "name: primary, discovery: 'https://a.example/.well-known/openid-configuration', clientID: a, clientSecret: canary",
            "discovery must be the issuer's own URL, without /.well-known/",
        ),
        ("name: primary, discovery: 'http://a.example', clientID: a, clientSecret: canary", "discovery must use https"),
        (f"{SECRET}, caFile: ca.pem", "caFile must be an absolute path"),
        (f"{SECRET}, grantType: password", "grantType must be one of token-exchange, jwt-bearer, entra-obo"),
        (f"{SECRET}, grantType: jwt-bearer, requestedTokenType: 'urn:x:y'", "requestedTokenType is for the grantType token-exchange alone"),
        (f"{SECRET}, grantType: entra-obo, actorToken: {{file: /a}}", "actorToken is for the grantType token-exchange alone"),
        (f"{SECRET}, requestedTokenType: jwt", "requestedTokenType must be a URI"),
        (f"{SECRET}, actorToken: {{}}", "actorToken needs file or clientCredentials"),
        (f"{SECRET}, actorToken: {{file: /a, clientCredentials: {{}}}}", "actorToken.file is not for clientCredentials"),
        (
            f"{BASE}, tokenEndpointAuthMethod: none, actorToken: {{clientCredentials: {{}}}}",
            "actorToken.clientCredentials needs a client that authenticates",
        ),
        (f"{SECRET}, actorToken: {{file: /a, type: jwt}}", "actorToken.type must be a URI"),
        (f"{SECRET}, parameters: {{Subject_Token: canary}}", "parameters must not have subject_token, which the service sets itself"),
        (f"{SECRET}, parameters: {{a b: c}}", "a name that is not 1 to 128 characters of visible ASCII"),
        (f"{SECRET}, parameters: {{{', '.join(f'p{n}: v' for n in range(17))}}}", "parameters has more than 16 entries"),
        (
            f"{SECRET}, subjectToken: {{issuers: ['https://a', 'https://a'], audiences: [b]}}",
            "at most 16 different texts, none of",
        ),
        (f"{SECRET}, subjectToken: {{issuers: ['https://a'], audiences: [b, '']}}", "at most 16 different texts, none of"),
        (f"{SECRET}, subjectToken: {{issuers: []}}", "subjectToken.issuers must not be empty; leave it out instead"),
        (f"{SECRET}, subjectToken: {{audiences: []}}", "subjectToken.audiences must not be empty"),
        (f"{SECRET}, subjectToken: {{from: []}}", "subjectToken.from must not be empty"),
        (f"{SECRET}, subjectToken: {{from: [{{header: Cookie}}]}}", "must not name the header cookie"),
        (f"{SECRET}, subjectToken: {{from: [{{header: X-Envoy-Token}}]}}", "must not name the header x-envoy-token"),
        (f"{SECRET}, subjectToken: {{from: [{{header: X-Request-ID}}]}}", "must not name the header x-request-id"),
        (f"{SECRET}, subjectToken: {{from: [{{header: 'a b'}}]}}", "has a text that is not the name of a header"),
        (f"{SECRET}, subjectToken: {{from: [{{header: A}}, {{header: a}}]}}", "at most 16 different headers"),
        (f"{SECRET}, subjectToken: {{audiences: [a]}}", "subjectToken.audiences needs subjectToken.issuers"),
        (f"{SECRET}, subjectToken: {{jwksURI: 'https://a'}}", "subjectToken.jwksURI needs subjectToken.issuers"),
        (f"{SECRET}, subjectToken: {{issuers: ['https://a']}}", "subjectToken.issuers needs subjectToken.audiences"),
        (f"{SECRET}, subjectToken: {{issuers: [a], audiences: [b]}}", "one of them must be an absolute https URL; correct it, or"),
        (
            f"{SECRET}, subjectToken: {{issuers: ['https://a?b'], audiences: [b]}}",
            "must lead to keys, and one of them must not have a query",
        ),
        (f"{SECRET}, subjectToken: {{issuers: [a, b], audiences: [b], jwksURI: 'https://a'}}", "holds the keys of one issuer"),
        (f"{SECRET}, subjectToken: {{issuers: [a], audiences: [b], jwksURI: 'http://a'}}", "subjectToken.jwksURI must use https"),
        (f"{SECRET}, errors: lax", "errors must be one of reference, strict"),
    ],
)
def test_what_is_missing_or_too_much_has_a_sentence(fields: str, problem: str) -> None:
    found = read(fields)
    assert isinstance(found, tuple), found
    assert len(found) == 1
    assert problem in found[0]


def test_a_certificate_needs_tls() -> None:
    profiles, _ = parse_profiles(
        b"issuers: [{name: p, tokenEndpoint: 'http://a', clientID: a, clientCertificate: {certFile: /c, keyFile: /k}}]", "f"
    )
    found = plan_profiles(profiles, RULES, endpoint_check(allow_http=True))
    assert found == Rejected(('issuer profile "p" clientCertificate needs a token endpoint with https',))


def test_values_are_not_in_problems_of_the_reader() -> None:
    _, problems = parse_profiles(b"issuers: [{name: p, parameters: {a: [canary]}, subjectToken: {from: canary, issuers: canary}}]", "f")
    assert problems
    assert "canary" not in str(problems)
