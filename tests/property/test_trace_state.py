"""Laws: a list that travels with a trace is cut to whole members, the first ones, and one within the bounds stays as it is."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchanger.values.trace import LARGE_MEMBER, MAX_BAGGAGE, MAX_BAGGAGE_MEMBERS, MAX_TRACESTATE, MAX_TRACESTATE_MEMBERS, TraceContext

members = st.lists(
    st.text("ab=", min_size=1, max_size=8).flatmap(lambda text: st.integers(1, 40).map(lambda times: text * times)), max_size=300
)
lists = st.tuples(members, st.sampled_from([",", ", ", ",\t", ",,"])).map(lambda drawn: drawn[1].join(drawn[0])) | st.text(
    ",a \t", max_size=3000
)
BOUNDS = {"tracestate": (MAX_TRACESTATE, MAX_TRACESTATE_MEMBERS), "baggage": (MAX_BAGGAGE, MAX_BAGGAGE_MEMBERS)}


def passed_on(name: str, text: str) -> str:
    value = getattr(TraceContext(**{name: text}), name)
    assert isinstance(value, str)
    return value


@pytest.mark.parametrize("name", BOUNDS)
@given(lists, st.integers(1, 40))
@example("," * 10_000, 100)
@example("a" * 10_000, 1)
def test_what_is_passed_on_is_whole_members_in_order_within_the_bounds(name: str, text: str, times: int) -> None:
    text = ",".join([text] * times)
    most, count = BOUNDS[name]
    kept = passed_on(name, text)
    if len(text) <= most and text.count(",") < count:
        assert kept == text
        return
    assert len(kept) <= most
    assert kept.count(",") < count
    rest = iter(member.strip(" \t") for member in text.split(","))
    assert all(member in rest for member in kept.split(",") if kept)
    assert passed_on(name, kept) == kept


@given(st.lists(st.integers(1, 300), max_size=60))
def test_of_a_tracestate_large_members_go_first_and_then_those_at_the_end(lengths: list[int]) -> None:
    given = ["m" * length for length in lengths][:5]  # so few that all are looked at
    kept = passed_on("tracestate", ",".join(given)).split(",")
    small = [member for member in given if len(member) <= LARGE_MEMBER]
    if len(",".join(small)) <= MAX_TRACESTATE:
        assert [member for member in kept if member and len(member) <= LARGE_MEMBER] == small
    else:
        assert kept == small[: len(kept)]


def test_a_large_member_stays_where_there_is_room() -> None:
    large = "v=" + "x" * 300
    assert passed_on("tracestate", f"{large},{large},a=b") == f"{large},a=b"
    assert passed_on("baggage", "a=b," + "x" * MAX_BAGGAGE + ",c=d") == "a=b,c=d"
