"""What keys, certificates and tokens have to be."""

import ssl
import time
from collections.abc import Callable
from typing import Final

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat

from exchanger.issuers.material import MAX_CERTIFICATE_KEY, MAX_KEY, MAX_TOKEN, problem_with, split_certificate
from exchanger.issuers.places import Shape
from exchanger.oauth.jose.signing import LoadedKey, load_key
from exchanger.values.issuer import SigningAlgorithm


def pem(key: PrivateKeyTypes, encryption: BestAvailableEncryption | NoEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


RSA: Final = rsa.generate_private_key(65537, 2048)
P256: Final = ec.generate_private_key(ec.SECP256R1())
ED25519: Final = ed25519.Ed25519PrivateKey.generate()
CA: Final = trustme.CA()
CERTIFICATE: Final = CA.issue_cert("client.example.com", key_type=trustme.KeyType.ECDSA)
CHAIN: Final = b"".join(blob.bytes() for blob in CERTIFICATE.cert_chain_pems).decode()
KEY: Final = CERTIFICATE.private_key_pem.bytes().decode()
SHAPES: Final[dict[Shape, PrivateKeyTypes]] = {Shape.RSA_KEY: RSA, Shape.P256_KEY: P256, Shape.ED25519_KEY: ED25519}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("of", SHAPES)
def test_a_key_fits_its_algorithm_alone(shape: Shape, of: Shape) -> None:
    assert (problem_with(shape, f"comment\n{pem(SHAPES[of])}") is None) == (shape is of)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it must hold one private key in PEM"),
        (P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), "it must hold one private key in PEM"),
        (CHAIN, "it must hold one private key in PEM"),
        (pem(P256) * 2, "it holds more than one private key"),
        (pem(P256, BestAvailableEncryption(b"canary")), "its private key is encrypted; nobody could type the password"),
        (pem(P256).replace("M", "N", 3), "its private key cannot be read"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "the algorithm needs a key of the curve P-256"),
    ],
)
def test_what_is_no_key_has_a_reason(text: str, problem: str) -> None:
    assert problem_with(Shape.P256_KEY, text) == problem


def test_an_rsa_key_whose_numbers_do_not_fit_is_refused() -> None:
    numbers = RSA.private_numbers()
    broken = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d + 2, numbers.dmp1 + 2, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    )
    text = pem(broken.private_key(unsafe_skip_rsa_key_validation=True))
    assert problem_with(Shape.RSA_KEY, text) == "its private key cannot be read"


def test_a_short_rsa_key_is_refused() -> None:
    short = pem(rsa.generate_private_key(65537, 1024))
    assert problem_with(Shape.RSA_KEY, short) == "the algorithm needs an RSA key of 2048 to 4096 bits"


def test_a_certificate_comes_with_its_key() -> None:
    both = f"{CHAIN}\n{KEY}"
    assert problem_with(Shape.CERTIFICATE, both) is None
    chain, key = split_certificate(both)
    assert chain.count("BEGIN CERTIFICATE") == CHAIN.count("BEGIN CERTIFICATE")
    assert key.strip() == KEY.strip()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (KEY, "it must hold certificates in PEM"),
        (CHAIN, "it must hold one private key in PEM"),
        (f"{CHAIN}{pem(P256)}", "the private key is not that of the first certificate"),
        (f"{CHAIN.replace('M', 'N', 3)}{KEY}", "a certificate in it cannot be read"),
    ],
)
def test_what_is_no_certificate_has_a_reason(text: str, problem: str) -> None:
    assert problem_with(Shape.CERTIFICATE, text) == problem


def test_authorities_are_certificates() -> None:
    assert problem_with(Shape.AUTHORITIES, CA.cert_pem.bytes().decode()) is None
    assert problem_with(Shape.AUTHORITIES, "canary") == "it must hold certificates in PEM"


@pytest.mark.parametrize("text", ["a.b.c", "opaque!", "x" * MAX_TOKEN])
def test_a_token_need_not_be_a_jwt(text: str) -> None:
    assert problem_with(Shape.TOKEN, text) is None


@pytest.mark.parametrize("text", ["a b", "a\nb", "é", "x" * (MAX_TOKEN + 1)])
def test_what_is_no_token(text: str) -> None:
    assert problem_with(Shape.TOKEN, text) is not None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL, PrivateFormat.OpenSSH], ids=["8", "1", "ssh"])
@pytest.mark.parametrize(
    "written",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: f"comment\n{text}more",
        lambda text: text.replace("\n", " \n"),
        lambda text: CHAIN + text,
        lambda text: text.replace("KEY-----\n", "KEY-----" + "\n" * MAX_KEY, 1),
    ],
    ids=["as it is", "CRLF", "comments", "spaces", "chain", "long"],
)
def test_a_key_that_counts_is_one_that_signs(shape: Shape, form: PrivateFormat, written: Callable[[str], str]) -> None:
    """Both have rules of their own, and a key that only one of them takes would fail each exchange."""
    if shape is Shape.ED25519_KEY and form is PrivateFormat.TraditionalOpenSSL:
        form = PrivateFormat.PKCS8  # the only form of these
    text = written(SHAPES[shape].private_bytes(Encoding.PEM, form, NoEncryption()).decode())
    algorithm = {Shape.RSA_KEY: SigningAlgorithm.PS256, Shape.P256_KEY: SigningAlgorithm.ES256, Shape.ED25519_KEY: SigningAlgorithm.EDDSA}
    assert (problem_with(shape, text) is None) == isinstance(load_key(text, algorithm[shape]), LoadedKey)


def test_a_long_key_is_not_even_read() -> None:
    """Reading and using a large one would hold everybody up."""
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    text = f"{begin}{'A' * MAX_CERTIFICATE_KEY}{end}"
    assert problem_with(Shape.RSA_KEY, text) == "its private key is longer than 3600 characters"
    assert problem_with(Shape.CERTIFICATE, CHAIN + text) == "its private key is longer than 6800 characters"


@pytest.mark.parametrize("shape", [Shape.RSA_KEY, Shape.CERTIFICATE, Shape.AUTHORITIES])
@pytest.mark.parametrize("begin", ["-----BEGIN PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----"])
def test_blocks_that_never_end_are_read_once(shape: Shape, begin: str) -> None:
    began = time.process_time()
    assert problem_with(shape, begin * 20_000) is not None
    assert time.process_time() - began < 20  # reading the rest once for each of them takes a minute and more


def test_a_block_that_does_not_end_spoils_its_text() -> None:
    """Whoever reads it after this might take what follows for its content."""
    cut, key = CA.cert_pem.bytes().decode()[:100], pem(P256)
    assert problem_with(Shape.AUTHORITIES, cut + CHAIN) == "a certificate in it cannot be read"
    assert problem_with(Shape.P256_KEY, key[:60] + key) == "its private key cannot be read"


def test_a_key_of_another_kind_signs_nothing() -> None:
    assert problem_with(Shape.ED25519_KEY, pem(ed448.Ed448PrivateKey.generate())) == "the algorithm needs an Ed25519 key"


def test_there_are_not_too_many_certificates() -> None:
    assert problem_with(Shape.AUTHORITIES, CA.cert_pem.bytes().decode() * 1001) == "it holds more than 1000 certificates"


def test_a_certificate_whose_key_nobody_knows_has_a_reason() -> None:
    """The name of the curve P-256 in it is changed to one that there is not."""
    text = next(blob.bytes().decode() for blob in CERTIFICATE.cert_chain_pems)
    known, unknown = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
    changed = ssl.PEM_cert_to_DER_cert(text).replace(known, unknown)
    assert problem_with(Shape.CERTIFICATE, ssl.DER_cert_to_PEM_cert(changed) + KEY) == "the key of its certificate is of an unknown kind"
