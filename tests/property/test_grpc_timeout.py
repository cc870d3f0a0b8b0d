"""Law: TimeoutValue is a positive integer as ASCII string of at most 8 digits, TimeoutUnit one of H M S m u n; all else is malformed.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.grpc.head import parse_timeout

UNITS = {b"H": 3600, b"M": 60, b"S": 1, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


@given(st.integers(0, 99_999_999), st.sampled_from(sorted(UNITS)))
def test_well_formed(value: int, unit: bytes) -> None:
    assert parse_timeout(b"%d" % value + unit) == pytest.approx(value * UNITS[unit])


@given(st.one_of(st.binary(max_size=12), st.from_regex(rb"[0-9]{0,10}[HMSmun]{0,2}", fullmatch=True)))
def test_all_else(value: bytes) -> None:
    well_formed = re.fullmatch(rb"[0-9]{1,8}[HMSmun]", value) is not None
    assert (parse_timeout(value) is not None) == well_formed
