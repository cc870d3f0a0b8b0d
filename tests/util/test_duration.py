import pytest

from exchanger.util.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("750ms", 0.75),
        ("1m30s", 90.0),
        ("1.5s", 1.5),
        ("2h", 7200.0),
        ("100us", 1e-4),
        ("5µs", 5e-6),
        ("10ns", 1e-8),
        ("0", 0.0),
        (".5s", 0.5),
        ("+3s", 3.0),
        ("9223372036s", 9223372036.0),
    ],
)
def test_go_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-1s", "1 s", "1d", "1s2", "١s", "1e3s", "9" * 40 + "s", "ms750", "9999999999999h", "9223372037s"]
)
def test_anything_else_is_not_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
