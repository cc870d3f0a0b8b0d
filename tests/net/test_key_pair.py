"""Certificates and keys in files: what is loaded, and the sentence for what cannot be, which names the file at fault and quotes nothing."""

import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, load_pem_private_key

from exchanger.net.tls.key_pair import load_key_pair

FORMS = [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL]
NOTHING = "cannot be read by OpenSSL"
NOT_THE_KEY = "of several certificates the first counts"


def plain() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
def cert_file(tmp_path: Path) -> Path:
    return tmp_path / "tls.crt"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "tls.key"


@pytest.fixture
def leaf(authority: trustme.CA, cert_file: Path, key_file: Path) -> trustme.LeafCert:
    """A certificate that stands in the files with its key."""
    issued = authority.issue_cert("gateway.example.com")
    issued.cert_chain_pems[0].write_to_path(cert_file)
    issued.private_key_pem.write_to_path(key_file)
    return issued


@pytest.mark.usefixtures("leaf")
def test_a_pair_is_loaded_from_two_files_or_one(cert_file: Path, key_file: Path) -> None:
    assert load_key_pair(plain(), cert_file, key_file) == ""
    cert_file.write_bytes(key_file.read_bytes() + cert_file.read_bytes())
    assert load_key_pair(plain(), cert_file) == ""


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_an_encrypted_key_is_named_and_no_password_asked_for(
    leaf: trustme.LeafCert, cert_file: Path, key_file: Path, form: PrivateFormat, apart: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None).private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"canary"))
    key_file.write_bytes(key)
    cert_file.write_bytes(key + cert_file.read_bytes())
    place = key_file if apart else cert_file
    said = load_key_pair(plain(), cert_file, key_file if apart else None)
    assert (said, *capfd.readouterr()) == (f"the key in {place} is encrypted; it must not have a password", "", "")


@pytest.mark.usefixtures("leaf")
@pytest.mark.parametrize("kind", trustme.KeyType)
def test_the_key_of_another_certificate_is_not_this_ones(cert_file: Path, key_file: Path, kind: trustme.KeyType) -> None:
    other = trustme.CA(key_type=kind).issue_cert("gateway.example.com", key_type=kind)
    other.private_key_pem.write_to_path(key_file)
    said = f"the key in {key_file} does not belong to the certificate in {cert_file}; {NOT_THE_KEY}"
    assert load_key_pair(plain(), cert_file, key_file) == said
    names = {"certificate": "the client certificate", "key": "the client's key"}
    said = f"the client's key does not belong to the client certificate; {NOT_THE_KEY}"
    assert load_key_pair(plain(), cert_file, key_file, **names) == said


@pytest.mark.usefixtures("leaf")
@pytest.mark.parametrize("text", ["", "canary", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"])
def test_the_file_at_fault_is_named(cert_file: Path, key_file: Path, text: str) -> None:
    chain = cert_file.read_bytes()
    cert_file.write_text(text)
    assert load_key_pair(plain(), cert_file, key_file) == f"the certificate in {cert_file} {NOTHING}"
    cert_file.write_bytes(chain)
    key_file.write_text(text)
    assert load_key_pair(plain(), cert_file, key_file) == f"the key in {key_file} {NOTHING}"
    key_file.unlink()
    with pytest.raises(FileNotFoundError):
        load_key_pair(plain(), cert_file, key_file)
