import math
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.exchange.oauth.retry_after import MAX_RETRY_AFTER_S, read_retry_after

NOW = datetime(2026, 11, 27, 3, 0, 0, tzinfo=UTC).timestamp()
FORMS = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y")
# The years that two digits can name: 1977 to 2076.
TIMES = st.integers(220_924_800, 3_376_684_799).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(st.one_of(st.text(), st.text("0123456789 ,:-GMTFriNov"), st.sampled_from(FORMS)), st.floats(allow_nan=False))
def test_whatever_is_sent_is_read_within_bounds(value: str, now: float) -> None:
    found = read_retry_after(value, now)
    assert found is None or 0.0 <= found <= MAX_RETRY_AFTER_S


@given(TIMES, st.sampled_from(FORMS), st.integers(-100, 100))
def test_dates_count_from_now(time: datetime, form: str, ahead: int) -> None:
    now = time.timestamp() - ahead
    assert read_retry_after(time.strftime(form), now) == min(max(ahead, 0), MAX_RETRY_AFTER_S)


EXAMPLES: Final[dict[float | None, tuple[str, ...]]] = {
    30.0: ("Fri, 27 Nov 2026 03:00:30 GMT", "Friday, 27-Nov-26 03:00:30 GMT", "Fri Nov 27 03:00:30 2026"),
    # 06-Nov-94 is of 1994: 2094 is more than 50 years ahead.
    0.0: ("Fri, 27 Nov 2026 02:00:00 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "0"),
    7.0: ("007",),
    # The last but one is a leap second.
    60.0: ("Fri, 31 Dec 9999 23:59:59 GMT", "Friday, 27-Nov-76 03:00:30 GMT", "Fri, 27 Nov 2026 03:00:60 GMT", "9" * 64),
    None: (
        *("9" * 65, "", "-1", "+5", "1.5", "1e1", "inf", "nan", "٣", "5, 10", "5s", "0x10", "2026-11-27T03:00:30Z"),
        *(f"Fri, 27 Nov 2026 {rest}" for rest in ("03:00:30 UTC", "03:00:30 +0000", "24:00:30 GMT", "03:00:61 GMT", "03:00:30 GMT\n")),
        *("Fri, 30 Feb 2026 03:00:30 GMT", "Fri, 27 Nov 0000 03:00:30 GMT"),
    ),
}


@pytest.mark.parametrize(("value", "expected"), [(value, seconds) for seconds, values in EXAMPLES.items() for value in values])
def test_examples(value: str, expected: float | None) -> None:
    assert read_retry_after(value, NOW) == expected


def test_a_year_of_two_digits_needs_a_clock_that_has_a_year() -> None:
    assert read_retry_after("Friday, 27-Nov-26 03:00:30 GMT", 1e18) is None
    assert read_retry_after("Friday, 27-Nov-26 03:00:30 GMT", math.inf) is None
