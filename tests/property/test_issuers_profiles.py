"""Laws of profiles: complete or refused, and without a secret in any message."""

import copy
import json
import re
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from typing import Any, Final
from urllib.parse import parse_qsl

import pytest
import trustme
from hypothesis import assume, event, example, given
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.exchange.issuers.profile_model import Plan, Rejected
from exchanger.exchange.issuers.profiles import read_plan
from exchanger.exchange.issuers.resolve import Found, resolve
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.secrets import SecretData
from exchanger.exchange.issuers.state import State
from exchanger.exchange.issuers.value_sources import Reference, Shape, ValueSource, references
from exchanger.exchange.oauth.client_assertion import ClientAssertions
from exchanger.exchange.oauth.token_request import EncodedRequest, encode_client_credentials, encode_request
from exchanger.model.entry import TokenTarget
from exchanger.model.issuer import ActorCredentials, ClientCertificate, GrantType, Issuer, SigningKey
from exchanger.model.secret import Secret
from exchanger.model.token import ExchangeFailure, TokenRequest
from exchanger.model.trace import NO_TRACE
from exchanger.operations.console.issuer_view import shown_profiles
from tests.exchange.issuers.fakes import PROFILES, good_plan, jwt, places
from tests.exchange.issuers.fakes import RULES as EVERYWHERE
from tests.formats.jwt.issuer import ED25519, P256, RSA_KEY, pem
from tests.net.certificates import client_certificate
from tests.property.strategies_policy import rarely
from tests.schemas.law import anything, around

# Law: nothing of a key, certificate's key, assertion, actor's token, parameter or proxy's password shows, whatever files and Secrets hold.
#
# What may be seen are the representations of all that is made of them, the reasons why something cannot be used, and what the console
# tells.


CERTIFICATES: Final = tuple(client_certificate(trustme.CA()) for _ in range(2))
KEYS: Final = tuple(pem(key) for key in (RSA_KEY, P256, ED25519))
# Whom a token is about is not a secret, and everything else in it is.
ASSERTIONS: Final = (jwt({"iss": "cluster", "sub": "me", "jti": "canary"}), jwt({"sub": ["canary"]}), "canary-assertion")
GOOD: Final = (
    *(certificate.chain + certificate.key.reveal() for certificate in CERTIFICATES),
    *(certificate.key.reveal() for certificate in CERTIFICATES),
    *KEYS,
    *ASSERTIONS,
)
PROOFS: Final[tuple[dict[str, object], ...]] = (
    {"clientID": "me", "clientSecret": "canary-secret"},
    {"clientID": "me", "clientSecretSecretRef": {"name": "oauth", "key": "secret"}},
    {"clientID": "me", "clientAssertion": {"algorithm": "ES256", "keyFile": "/key"}},
    {"clientID": "me", "clientAssertion": {"algorithm": "RS256", "keySecretRef": {"name": "oauth", "key": "private.pem"}}},
    {"clientID": "me", "clientCertificate": {"certFile": "/certificate", "keyFile": "/key"}},
    {"clientAssertionFile": {"path": "/assertion"}},
)
COMMON: Final[dict[str, object]] = {
    "name": "primary",
    "discovery": "https://issuer.example.com",
    "caFile": "/ca",
    "actorToken": {"file": "/actor"},
    "parameters": {"tenant": "canary-parameter"},
    "proxy": "http://canary-user:canary-password@proxy.example.com",
}


def pieces(text: str) -> list[str]:
    """Pieces by which a text would be recognised, without the first and the last lines of PEM."""
    return [line[at : at + 16] for line in text.splitlines() if "-----" not in line for at in range(0, max(len(line) - 16, 1), 16)]


HELD: Final = (*KEYS, *(one.key.reveal() for one in CERTIFICATES), *ASSERTIONS)
SECRETS: Final = frozenset({"canary", *(piece for text in HELD for piece in pieces(text))})


@st.composite
def contents(draw: st.DrawFn) -> str:
    """Draw what a place may hold: something good of any kind, cut off, put together, or in the wrong form."""
    text = draw(st.sampled_from(GOOD))
    match draw(st.sampled_from(["good", "good", "cut", "turned", "two", "quoted", "one line"])):
        case "cut":
            return text[: draw(st.integers(0, len(text)))]
        case "turned":
            at = draw(st.integers(0, len(text)))
            return text[at:] + text[:at]
        case "two":
            return text + draw(st.sampled_from(GOOD))
        case "quoted":
            return json.dumps({"token": text})
        case "one line":
            return text.replace("\n", " ")
        case _:
            return text


def planned(proof: dict[str, object]) -> Plan:
    return good_plan(json.dumps({"issuers": [{**COMMON, **proof}]}), ProfileRules(namespace="edge", with_secrets=True))


PLANS: Final = tuple(planned(proof) for proof in PROOFS)


def holding(plan: Plan, place: ValueSource, text: str) -> SecretData:
    keys = {reference.key for profile in plan.profiles for reference in references(profile) if reference.place == place}
    return SecretData(str(hash(text)), HashTrieMap({key: Secret(text) for key in keys}))


def fitting(plan: Plan, place: ValueSource) -> st.SearchStrategy[str]:
    """Draw something good that ``plan`` can use at ``place``."""
    return st.sampled_from([text for text in GOOD if not resolve(plan, HashTrieMap({place: holding(plan, place, text)})).issues])


@given(st.lists(st.tuples(st.sampled_from(PLANS), st.booleans()), min_size=1, max_size=3), st.data())
def test_whatever_files_and_secrets_hold(history: list[tuple[Plan, bool]], data: st.DataObject) -> None:
    state, seen = State(), []
    for number, (plan, fits) in enumerate(history):
        state = state.with_file(plan, float(number))
        for place in sorted(plan.places, key=str):
            text = data.draw(fitting(plan, place) if fits else contents())
            state = state.with_place(place, holding(plan, place, text), float(number))
            seen.append(repr((plan, state, state.issues, resolve(plan, state.latest))))
        event("waits" if state.current is None else "active")
        if state.current is not None:
            issuers = list(state.current.issuers.values())
            seen.append(f"{issuers!r} {shown_profiles(issuers, lambda _: False)}")
    everything = "\n".join(seen)
    assert [secret for secret in SECRETS if secret in everything] == []


# Law: a profile with any combination of fields is complete, so that its requests can be made, or refused with a sentence.
#
# Complete: its issuer encodes what the grant can ask for, shows at most one proof of who the client is, and its gate knows where keys are.


CERTIFICATE: Final = client_certificate(trustme.CA())
MATERIAL: Final = {
    Shape.TEXT: "text of a Secret",
    Shape.TOKEN: "of.a.file",
    Shape.RSA_KEY: pem(RSA_KEY),
    Shape.P256_KEY: pem(P256),
    Shape.ED25519_KEY: pem(ED25519),
    Shape.CERTIFICATE: CERTIFICATE.chain + CERTIFICATE.key.reveal(),
    Shape.AUTHORITIES: CERTIFICATE.chain,
}
RULES: Final = st.builds(
    ProfileRules,
    namespace=rarely(st.just(""), st.just("edge"), one_in=6),
    with_secrets=rarely(st.just(False), st.just(True), one_in=6),
    allow_http=st.booleans(),
)
# A place, the field, and what is wrong; of one line.
SENTENCE: Final = re.compile(r'(?:issuer profile "[^"]*"|f: issuers\[0\](?:\.\w+)*) [a-z][^\n]+').fullmatch

ODD: Final = [
    "",
    " ",
    "\t",
    "canary",
    "none",
    "null",
    "true",
    "1",
    "é",
    "a\nb",
    "a b",
    "/canary",
    "https://canary.example/?a=b",
    "https://",
    "\x00",
]


def words(*good: str) -> st.SearchStrategy[object]:
    """Draw one of ``good``, once in a while spelt oddly, or something else."""
    odd = st.sampled_from(ODD) | st.sampled_from(good).map(str.swapcase) | around(st.sampled_from(good)) | anything
    return rarely(odd, st.sampled_from(good), one_in=30)


def some(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return rarely(anything, st.fixed_dictionaries({}, optional=fields), one_in=30)


def whole(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return rarely(some(**fields), st.fixed_dictionaries(fields), one_in=12)


URLS: Final = (
    "https://issuer.example.com",
    "https://issuer.example.com/tenant/",
    "HTTPS://issuer.example.com:8443/a?b=c",
    "http://issuer.example.com",
)
REFERENCES: Final = whole(name=words("oauth", "a.b"), key=words("id", "private.pem")) | some(
    name=words("oauth"), key=words("id"), namespace=words("team")
)
TOKEN_TYPES: Final = words("urn:ietf:params:oauth:token-type:jwt")
PATHS: Final = words("/run/tokens/one", "/run/../tokens/two")
LISTS: Final = rarely(
    anything | st.lists(st.sampled_from([*URLS, *ODD]), max_size=3), st.lists(st.sampled_from(URLS), min_size=1, max_size=3, unique=True), 9
)
any_proofs: Final[dict[str, st.SearchStrategy[object]]] = {
    "clientSecret": words("canary-secret"),
    "clientSecretSecretRef": REFERENCES,
    "clientAssertion": whole(algorithm=words("RS256", "PS256", "ES256", "EdDSA"), keyFile=PATHS)
    | whole(algorithm=words("RS256", "PS256", "ES256", "EdDSA"), keySecretRef=REFERENCES, keyID=words("k1"), audience=words(*URLS))
    | some(algorithm=words("ES256"), keySecretRef=REFERENCES, keyFile=PATHS, keyID=words("k1"), audience=words(*URLS)),
    "clientAssertionFile": whole(path=PATHS) | some(path=PATHS, type=words("jwt-bearer", "jwt-spiffe")),
    "clientCertificate": whole(certFile=PATHS, keyFile=PATHS),
    "tokenEndpointAuthMethod": words("none", "client_secret_basic", "client_secret_post"),
}
OTHERS: Final[dict[str, st.SearchStrategy[object]]] = {
    "bearerRealm": words("issuer"),
    "proxy": words("http://canary-secret:canary@proxy.example.com:3128"),
    "tokenEndpointProtocol": words("auto", "http1", "http2"),
    "cache": whole(maxTTL=words("5m"), maxEntries=rarely(anything, st.integers(1, 9))),
    "limits": some(maxInFlight=rarely(anything, st.integers(1, 9)), breaker=rarely(anything, st.booleans())),
    "caFile": PATHS,
    "grantType": words(*(grant.value for grant in GrantType)),
    "requestedTokenType": TOKEN_TYPES,
    "actorToken": whole(file=PATHS)
    | whole(clientCredentials=some(scope=words("act")))
    | some(file=PATHS, type=TOKEN_TYPES, clientCredentials=some()),
    "parameters": rarely(
        anything, st.dictionaries(st.sampled_from(["tenant", "Scope", "a b", *ODD]), st.sampled_from(["blue", *ODD]), max_size=2)
    ),
    "subjectToken": whole(issuers=LISTS, audiences=LISTS)
    | whole(issuers=st.just(["canary"]), audiences=LISTS, jwksURI=words(*URLS))
    | some(
        **{"from": rarely(anything, st.lists(some(header=words("X-Token", "authorization")), max_size=3))},
        issuers=LISTS,
        jwksURI=words(*URLS),
    ),
    "errors": words("reference", "strict"),
}
ANYTHING: Final = st.fixed_dictionaries(
    {},
    optional={
        "name": words("primary"),
        "tokenEndpoint": words(*URLS),
        "discovery": words(*URLS),
        "clientID": words("client"),
        "clientIDSecretRef": REFERENCES,
        **any_proofs,
        **OTHERS,
    },
)


@st.composite
def usual(draw: st.DrawFn) -> object:
    """Draw a profile with one endpoint, one id and one proof, mostly, and some of the other fields."""
    profile: dict[str, object] = {"name": draw(words("primary"))}
    profile[draw(st.sampled_from(["tokenEndpoint", "discovery"]))] = draw(words(*URLS))
    profile["clientID"] = draw(words("client"))
    for name in draw(st.lists(st.sampled_from(sorted(any_proofs)), min_size=1, max_size=2 if draw(st.booleans()) else 1)):
        profile[name] = draw(any_proofs[name])
    for name in {
        draw(st.sampled_from(["grantType", "actorToken", "errors"])),
        *draw(st.lists(st.sampled_from(sorted(OTHERS)), max_size=3)),
    }:
        profile[name] = draw(OTHERS[name])
    return profile


ISSUER_WITH_QUERY: Final = {
    "name": "primary",
    "tokenEndpoint": "https://issuer.example.com",
    "clientID": "client",
    "clientSecret": "canary-secret",
    "subjectToken": {"issuers": ["https://issuer.example.com?a=b"], "audiences": ["gateway"]},
}
TARGETS: Final = st.sampled_from([TokenTarget("primary", "read"), TokenTarget("primary", "read", ("https://a.example",), ("orders", "b"))])


def material(plan: Plan) -> "HashTrieMap[ValueSource, Found]":
    """Return what fits at all places; a place that two fields want different things of cannot be, and that is found out when it is read."""
    wanted: dict[ValueSource, dict[str, Reference]] = {}
    for profile in plan.profiles:
        for reference in references(profile):
            other = wanted.setdefault(reference.place, {}).setdefault(reference.key, reference)
            assume(other.shape is reference.shape)
    return HashTrieMap(
        {
            place: SecretData("1", HashTrieMap({key: Secret(MATERIAL[reference.shape]) for key, reference in references.items()}))
            for place, references in wanted.items()
        }
    )


# Law: null, or a blank text, switches nothing off. A field with either is rejected, or means what its profile says without the field.

# Fields that the Go service has, and two that protect nothing.
NULLABLE: Final = frozenset(
    {
        *("tokenEndpoint", "bearerRealm", "tokenEndpointAuthMethod", "tokenEndpointProtocol", "proxy", "namespace"),
        *("clientID", "clientSecret", "clientIDSecretRef", "clientSecretSecretRef"),
    }
)


# A parameter is a text of the operator's own: it may be blank.
FIELDS: Final = [place for place in places() if isinstance(place[-1], str) and "parameters" not in place[:-1]]


@pytest.mark.parametrize("place", FIELDS, ids=lambda place: ".".join(map(str, place)))
def test_an_empty_field_is_rejected_or_means_what_no_field_means(place: tuple[object, ...]) -> None:
    *way, last = place
    for value in (None, "", " ", "\u2003\n"):
        with_empty, without = copy.deepcopy(PROFILES), copy.deepcopy(PROFILES)
        there: Any = reduce(getitem, way, with_empty)  # type: ignore[arg-type]  # the way is right
        less: Any = reduce(getitem, way, without)  # type: ignore[arg-type]
        there[last] = value
        del less[last]
        found, expected = (read_plan(json.dumps({"issuers": profiles}).encode(), "f", EVERYWHERE) for profiles in (with_empty, without))
        if not isinstance(found, Rejected):
            assert last in NULLABLE
            assert found == expected
        elif value is None and isinstance(expected, Plan):
            path = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, place[1:])))
            assert any(f".{path} is empty: write " in problem for problem in found.problems)


@given(RULES, rarely(ANYTHING, usual(), one_in=5), TARGETS)
@example(ProfileRules(), ISSUER_WITH_QUERY, TokenTarget("primary", "read"))
def test_any_combination_of_fields_is_complete_or_rejected(rules: ProfileRules, profile: object, target: TokenTarget) -> None:
    planned = read_plan(json.dumps({"issuers": [profile]}).encode(), "f", rules)
    if isinstance(planned, Rejected):
        event("refused by the rules" if planned.problems[0].startswith("issuer profile") else "refused by the reader")
        for problem in planned.problems:
            assert SENTENCE(problem) or problem.startswith("f is not YAML"), problem
            assert "canary" not in re.sub('^issuer profile "[^"]*"', "", problem)
        return
    event("complete")
    resolved = resolve(planned, material(planned))
    assert resolved.complete, resolved.issues
    assert "canary-secret" not in repr(planned) + repr(resolved)
    (issuer,) = resolved.issuers.values()
    assert not any(references(issuer))
    request = TokenRequest(issuer, Secret("subject"), target, "urn:g", "urn:t", NO_TRACE, "edge")
    for name, values in forms(issuer, request):
        event(name)
        assert_is_complete(issuer, values)
    gate = issuer.subject
    assert gate.headers
    assert bool(gate.issuers) == bool(gate.audiences)
    # Metadata are at a place below the issuer's address, and a query has none.
    assert gate.jwks_uri or all(isinstance(rules.host_of(url), str) and "?" not in url for url in gate.issuers)


def forms(issuer: Issuer, request: TokenRequest) -> Iterator[tuple[str, EncodedRequest]]:
    """Yield the requests that the pipeline would send."""
    proof = issuer.credentials.proof
    assertion = ClientAssertions(lambda: 1_700_000_000.0).sign(issuer, proof) if isinstance(proof, SigningKey) else None
    assert (assertion is None) == (not isinstance(proof, SigningKey))
    actor = None
    if isinstance(issuer.grant.actor, ActorCredentials):
        assert proof is not None
        found = encode_client_credentials(issuer, issuer.grant.actor.scope, assertion)
        assert isinstance(found, EncodedRequest)
        yield "client credentials", found
        actor = Secret("actor")
    exchange = encode_request(request, assertion, actor)
    if isinstance(exchange, ExchangeFailure):  # which the policy is wrong about, and not the profile
        assert issuer.grant.type is GrantType.ENTRA_OBO
        assert request.target.resources
        return
    yield issuer.grant.type.value, exchange


def assert_is_complete(issuer: Issuer, found: EncodedRequest) -> None:
    fields = parse_qsl(found.body.decode("ascii"), keep_blank_values=True, strict_parsing=True)
    names = [name for name, _ in fields if name not in ("resource", "audience")]
    assert len(names) == len(set(names))
    proofs = ["Authorization" in dict(found.headers), "client_secret" in names, "client_assertion" in names]
    proofs.append(isinstance(issuer.credentials.proof, ClientCertificate))
    assert sum(proofs) == (issuer.credentials.proof is not None)
    assert ("client_assertion" in names) == ("client_assertion_type" in names)
    # A client that nothing names would be nobody: the id, Basic credentials, or the assertion itself do.
    assert dict(fields).get("client_id") or "Authorization" in dict(found.headers) or "client_assertion" in names
    assert ("actor_token" in names) == ("actor_token_type" in names)
