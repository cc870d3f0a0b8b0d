"""Law: nothing of a key, certificate's key, assertion, actor's token, parameter or proxy's password shows, whatever files and Secrets hold.

What may be seen are the representations of all that is made of them, the reasons why something cannot be used, and what the console tells.
"""

import json
from typing import Final

import trustme
from hypothesis import event, given
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.app.settings import endpoint_check
from exchanger.console.issuer_view import shown_profiles
from exchanger.issuers.plan import Plan, plan_profiles
from exchanger.issuers.profiles import parse_profiles
from exchanger.issuers.resolve import resolve
from exchanger.issuers.rules import ProfileRules
from exchanger.issuers.secrets import SecretData
from exchanger.issuers.state import State
from exchanger.issuers.value_sources import ValueSource
from exchanger.values.secret import Secret
from tests.issuers.fakes import jwt
from tests.jwt.issuer import ED25519, P256, RSA_KEY, pem
from tests.net.certificates import client_certificate

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
    profiles, problems = parse_profiles(json.dumps({"issuers": [{**COMMON, **proof}]}).encode(), "f")
    assert not problems
    plan = plan_profiles(profiles, ProfileRules(namespace="edge", with_secrets=True), endpoint_check(allow_http=False))
    assert isinstance(plan, Plan), plan
    return plan


PLANS: Final = tuple(planned(proof) for proof in PROOFS)


def holding(plan: Plan, place: ValueSource, text: str) -> SecretData:
    keys = {reference.key for profile in plan.profiles for reference in profile.references if reference.place == place}
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
        event("waits" if state.current is None else "in force")
        if state.current is not None:
            issuers = list(state.current.issuers.values())
            seen.append(f"{issuers!r} {shown_profiles(issuers, lambda _: False)}")
    everything = "\n".join(seen)
    assert [secret for secret in SECRETS if secret in everything] == []
