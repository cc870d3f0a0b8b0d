import itertools
import json
import math
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exchanger.exchange.cache.lifetime import MARGIN_PART, MARGIN_S, UNREADABLE, Instant, UnreadableExpiry, expiry_of, plan_life
from exchanger.formats.jwt.compact import read_payload
from exchanger.formats.jwt.refusal import TokenRefused
from tests.examples import examples
from tests.exchange.cache.examples import START, jwt

seconds = st.floats(0.0, 1e7)
chances = st.floats(0.0, 1.0)
ENDS = st.floats(-10.0, 1e7)
# Seconds by which the wall clock jumps, or that it has left before the end: few jumps end there by chance.
JUMPS = st.tuples(st.just(True), st.floats(-1e9, 1e9)) | st.tuples(st.just(False), st.floats(0.0, 2 * MARGIN_S))


@settings(max_examples=examples(500))
@given(seconds, ENDS, ENDS | st.just(math.inf), chances, st.just(0.0) | seconds, JUMPS)
def test_nothing_is_served_past_any_of_its_ends(
    age: float, left: float, subject_in: float, chance: float, later: float, jump: tuple[bool, float]
) -> None:
    now, length = Instant(5000.0, START), age + left
    end = START + subject_in
    life = plan_life(now, age, length, end, chance)
    if life is None:
        hard = min(length - age, subject_in)
        # What has more than its margin left is kept.
        assert hard <= min(MARGIN_S, MARGIN_PART * min(length, age + subject_in)) + 1e-3
        return
    first_end = min(START + length - age, end)
    after = Instant(now.steady + later, now.wall + later + jump[1] if jump[0] else first_end - jump[1])
    if not life.is_over(after):
        margin = min(MARGIN_S, MARGIN_PART * life.length) - 1e-3
        assert later + age < length  # whatever the wall clock does
        assert later < subject_in
        assert after.wall < end
        assert min(length - age, subject_in) - later >= margin
        assert first_end - after.wall >= margin
    assert life.born == now.steady - age
    assert life.born + life.length == life.end
    assert life.renew_at < life.until < life.end


@pytest.mark.parametrize(("length", "first", "last"), [(1000.0, 30.0, 15.0), (10.0, 2.0, 1.0)])
def test_renewal_begins_at_a_time_of_its_own(length: float, first: float, last: float) -> None:
    for chance, ahead in ((1.0, first), (0.0, last)):
        life = plan_life(Instant(0.0, START), 0.0, length, math.inf, chance)
        assert life is not None
        assert life.until - life.renew_at == pytest.approx(ahead)


@pytest.mark.parametrize("length", [0.0, -1.0, math.inf, math.nan])
def test_a_life_without_a_length_or_an_end_is_none(length: float) -> None:
    assert plan_life(Instant(0.0, START), 0.0, length, math.inf, 0.5) is None


@pytest.mark.parametrize(
    ("claims", "end"),
    [
        *(({"exp": end}, end) for end in (1_800_000_060, 1_800_000_060.5, 0, -5)),
        *((claims, math.inf) for claims in ({"sub": "x"}, {"nested": {"exp": 5}}, {"list": [{"exp": 5}]}, [{"exp": 5}], "exp")),
        *(({"exp": no_time}, UNREADABLE) for no_time in ("1800000060", None, True, [1], {"exp": 1}, float("nan"))),
    ],
    ids=map(str, itertools.count()),
)
def test_the_exp_of_a_jwt(claims: object, end: float | UnreadableExpiry) -> None:
    assert expiry_of(jwt(claims)) == end


WRITTEN: Final[dict[float | UnreadableExpiry, tuple[bytes, ...]]] = {
    7: (
        *(b'{"exp": 7, "exp": 9}', b'{"\\u0065xp": 7}', b'\xef\xbb\xbf{"exp": 7}', b' \n{"exp": 7} '),
        *(b'{"exp": 7, "name": "\xff"}', b'{"exp": 7, "name": "a\x01"}', b'{"exp": 7, "name": "' + b"\xff" * 5000 + b'"}'),
    ),
    UNREADABLE: (b'{"exp": 9, "exp": "x"}', b'{"exp": 1' + b"0" * 5000 + b"}", b'{"a": ' + b"[" * 100_000),
    math.inf: (b'{"exp": 7', b"{exp: 7}", b""),
}


@pytest.mark.parametrize(("raw", "end"), [(raw, end) for end, every in WRITTEN.items() for raw in every])
def test_claims_as_others_may_write_them(raw: bytes, end: float | UnreadableExpiry) -> None:
    assert expiry_of(jwt(None, raw=raw)) == end


@example("a.A.c")  # no base64
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: jwt(None, raw=raw)))
def test_any_text_is_read(text: str) -> None:
    assert isinstance(expiry_of(text), float | UnreadableExpiry)


times = st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=3) | st.booleans() | st.none() | st.lists(st.integers(), max_size=2)


@given(st.dictionaries(st.sampled_from(["exp", "sub", "é"]), times), st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_strict_and_lenient_reading_find_the_same_exp(claims: dict[str, object], ascii_only: bool, separators: tuple[str, str]) -> None:
    raw = json.dumps(claims, ensure_ascii=ascii_only, separators=separators).encode()
    token = jwt(None, raw=raw)
    unread = f"not a header.{token.partition('.')[2]}"
    assert isinstance(read_payload(unread), TokenRefused)
    assert expiry_of(token) == expiry_of(unread)
