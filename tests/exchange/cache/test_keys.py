import base64
import hashlib
from typing import Final

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from exchanger.exchange.cache.keys import FORMAT, derive, read_keys
from exchanger.util.key_file import KEY_BYTES, KeyFileError

ONE, TWO = hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()


def line(key: bytes) -> bytes:
    return base64.b64encode(key) + b"\n"


def test_the_first_key_is_the_first_line() -> None:
    assert read_keys(line(ONE) + b"\r\n" + line(TWO).strip(), "n") == (derive(ONE, "n"), derive(TWO, "n"))


NO_KEYS: Final = [
    *(b"", b"\n \n", b"canary", ONE, b"\n" * 5000, "ключ".encode(), b"A" * 43 + b"="),
    *(line(ONE[:31]), line(ONE + b"x"), line(ONE) + b"canary\n", line(ONE)[:-2], line(bytes(32))),
    b"".join(line(hashlib.sha256(bytes([n])).digest()) for n in range(5)),
]


@pytest.mark.parametrize("data", NO_KEYS)
def test_a_file_that_is_not_all_keys_is_none(data: bytes) -> None:
    with pytest.raises(KeyFileError) as raised:
        read_keys(data, "n")

    assert "canary" not in str(raised.value)


@given(st.binary(max_size=300))
def test_any_file_is_keys_or_a_problem(data: bytes) -> None:
    try:
        found = read_keys(data, "n")
    except KeyFileError:
        return
    assert found


@given(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), st.text(max_size=20))
def test_derivation_is_hkdf(key: bytes, namespace: str) -> None:
    derived = derive(key, namespace)
    for purpose, found in (("digests", derived.for_digests()), ("seals", derived.for_seals())):
        info = f"{purpose}\0{namespace}".encode()
        assert found == HKDF(SHA256(), KEY_BYTES, FORMAT.encode(), info).derive(key)
        assert found.hex() not in repr(derived)
