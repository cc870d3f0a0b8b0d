"""What keys, certificates and tokens have to be."""

import ssl
import time
from collections.abc import Callable
from typing import Final

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat

from exchanger.exchange.issuers.material import MAX_CERTIFICATE_KEY, MAX_KEY, MAX_TOKEN, certificate_chain, certificate_key, problem_with
from exchanger.exchange.issuers.value_sources import Shape
from exchanger.formats.jwt.signing import LoadedKey, load_key
from exchanger.model.issuer import SigningAlgorithm
from tests.formats.jwt.issuer import ED25519, P256, RSA_KEY, PrivateKey, pem

CA: Final = trustme.CA()
CERTIFICATE: Final = CA.issue_cert("client.example.com", key_type=trustme.KeyType.ECDSA)
CHAIN: Final = b"".join(blob.bytes() for blob in CERTIFICATE.cert_chain_pems).decode()
KEY: Final = CERTIFICATE.private_key_pem.bytes().decode()
SHAPES: Final[dict[Shape, PrivateKey]] = {Shape.RSA_KEY: RSA_KEY, Shape.P256_KEY: P256, Shape.ED25519_KEY: ED25519}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("of", SHAPES)
def test_a_key_fits_its_algorithm_alone(shape: Shape, of: Shape) -> None:
    assert (problem_with(shape, f"comment\n{pem(SHAPES[of])}") is None) == (shape is of)


def pkcs8(key: PrivateKeyTypes, encryption: BestAvailableEncryption | NoEncryption) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def with_numbers_that_do_not_fit() -> str:
    fit = RSA_KEY.private_numbers()
    broken = rsa.RSAPrivateNumbers(fit.p, fit.q, fit.d + 2, fit.dmp1 + 2, fit.dmq1, fit.iqmp, fit.public_numbers)
    return pem(broken.private_key(unsafe_skip_rsa_key_validation=True))


def of_an_unknown_curve() -> str:
    """Return the certificate with the name of the curve P-256 in it changed to one that there is not."""
    text = next(blob.bytes().decode() for blob in CERTIFICATE.cert_chain_pems)
    known, unknown = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(text).replace(known, unknown))


AUTHORITY: Final = CA.cert_pem.bytes().decode()
# Reading and using a large one would hold everybody up.
LONG: Final = f"-----BEGIN PRIVATE KEY-----{'A' * MAX_CERTIFICATE_KEY}-----END PRIVATE KEY-----"
NO_KEY, NO_CERTIFICATE = "it must hold one private key in PEM", "it must hold certificates in PEM"
UNREADABLE, BROKEN = "its private key cannot be read", "a certificate in it cannot be read"


@pytest.mark.parametrize(
    ("shape", "text", "problem"),
    [
        (Shape.P256_KEY, "", NO_KEY),
        (Shape.P256_KEY, P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), NO_KEY),
        (Shape.P256_KEY, CHAIN, NO_KEY),
        (Shape.P256_KEY, pem(P256) * 2, "it holds more than one private key"),
        (Shape.P256_KEY, pkcs8(P256, BestAvailableEncryption(b"canary")), "its private key is encrypted, and no password can be given"),
        (Shape.P256_KEY, pem(P256).replace("M", "N", 3), UNREADABLE),
        (Shape.P256_KEY, pem(P256)[:60] + pem(P256), UNREADABLE),  # whoever reads it after this might take what follows for its content
        (Shape.P256_KEY, pem(ec.generate_private_key(ec.SECP384R1())), "the algorithm needs a key of the curve P-256"),
        (Shape.RSA_KEY, with_numbers_that_do_not_fit(), UNREADABLE),
        (Shape.RSA_KEY, pem(rsa.generate_private_key(65537, 1024)), "the algorithm needs an RSA key of 2048 to 4096 bits"),
        (Shape.RSA_KEY, LONG, "its private key is longer than 3600 characters"),
        (Shape.ED25519_KEY, pkcs8(ed448.Ed448PrivateKey.generate(), NoEncryption()), "the algorithm needs an Ed25519 key"),
        (Shape.CERTIFICATE, KEY, NO_CERTIFICATE),
        (Shape.CERTIFICATE, CHAIN, NO_KEY),
        (Shape.CERTIFICATE, f"{CHAIN}{pem(P256)}", "the private key is not that of the first certificate"),
        (Shape.CERTIFICATE, f"{CHAIN.replace('M', 'N', 3)}{KEY}", BROKEN),
        (Shape.CERTIFICATE, of_an_unknown_curve() + KEY, "the key of its certificate is of an unknown kind"),
        (Shape.CERTIFICATE, CHAIN + LONG, "its private key is longer than 6800 characters"),
        (Shape.AUTHORITIES, AUTHORITY, None),
        (Shape.AUTHORITIES, "canary", NO_CERTIFICATE),
        (Shape.AUTHORITIES, AUTHORITY[:100] + CHAIN, BROKEN),
        (Shape.AUTHORITIES, AUTHORITY * 1001, "it holds more than 1000 certificates"),
    ],
)
def test_what_cannot_be_used_has_a_reason(shape: Shape, text: str, problem: str | None) -> None:
    assert problem_with(shape, text) == problem


def test_a_certificate_comes_with_its_key() -> None:
    both = f"{CHAIN}\n{KEY}"
    assert problem_with(Shape.CERTIFICATE, both) is None
    chain, key = certificate_chain(both), certificate_key(both).reveal()
    assert chain.count("BEGIN CERTIFICATE") == CHAIN.count("BEGIN CERTIFICATE")
    assert key.strip() == KEY.strip()


@pytest.mark.parametrize("text", ["a.b.c", "opaque!", "x" * MAX_TOKEN])
def test_a_token_need_not_be_a_jwt(text: str) -> None:
    assert problem_with(Shape.TOKEN, text) is None


@pytest.mark.parametrize("text", ["a b", "a\nb", "é", "x" * (MAX_TOKEN + 1)])
def test_an_unusable_token_file_is_rejected(text: str) -> None:
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
    text = written(pem(SHAPES[shape], form))
    algorithm = {Shape.RSA_KEY: SigningAlgorithm.PS256, Shape.P256_KEY: SigningAlgorithm.ES256, Shape.ED25519_KEY: SigningAlgorithm.EDDSA}
    assert (problem_with(shape, text) is None) == isinstance(load_key(text, algorithm[shape]), LoadedKey)


@pytest.mark.parametrize("shape", [Shape.RSA_KEY, Shape.CERTIFICATE, Shape.AUTHORITIES])
@pytest.mark.parametrize("begin", ["-----BEGIN PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----"])
def test_blocks_that_never_end_are_read_once(shape: Shape, begin: str) -> None:
    began = time.process_time()
    assert problem_with(shape, begin * 20_000) is not None
    assert time.process_time() - began < 20  # reading the rest once for each of them takes a minute and more
