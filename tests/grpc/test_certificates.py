"""What files become, and the sentences for those that become nothing."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from exchanger.grpc import certificates
from exchanger.grpc.certificates import Identity, Known, Unusable, check_files, load
from exchanger.grpc.x509 import Validity
from tests.grpc.authority import Site, days

SECRET_PARTS = ("PRIVATE", "s3cret")


def loaded(site: Site, *, mutual: bool = False) -> Identity:
    found = load(site.files.settings(mutual=mutual))
    assert isinstance(found, Identity)
    return found


def problem(site: Site, *, mutual: bool = False) -> str:
    reason = check_files(site.files.settings(mutual=mutual))
    assert reason is not None
    key = site.files.key.read_bytes() if site.files.key.is_file() else b""
    assert not any(part in reason for part in SECRET_PARTS)
    assert not any(line.decode("latin-1") in reason for line in key.split(b"\n") if len(line) > 20)
    return reason


class TestAGoodPair:
    def test_what_the_context_allows(self, site: Site) -> None:
        context = loaded(site).context
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.maximum_version is ssl.TLSVersion.MAXIMUM_SUPPORTED
        assert context.verify_mode is ssl.CERT_NONE
        assert context.num_tickets == 0
        for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_TICKET):
            assert context.options & option
        assert context.security_level == 2
        assert context.keylog_filename is None

    def test_tls_1_2_has_ephemeral_keys_and_aead_only(self, site: Site) -> None:
        old = [cipher for cipher in loaded(site).context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
        assert {cipher["kea"] for cipher in old} == {"kx-ecdhe"}
        assert all(cipher["aead"] for cipher in old)
        assert "ECDHE-RSA-AES128-GCM-SHA256" in {cipher["name"] for cipher in old}  # RFC 9113 section 9.2.2 demands it

    def test_what_is_told_of_it(self, site: Site) -> None:
        info = loaded(site).info
        assert info.names == ("DNS:localhost", "IP:127.0.0.1")
        assert info.validity is Validity.VALID

    def test_client_certificates_are_demanded_to_the_letter(self, site: Site) -> None:
        context = loaded(site, mutual=True).context
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
        assert context.cert_store_stats()["x509_ca"] == 1

    def test_an_expired_one_is_loaded_and_said_to_be(self, site: Site) -> None:
        site.files.write(site.authority.issue_cert("localhost", not_before=days(-2), not_after=days(-1)))
        assert loaded(site).info.validity is Validity.EXPIRED

    @pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
    def test_forms_of_keys(self, site: Site, form: serialization.PrivateFormat) -> None:
        key = serialization.load_pem_private_key(site.files.key.read_bytes(), None)
        site.files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        assert loaded(site).info.validity is Validity.VALID

    def test_texts_around_certificates(self, site: Site) -> None:
        site.files.cert.write_bytes("# für uns\n".encode("latin-1") + site.files.cert.read_bytes())
        site.files.client_ca.write_bytes("# Autorität\n".encode() * 3 + site.files.client_ca.read_bytes() + b"\n# end \xff")
        assert loaded(site, mutual=True).context.cert_store_stats()["x509_ca"] == 1


class TestVersions:
    def test_a_known_one_is_not_loaded_again(self, site: Site) -> None:
        first = loaded(site)
        assert load(site.files.settings(), {first.version}) == Known(first.version)

    @pytest.mark.parametrize("which", ["cert", "key", "client_ca"])
    def test_each_file_counts(self, site: Site, which: str) -> None:
        before = loaded(site, mutual=True).version
        file: Path = getattr(site.files, which)
        file.write_bytes(file.read_bytes() + b"\n")
        assert loaded(site, mutual=True).version != before
        file.unlink()
        found = load(site.files.settings(mutual=True))
        assert isinstance(found, Unusable)
        assert found.version != before

    def test_files_that_change_while_they_are_read(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        real = certificates._context

        def meanwhile(*arguments: object) -> ssl.SSLContext:
            context = real(*arguments)  # type: ignore[arg-type]  # passed on as they came
            site.files.write(site.authority.issue_cert("localhost"))
            return context

        monkeypatch.setattr(certificates, "_context", meanwhile)
        assert problem(site) == "the files were changed while they were read"

    def test_a_file_that_goes_while_it_is_read(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        real = certificates._info

        def meanwhile(path: Path, content: bytes) -> object:
            path.unlink()
            return real(path, content)

        monkeypatch.setattr(certificates, "_info", meanwhile)
        assert problem(site) == "a certificate file cannot be read: no such file or directory"


class TestProblems:
    def test_none(self, site: Site) -> None:
        assert check_files(site.files.settings(mutual=True)) is None

    @pytest.mark.parametrize("which", ["cert", "key", "client_ca"])
    def test_a_missing_file(self, site: Site, which: str) -> None:
        file: Path = getattr(site.files, which)
        file.unlink()
        assert problem(site, mutual=True) == f"{file} cannot be read: no such file or directory"

    def test_a_pipe_without_another_end(self, site: Site) -> None:
        site.files.key.unlink()
        os.mkfifo(site.files.key)
        assert problem(site) == f"{site.files.key} is no regular file"

    def test_no_permission(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("exchanger.grpc.certificates.os.open", refuse)
        assert check_files(site.files.settings()) == f"{site.files.cert} cannot be read: permission denied"

    def test_too_large(self, site: Site) -> None:
        site.files.client_ca.write_bytes(bytes(1024 * 1024 + 1))
        assert problem(site, mutual=True) == f"{site.files.client_ca} is larger than 1048576 bytes"

    def test_another_key(self, site: Site) -> None:
        site.files.key.write_bytes(site.authority.issue_cert("localhost").private_key_pem.bytes())
        assert problem(site).startswith("certificate and key do not belong together: ")

    def test_the_authority_before_the_certificate(self, site: Site) -> None:
        site.files.cert.write_bytes(site.authority.cert_pem.bytes() + site.files.cert.read_bytes())
        assert "is not the key of the first certificate" in problem(site)

    @pytest.mark.parametrize("content", [b"", b"text", b"-----BEGIN CERTIFICATE-----\nunfinished", b"-----BEGIN CERTIFICATE-----" * 30_000])
    def test_no_certificate(self, site: Site, content: bytes) -> None:
        for file in (site.files.client_ca, site.files.cert):
            file.write_bytes(content)
            assert problem(site, mutual=True).startswith(f"no certificate in {file}: ")

    @pytest.mark.parametrize("content", [b"AAAA", b"!", b"\xff\xfe", b""])
    def test_a_broken_certificate(self, site: Site, content: bytes) -> None:
        site.files.cert.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + content + b"\n-----END CERTIFICATE-----\n")
        assert problem(site) == f"the first certificate in {site.files.cert} is not one: its encoding is broken"

    def test_a_broken_certificate_after_the_first(self, site: Site) -> None:
        broken = b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"
        site.files.cert.write_bytes(site.files.cert.read_bytes() + broken)
        assert str(site.files.cert) in problem(site)
        site.files.write(site.authority.issue_cert("localhost"))
        site.files.client_ca.write_bytes(site.files.client_ca.read_bytes() + broken)
        assert problem(site, mutual=True).startswith(f"a certificate in {site.files.client_ca} is broken")

    @pytest.mark.parametrize(
        "content", [b"", b"s3cret", b"-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n"], ids=["empty", "text", "broken"]
    )
    def test_no_key(self, site: Site, content: bytes) -> None:
        site.files.key.write_bytes(content)
        assert problem(site) == f"no private key in {site.files.key} that OpenSSL can read"

    @pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
    def test_an_encrypted_key(self, site: Site, form: serialization.PrivateFormat) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        site.files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"s3cret")))
        assert problem(site) == f"the key in {site.files.key} is encrypted: it must be given without a password"

    def test_a_weak_key(self, site: Site) -> None:
        key = rsa.generate_private_key(65537, 1024)
        name = x509.Name([])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(days(-1))
            .not_valid_after(days(1))
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        site.files.cert.write_bytes(made.public_bytes(pem))
        site.files.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        assert problem(site) == f"{site.files.cert} and {site.files.key} cannot be used: EE_KEY_TOO_SMALL"


def test_nothing_of_the_key_shows(site: Site) -> None:
    identity = loaded(site)
    shown = repr((identity, identity.info, site.files.settings(), load(site.files.settings(), {identity.version})))
    for line in site.files.key.read_text().splitlines():
        assert line not in shown


def test_openssl_does_not_ask_for_a_password(site: Site) -> None:
    """In a process without a terminal it would fail anyway, so what is looked at is that it writes nothing."""
    key = ec.generate_private_key(ec.SECP256R1())
    site.files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"s3cret"))
    )
    script = (
        "import sys; from pathlib import Path; from exchanger.grpc.certificates import check_files;"
        "from exchanger.grpc.tls import TlsSettings;"
        "print(check_files(TlsSettings(cert_file=Path(sys.argv[1]), key_file=Path(sys.argv[2]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(site.files.cert), str(site.files.key)],
        check=True,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout == f"the key in {site.files.key} is encrypted: it must be given without a password\n"
