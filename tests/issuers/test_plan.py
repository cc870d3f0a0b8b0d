import pytest
from rpds import HashTrieMap

from exchanger.issuers.plan import MAX_PLACES, Rejected
from exchanger.issuers.resolve import resolve
from exchanger.issuers.rules import ProfileRules
from exchanger.issuers.secrets import SecretName
from exchanger.values.issuer import AuthMethod, CachePolicy, CallLimits, EndpointProtocol
from exchanger.values.proxy import Proxy
from exchanger.values.secret import Secret
from tests.issuers.fakes import RULES, good_plan, inline, plan_of, profiles, referring

ENDPOINT = 'tokenEndpoint: "https://a.example/t"'
INLINE = "clientID: i, clientSecret: canary"
SECRET = "clientSecret: canary"


def problems(entry: str, rules: ProfileRules = RULES) -> tuple[str, ...]:
    found = plan_of(profiles(f"  - {{{entry}}}\n"), rules)
    assert isinstance(found, Rejected)
    assert "canary" not in repr(found)
    return found.problems


def test_a_profile_has_its_own_method_and_realm() -> None:
    entry = f"  - {{name: a, {ENDPOINT}, {INLINE}, tokenEndpointAuthMethod: client_secret_basic, bearerRealm: r}}\n"
    own, other = good_plan(profiles(entry, inline()), ProfileRules(AuthMethod.CLIENT_SECRET_POST)).profiles
    assert (own.client.auth_method, own.bearer_realm) == (AuthMethod.CLIENT_SECRET_BASIC, "r")
    assert (other.client.auth_method, other.bearer_realm, other.references) == (AuthMethod.CLIENT_SECRET_POST, "", ())


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (f'name: "", {ENDPOINT}, {INLINE}', "needs a name"),
        (f'name: a, tokenEndpoint: "", {INLINE}', "needs a tokenEndpoint"),
        (f"name: a, tokenEndpoint: canary, {INLINE}", "tokenEndpoint must be an absolute https URL"),
        (f"name: a, {ENDPOINT}, {INLINE}, tokenEndpointAuthMethod: canary", "must be one of client_secret_basic, client_secret_post"),
        (f"name: a, {ENDPOINT}, {INLINE}, tokenEndpointProtocol: canary", "tokenEndpointProtocol must be one of auto, http1, http2"),
        (f"name: a, {ENDPOINT}, {INLINE}, tokenEndpointProtocol: HTTP2", "tokenEndpointProtocol must be one of auto, http1, http2"),
        (f"name: a, {ENDPOINT}, {SECRET}", "needs clientID or clientIDSecretRef"),
        (f"name: a, {ENDPOINT}, clientID: canary", "needs clientSecret, clientSecretSecretRef or another way"),
        (
            f"name: a, {ENDPOINT}, {INLINE}, clientIDSecretRef: {{name: o, key: i}}",
            "clientID and clientIDSecretRef are both given",
        ),
        (
            f"name: a, {ENDPOINT}, {INLINE}, clientSecretSecretRef: {{name: o, key: i}}",
            "clientSecret and clientSecretSecretRef are both given",
        ),
        (f"name: a, {ENDPOINT}, {SECRET}, clientIDSecretRef: {{name: ../canary, key: i}}", "has a name that no Secret can have"),
        (f"name: a, {ENDPOINT}, {SECRET}, clientIDSecretRef: {{name: {'a' * 254}, key: i}}", "has a name that no Secret can have"),
        (f'name: a, {ENDPOINT}, {SECRET}, clientIDSecretRef: {{name: "", key: i}}', "has a name that no Secret can have"),
        (f"name: a, {ENDPOINT}, {SECRET}, clientIDSecretRef: {{name: o, key: canary/x}}", "has a key that no Secret can have"),
        (
            f"name: a, {ENDPOINT}, {SECRET}, clientIDSecretRef: {{name: o, key: i, namespace: a.canary}}",
            "has a namespace that no Namespace can have",
        ),
    ],
)
def test_what_is_wrong_with_a_profile(entry: str, expected: str) -> None:
    (problem,) = problems(entry)
    assert problem.startswith('issuer profile "')
    assert expected in problem


def test_longest_names() -> None:
    name, namespace, key = "a" * 253, "n" * 63, "K" * 253
    entry = f"name: a, {ENDPOINT}, {SECRET}, clientIDSecretRef: {{name: {name}, key: {key}, namespace: {namespace}}}"
    assert good_plan(profiles(f"  - {{{entry}}}\n")).places == {SecretName(namespace, name)}


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (ProfileRules(with_secrets=True), "clientIDSecretRef needs a namespace, since POD_NAMESPACE is not set"),
        (ProfileRules(), "clientIDSecretRef can only be resolved with POLICY_SOURCE=kubernetes"),
    ],
)
def test_a_reference_that_leads_nowhere(rules: ProfileRules, problem: str) -> None:
    entry = f"name: a, {ENDPOINT}, {SECRET}, clientIDSecretRef: {{name: o, key: i}}"
    assert problems(entry, rules) == (f'issuer profile "a" {problem}',)


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


def test_a_limit_of_secrets() -> None:
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
        (", tokenEndpointProtocol: null, cache: null, limits: null", (EndpointProtocol.AUTO, None, CallLimits())),
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
