"""Unsigned JWTs: written, read, and told from anything else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.scenarios.tokens import bearer_of, claims_of, encode

CLAIMS = st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.lists(st.text())))


@given(CLAIMS)
def test_what_is_encoded_is_read_back(claims: dict[str, object]) -> None:
    assert claims_of(encode(claims)) == claims


@given(CLAIMS)
def test_a_token_is_a_b64token_of_three_parts_without_signature(claims: dict[str, object]) -> None:
    token = encode(claims)
    assert re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", token)  # RFC 6750 section 2.1
    assert token.count(".") == 2
    assert token.endswith(".")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    assert claims_of(text) is None or isinstance(claims_of(text), dict)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.!!!!.c", "a.W10.c", "a.e30.c.d", "a.é.c", "a." + "W1tb" * 20_000 + ".c"])
def test_what_is_no_jwt_has_no_claims(token: str) -> None:
    assert claims_of(token) is None


@pytest.mark.parametrize(("value", "token"), [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Basic abc", ""), ("Bearer", ""), ("", "")])
def test_bearer_of(value: str, token: str) -> None:
    assert bearer_of(value) == token
