"""What is shown to people has no tokens in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.demo.hiding import HIDDEN, without_tokens
from exchanger.demo.unsigned_jwt import encode

TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/", min_size=8, max_size=60)


@given(st.text(), TOKENS, st.text())
def test_what_was_sent_is_gone_wherever_it_stands(before: str, token: str, after: str) -> None:
    assert token not in without_tokens(before + token + after, token)


@given(st.text(), st.dictionaries(st.text(), st.text(), min_size=1))
def test_any_jwt_is_gone_whoever_made_it(before: str, claims: dict[str, object]) -> None:
    token = encode(claims)
    hidden = without_tokens(f"{before} {token}")
    assert token not in hidden
    assert hidden.endswith(HIDDEN)


@given(TOKENS)
def test_what_is_called_a_bearer_token_is_gone(token: str) -> None:
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
