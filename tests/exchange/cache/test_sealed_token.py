from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.exchange.cache.keys import derive
from exchanger.exchange.cache.sealed_token import MAX_SEALED_BYTES, MAX_TOKEN_CHARS, StoredToken, seal, unseal
from exchanger.model.secret import Secret

KEY, OTHER = derive(b"1" * 32, "n"), derive(b"2" * 32, "n")
NAME = b"d" * 32
TOKEN = StoredToken(Secret("canary"), 120.0, 1_800_000_120.0, 120, 1_800_000_120)

stored = st.builds(
    StoredToken,
    access_token=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=200).map(Secret),
    length=st.floats(0.1, 1e9),
    wall_end=st.floats(0, 1e11),
    expires_in=st.integers(0, 2**62),
    expires_at=st.none() | st.integers(1, 2**62),
)


@given(stored)
def test_what_is_sealed_opens_under_its_key_and_name_alone(token: StoredToken) -> None:
    value = seal(KEY, NAME, token)

    assert value is not None
    assert unseal(KEY, NAME, value) == token
    assert unseal(OTHER, NAME, value) is None
    assert unseal(derive(b"1" * 32, "other"), NAME, value) is None
    assert unseal(KEY, b"e" * 32, value) is None
    assert token.access_token.reveal().encode() not in value or len(token.access_token.reveal()) < 4


@given(st.data())
def test_a_value_that_was_touched_does_not_open(data: st.DataObject) -> None:
    value = seal(KEY, NAME, TOKEN)
    assert value is not None
    at = data.draw(st.integers(0, len(value) - 1))
    touched = value[:at] + bytes([value[at] ^ data.draw(st.integers(1, 255))]) + value[at + 1 :]

    assert unseal(KEY, NAME, touched) is None
    assert unseal(KEY, NAME, value[:at]) is None
    assert unseal(KEY, NAME, value + b"x") is None


@given(st.binary(max_size=200) | st.binary(max_size=200).map(b"\x01".__add__))
def test_garbage_does_not_open(value: bytes) -> None:
    assert unseal(KEY, NAME, value) is None


def test_no_two_values_are_alike() -> None:
    assert seal(KEY, NAME, TOKEN) != seal(KEY, NAME, TOKEN)


def test_sealed_tokens_have_a_bounded_size() -> None:
    longest = StoredToken(Secret("x" * MAX_TOKEN_CHARS), 1.0, 1.0, 1, 1)
    value = seal(KEY, NAME, longest)

    assert value is not None
    assert len(value) == MAX_SEALED_BYTES
    assert unseal(KEY, NAME, value) == longest
    assert unseal(KEY, NAME, b"\x01" + b"x" * MAX_SEALED_BYTES) is None


UNSEALED: Final = [
    *(StoredToken(Secret(text), 1.0, 1.0, 1, 1) for text in ("x" * (MAX_TOKEN_CHARS + 1), "é")),
    *(StoredToken(Secret("x"), 1.0, 1.0, *times) for times in ((10**30, 1), (-1, 1), (1, 10**30))),
]


@pytest.mark.parametrize("token", UNSEALED)
def test_what_cannot_be_written_down_is_not_sealed(token: StoredToken) -> None:
    assert seal(KEY, NAME, token) is None
