"""The list of issuer profiles: a word for how each client authenticates, what is unusual, and no secret. And who is spared."""

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.authz.decision.check import DecisionRules
from exchanger.model.issuer import (
    ActorToken,
    Assertion,
    AssertionType,
    ClientCertificate,
    ClientProof,
    Credentials,
    ErrorStyle,
    Grant,
    GrantType,
    SigningAlgorithm,
    SigningKey,
    SubjectRules,
)
from exchanger.model.secret import Secret
from exchanger.operations.console.issuer_view import MAX_ISSUERS, MAX_PROFILES, IssuerHealth, client_of, shown_issuers, shown_profiles
from tests.authz.decision.examples import PRIMARY
from tests.operations.console.running import running

CANARY = "canary-7f3d"
PROOFS: list[tuple[ClientProof, str]] = [
    (Secret(CANARY), "client secret"),
    (SigningKey(Secret(CANARY), SigningAlgorithm.ES256, CANARY, CANARY), "signed assertion (ES256)"),
    (SigningKey(Secret(CANARY), SigningAlgorithm.EDDSA), "signed assertion (EdDSA)"),
    (Assertion(Secret(CANARY), AssertionType.JWT_SPIFFE, CANARY), "assertion file"),
    (ClientCertificate(CANARY, Secret(CANARY)), "certificate"),
    (None, "public"),
]


@pytest.mark.parametrize(("proof", "word"), PROOFS)
def test_each_way_to_authenticate_has_a_word(proof: ClientProof, word: str) -> None:
    assert client_of(proof) == word


@given(st.sampled_from(PROOFS), st.sampled_from(PROOFS), st.sampled_from(GrantType), st.booleans())
def test_nothing_secret_is_shown(now: tuple[ClientProof, str], before: tuple[ClientProof, str], grant: GrantType, with_actor: bool) -> None:
    issuer = attrs.evolve(
        PRIMARY,
        credentials=Credentials(CANARY, now[0]),
        previous=Credentials(CANARY, before[0]),
        ca_pem=CANARY,
        token_endpoint=f"https://issuer.example.com/{CANARY}",
        grant=Grant(grant, "", ActorToken(Secret(CANARY), CANARY, CANARY) if with_actor else None, ((CANARY, CANARY),)),
    )
    assert CANARY not in orjson.dumps(shown_profiles([issuer], lambda _issuer: True)).decode()


def test_a_profile_is_shown_with_its_unusual_fields() -> None:
    discovered = attrs.evolve(
        PRIMARY,
        name="discovered",
        token_endpoint="",
        discovery="https://issuer.example.com",
        errors=ErrorStyle.STRICT,
        subject=SubjectRules(("x-forwarded-access-token",)),
    )
    shown = shown_profiles([PRIMARY, discovered], lambda issuer: issuer is not discovered)
    assert shown == {
        "listed": [
            {
                "name": "discovered",
                "endpoint": "issuer.example.com",
                "client": "client secret",
                "discovery": {"issuer": "https://issuer.example.com", "known": False},
                "profile": [
                    {"name": "token", "text": "read from x-forwarded-access-token"},
                    {"name": "errors", "text": "strict: 401 and 403 for the caller's errors, 5xx for all others"},
                ],
            },
            {"name": "primary", "endpoint": "issuer.example.com", "client": "client secret", "discovery": None, "profile": []},
        ],
        "more": 0,
    }


def test_the_list_is_bounded_and_so_are_its_texts() -> None:
    many = [attrs.evolve(PRIMARY, name=f"{number:04}\u202e" + "n" * 5000) for number in range(MAX_PROFILES + 3)]
    shown = shown_profiles(many, lambda _issuer: False)
    assert isinstance(shown["listed"], list)
    assert (len(shown["listed"]), shown["more"]) == (MAX_PROFILES, 3)
    assert all(len(one["name"]) <= 1024 and one["name"].isprintable() for one in shown["listed"])


async def test_the_console_lists_the_active_profiles() -> None:
    async with running(rules=DecisionRules(HashTrieMap({"primary": PRIMARY}))) as console:
        found = await console.get("/api/issuers")
    assert [one["name"] for one in found.json["listed"]] == ["primary"]
    assert b"client-secret" not in found.body


def test_issuers_with_usual_profiles_are_not_listed() -> None:
    assert shown_issuers([IssuerHealth("a", "a.example", in_flight=3, max_in_flight=4), IssuerHealth("b", "b.example")]) == {
        "listed": [],
        "more": 0,
    }


def test_those_that_are_not_called_come_first_then_the_longest_queue() -> None:
    issuers = [
        IssuerHealth("few", "h", queued=1),
        IssuerHealth("many", "h", queued=5, in_flight=64, max_in_flight=64),
        IssuerHealth("down", "down.example", is_open=True, retry_in=3.94, in_flight=1),
    ]

    shown = shown_issuers(issuers)["listed"]

    assert isinstance(shown, list)
    assert [issuer["name"] for issuer in shown] == ["down", "many", "few"]
    assert shown[0] == {
        "name": "down",
        "endpoint": "down.example",
        "breaker_open": True,
        "retry_in_s": 3.9,
        "queued": 0,
        "in_flight": 1,
        "max_in_flight": None,
    }


def test_the_list_is_short_and_its_names_too() -> None:
    shown = shown_issuers(IssuerHealth(f"{number:03}\u202e" + "n" * 300, "h" * 300, is_open=True) for number in range(MAX_ISSUERS + 3))

    assert isinstance(shown["listed"], list)
    assert (len(shown["listed"]), shown["more"]) == (MAX_ISSUERS, 3)
    assert all(len(issuer[field]) <= 64 and issuer[field].isprintable() for issuer in shown["listed"] for field in ("name", "endpoint"))
