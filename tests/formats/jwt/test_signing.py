"""Assertions of this client, with PyJWT as the token endpoint that receives them, keys of every kind, and that none of them shows."""

import datetime as dt
import itertools
from functools import cache

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from exchanger.formats.jwt.signing import MAX_BLOCK, KeyProblem, LoadedKey, load_key, sign_assertion
from exchanger.model.issuer import SigningAlgorithm
from tests.formats.jwt.issuer import ED25519, KEY_OF, NOW, P256, RSA_KEY, PrivateKey, pem, public_pem

RS256, PS256, ES256, EDDSA = SigningAlgorithm
EC_PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


def loaded(pem: str, algorithm: SigningAlgorithm) -> LoadedKey:
    key = load_key(pem, algorithm)
    assert isinstance(key, LoadedKey)
    return key


def problem(pem: str, algorithm: SigningAlgorithm = ES256) -> str:
    found = load_key(pem, algorithm)
    assert isinstance(found, KeyProblem)
    return found.reason


def assertion(key: LoadedKey, algorithm: SigningAlgorithm, key_id: str = "k1") -> str:
    return sign_assertion(
        key, algorithm, key_id, client_id="exchanger", audience="https://issuer.example.com", now=NOW + 0.9, jti="random"
    ).reveal()


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_an_assertion_is_accepted_with_the_public_key(algorithm: SigningAlgorithm) -> None:
    text = assertion(loaded(pem(KEY_OF[algorithm]), algorithm), algorithm)
    said = jwt.decode_complete(
        text,
        KEY_OF[algorithm].public_key(),
        [algorithm.value],
        audience="https://issuer.example.com",
        issuer="exchanger",
        subject="exchanger",
        options={"verify_exp": False, "verify_iat": False, "require": ["iss", "sub", "aud", "iat", "exp", "jti"]},
    )
    assert said["header"] == {"alg": algorithm.value, "typ": "JWT", "kid": "k1"}
    assert said["payload"] == {
        "iss": "exchanger",
        "sub": "exchanger",
        "aud": "https://issuer.example.com",
        "iat": NOW,
        "exp": NOW + 60,
        "jti": "random",
    }


def test_a_key_without_id_is_not_named() -> None:
    assert "kid" not in jwt.get_unverified_header(assertion(loaded(pem(P256), ES256), ES256, ""))


def test_another_key_did_not_sign_it() -> None:
    text = assertion(loaded(pem(P256), ES256), ES256)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(text, ec.generate_private_key(ec.SECP256R1()).public_key(), ["ES256"])


@pytest.mark.parametrize(
    ("text", "algorithm"),
    [
        pytest.param(pem(RSA_KEY, PrivateFormat.TraditionalOpenSSL), PS256, id="PKCS#1"),
        pytest.param(pem(P256, PrivateFormat.TraditionalOpenSSL), ES256, id="SEC 1"),
        pytest.param(EC_PARAMETERS + pem(P256, PrivateFormat.TraditionalOpenSSL), ES256, id="as openssl ecparam -genkey writes it"),
        pytest.param("Bag Attributes\n  friendlyName: é\n" + pem(P256), ES256, id="as openssl pkcs12 writes it"),
        pytest.param(public_pem(RSA_KEY) + pem(ED25519), EDDSA, id="behind a public key"),
        pytest.param(pem(ED25519) + "-----BEGIN CERTIFICATE-----" + "A" * MAX_BLOCK, EDDSA, id="before certificates"),
        pytest.param(pem(P256).replace("\n", "\r\n"), ES256, id="CRLF"),
    ],
)
def test_a_private_key_is_found(text: str, algorithm: SigningAlgorithm) -> None:
    assert assertion(loaded(text, algorithm), algorithm)


def certificate() -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "exchanger")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    built = x509.CertificateBuilder(name, name, P256.public_key(), 1, start, start + dt.timedelta(days=1))
    return built.sign(P256, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be a private key in PEM"),
        ("not a key", "must be a private key in PEM"),
        (certificate(), "must be a private key, not a certificate"),
        (public_pem(P256), "must be a private key, not a public one"),
        (certificate() + public_pem(P256), "must be a private key, not a public one"),
        (pem(P256, PrivateFormat.OpenSSH), "must be in PKCS#8, not in the format of OpenSSH"),
        (P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")).decode(), "must not be encrypted"),
        (
            P256.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"password")).decode(),
            "must not be encrypted",
        ),
        (pem(P256)[:100], "must be a private key in PEM, and this one is damaged or of an unknown kind"),
        (pem(P256).replace("M", "\ud800"), "must be a private key in PEM, and this one is damaged or of an unknown kind"),
        (
            "-----BEGIN PRIVATE KEY-----\n" + "A" * MAX_BLOCK + "\n-----END PRIVATE KEY-----",
            "is too long: an RSA key has at most 4096 bits",
        ),
        ("-----BEGIN PRIVATE KEY-----" * 1000, "is too long: an RSA key has at most 4096 bits"),
    ],
    ids=map(str, itertools.count()),
)
def test_what_is_no_private_key_is_told_apart(text: str, reason: str) -> None:
    assert problem(text) == reason


OTHERS: dict[str, dsa.DSAPrivateKey | ed448.Ed448PrivateKey | ec.EllipticCurvePrivateKey] = {
    "DSA": dsa.generate_private_key(1024),
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
}
OTHER_PEMS = {name: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() for name, key in OTHERS.items()}
PEMS = {"RSA": pem(RSA_KEY), "P-256": pem(P256), "Ed25519": pem(ED25519)} | OTHER_PEMS


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
@pytest.mark.parametrize("kind", PEMS)
def test_a_key_is_for_its_own_algorithm(kind: str, algorithm: SigningAlgorithm) -> None:
    own, reason = {
        RS256: ("RSA", "must be an RSA key for RS256"),
        PS256: ("RSA", "must be an RSA key for PS256"),
        ES256: ("P-256", "must be a key on the curve P-256 for ES256"),
        EDDSA: ("Ed25519", "must be an Ed25519 key for EdDSA"),
    }[algorithm]
    if kind == own:
        assert isinstance(load_key(PEMS[kind], algorithm), LoadedKey)
    else:
        assert problem(PEMS[kind], algorithm) == reason


@pytest.mark.parametrize("algorithm", [RS256, PS256])
@pytest.mark.parametrize(("bits", "fits"), [(1024, False), (2040, False), (2056, True), (4104, False)])
def test_an_rsa_key_has_2048_to_4096_bits(bits: int, fits: bool, algorithm: SigningAlgorithm) -> None:
    found = load_key(rsa_pem(bits), algorithm)
    assert isinstance(found, LoadedKey) if fits else found == KeyProblem("must have 2048 to 4096 bits")


@cache
def rsa_pem(bits: int) -> str:
    return pem(rsa.generate_private_key(65_537, bits))


def test_a_key_of_4096_bits_fits_into_the_longest_block() -> None:
    assert len(rsa_pem(4104).replace("\n", "\r\n")) < MAX_BLOCK
    for length, reason in ((MAX_BLOCK, "must be a private key"), (MAX_BLOCK + 1, "is too long")):
        found = load_key("-----BEGIN PRIVATE KEY-----".ljust(length, "A"), SigningAlgorithm.RS256)
        assert isinstance(found, KeyProblem)
        assert found.reason.startswith(reason)


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
