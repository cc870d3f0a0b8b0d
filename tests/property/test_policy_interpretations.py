"""Law: the interpretations of a path are closed under the rewritings of servers.

RFC 3986 section 6.2.2: normalisation does not change what is normal already, and what is normalised twice is what is normalised once.
"""

from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.policy.path import MAX_INTERPRETATIONS, MalformedPath, interpretations_of, read_path
from tests.property.strategies_policy import plain_paths, queries

odd_parts = st.lists(
    st.sampled_from(
        ["a", "b", "/", "//", ".", "..", "/../", "/./", ";", ";x", "\\", "%2f", "%2F", "%5c", "%2e", "%61", "%3b", "%25", "%2561", "%3f"]
    )
    | st.sampled_from(["\uff0f", "\uff0e", "\uff05", "\u00e9", "%C3%A9", "\ufb03", "%E2%80%A5"]),
    max_size=8,
).map("".join)
odd_paths = odd_parts.map(lambda part: "/" + part)
any_paths = st.text() | st.text(alphabet="/.;%\\?#*ab25eEfF \0\uff0f\ud800").map(lambda rest: "/" + rest)


@given(odd_paths)
def test_interpretations_of_interpretations_are_interpretations(path: str) -> None:
    interpretations = interpretations_of(path)
    event("malformed" if isinstance(interpretations, MalformedPath) else f"{len(interpretations)} interpretations")
    if isinstance(interpretations, MalformedPath):
        return
    for interpretation in interpretations:
        again = interpretations_of(interpretation)
        assert isinstance(again, tuple)
        assert set(again) <= set(interpretations)


@given(odd_paths | any_paths, st.sampled_from(["GET", "OPTIONS"]))
def test_a_path_is_a_reading_of_itself(path: str, method: str) -> None:
    interpretations = read_path(path, method)
    if isinstance(interpretations, tuple):
        assert interpretations[0] == path
        assert len(set(interpretations)) == len(interpretations) <= MAX_INTERPRETATIONS
        assert all(interpretation.startswith("/") for interpretation in interpretations if interpretation != "*")


@given(plain_paths, queries)
def test_a_plain_path_has_one_interpretation(path: str, query: str) -> None:
    assert read_path(path + query, "GET") == (path + query,)


@given(odd_paths, queries)
def test_the_query_makes_no_difference(path: str, query: str) -> None:
    bare, full = read_path(path, "GET"), read_path(path + query, "GET")
    if isinstance(bare, MalformedPath):
        assert full == bare
    else:
        assert full == tuple(interpretation + query for interpretation in bare)
