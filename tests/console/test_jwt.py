import pytest

from exchanger.console.jwt import OPAQUE, decoded
from tests.console.records import jwt, segment


def test_a_signed_token_is_decoded_without_its_signature() -> None:
    assert decoded(jwt({"sub": "a"}, "c2ln")) == {"header": {"alg": "RS256"}, "claims": {"sub": "a"}, "signature": "present"}


def test_an_unsigned_token_says_so() -> None:
    assert decoded(jwt({}, ""))["signature"] == "none"


def test_numbers_that_a_page_would_change_are_texts() -> None:
    claims = {"sub": 2**53 - 1, "uid": 1234567890123456789, "in": [{"n": -(2**53)}, 1.5, True], "none": None}
    shown = decoded(jwt(claims, "c2ln"))["claims"]
    assert shown == {"sub": 2**53 - 1, "uid": "1234567890123456789", "in": [{"n": "-9007199254740992"}, 1.5, True], "none": None}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "opaque",
        "..",
        "a.b.c",
        f"{segment([])}.{segment({})}.",
        f"{segment({})}.{segment('text')}.",
        f"{segment({})}.{segment({})}",
        f"{segment({})}.{segment({})}..",
        f"{segment({})}.{'A' * 20_000}.",
        "é.é.é",
        f"{segment({})}.{'W1tb' * 3000}.",
    ],
)
def test_anything_else_is_opaque(token: str) -> None:
    assert decoded(token) == OPAQUE
