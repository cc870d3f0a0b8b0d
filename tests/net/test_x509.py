import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from exchanger.net.tls.x509 import Validity, read_certificate

START = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
END = dt.datetime(2051, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
NOW = START.timestamp() + 1
KEY = ec.generate_private_key(ec.SECP256R1())
DER = serialization.Encoding.DER


def certificate(subject: list[x509.NameAttribute[str]], *extensions: x509.ExtensionType, start: dt.datetime = START) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the issuer")]))
        .public_key(KEY.public_key())
        .serial_number(0xC0FFEE)
        .not_valid_before(start)
        .not_valid_after(END)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256())


def test_every_field_of_a_certificate_is_described() -> None:
    made = certificate(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fünf"), x509.NameAttribute(NameOID.COMMON_NAME, "exchanger")],
        x509.BasicConstraints(ca=False, path_length=None),
        x509.SubjectAlternativeName(
            [
                x509.DNSName("exchanger.example"),
                x509.DNSName("*.exchanger.example"),
                x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
                x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
                x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/b"),
                x509.RFC822Name("ops@example.com"),
                x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
            ]
        ),
    )
    info = read_certificate(made.public_bytes(DER), NOW)
    assert info.subject == "O=Fünf,CN=exchanger"
    assert info.names == (
        "DNS:exchanger.example",
        "DNS:*.exchanger.example",
        "IP:192.0.2.1",
        "IP:2001:db8::1",
        "URI:spiffe://cluster.local/ns/a/sa/b",
        "email:ops@example.com",
    )
    assert info.serial == "c0ffee"
    assert (info.not_before, info.not_after) == ("2026-01-02T03:04:05Z", "2051-01-02T03:04:05Z")  # one of each type of time
    assert info.expiry == END.timestamp()
    assert info.fingerprint == made.fingerprint(hashes.SHA256()).hex()
    assert info.validity is Validity.VALID


def test_an_unknown_attribute_keeps_its_number() -> None:
    made = certificate([x509.NameAttribute(NameOID.PSEUDONYM, "x")])
    assert read_certificate(made.public_bytes(DER), NOW).subject == "2.5.4.65=x"


def test_texts_are_fit_for_a_log() -> None:
    made = certificate(
        [x509.NameAttribute(NameOID.COMMON_NAME, "a\nb\x1b[2J")],
        x509.SubjectAlternativeName([x509.DNSName("x" * 1000), *[x509.DNSName(f"{number}.example") for number in range(500)]]),
    )
    info = read_certificate(made.public_bytes(DER), NOW)
    assert info.subject == "CN=a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[2J"
    assert len(info.names) == 100
    assert info.names[0] == f"DNS:{'x' * 251}…"


def test_a_certificate_is_valid_between_its_dates() -> None:
    made = certificate([]).public_bytes(DER)
    assert read_certificate(made, START.timestamp() - 1).validity is Validity.NOT_YET_VALID
    assert read_certificate(made, END.timestamp()).validity is Validity.VALID
    assert read_certificate(made, END.timestamp() + 1).validity is Validity.EXPIRED


def test_years_of_the_last_century() -> None:
    made = certificate([], start=dt.datetime(1999, 12, 31, tzinfo=dt.UTC))
    assert read_certificate(made.public_bytes(DER), NOW).not_before == "1999-12-31T00:00:00Z"
