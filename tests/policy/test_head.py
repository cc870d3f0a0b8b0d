"""HEAD gets the stricter of two decisions: by what covers HEAD itself, and as GET, whose handlers answer it."""

import attrs
import pytest

from exchanger.model.entry import BASELINE, AllowEntry, Claim, DenyEntry, Entry, ExchangeEntry, MatchScope, PathType
from exchanger.model.policy_decision import AMBIGUOUS_HEADER, AMBIGUOUS_PATH, NO_MATCH, PolicyDecision, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.policy.conflicts import contenders
from exchanger.policy.explanation import Standing, explain
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.policy.table import CONFLICT
from tests.policy.examples import BLUE, HOST, RED, closed_scope, deny, exchange, snapshot_of, with_baseline

GET, HEAD, PUT = (frozenset({method}) for method in ("GET", "HEAD", "PUT"))
WILD = "*.example.com"
X = (("x", "1"),)

EVERYTHING = deny("/")
HEADS, PUTS = (deny("/", methods=methods) for methods in (HEAD, PUT))
ORDERS = exchange("/orders", index=1, methods=GET)
CLOSED = Unhealthy(f"fail-closed scope of {BLUE}", BLUE, 0)
ALLOWED = AllowEntry(RED, 2, MatchScope(HOST, "/orders", HEAD))
OTHER = attrs.evolve(exchange("/", index=3, methods=HEAD), resource_metadata="https://api.example.com/x")


def asked(claims: tuple[Claim, ...], path: str = "/orders/1", headers: tuple[tuple[str, str], ...] = X) -> PolicyDecision:
    return snapshot_of(*claims).match(HOST, path, "HEAD", headers=HeaderFields(headers, raw=True))


@pytest.mark.parametrize(
    ("claims", "decision"),
    [
        ((EVERYTHING, ORDERS), EVERYTHING),
        ((HEADS, ORDERS), HEADS),
        ((PUTS, ORDERS), ORDERS),
        ((ORDERS,), ORDERS),
        ((HEADS,), HEADS),
        # At one prefix: another path type, another case, and headers.
        ((deny("/orders", methods=HEAD), exchange("/orders", index=1, methods=GET, path_type=PathType.SEGMENT)), "deny"),
        ((deny("/orders"), exchange("/orders", index=1, methods=GET, path_type=PathType.SEGMENT)), "deny"),
        ((deny("/orders", methods=HEAD), exchange("/orders", index=1, methods=GET, headers=X)), "deny"),
        ((deny("/ORDERS", methods=HEAD, case_insensitive=True), ORDERS), "deny"),
        # What is less strict than GET has no effect, and of what is equally strict HEAD's own decides.
        ((deny("/", methods=GET), attrs.evolve(ALLOWED, index=1)), "deny"),
        ((ORDERS, ALLOWED), ORDERS),
        ((ORDERS, OTHER), OTHER),
        ((AllowEntry(BLUE, 0, MatchScope(HOST, "/orders", GET)), OTHER), OTHER),
        ((deny("/orders", index=4, methods=GET), HEADS), HEADS),
        # Fail-closed scopes, conflicts and doubt come before any entry, on either side.
        ((closed_scope("/orders", source=BLUE, methods=GET), HEADS), CLOSED),
        ((closed_scope("/orders", source=BLUE, methods=HEAD), ORDERS), CLOSED),
        ((ORDERS, attrs.evolve(ORDERS, source=BLUE), HEADS), CONFLICT),
        ((ORDERS, OTHER, attrs.evolve(OTHER, source=BLUE)), CONFLICT),
        ((deny("/", methods=HEAD, headers=(("y", "1"),)), ORDERS), AMBIGUOUS_HEADER),
        ((deny("/", methods=PUT, headers=(("y", "1"),)), ORDERS), ORDERS),
    ],
)
def test_the_stricter_decision_counts(claims: tuple[Claim, ...], decision: object) -> None:
    found = asked(claims, headers=(*X, ("y", "1,2")))
    assert found == decision or (decision == "deny" and isinstance(found, DenyEntry))


@pytest.mark.parametrize(
    ("far", "near", "decision"),
    [
        (deny("/", source=BLUE, host=WILD), ORDERS, ORDERS),
        (deny("/", source=BLUE, host=WILD, methods=HEAD), ORDERS, ORDERS),
        (deny("/", source=BLUE, host=WILD, headers=(("y", "1"),)), ORDERS, ORDERS),
        (closed_scope("/", source=BLUE, host=WILD), ORDERS, ORDERS),
        (closed_scope("/", source=BLUE, host=None), ORDERS, ORDERS),
        (closed_scope("/", source=BLUE, host=None, methods=HEAD), ORDERS, ORDERS),
        (attrs.evolve(closed_scope("/", source=BLUE), guessed=True), ORDERS, ORDERS),
        (closed_scope("/", source=attrs.evolve(RED, name="another"), host=None), ORDERS, None),
        (closed_scope("/", source=attrs.evolve(RED, name="another"), host=None, methods=HEAD), ORDERS, None),
        # Where GET has no match on the host itself, the wildcard counts for both.
        (deny("/", source=BLUE, host=WILD), attrs.evolve(OTHER, index=0), "deny"),
        (closed_scope("/", source=BLUE, host=WILD, methods=GET), HEADS, CLOSED),
        (closed_scope("/", source=BLUE, host=None), HEADS, CLOSED),
        (closed_scope("/", source=BLUE, host=None, methods=HEAD), HEADS, HEADS),
    ],
)
def test_what_is_farther_counts_only_where_it_counts_for_get(far: Claim, near: Claim, decision: object) -> None:
    found = asked((far, near), headers=(("y", "1,2"),))
    if decision is None:
        assert isinstance(found, Unhealthy)
    else:
        assert found == decision or (decision == "deny" and isinstance(found, DenyEntry))


def test_a_global_closed_scope_counts_for_head() -> None:
    policy = snapshot_of(ORDERS, closed_scope("", source=BLUE, host=None, methods=HEAD)).reaching(UnreadableReach.GLOBAL)
    assert policy.match(HOST, "/orders", "HEAD") == CLOSED
    assert policy.match(HOST, "/orders", "GET") == ORDERS


def test_the_readings_have_to_agree_on_the_stricter_decision() -> None:
    policy = (deny("/private", methods=HEAD), ORDERS)
    assert asked(policy, "/private/../orders") == AMBIGUOUS_PATH
    assert asked(policy, "/orders/%2e%2e/orders") == ORDERS
    assert asked((EVERYTHING, ORDERS), "/orders/../orders") == EVERYTHING


def test_what_is_not_there_is_no_decision() -> None:
    assert asked((ORDERS,), "/other") == NO_MATCH
    assert PolicySnapshot.EMPTY.match(HOST, "/", "HEAD") is NO_MATCH


@pytest.mark.parametrize(("methods", "denied"), [(None, True), (GET, True), (HEAD, True), (PUT, False)])
@pytest.mark.parametrize("case_insensitive", [False, True])
def test_a_baseline_denies_head_by_name_and_as_get(methods: frozenset[str] | None, *, denied: bool, case_insensitive: bool) -> None:
    denial = DenyEntry(BASELINE, 0, MatchScope(None, "/", methods, case_insensitive))
    policy = with_baseline(snapshot_of(exchange("/orders")), denial)
    for path in ("/orders", "/orders/%61"):
        assert (policy.match(HOST, path, "HEAD") == denial) == denied


@pytest.mark.parametrize("first", [ORDERS, attrs.evolve(OTHER, index=1)])
def test_a_conflict_that_closes_head_can_be_told(first: ExchangeEntry) -> None:
    rivals = (first, attrs.evolve(first, source=BLUE))
    far = tuple(deny("/", source=source, index=7, host=WILD, methods=HEAD) for source in (RED, BLUE))  # counts where GET has no match
    policy = snapshot_of(*rivals, *far)
    assert policy.match(HOST, "/orders", "HEAD") is CONFLICT
    assert set(contenders(policy, HOST, "/orders", "HEAD", raw=True)) == set(rivals)


def test_an_explanation_says_which_decision_is_stricter() -> None:
    def why(*claims: Claim) -> dict[tuple[str, int | None], tuple[Standing, str]]:
        found = explain(snapshot_of(*claims), HOST, "/orders/1", "HEAD").candidates
        return {(one.claim.source.namespace, one.claim.index): (one.standing, one.why) for one in found}

    denied = why(EVERYTHING, ORDERS)
    assert denied["red", 0][0] is Standing.WON
    assert denied["red", 1] == (
        Standing.OTHER,
        "HEAD gets the stricter of two decisions, and an entry for HEAD itself is at least as strict as this one for GET",
    )
    overridden = why(ORDERS, ALLOWED)
    assert overridden["red", 1][0] is Standing.WON
    assert overridden["red", 2] == (
        Standing.OTHER,
        "HEAD gets the stricter of two decisions, and the one for GET is stricter than this entry for HEAD",
    )
    spared = why(ORDERS, deny("/orders/1", source=BLUE, host=WILD), closed_scope("/", source=BLUE, index=1, host=WILD))
    assert spared["red", 1][0] is Standing.WON
    assert spared["blue", 0] == (Standing.OTHER, "an entry for the host itself, or for a longer wildcard, matches")
    assert spared["blue", 1][0] is Standing.OTHER
    assert spared["blue", 1][1].startswith("it cannot be understood, but an entry for a nearer host decides the request")
    unknown = why(ORDERS, closed_scope("/", source=BLUE, host=None))
    assert unknown["blue", 0][1].startswith("its host is unknown, but an entry of another namespace decides the request")


def test_an_entry_for_head_is_explained_by_a_nearer_hosts_entry() -> None:
    far = exchange("/", source=BLUE, host=WILD, methods=HEAD)
    found = explain(snapshot_of(deny("/", methods=GET), far), HOST, "/a", "HEAD")
    (why,) = [candidate.why for candidate in found.candidates if candidate.claim == far]
    assert why == "an entry for the host itself, or for a longer wildcard, matches"


def test_marks_that_may_stand_for_too_much_leave_head_ambiguous() -> None:
    many = tuple(exchange(f"/{chr(0x4E00 + number)}x", index=number, host=WILD) for number in range(1_100))
    near = deny("/", index=len(many), methods=HEAD)
    both: tuple[tuple[Entry, ...], ...] = (many, (*many, near))
    for claims in both:
        assert snapshot_of(*claims).match(HOST, "/!x", "HEAD") == AMBIGUOUS_PATH
        assert snapshot_of(*claims).match(HOST, "/!x", "GET") == AMBIGUOUS_PATH


def test_a_decoded_spelling_for_get_counts_beside_what_is_written_for_head() -> None:
    claims = (deny("/", methods=HEAD), exchange("/orders%2Fx", index=1, methods=GET))
    assert snapshot_of(*claims).match(HOST, "/orders/x", "HEAD") == claims[0]


def test_contenders_are_found_below_entries_whose_headers_did_not_come() -> None:
    rivals = (exchange("/"), exchange("/", source=BLUE))
    snapshot = snapshot_of(*rivals, deny("/orders", index=1, headers=X))
    assert snapshot.match(HOST, "/orders", "GET") is CONFLICT
    assert set(contenders(snapshot, HOST, "/orders", "GET", raw=True)) == set(rivals)
