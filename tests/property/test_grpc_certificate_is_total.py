"""Law: whatever stands where a certificate should be is read, or refused as no certificate; it is never a fault.

RFC 5280 section 4.1 (https://www.rfc-editor.org/rfc/rfc5280#section-4.1).
"""

import contextlib
import ssl

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.tls.x509 import read_certificate
from tests.property.strategies_grpc import Damage, damages

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # what is odd and can be read anyway

CERTIFICATE = ssl.PEM_cert_to_DER_cert(trustme.CA().issue_cert("a.example", "192.0.2.1").cert_chain_pems[0].bytes().decode())


@given(damages, st.floats(0, 1e11))
def test_damaged_certificates(harm: list[Damage], now: float) -> None:
    data = CERTIFICATE
    for damage in harm:
        data = damage.apply(data)
    with contextlib.suppress(ValueError):
        info = read_certificate(data, now)
        assert info.subject.isprintable()
        assert all(name.isprintable() for name in info.names)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        read_certificate(data, 0.0)


def test_the_witness_of_these_laws() -> None:
    assert read_certificate(CERTIFICATE, 0.0).names == ("DNS:a.example", "IP:192.0.2.1")
