import weakref
from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest
from hypothesis import given

from exchanger.exchange.cache import active_issuers
from exchanger.exchange.cache.identity import EXEMPT, Digester, encoded
from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.exchange.oauth.token_response import TokenResponseRules
from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import (
    ID_JAG,
    ActorCredentials,
    ActorRule,
    ActorToken,
    Assertion,
    AssertionRules,
    AssertionSource,
    AssertionType,
    AuthMethod,
    CachePolicy,
    CallLimits,
    ClientCertificate,
    Credentials,
    EndpointProtocol,
    ErrorStyle,
    Grant,
    GrantType,
    IssuedTokenRules,
    Issuer,
    SigningAlgorithm,
    SigningKey,
    SubjectRules,
)
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.model.token import TokenRequest
from exchanger.model.trace import TraceContext
from exchanger.net.proxies import EnvironmentProxies, NoProxy
from tests.exchange.cache.examples import Clocks, cache, issuer, request, token
from tests.property.strategies_oauth import token_requests

CREDENTIALS: Final = Credentials("client", Secret("secret"))
# Another value for each field. A field that is missing here fails the tests: somebody has to decide about it.
OTHER: Final[dict[type, dict[str, Any]]] = {
    TokenRequest: {
        "issuer": issuer("other"),
        "subject_token": Secret("another subject"),
        "actor_token": Secret("another actor"),
        "assertion": Secret("another assertion"),
        "target": TokenTarget("primary", scope="write"),
        "grant_type": "another",
        "subject_token_type": "another",
        "trace": TraceContext("00-" + "a" * 32 + "-" + "b" * 16 + "-01"),
        "namespace": "team-b",
    },
    Issuer: {
        "name": "other",
        "token_endpoint": "https://issuer.example.com/other",
        "endpoint_host": "other.example.com",
        "auth_method": AuthMethod.CLIENT_SECRET_POST,
        "credentials": Credentials("other", Secret("s3cret")),
        "bearer_realm": "realm",
        "previous": CREDENTIALS,
        "proxy": Proxy(False, "proxy.example.com", 3128),
        "protocol": EndpointProtocol.HTTP2,
        "cache": CachePolicy(60.0, 5),
        "limits": CallLimits(5, breaker=True),
        "discovery": "https://issuer.example.com",
        "ca_pem": "another",
        "grant": Grant(GrantType.JWT_BEARER),
        "subject": SubjectRules(("x-token",)),
        "errors": ErrorStyle.STRICT,
        "issued": IssuedTokenRules("https://issuer.example.com"),
        "assertion": AssertionSource("idp", ID_JAG, "https://issuer.example.com"),
    },
    AssertionSource: {
        "profile": "other",
        "token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": "https://other.example.com",
        "reuse": True,
        "issuer": issuer("idp"),
        "verifier": issuer("idp"),
    },
    AssertionRules: {"client_id": "other"},
    IssuedTokenRules: {
        "issuer": "https://other.example.com",
        "audiences": ("orders",),
        "subject": "sub",
        "scope": True,
        "scope_also": ("openid",),
        "max_lifetime": 60.0,
        "signature": True,
        "jwks_uri": "https://issuer.example.com/keys",
        "keys_of": "https://issuer.example.com",
        "opaque": True,
        "assertion": AssertionRules("client"),
        "actor": ActorRule.ANY,
    },
    Grant: {
        "type": GrantType.ENTRA_OBO,
        "requested_token_type": "urn:x:y",
        "actor": ActorCredentials("act"),
        "parameters": (("tenant", "blue"),),
        "assertion": True,
    },
    ActorToken: {"token": Secret("other"), "type": "urn:x:z", "subject": "other"},
    ActorCredentials: {"scope": "other"},
    SigningKey: {"pem": Secret("other"), "algorithm": SigningAlgorithm.PS256, "key_id": "other", "audience": "other"},
    Assertion: {"text": Secret("other"), "type": AssertionType.JWT_SPIFFE, "subject": "other"},
    ClientCertificate: {"chain": "other", "key": Secret("other")},
    Credentials: {"client_id": "other", "proof": None, "generation": 7},
    TokenTarget: {"issuer_ref": "other", "scope": "write", "resources": ("https://r.example.com",), "audiences": ("a", "b")},
    Proxy: {"secure": True, "host": "other", "port": 1, "credentials": Secret("user:password")},
    TokenResponseRules: {
        "error_passthrough": True,
        "require_issued_token_type": False,
        "expected_issued_token_type": "another",
        "assertion": True,
    },
}
BASE: Final[dict[type, Any]] = {
    TokenRequest: request(),
    Issuer: issuer(),
    Credentials: CREDENTIALS,
    IssuedTokenRules: IssuedTokenRules("https://issuer.example.com"),
    AssertionSource: AssertionSource("idp", ID_JAG, "https://issuer.example.com"),
    AssertionRules: AssertionRules("client"),
    Grant: Grant(),
    ActorToken: ActorToken(Secret("token"), "urn:x:y", "me"),
    ActorCredentials: ActorCredentials("read"),
    SigningKey: SigningKey(Secret("pem"), SigningAlgorithm.RS256, "k1", "https://issuer.example.com"),
    Assertion: Assertion(Secret("token"), AssertionType.JWT_BEARER, "me"),
    ClientCertificate: ClientCertificate("chain", Secret("key")),
    TokenTarget: TokenTarget("primary", scope="read"),
    Proxy: Proxy(False, "proxy.example.com", 3128),
    TokenResponseRules: TokenResponseRules(),
}
FIELDS: Final = [(cls, field.name) for cls in BASE for field in attrs.fields(cls)]


@pytest.mark.parametrize(("cls", "name"), FIELDS, ids=[f"{cls.__name__}.{name}" for cls, name in FIELDS])
def test_every_field_enters_or_is_exempt_with_a_reason(cls: type, name: str) -> None:
    base = BASE[cls]
    other = attrs.evolve(base, **{name: OTHER[cls][name]})
    reason = EXEMPT.get(cls, {}).get(name)

    assert (encoded(base) == encoded(other)) == (reason is not None)
    assert reason is None or len(reason) > 20


@pytest.mark.parametrize(("cls", "name"), [one for one in FIELDS if one[0] in (TokenRequest, Issuer)])
def test_a_token_is_found_under_another_field_only_if_that_is_exempt(cls: type, name: str) -> None:
    clocks = Clocks()
    kept_for = request()
    asked = attrs.evolve(BASE[cls], **{name: OTHER[cls][name]})
    asking = attrs.evolve(kept_for, issuer=asked) if isinstance(asked, Issuer) else asked
    assert isinstance(asking, TokenRequest)
    one = cache(clocks, issuer())
    one.keep(kept_for, token())
    if cls is Issuer and name != "name":
        one.use_issuers({asking.issuer.name: asking.issuer})

    assert (one.find(asking) is not None) == (name in EXEMPT[cls] and name != "subject_token")


def client(of: Credentials) -> tuple[str, str]:
    return of.client_id, of.proof.subject if isinstance(of.proof, Assertion) else ""


def projection(value: Any) -> Any:
    """Return what counts of a value, in another way than the encoding does it."""
    if attrs.has(type(value)):
        exempt = EXEMPT.get(type(value), {})
        parts = [projection(getattr(value, field.name)) for field in attrs.fields(type(value)) if field.name not in exempt]
        other = value.previous if isinstance(value, Issuer) else None
        is_other = other is not None and client(other) != client(value.credentials)
        return (type(value), [*parts, projection(other)] if is_other else parts)
    if isinstance(value, tuple):
        return [projection(item) for item in value]
    return (type(value), value)


@given(token_requests, token_requests)
def test_equal_bytes_are_equal_requests(one: TokenRequest, other: TokenRequest) -> None:
    assert (encoded(one) == encoded(other)) == (projection(one) == projection(other))


ALIKE: Final[list[tuple[object, object]]] = [
    *((("ab", "c"), ("a", "bc")), (("a",), "a"), ((("a", "b"),), ("a", "b")), ((), ("",)), (None, "None")),
    *((1, True), (1, 1.0), (1, "1"), ("a", Secret("a")), (frozenset({"a"}), ("a",)), ("\ud800", "?")),
    (AuthMethod.CLIENT_SECRET_BASIC, "CLIENT_SECRET_BASIC"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_values_that_look_alike_differ(one: object, other: object) -> None:
    assert encoded(one) != encoded(other)


def test_a_part_that_nobody_decided_about_is_refused() -> None:
    with pytest.raises(TypeError, match="how a list enters"):
        encoded(("a", ["b"]))


def test_a_secret_enters_by_its_digest() -> None:
    assert b"canary" not in encoded(issuer(secret="canary"))


def test_rules_and_proxies_of_the_environment_shape_names_too() -> None:
    key = b"k" * 32
    names = set()
    caches: list[Callable[[], TokenCache]] = [
        TokenCache,
        lambda: TokenCache(rules=TokenResponseRules(require_issued_token_type=False)),
        lambda: TokenCache(proxies=EnvironmentProxies(Proxy(False, "p", 1))),
        lambda: TokenCache(proxies=EnvironmentProxies(Proxy(False, "p", 1), None, NoProxy.of("10.0.0.0/8,[::1],a.example.com:1,*"))),
    ]
    for make in caches:
        one = make()
        one.use_issuers({"primary": issuer()})
        builder = one.issuers.builder_for(request())
        assert builder is not None
        names.add(Digester(key, builder.fixed).digest(b"subject"))

    assert len(names) == len(caches)


def test_key_builders_are_discarded_beyond_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active_issuers, "MAX_BUILDERS", 2)
    one = TokenCache()
    one.use_issuers({"primary": issuer()})
    made = [weakref.ref(one.issuers.builder_for(attrs.evolve(request(), namespace=f"team-{number}"))) for number in range(6)]
    assert 1 <= sum(builder() is not None for builder in made) <= 2


def test_what_stands_before_the_subject_cannot_be_made_a_part_of_it() -> None:
    key = b"k" * 32

    assert Digester(key, b"ab").digest(b"c") != Digester(key, b"a").digest(b"bc")
