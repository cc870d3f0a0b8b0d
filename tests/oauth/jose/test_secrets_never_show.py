"""No private key shows: neither in what is made of it, nor in why it cannot be used."""

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from exchanger.oauth.jose.signing import load_key, sign_assertion
from exchanger.values.issuer import SigningAlgorithm
from tests.oauth.jose.issuer import ED25519, NOW, P256, RSA_KEY, PrivateKey, pem


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
@pytest.mark.parametrize("key", [RSA_KEY, P256, ED25519], ids=["RSA", "P-256", "Ed25519"])
@pytest.mark.parametrize("damage", [0, 8, 40])
def test_no_line_of_a_key_is_shown(key: PrivateKey, algorithm: SigningAlgorithm, damage: int) -> None:
    text = pem(key)
    lines = [line[at : at + 12] for line in text.splitlines() if "-----" not in line for at in range(0, 48, 12)]
    found = load_key(text[: len(text) - damage], algorithm)
    shown = f"{found!r} {found!s} {found}"
    assert not any(line in shown for line in lines if line)
    assert "0x" not in shown


def test_an_assertion_is_a_secret() -> None:
    key = load_key(pem(P256, PrivateFormat.PKCS8), SigningAlgorithm.ES256)
    said = sign_assertion(key, SigningAlgorithm.ES256, "k1", client_id="c", audience="a", now=NOW, jti="j")  # type: ignore[arg-type]
    assert said.reveal() not in f"{said!r} {said!s} {said}"
