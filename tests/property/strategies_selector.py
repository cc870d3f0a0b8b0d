"""Strategies for label selectors and labels; few keys and values, so that selectors and labels meet."""

from hypothesis import strategies as st

from exchanger.values.selector import Above, Absent, Below, NoneOf, OneOf, Present, Requirement, Selector

keys = st.sampled_from(["a", "in", "notin", "example.com/a", "A_b.c-d"])
values = st.sampled_from(["", "b", "in", "notin", "7", "0", "42", "B_c.d-e"])
value_sets = st.frozensets(values, min_size=1, max_size=4)
bounds = st.integers(min_value=0, max_value=2**63 - 1) | st.sampled_from([6, 7, 8])

requirements: st.SearchStrategy[Requirement] = st.one_of(
    st.builds(OneOf, keys, value_sets),
    st.builds(NoneOf, keys, value_sets),
    st.builds(Present, keys),
    st.builds(Absent, keys),
    st.builds(Above, keys, bounds),
    st.builds(Below, keys, bounds),
)
selectors = st.builds(Selector, st.lists(requirements, max_size=4).map(tuple))
labels = st.dictionaries(keys, values)
