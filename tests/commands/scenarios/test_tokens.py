"""Unsigned JWTs: written, read, and told from anything else; and tokens of any kind, hidden in what people see."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.commands.scenarios.redaction import HIDDEN, without_tokens
from exchanger.commands.scenarios.tokens import bearer_of, encode
from exchanger.formats.jwt.unverified import claims_of

TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/", min_size=8, max_size=60)
CLAIMS = st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.lists(st.text())))


@given(CLAIMS)
def test_encoded_claims_are_a_b64token_without_signature_that_is_read_back(claims: dict[str, object]) -> None:
    token = encode(claims)
    assert claims_of(token) == claims
    assert re.fullmatch(r"[A-Za-z0-9\-._~+/]+=*", token)  # RFC 6750 section 2.1
    assert token.count(".") == 2
    assert token.endswith(".")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    assert claims_of(text) is None or isinstance(claims_of(text), dict)


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.e!!!!30.c", "a.W10.c", "a.e30.c.d", "a.é.c", "a." + "W1tb" * 20_000 + ".c"])
def test_other_text_has_no_claims(token: str) -> None:
    assert claims_of(token) is None


@pytest.mark.parametrize(("value", "token"), [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Basic abc", ""), ("Bearer", ""), ("", "")])
def test_a_bearer_token_is_what_follows_its_scheme(value: str, token: str) -> None:
    assert bearer_of(value) == token


@given(st.text(), TOKENS, st.text())
def test_a_token_that_was_sent_is_hidden_wherever_it_stands(before: str, token: str, after: str) -> None:
    assert token not in without_tokens(before + token + after, token)


@given(st.text(), st.dictionaries(st.text(), st.text(), min_size=1))
def test_any_jwt_is_hidden(before: str, claims: dict[str, object]) -> None:
    token = encode(claims)
    hidden = without_tokens(f"{before} {token}")
    assert token not in hidden
    assert hidden.endswith(HIDDEN)


@given(TOKENS)
def test_any_text_after_the_word_bearer_is_hidden(token: str) -> None:
    before = '{"authorization": "Bearer '  # a word of which may be spelt as the token is
    assert token not in without_tokens(f'{before}{token}"}}').removeprefix(before)


@pytest.mark.parametrize(
    "text",
    [
        'Bearer realm="exchanger-demo", scope="read:orders"',
        'Bearer error_description="x"',
        '{"error":"bearer_token_required"}',
        "200 passed on with the original token",
        "eyJ",
    ],
)
def test_words_about_tokens_stay(text: str) -> None:
    assert without_tokens(text, "", "a") == text
