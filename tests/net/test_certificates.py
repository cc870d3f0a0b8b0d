"""What files become, and the sentences for those that cannot be used."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from exchanger.net.tls import certificates
from exchanger.net.tls.certificates import Known, ServerIdentity, UnusableCertificates, check_files, load
from exchanger.net.tls.x509 import Validity
from tests.net.grpc.authority import Site, days

SECRET_PARTS = ("PRIVATE", "s3cret")
FILES = ("cert", "key", "client_ca")
BEGIN, END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
PEM = f"it needs PEM, from {BEGIN.decode()!r} to {END.decode()!r}"


def loaded(site: Site, *, mutual: bool = False) -> ServerIdentity:
    found = load(site.files.settings(mutual=mutual))
    assert isinstance(found, ServerIdentity)
    return found


def problem(site: Site) -> str:
    reason = check_files(site.files.settings(mutual=True))
    assert reason is not None
    key = site.files.key.read_bytes() if site.files.key.is_file() else b""
    assert not any(part in reason for part in SECRET_PARTS)
    assert not any(line.decode("latin-1") in reason for line in key.split(b"\n") if len(line) > 20)
    return reason


class TestAGoodPair:
    def test_the_options_of_the_context(self, site: Site) -> None:
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

    def test_client_certificates_are_verified_strictly(self, site: Site) -> None:
        context = loaded(site, mutual=True).context
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN

    def test_its_certificate_is_described(self, site: Site) -> None:
        info = loaded(site).info
        assert (info.names, info.validity) == (("DNS:localhost", "IP:127.0.0.1"), Validity.VALID)
        site.files.write(site.authority.issue_cert("localhost", not_before=days(-2), not_after=days(-1)))
        assert loaded(site).info.validity is Validity.EXPIRED

    def test_comments_around_certificates_are_ignored(self, site: Site) -> None:
        site.files.cert.write_bytes("# für uns\n".encode("latin-1") + site.files.cert.read_bytes())
        site.files.client_ca.write_bytes("# Autorität\n".encode() * 3 + site.files.client_ca.read_bytes() + b"\n# end \xff")
        assert loaded(site, mutual=True).context.cert_store_stats()["x509_ca"] == 1

    def test_nothing_of_the_key_shows(self, site: Site) -> None:
        identity = loaded(site)
        shown = repr((identity, identity.info, site.files.settings(), load(site.files.settings(), {identity.version})))
        assert not any(line in shown for line in site.files.key.read_text().splitlines())


class TestVersions:
    def test_a_known_one_is_not_loaded_again(self, site: Site) -> None:
        first = loaded(site)
        assert load(site.files.settings(), {first.version}) == Known(first.version)

    @pytest.mark.parametrize("which", FILES)
    def test_a_change_of_any_certificate_file_is_a_new_version(self, site: Site, which: str) -> None:
        before = loaded(site, mutual=True).version
        file: Path = getattr(site.files, which)
        file.write_bytes(file.read_bytes() + b"\n")
        assert loaded(site, mutual=True).version != before
        file.unlink()
        found = load(site.files.settings(mutual=True))
        assert isinstance(found, UnusableCertificates)
        assert found.version != before

    @pytest.mark.parametrize(
        ("step", "change", "reason"),
        [
            (
                "_context",
                lambda site: site.files.write(site.authority.issue_cert("localhost")),
                "the files were changed while they were read",
            ),
            ("_info", lambda site: site.files.cert.unlink(), "a certificate file cannot be read: no such file or directory"),
        ],
        ids=["replaced", "removed"],
    )
    def test_files_that_change_while_they_are_read(
        self, site: Site, step: str, change: Callable[[Site], None], reason: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = getattr(certificates, step)

        def meanwhile(*arguments: object) -> object:
            result = real(*arguments)
            change(site)
            return result

        monkeypatch.setattr(certificates, step, meanwhile)
        assert problem(site) == reason


def rewrite(which: str, content: bytes) -> Callable[[Site], object]:
    return lambda site: getattr(site.files, which).write_bytes(content)


def remove(which: str) -> Callable[[Site], object]:
    return lambda site: getattr(site.files, which).unlink()


def append_broken(which: str) -> Callable[[Site], object]:
    def change(site: Site) -> None:
        file: Path = getattr(site.files, which)
        file.write_bytes(file.read_bytes() + BEGIN + b"\nMAA=\n" + END + b"\n")

    return change


def make_a_pipe(site: Site) -> None:
    site.files.key.unlink()
    os.mkfifo(site.files.key)


def use_another_key(site: Site) -> None:
    site.files.key.write_bytes(site.authority.issue_cert("localhost").private_key_pem.bytes())


def put_the_authority_first(site: Site) -> None:
    site.files.cert.write_bytes(site.authority.cert_pem.bytes() + site.files.cert.read_bytes())


def use_a_weak_key(site: Site) -> None:
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = builder.not_valid_before(days(-1)).not_valid_after(days(1)).sign(key, hashes.SHA256())
    site.files.cert.write_bytes(made.public_bytes(Encoding.PEM))
    site.files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption()))


NOT_THE_KEY = "the key in {key} does not belong to the certificate in {cert}; of several certificates the first counts"
NO_KEY = "the key in {key} cannot be read by OpenSSL"
BROKEN = "the first certificate in {cert} is not one: its encoding is broken"
NO_CERTIFICATE = {"nothing": b"", "text": b"text", "no end": BEGIN + b"\nunfinished", "beginnings": BEGIN * 30_000}
NO_ENCODING = {"of zeros": b"AAAA", "not in base64": b"!", "not in text": b"\xff\xfe", "empty": b""}

PROBLEMS: dict[str, tuple[Callable[[Site], object], str]] = {
    **{f"{which} missing": (remove(which), f"{{{which}}} cannot be read: no such file or directory") for which in FILES},
    "a pipe without another end": (make_a_pipe, "{key} is not a regular file"),
    "too large": (rewrite("client_ca", bytes(1024 * 1024 + 1)), "{client_ca} is larger than 1048576 bytes"),
    "another key": (use_another_key, NOT_THE_KEY),
    "the authority before the certificate": (put_the_authority_first, NOT_THE_KEY),
    **{
        f"{name} in {which}": (rewrite(which, content), f"no certificate in {{{which}}}: {PEM}")
        for name, content in NO_CERTIFICATE.items()
        for which in ("cert", "client_ca")
    },
    **{f"certificate {name}": (rewrite("cert", BEGIN + b"\n" + text + b"\n" + END + b"\n"), BROKEN) for name, text in NO_ENCODING.items()},
    "a broken chain": (append_broken("cert"), "the certificate in {cert} cannot be read by OpenSSL"),
    "a broken key": (rewrite("key", b"-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n"), NO_KEY),
    "a weak key": (use_a_weak_key, "the certificate in {cert} and the key in {key} cannot be used: EE_KEY_TOO_SMALL"),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_files_that_cannot_be_used_have_one_sentence_without_a_secret(site: Site, case: str) -> None:
    spoil, reason = PROBLEMS[case]
    spoil(site)
    assert problem(site) == reason.format(cert=site.files.cert, key=site.files.key, client_ca=site.files.client_ca)


def test_a_broken_authority_after_the_first(site: Site) -> None:
    append_broken("client_ca")(site)
    assert problem(site).startswith(f"a certificate in {site.files.client_ca} is broken (")
