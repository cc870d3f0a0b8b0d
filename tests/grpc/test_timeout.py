import pytest

from exchanger.grpc.head import parse_timeout


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"200m", 0.2),
        (b"5u", 5e-6),
        (b"99999999n", 0.099999999),
        (b"0m", 0.0),
        (b"007S", 7.0),
    ],
)
def test_well_formed(value: bytes, seconds: float) -> None:
    assert parse_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"m",
        b"1",
        b"1s",
        b"1h",
        b"-1S",
        b"+1S",
        b"1.5S",
        b" 1S",
        b"1S ",
        b"1SS",
        b"123456789S",
        b"\xb2S",
        b"1_0S",
        b"1" * 60_000 + b"S",
    ],
)
def test_malformed(value: bytes) -> None:
    assert parse_timeout(value) is None
