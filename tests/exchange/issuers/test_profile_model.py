"""What makes a profile an issuer: a sentence for whatever is wrong, missing or too much, and what the fields mean."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import attrs
import pytest
from rpds import HashTrieMap

from exchanger.exchange.issuers.profile_model import MAX_PLACES, IssuerProfile, Rejected
from exchanger.exchange.issuers.profiles import parse_profiles
from exchanger.exchange.issuers.resolve import resolve
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.secrets import SecretName
from exchanger.exchange.issuers.value_sources import references
from exchanger.model.issuer import (
    AssertionSource,
    AuthMethod,
    CachePolicy,
    CallLimits,
    EndpointProtocol,
    IntrospectionRules,
    SigningKey,
    SubjectRules,
)
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.util.json_schema import alternatives, type_of, written
from tests.exchange.issuers.fakes import PROFILES, RULES, good_plan, inline, places, plan_of, profiles, referring

REFERENCE: Final = Path(__file__).parents[3] / "docs" / "reference"
ENDPOINT: Final = 'tokenEndpoint: "https://a.example/t"'
INLINE: Final = "clientID: i, clientSecret: canary"
NO_ID: Final = f"name: a, {ENDPOINT}, clientSecret: canary"
BASE: Final = f"name: a, {ENDPOINT}, clientID: exchanger"
PROVEN: Final = "issuedToken: {issuer: 'https://a.example',"
SECRET: Final = f"{BASE}, clientSecret: canary"
AT: Final = "endpoint: 'https://a.example/i'"


def asking(introspection: str = "") -> str:
    return f"subjectToken: {{issuers: ['https://a.example'], audiences: [b], introspection: {{{introspection}}}}}"


CHAINED: Final = "name: a, discovery: 'https://a.example', clientID: exchanger, clientSecret: canary, grantType: jwt-bearer"
FIRST: Final = "  - {name: first, tokenEndpoint: 'https://idp.example/t', clientID: gateway, clientSecret: canary}\n"


def problems(entry: str, rules: ProfileRules = RULES) -> tuple[str, ...]:
    found = plan_of(profiles(f"  - {{{entry}}}\n", FIRST), rules)
    assert isinstance(found, Rejected), found
    assert "canary" not in repr(found)
    return found.problems


def test_a_profile_has_its_own_method_and_realm() -> None:
    entry = f"  - {{{SECRET}, tokenEndpointAuthMethod: client_secret_basic, bearerRealm: r}}\n"
    own, other = good_plan(profiles(entry, inline()), ProfileRules(AuthMethod.CLIENT_SECRET_POST)).profiles
    assert (own.auth_method, own.bearer_realm) == (AuthMethod.CLIENT_SECRET_BASIC, "r")
    assert (other.auth_method, other.bearer_realm, list(references(other))) == (AuthMethod.CLIENT_SECRET_POST, "", [])


def test_assertions_are_for_the_issuer_by_default() -> None:
    entry = "name: a, discovery: 'https://issuer.example.com/realm', clientID: a, clientAssertion: {keyFile: /k, algorithm: EdDSA}"
    (found,) = good_plan(profiles(f"  - {{{entry}}}\n")).profiles
    assert isinstance(found.credentials.proof, SigningKey)
    assert found.credentials.proof.audience == "https://issuer.example.com/realm"


def test_where_the_callers_token_is() -> None:
    headers = "from: [{header: X-Forwarded-Access-Token}, {header: Authorization}]"
    entry = f"{SECRET}, subjectToken: {{{headers}, issuers: ['https://login.example.com'], audiences: [gateway]}}"
    (found,) = good_plan(profiles(f"  - {{{entry}}}\n")).profiles
    assert found.subject == SubjectRules(("x-forwarded-access-token", "authorization"), ("https://login.example.com",), ("gateway",))


def test_an_assertion_defaults_to_an_id_jag_for_the_profiles_issuer() -> None:
    found = good_plan(profiles(f"  - {{{CHAINED}, assertion: {{from: first}}}}\n", FIRST)).profiles[0].assertion
    assert found == AssertionSource("first", "urn:ietf:params:oauth:token-type:id-jag", "https://a.example")


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ("grantType: entra-obo", "assertion.from must name a profile with the grantType token-exchange"),
        ("grantType: jwt-bearer", "assertion.from must name a profile with the grantType token-exchange"),
        ("grantType: jwt-bearer, assertion: {from: third, audience: b}", "names a profile that has an assertion itself"),
        ("grantType: jwt-bearer, assertion: {from: a, audience: b}", "names a profile that has an assertion itself"),  # a cycle
    ],
)
def test_at_most_two_issuers_can_be_chained(first: str, problem: str) -> None:
    others = FIRST.replace("}\n", f", {first}}}\n") + FIRST.replace("first", "third")
    found = plan_of(profiles(f"  - {{{CHAINED}, assertion: {{from: first}}}}\n", others))
    assert isinstance(found, Rejected)
    assert any(text.startswith('issuer profile "a" ') and problem in text for text in found.problems)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        (f'name: "", {ENDPOINT}, {INLINE}', "needs a name"),
        (f'name: a, tokenEndpoint: "", {INLINE}', "needs a tokenEndpoint"),
        (f"name: a, tokenEndpoint: canary, {INLINE}", "tokenEndpoint must be an absolute https URL"),
        (f"{SECRET}, tokenEndpointAuthMethod: canary", "must be one of client_secret_basic, client_secret_post"),
        (f"{SECRET}, tokenEndpointProtocol: canary", "tokenEndpointProtocol must be one of auto, http1, http2"),
        (f"{SECRET}, tokenEndpointProtocol: HTTP2", "tokenEndpointProtocol must be one of auto, http1, http2"),
        (NO_ID, "needs clientID or clientIDSecretRef"),
        (f"name: a, {ENDPOINT}, clientID: canary", "needs clientSecret, clientSecretSecretRef or another way"),
        (
            f"{SECRET}, clientIDSecretRef: {{name: o, key: i}}",
            "clientID and clientIDSecretRef are both given",
        ),
        (
            f"{SECRET}, clientSecretSecretRef: {{name: o, key: i}}",
            "clientSecret and clientSecretSecretRef are both given",
        ),
        (f"{SECRET}, clientSecretFile: /secret", "clientSecretFile and clientSecret are both given"),
        (
            f"{BASE}, clientSecretFile: /secret, clientSecretSecretRef: {{name: o, key: i}}",
            "clientSecretFile and clientSecretSecretRef are both given",
        ),
        (f"{BASE}, clientSecretFile: secret", "clientSecretFile must be an absolute path"),
        (f"{BASE}, clientSecretFile: /secret, tokenEndpointAuthMethod: none", "clientSecret and tokenEndpointAuthMethod none"),
        (f"{NO_ID}, clientIDSecretRef: {{name: ../canary, key: i}}", "has a name that no Secret can have"),
        (f"{NO_ID}, clientIDSecretRef: {{name: {'a' * 254}, key: i}}", "has a name that no Secret can have"),
        (f'{NO_ID}, clientIDSecretRef: {{name: "", key: i}}', "has a name that no Secret can have"),
        (f"{NO_ID}, clientIDSecretRef: {{name: o, key: canary/x}}", "has a key that no Secret can have"),
        (
            f"{NO_ID}, clientIDSecretRef: {{name: o, key: i, namespace: a.canary}}",
            "has a namespace that no Namespace can have",
        ),
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
        (f"{BASE}, clientAssertionFile: {{path: /a}}, tokenEndpointAuthMethod: client_secret_post", "applies only to client secrets"),
        (
            f"{BASE}, clientAssertion: {{keyFile: /k, algorithm: ES256}}, tokenEndpointAuthMethod: private_key_jwt",
            "applies only to client secrets, and there is clientAssertion; leave it out",
        ),
        (
            "name: a, tokenEndpoint: 'https://a.example', clientAssertion: {keyFile: /k, algorithm: ES256}",
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
        (f"{SECRET}, issuedToken: {{}}", "issuedToken needs issuer, since the profile has no discovery"),
        (f"{SECRET}, {PROVEN} audience: orders}}", "issuedToken.audience must be requested or a list of audiences"),
        (f"{SECRET}, {PROVEN} audience: [orders, orders]}}", "issuedToken.audience must be at most 16 different texts"),
        (f"{SECRET}, {PROVEN} audience: {{a: b}}}}", "issuedToken.audience must be text or a list"),
        (f"{SECRET}, {PROVEN} audience: []}}", "issuedToken.audience must not be empty; leave it out instead"),
        (
            f"{SECRET}, grantType: entra-obo, {PROVEN} audience: requested}}",
            "issuedToken.audience must be a list with the grantType entra-obo",
        ),
        (f"{SECRET}, {PROVEN} subject: sub}}", "issuedToken.subject must be one of same, any"),
        (f"{SECRET}, {PROVEN} subject: [sub]}}", "issuedToken.subject must be text or a mapping"),
        (f"{SECRET}, {PROVEN} subject: {{}}}}", "issuedToken.subject.claim is required"),
        (f'{SECRET}, {PROVEN} subject: {{claim: " "}}}}', "issuedToken.subject.claim must have 1 to 128 characters"),
        (f"{SECRET}, {PROVEN} scope: granted}}", "issuedToken.scope must be one of requested, any"),
        (f"{SECRET}, {PROVEN} scopeAlso: [openid]}}", "issuedToken.scopeAlso needs scope: requested"),
        (f"{SECRET}, {PROVEN} scope: requested, scopeAlso: [openid profile]}}", "must have one scope in each text"),
        (f"{SECRET}, {PROVEN} actor: other}}", "issuedToken.actor must be one of same, none, any"),
        (f"{SECRET}, {PROVEN} maxLifetime: 9000h}}", "issuedToken.maxLifetime must be between 1s and 8760h"),
        (f"{SECRET}, {PROVEN} jwksURI: 'https://a.example/keys'}}", "issuedToken.jwksURI needs signature: true"),
        (f"{SECRET}, {PROVEN} signature: true, jwksURI: 'http://a.example/keys'}}", "issuedToken.jwksURI must use https"),
        (
            f"{SECRET}, issuedToken: {{issuer: keycloak, signature: true}}",
            "issuedToken.issuer must lead to keys, and it must be an absolute",
        ),
        (f"{SECRET}, {PROVEN} opaque: allow}}", "issuedToken.opaque must be one of reject, pass"),
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
        (f"{SECRET}, subjectToken: {{type: id_token}}", "subjectToken.type must be a URI such as urn:ietf:params:oauth:token-type:id"),
        (f"{SECRET}, subjectToken: {{maxActors: 0}}", "subjectToken.maxActors needs subjectToken.issuers"),
        (f"{SECRET}, subjectToken: {{issuers: ['https://a']}}", "subjectToken.issuers needs subjectToken.audiences"),
        (f"{SECRET}, subjectToken: {{issuers: [a], audiences: [b]}}", "one of them must be an absolute https URL; correct it, or"),
        (
            f"{SECRET}, subjectToken: {{issuers: ['https://a?b'], audiences: [b]}}",
            "must lead to keys, and one of them must not have a query",
        ),
        (f"{SECRET}, subjectToken: {{issuers: [a, b], audiences: [b], jwksURI: 'https://a'}}", "holds the keys of one issuer"),
        (f"{SECRET}, subjectToken: {{issuers: [a], audiences: [b], jwksURI: 'http://a'}}", "subjectToken.jwksURI must use https"),
        (f"{SECRET}, {asking()}", "subjectToken.introspection needs endpoint, since the profile has no discovery"),
        (f"{SECRET}, {asking('endpoint: a')}", "subjectToken.introspection.endpoint must be an absolute https URL"),
        (f"{SECRET}, {asking('endpoint: http://a.example/i')}", "subjectToken.introspection.endpoint must use https"),
        (f"{SECRET}, {asking(f'{AT}, when: never')}", "subjectToken.introspection.when must be one of opaque, always"),
        (f"{SECRET}, {asking(f'{AT}, cacheTTL: 301s')}", "cacheTTL must be between 0s and 5m"),
        (f"{SECRET}, {asking(f'{AT}, cacheTTL: 30')}", "cacheTTL must be a duration"),
        (f"{SECRET}, {asking(f'{AT}, keep: 30s')}", "there are endpoint, when, cacheTTL"),
        (f"{SECRET}, subjectToken: {{introspection: {{{AT}}}}}", "needs subjectToken.issuers, by whose keys JWTs are verified, or when:"),
        (f"{SECRET}, subjectToken: {{jwksURI: 'https://a', introspection: {{{AT}, when: always}}}}", "jwksURI needs subjectToken.issuers"),
        (f"{BASE}, tokenEndpointAuthMethod: none, {asking(AT)}", "subjectToken.introspection needs a client that authenticates"),
        (f"{CHAINED}, assertion: {{}}", "assertion.from is required"),
        (f"{CHAINED}, assertion: {{from: ''}}", "assertion.from must name a profile"),
        (f"{CHAINED}, assertion: {{from: canary}}", "assertion.from names a profile that does not exist"),
        (f"{CHAINED}, assertion: {{from: a}}", "assertion.from must name another profile"),
        (f"{CHAINED}, assertion: {{from: first, requestedTokenType: id-jag}}", "assertion.requestedTokenType must be a URI such as"),
        (f"{CHAINED}, assertion: {{from: first, reuse: 'yes'}}", "must be true or false, without quotes"),
        (f"{SECRET}, grantType: jwt-bearer, assertion: {{from: first}}", "assertion needs audience, since the profile has no discovery"),
        (f"{SECRET}, assertion: {{from: first, audience: b}}", "assertion is for the grantType jwt-bearer alone"),
        (
            "name: a, discovery: 'https://a.example', grantType: jwt-bearer, clientAssertionFile: {path: /a}, assertion: {from: first}",
            "assertion needs clientID or clientIDSecretRef: an ID-JAG names the client that may use it",
        ),
        (
            f"{CHAINED}, assertion: {{from: first}}, {asking(AT)}",
            "subjectToken.introspection belongs into the profile that assertion.from names",
        ),
        (f"{SECRET}, errors: lax", "errors must be one of reference, strict"),
    ],
)
def test_what_is_wrong_missing_or_too_much_has_a_sentence(fields: str, problem: str) -> None:
    (found,) = problems(fields)
    assert found.startswith(('issuer profile "', "issuers.yaml: issuers[0]"))
    assert problem in found


def test_a_certificate_needs_tls() -> None:
    entry = "name: p, tokenEndpoint: 'http://a', clientID: a, clientCertificate: {certFile: /c, keyFile: /k}"
    (found,) = problems(entry, ProfileRules(allow_http=True))
    assert found == 'issuer profile "p" clientCertificate needs a token endpoint with https'


def test_a_reference_may_have_the_longest_names() -> None:
    name, namespace, key = "a" * 253, "n" * 63, "K" * 253
    entry = f"{NO_ID}, clientIDSecretRef: {{name: {name}, key: {key}, namespace: {namespace}}}"
    assert good_plan(profiles(f"  - {{{entry}}}\n")).places == {SecretName(namespace, name)}


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (ProfileRules(with_secrets=True), "clientIDSecretRef needs a namespace, since POD_NAMESPACE is not set"),
        (ProfileRules(), "clientIDSecretRef can only be resolved with POLICY_SOURCE=kubernetes; use clientID instead"),
    ],
)
def test_a_reference_that_leads_nowhere(rules: ProfileRules, problem: str) -> None:
    entry = f"{NO_ID}, clientIDSecretRef: {{name: o, key: i}}"
    assert problems(entry, rules) == (f'issuer profile "a" {problem}',)


@pytest.mark.parametrize(
    ("field", "instead"),
    [
        ("clientSecretSecretRef: {name: o, key: s}", "clientSecretFile"),
        ("clientAssertion: {keySecretRef: {name: o, key: s}, algorithm: ES256}", "clientAssertion.keyFile"),
    ],
)
def test_without_a_cluster_a_file_takes_the_place_of_a_secret(field: str, instead: str) -> None:
    (problem,) = problems(f"{BASE}, {field}", ProfileRules())
    assert problem.endswith(f"can only be resolved with POLICY_SOURCE=kubernetes; use {instead} instead")


@pytest.mark.parametrize(
    ("fields", "rules"),
    [
        (asking(AT), IntrospectionRules("https://a.example/i", always=False, cache_ttl=30.0)),
        (asking(f"{AT}, when: always, cacheTTL: 0s"), IntrospectionRules("https://a.example/i", always=True, cache_ttl=0.0)),
        (
            f"subjectToken: {{audiences: [b], maxActors: 1, introspection: {{{AT}, when: always, cacheTTL: 5m}}}}",
            IntrospectionRules("https://a.example/i", always=True, cache_ttl=300.0),
        ),
    ],
)
def test_which_tokens_their_issuer_is_asked_about(fields: str, rules: IntrospectionRules) -> None:
    (issuer,) = good_plan(profiles(f"  - {{{SECRET}, {fields}}}\n")).profiles
    assert issuer.subject.introspection == rules


def test_discovery_finds_the_introspection_endpoint() -> None:
    profile = f"name: a, discovery: 'https://a.example', {INLINE}, subjectToken: {{introspection: {{when: always}}}}"
    (issuer,) = good_plan(profiles(f"  - {{{profile}}}\n")).profiles
    assert issuer.subject.introspection == IntrospectionRules(always=True)


def test_a_client_certificate_is_shown_over_tls_alone() -> None:
    certificate = "clientCertificate: {certFile: /c, keyFile: /k}"
    entry = f"{BASE}, {certificate}, subjectToken: {{introspection: {{when: always, endpoint: 'http://a.example/i'}}}}"
    (found,) = problems(entry, ProfileRules(allow_http=True))
    assert "clientCertificate needs a subjectToken.introspection.endpoint with https" in found


def test_every_problem_is_found() -> None:
    assert len(problems('name: a, tokenEndpoint: "", tokenEndpointAuthMethod: other')) == 4
    assert plan_of(profiles(f"  - {{name: primary, {ENDPOINT}, clientID: i}}\n", inline(), inline())) == Rejected(
        (
            (
                'issuer profile "primary" needs clientSecret, clientSecretSecretRef or another way to authenticate: clientAssertion, '
                "clientAssertionFile, clientCertificate or tokenEndpointAuthMethod none"
            ),
            'issuer profile "primary" is defined twice',
            'issuer profile "primary" is defined twice',
        )
    )
    nameless = f'  - {{name: "", {ENDPOINT}, {INLINE}}}\n'
    assert plan_of(profiles(nameless, nameless)) == Rejected(('issuer profile "" needs a name',) * 2)


def test_references_to_secrets_and_files_are_bounded() -> None:
    many = [referring(f"p{number}", f"s{number}") for number in range(MAX_PLACES + 1)]
    assert len(good_plan(profiles(*many[:-1])).places) == MAX_PLACES
    assert plan_of(profiles(*many)) == Rejected((f"issuer profiles refer to more than {MAX_PLACES} Secrets and files",))


@pytest.mark.parametrize(
    ("proxy", "expected"),
    [
        ('"http://proxy.example.com:3128"', Proxy(False, "proxy.example.com", 3128)),
        ('" https://canary-user:canary%40@proxy.example.com "', Proxy(True, "proxy.example.com", 443, Secret("canary-user:canary@"))),
        ("null", None),
    ],
)
def test_a_profile_has_its_own_proxy(proxy: str, expected: Proxy | None) -> None:
    plan = good_plan(profiles(f"  - {{name: a, {ENDPOINT}, clientID: i, clientSecret: s, proxy: {proxy}}}\n"))
    assert plan.profiles[0].proxy == expected
    assert "canary" not in repr(plan)
    assert resolve(plan, HashTrieMap()).issuers["a"].proxy == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", (EndpointProtocol.AUTO, None, CallLimits())),
        (", tokenEndpointProtocol: null", (EndpointProtocol.AUTO, None, CallLimits())),
        (', tokenEndpointProtocol: "", limits: {}', (EndpointProtocol.AUTO, None, CallLimits())),
        (", tokenEndpointProtocol: http1, limits: {breaker: true}", (EndpointProtocol.HTTP1, None, CallLimits(breaker=True))),
        (
            ", tokenEndpointProtocol: http2, cache: {maxTTL: 5m, maxEntries: 7}, limits: {maxInFlight: 64}",
            (EndpointProtocol.HTTP2, CachePolicy(300.0, 7), CallLimits(64)),
        ),
    ],
)
def test_how_an_issuer_is_called(fields: str, expected: tuple[EndpointProtocol, CachePolicy | None, CallLimits]) -> None:
    issuer = resolve(good_plan(profiles(f"  - {{name: a, {ENDPOINT}, clientID: i, clientSecret: s{fields}}}\n")), HashTrieMap()).issuers[
        "a"
    ]
    assert (issuer.protocol, issuer.cache, issuer.limits) == expected


@pytest.mark.parametrize("proxy", ['""', '"canary:3128"', '"socks5://canary"', '"http://canary:0"', '"http://a%3Acanary:b@canary"', "3128"])
def test_a_proxy_that_cannot_be_used_is_a_problem_of_the_file(proxy: str) -> None:
    (problem,) = problems(f"name: a, {ENDPOINT}, clientID: i, clientSecret: canary, proxy: {proxy}")
    assert " proxy " in problem or ".proxy " in problem


def parts(value: object) -> Iterator[attrs.AttrsInstance]:
    """Yield the mappings of a profile, as classes have them."""
    if isinstance(value, tuple):
        for item in value:
            yield from parts(item)
    elif attrs.has(cls := type(value)):
        yield value  # type: ignore[misc]  # has() said so
        for field in attrs.fields(cls):
            yield from parts(getattr(value, field.name))


def fields_of(cls: type[attrs.AttrsInstance]) -> Iterator[tuple[type, str]]:
    """Yield the fields of a class that is read from the file, and those of the classes in it."""
    for field in attrs.fields(cls):
        yield cls, field.name
        for hint in alternatives(type_of(field)):
            inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
            if attrs.has(inner):
                yield from fields_of(inner)


def test_every_field_means_something_and_is_on_a_reference_page() -> None:
    """A field that is read and not used would look like an option and be none."""
    document = {"issuers": PROFILES}
    known, _ = parse_profiles(json.dumps(document).encode(), "f")
    given = {
        (type(part), field.name)
        for part in parts(known)
        for field in attrs.fields(type(part))
        if getattr(part, field.name) != field.default
    }
    assert given == set(fields_of(IssuerProfile)), "tests.exchange.issuers.fakes.PROFILES lacks a field"
    plan = good_plan(json.dumps(document))
    for *way, last in places():
        less = copy.deepcopy(document)
        there: Any = less["issuers"]
        for key in way:
            there = there[key]
        del there[last]
        assert plan_of(json.dumps(less)) != plan, (way, last)
    linked = re.findall(r"\]\(([a-z-]+\.md)", (REFERENCE / "issuer-profiles.md").read_text())
    pages = "".join((REFERENCE / name).read_text() for name in {"issuer-profiles.md", *linked})
    assert {name for _, name in given if not re.search(rf"\b{written(name)}\b", pages)} == set()
