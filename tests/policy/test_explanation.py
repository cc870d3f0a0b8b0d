import pytest

from exchanger.policy.document import PolicyDocument
from exchanger.policy.explanation import MAX_CANDIDATES, MAX_LOOKED_AT, Candidate, explain
from exchanger.policy.lookup import UnreadableReach
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import DenyEntry, FailClosedRegion, MatchScope
from exchanger.values.verdict import AMBIGUOUS_PATH, NO_MATCH, Unhealthy
from tests.policy.examples import BLUE, HOST, RED, deny, exchange, region, snapshot_of

ORDERS = exchange("/orders")
INTERNAL = deny("/orders/internal", index=1)
WRITES = exchange("/orders", source=BLUE, methods=frozenset({"PUT", "POST"}))
OTHER = exchange("/carts", index=2)


def test_the_winner_comes_first_and_every_other_says_why_it_did_not_win() -> None:
    found = explain(snapshot_of(ORDERS, INTERNAL, OTHER, WRITES), HOST, "/orders/internal/1", "GET")

    assert found.verdict == INTERNAL
    assert found.readings == ("/orders/internal/1",)
    assert found.candidates == (
        Candidate(INTERNAL, True, "the longest pathPrefix that matches host and method"),
        Candidate(ORDERS, False, "an entry with a longer pathPrefix matches"),
        Candidate(OTHER, False, "the path does not start with its pathPrefix /carts"),
        Candidate(WRITES, False, "its methods (POST, PUT) do not include GET"),
    )
    assert found.more == 0


def test_a_host_without_policy_has_no_candidates() -> None:
    found = explain(snapshot_of(ORDERS), "elsewhere.example.com", "/orders", "GET")

    assert (found.verdict, found.candidates) == (NO_MATCH, ())


def test_an_invalid_entry_that_closes_the_request_is_what_decides() -> None:
    found = explain(snapshot_of(ORDERS, region("/orders/a", source=BLUE)), HOST, "/orders/a", "GET")

    assert [(candidate.claim.source, candidate.won) for candidate in found.candidates] == [(BLUE, True), (RED, False)]
    assert found.candidates[0].why == f"it cannot be understood, so it closes what it covers: region of {BLUE}"
    assert found.candidates[1].why == "an invalid entry or unreadable document covers the request, and wins over all others"


def test_an_invalid_entry_elsewhere_decides_nothing() -> None:
    found = explain(snapshot_of(ORDERS, region("/closed", source=BLUE)), HOST, "/orders", "GET")

    assert [candidate.won for candidate in found.candidates] == [True, False]
    assert found.candidates[1].why == "the path does not start with its pathPrefix /closed"


def test_entries_that_tie_say_so() -> None:
    found = explain(snapshot_of(ORDERS, deny("/orders", source=BLUE)), HOST, "/orders", "GET")

    assert {candidate.why for candidate in found.candidates} == {
        "another entry has the same host, method and pathPrefix, or more than one invalid one covers the request"
    }
    assert not any(candidate.won for candidate in found.candidates)


def test_a_path_that_can_be_read_in_two_ways_says_which_entry_each_way_leads_to() -> None:
    found = explain(snapshot_of(ORDERS, OTHER), HOST, "/orders/../carts", "GET")

    assert found.verdict == AMBIGUOUS_PATH
    assert found.readings == ("/orders/../carts", "/carts")
    assert [candidate.why for candidate in found.candidates] == [
        "it would win only if the path were read as /orders/../carts",
        "it would win only if the path were read as /carts",
    ]


def test_a_path_that_cannot_be_read_is_shown_as_it_came() -> None:
    found = explain(snapshot_of(ORDERS), HOST, "/orders#x", "GET")

    assert (found.verdict, found.readings) == (AMBIGUOUS_PATH, ("/orders#x",))
    assert [candidate.why for candidate in found.candidates] == ["the request's path can be read in ways that lead to different decisions"]


def test_a_denial_by_another_entry_with_the_same_reach_of_one_reading_decides() -> None:
    found = explain(snapshot_of(deny("/a"), deny("/b", source=BLUE)), HOST, "/b/../a", "GET")

    assert [(candidate.claim.source, candidate.won) for candidate in found.candidates] == [(BLUE, True), (RED, False)]
    assert found.candidates[1].why == "it would win only if the path were read as /a"


def test_an_equal_place_under_another_spelling_is_another_entry_that_decides() -> None:
    entries = (deny("/é"), deny("/%C3%A9", index=1, methods=frozenset({"PUT"})))
    found = explain(snapshot_of(*entries), HOST, "/%C3%A9", "GET")

    assert found.candidates[0].claim == entries[0]
    assert found.candidates[0].won


def test_a_region_of_unknown_host_closes_what_no_entry_of_another_namespace_decides() -> None:
    snapshot = snapshot_of(ORDERS, region("", source=BLUE, host=None))

    decided = explain(snapshot, HOST, "/orders", "GET")
    assert [(candidate.claim.source, candidate.won) for candidate in decided.candidates] == [(RED, True), (BLUE, False)]
    assert decided.candidates[1].why == (
        f"its host cannot be known, but an entry of another namespace decides the request: region of {BLUE}"
    )
    closed = explain(snapshot, HOST, "/elsewhere", "GET")
    assert closed.verdict == Unhealthy(f"region of {BLUE}", BLUE, 0)
    assert closed.candidates[0] == Candidate(
        region("", source=BLUE, host=None),
        won=True,
        why=f"its host cannot be known, so it closes what no entry of another namespace decides: region of {BLUE}",
    )


def test_a_region_of_unknown_host_closes_what_its_own_namespace_decides() -> None:
    found = explain(snapshot_of(ORDERS, region("", index=1, host=None)), HOST, "/orders", "GET")

    assert [candidate.won for candidate in found.candidates] == [True, False]
    assert isinstance(found.candidates[0].claim, FailClosedRegion)


def test_a_region_of_unknown_host_closes_everything_where_the_operator_says_so() -> None:
    snapshot = snapshot_of(ORDERS, region("", source=BLUE, host=None)).reaching(UnreadableReach.GLOBAL)

    found = explain(snapshot, HOST, "/orders", "GET")
    assert found.candidates[0].why == f"it cannot be understood, so it closes what it covers: region of {BLUE}"
    assert [candidate.won for candidate in found.candidates] == [True, False]


def test_an_entry_for_get_says_that_another_covers_head_itself() -> None:
    get, head = exchange("/orders", methods=frozenset({"GET"})), deny("/orders", source=BLUE, methods=frozenset({"HEAD"}))

    found = explain(snapshot_of(get, head), HOST, "/orders", "HEAD")
    assert [candidate.why for candidate in found.candidates] == [
        "the longest pathPrefix that matches host and method",
        "another entry with this pathPrefix covers HEAD itself, and this one only by GET",
    ]
    assert explain(snapshot_of(get), HOST, "/orders", "HEAD").candidates[0].won


def test_a_path_with_marks_is_shown_without_them_too() -> None:
    snapshot = snapshot_of(ORDERS, OTHER)

    found = explain(snapshot, HOST, "/car!ts", "GET")
    assert (found.verdict, found.readings) == (AMBIGUOUS_PATH, ("/car!ts", "/carts"))
    assert found.candidates[0].why == "it would win only if the path were read as /carts"
    raw = explain(snapshot, HOST, "/car!ts", "GET", raw=True)
    assert (raw.verdict, raw.readings) == (NO_MATCH, ("/car!ts",))


def test_a_prefix_that_a_mark_may_hide_is_a_candidate() -> None:
    found = explain(snapshot_of(exchange("/café")), HOST, "/caf!", "GET")

    assert found.verdict == AMBIGUOUS_PATH
    assert found.candidates[0].why == "it would win only if a ! in the path stood for another character, or for none"


def test_case_makes_no_difference_where_an_entry_says_so() -> None:
    entry = exchange("/Orders", case_insensitive=True)

    assert explain(snapshot_of(entry), HOST, "/ORDERS", "GET").candidates == (
        Candidate(entry, won=True, why="the longest pathPrefix that matches host and method"),
    )


@pytest.mark.parametrize("count", [MAX_CANDIDATES, MAX_CANDIDATES + 7, MAX_LOOKED_AT + 50])
def test_what_is_shown_is_bounded_and_has_what_covers_the_request(count: int) -> None:
    entries = tuple(DenyEntry(RED, index, MatchScope(HOST, f"/{index:05}")) for index in range(count))
    snapshot = PolicySnapshot.EMPTY.apply(PolicyDocument(RED, entries))

    found = explain(snapshot, HOST, f"/{count - 1:05}/x", "GET")

    assert len(found.candidates) == MAX_CANDIDATES
    assert found.candidates[0] == Candidate(entries[-1], True, "the longest pathPrefix that matches host and method")
    assert found.more == min(count, MAX_LOOKED_AT) - MAX_CANDIDATES
