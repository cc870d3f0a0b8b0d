"""A new kind of fault changes only the seeds that have it."""

from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.issuer import FAULTS
from tests.simulation.kernel import Kernel, Trace
from tests.simulation.plan import Draw, some_of

NEW = "not there before"
seeds = st.integers(0, 1 << 32)


@given(seeds, st.floats(0.0, 1.0))
def test_a_new_kind_of_fault_changes_no_other_kind(seed: int, share: float) -> None:
    before, after = (some_of(kinds, share)(Draw(seed, "faults", {})) for kinds in (FAULTS, (*FAULTS, NEW)))
    assert isinstance(before, frozenset)
    assert isinstance(after, frozenset)
    assert after - {NEW} == before


@given(seeds, st.lists(st.booleans(), max_size=30))
def test_faults_strike_as_before_but_where_a_new_kind_strikes(seed: int, often: list[bool]) -> None:
    before, after = (
        [kernel.strike("issuer-0", kinds, 0.5 if some else 1.0) for some in often]
        for kernel, kinds in ((Kernel(seed, Trace()), FAULTS), (Kernel(seed, Trace()), (*FAULTS, NEW)))
    )
    assert all(now in (then, NEW) for then, now in zip(before, after, strict=True))
