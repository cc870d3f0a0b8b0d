"""``Retry-After``: for how long a token endpoint asks not to be called. Total, whatever the endpoint sends.

RFC 9110 section 10.2.3, https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3. Must not know: clocks, or how it is used.
"""

import re
from datetime import UTC, datetime
from typing import Final

# Most seconds that are honoured. Rate limits count by the second or the minute; an outage that a typing error prolongs by days would be
# hard to find, and a minute without calls is enough for any endpoint to recover.
MAX_RETRY_AFTER_S: Final = 60.0

# Characters of a value that is read; the longest date of the three forms has 33.
_MAX_TEXT: Final = 64
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH: Final = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME: Final = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_is_seconds: Final = re.compile("[0-9]+").fullmatch
# RFC 9110 section 5.6.7: IMF-fixdate, and the two obsolete forms that recipients must accept. The day of the week is redundant.
_DATES: Final = (
    re.compile(rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{5,8}}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)
_CENTURY: Final = 100
_LEAP_SECOND: Final = 60


def read_retry_after(value: str, now: float) -> float | None:
    """Return the seconds that ``value`` asks for, between 0 and ``MAX_RETRY_AFTER_S``; ``None`` if it is invalid.

    ``now`` is in seconds since the epoch: a date counts from there, one in the past as 0. Anything but digits or a date is invalid.
    """
    value = value.strip(" \t")
    if len(value) > _MAX_TEXT:
        return None
    if _is_seconds(value):
        return min(float(value), MAX_RETRY_AFTER_S)
    for form in _DATES:
        found = form.fullmatch(value)
        if found is not None:
            until = _since_epoch(found, now)
            return None if until is None else min(max(until - now, 0.0), MAX_RETRY_AFTER_S)
    return None


def _since_epoch(date: re.Match[str], now: float) -> float | None:
    """Return the time of ``date``, ``None`` if there is no such day or time."""
    year, second = int(date["year"]), int(date["second"])
    leap = second == _LEAP_SECOND
    try:
        if len(date["year"]) == len("94"):
            year = _full_year(year, datetime.fromtimestamp(now, UTC).year)
        month = _MONTHS.index(date["month"]) + 1
        return datetime(year, month, int(date["day"]), int(date["hour"]), int(date["minute"]), second - leap, tzinfo=UTC).timestamp() + leap
    except (ValueError, OverflowError, OSError):  # the last two for a clock that is off by ages
        return None


def _full_year(year: int, this_year: int) -> int:
    """Return the year for two digits: one that seems to be more than 50 years ahead is past (RFC 9110 section 5.6.7)."""
    full = this_year - this_year % _CENTURY + year
    return full - _CENTURY if full > this_year + _CENTURY // 2 else full
