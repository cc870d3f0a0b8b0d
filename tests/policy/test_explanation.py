import attrs
import pytest
from rpds import HashTrieMap

from exchanger.model.entry import BASELINE, Claim, DenyEntry, MatchScope, PathType
from exchanger.model.policy_decision import AMBIGUOUS_HEADER, AMBIGUOUS_PATH, NO_MATCH, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.policy.explanation import MAX_CANDIDATES, MAX_LOOKED_AT, Candidate, Standing, explain
from exchanger.policy.grants.allowance import Allowance, Grants
from exchanger.policy.revocation import Revocation
from exchanger.policy.snapshot import UnreadableReach
from tests.policy.examples import BLUE, EVERYTHING_GRANTED, HOST, closed_scope, deny, exchange, snapshot_of

ORDERS = exchange("/orders")
INTERNAL = deny("/orders/internal", index=1)
WRITES = exchange("/orders", source=BLUE, methods=frozenset({"PUT", "POST"}))
OTHER = exchange("/carts", index=2)
CLOSED = closed_scope("/orders/a", source=BLUE)
GETS, HEADS = exchange("/orders", methods=frozenset({"GET"})), deny("/orders", source=BLUE, methods=frozenset({"HEAD"}))

WINS = "the longest pathPrefix that matches host and method"
CLOSES = "it cannot be understood, so it closes what it covers: fail-closed scope of blue/policy"
LOSES_TO_A_CLOSED_SCOPE = "an invalid entry or unreadable document covers the request, and wins over all others"
SEVERAL_CLOSE = "more than one invalid entry or unreadable document covers the request, and these win over all others"
AS_STRICT = "HEAD gets the stricter of two decisions, and an entry for HEAD itself is at least as strict as this one for GET"
WON, BLOCKS, CONFLICT, NO = Standing.WON, Standing.BLOCKS, Standing.CONFLICTS, Standing.OTHER


def tied(*rivals: str) -> str:
    return f"it shares a host, method and pathPrefix with {', '.join(rivals)}, so neither can decide"


def as_path(path: str) -> str:
    return f"it would win only if the path were read as {path}"


@pytest.mark.parametrize(
    ("claims", "request_line", "candidates"),
    [
        (
            [ORDERS, INTERNAL, OTHER, WRITES],
            "GET /orders/internal/1",
            [
                (INTERNAL, WON, WINS),
                (ORDERS, NO, "an entry with a longer pathPrefix matches"),
                (WRITES, NO, "its methods (POST, PUT) do not include GET"),
            ],
        ),
        ([ORDERS, CLOSED], "GET /orders/a", [(CLOSED, BLOCKS, CLOSES), (ORDERS, NO, LOSES_TO_A_CLOSED_SCOPE)]),
        ([ORDERS, closed_scope("/carts", index=2)], "GET /orders", [(ORDERS, WON, WINS)]),
        (
            [ORDERS, deny("/orders", source=BLUE)],
            "GET /orders",
            [(deny("/orders", source=BLUE), CONFLICT, tied("red/policy entries[0]")), (ORDERS, CONFLICT, tied("blue/policy entries[0]"))],
        ),
        (
            [ORDERS, exchange("/orders", index=1), deny("/orders/a", index=2), deny("/", index=3)],
            "GET /orders/a",
            [
                (deny("/orders/a", index=2), WON, WINS),
                (ORDERS, NO, "an entry with a longer pathPrefix matches"),
                (exchange("/orders", index=1), NO, "an entry with a longer pathPrefix matches"),
                (deny("/", index=3), NO, "an entry with a longer pathPrefix matches"),
            ],
        ),
        (
            [ORDERS, CLOSED, closed_scope("/orders", source=BLUE, index=1)],
            "GET /orders/a",
            [
                (CLOSED, BLOCKS, CLOSES),
                (closed_scope("/orders", source=BLUE, index=1), BLOCKS, CLOSES),
                (ORDERS, NO, LOSES_TO_A_CLOSED_SCOPE),
            ],
        ),
        (
            [ORDERS, CLOSED, closed_scope("/orders/a", source=BLUE, index=1)],
            "GET /orders/a",
            [(CLOSED, BLOCKS, CLOSES), (closed_scope("/orders/a", source=BLUE, index=1), BLOCKS, CLOSES), (ORDERS, NO, SEVERAL_CLOSE)],
        ),
        (
            [ORDERS, deny("/ord", index=1, path_type=PathType.SEGMENT), deny("/orders/a", index=2, path_type=PathType.EXACT)],
            "GET /orders/a/b",
            [
                (ORDERS, WON, WINS),
                (deny("/orders/a", index=2, path_type=PathType.EXACT), NO, "the path is not its pathPrefix /orders/a"),
                (deny("/ord", index=1, path_type=PathType.SEGMENT), NO, "the path is not below its pathPrefix /ord"),
            ],
        ),
        (
            [ORDERS, deny("/orders", index=1, path_type=PathType.EXACT)],
            "GET /orders",
            [
                (deny("/orders", index=1, path_type=PathType.EXACT), WON, WINS),
                (ORDERS, NO, "an entry for exactly this path matches"),
            ],
        ),
        (
            [deny("/%61dmin", index=1), exchange("/", index=2)],
            "GET /admin",
            [
                (exchange("/", index=2), WON, WINS),
                (deny("/%61dmin", index=1), NO, "an entry whose pathPrefix is written like the path matches"),
            ],
        ),
        ([ORDERS, OTHER], "GET /orders/../carts", [(ORDERS, NO, as_path("/orders/../carts")), (OTHER, NO, as_path("/carts"))]),
        ([ORDERS], "GET /orders#x", [(ORDERS, NO, "the request's path can be read in ways that lead to different decisions")]),
        (
            [deny("/a"), deny("/b", source=BLUE)],
            "GET /b/../a",
            [(deny("/b", source=BLUE), WON, WINS), (deny("/a"), NO, as_path("/a"))],
        ),
        (
            [GETS, HEADS],
            "HEAD /orders",
            [(HEADS, WON, WINS), (GETS, NO, AS_STRICT)],
        ),
        ([GETS], "HEAD /orders", [(GETS, WON, WINS)]),
        (
            [GETS, attrs.evolve(GETS, source=BLUE), attrs.evolve(HEADS, index=1)],
            "HEAD /orders",
            [
                (attrs.evolve(GETS, source=BLUE), CONFLICT, tied("red/policy entries[0]")),
                (GETS, CONFLICT, tied("blue/policy entries[0]")),
                (
                    attrs.evolve(HEADS, index=1),
                    NO,
                    "HEAD gets the stricter of two decisions, and the one for GET is stricter than this entry for HEAD",
                ),
            ],
        ),
        (
            [exchange("/café")],
            "GET /caf!",
            [(exchange("/café"), NO, "it would win only if a ! in the path stood for another character, or for none")],
        ),
        ([exchange("/Orders", case_insensitive=True)], "GET /ORDERS", [(exchange("/Orders", case_insensitive=True), WON, WINS)]),
    ],
)
def test_each_candidate_says_why_it_decides_or_not(
    claims: list[Claim], request_line: str, candidates: list[tuple[Claim, Standing, str]]
) -> None:
    method, path = request_line.split()
    found = explain(snapshot_of(*claims), HOST, path, method)
    assert found.decision == snapshot_of(*claims).match(HOST, path, method)
    assert found.candidates == tuple(Candidate(*candidate) for candidate in candidates)
    assert found.more == 0


@pytest.mark.parametrize(
    ("path", "raw", "interpretations", "covering"),
    [
        ("/orders/../carts", False, ("/orders/../carts", "/carts"), {ORDERS, OTHER}),
        ("/orders#x", False, ("/orders#x",), {ORDERS}),
        ("/car!ts", False, ("/car!ts", "/carts"), {OTHER}),
        ("/car!ts", True, ("/car!ts",), set()),
    ],
)
def test_the_interpretations_of_a_path_and_what_covers_them_are_shown(
    path: str, *, raw: bool, interpretations: tuple[str, ...], covering: set[Claim]
) -> None:
    found = explain(snapshot_of(ORDERS, OTHER), HOST, path, "GET", raw=raw)
    assert (found.interpretations, found.decision) == (interpretations, NO_MATCH if raw else AMBIGUOUS_PATH)
    assert {one.claim for one in found.candidates} == covering


def test_a_host_without_policy_has_no_candidates() -> None:
    found = explain(snapshot_of(ORDERS), "elsewhere.example.com", "/orders", "GET")
    assert (found.decision, found.candidates) == (NO_MATCH, ())


def test_the_rest_of_the_host_is_not_explained() -> None:
    found = explain(snapshot_of(ORDERS, OTHER, CLOSED), HOST, "/orders", "GET")
    assert [one.claim for one in found.candidates] == [ORDERS]


def test_an_equal_place_under_another_spelling_is_another_entry_that_decides() -> None:
    entries = (deny("/é"), deny("/%C3%A9", index=1, methods=frozenset({"PUT"})))
    first, *_ = explain(snapshot_of(*entries), HOST, "/%C3%A9", "GET").candidates
    assert (first.claim, first.won) == (entries[0], True)


def test_a_closed_scope_of_unknown_host_closes_what_no_other_namespace_decides() -> None:
    unknown = closed_scope("", source=BLUE, host=None)
    snapshot = snapshot_of(ORDERS, unknown)
    spared = f"its host is unknown, but an entry of another namespace decides the request: fail-closed scope of {BLUE}"
    closes = f"its host is unknown, so it closes what no entry of another namespace decides: fail-closed scope of {BLUE}"
    assert explain(snapshot, HOST, "/orders", "GET").candidates == (Candidate(ORDERS, WON, WINS), Candidate(unknown, NO, spared))
    closed = explain(snapshot, HOST, "/elsewhere", "GET")
    assert closed.decision == Unhealthy(f"fail-closed scope of {BLUE}", BLUE, 0)
    assert closed.candidates[0] == Candidate(unknown, BLOCKS, closes)
    everywhere = explain(snapshot.reaching(UnreadableReach.GLOBAL), HOST, "/orders", "GET")
    assert everywhere.candidates == (Candidate(unknown, BLOCKS, CLOSES), Candidate(ORDERS, NO, LOSES_TO_A_CLOSED_SCOPE))
    own = closed_scope("", index=1, host=None)
    assert [(one.claim, one.standing) for one in explain(snapshot_of(ORDERS, own), HOST, "/orders", "GET").candidates] == [
        (own, BLOCKS),
        (ORDERS, NO),
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_ambiguous_header_spares_nothing_from_a_closed_scope_of_unknown_host(method: str) -> None:
    named, unknown = deny("/", index=1, headers=(("x-a", "1"),)), closed_scope("", source=BLUE, host=None)
    snapshot, headers = snapshot_of(ORDERS, named, unknown), HeaderFields((("x-a", "1,2"),), raw=True)
    found = explain(snapshot, HOST, "/orders", method, headers=headers)
    assert isinstance(found.decision, Unhealthy)
    assert {one.claim: one.standing for one in found.candidates} == {unknown: BLOCKS, ORDERS: NO, named: NO}


@pytest.mark.parametrize("count", [MAX_CANDIDATES, MAX_CANDIDATES + 7, MAX_LOOKED_AT + 50])
def test_the_candidates_are_bounded_and_have_the_one_that_decides(count: int) -> None:
    entries = tuple(deny("/", index=index, headers=(("x-tool", f"{index}"),)) for index in range(count))
    headers = HeaderFields((("x-tool", f"{count - 1}"),), raw=True)
    found = explain(snapshot_of(*entries), HOST, "/x", "GET", headers=headers)
    assert len(found.candidates) == MAX_CANDIDATES
    assert found.candidates[0] == Candidate(entries[-1], WON, f"{WINS}, with the most headers that the request has")
    assert found.more == min(count, MAX_LOOKED_AT + 1) - MAX_CANDIDATES


def test_a_closed_closed_scope_is_a_candidate_however_many_entries_there_are() -> None:
    entries = tuple(deny("/", index=index, headers=(("x-tool", f"{index}"),)) for index in range(MAX_LOOKED_AT + 50))
    unreadable = closed_scope("/", source=BLUE)
    found = explain(snapshot_of(*entries, unreadable), HOST, "/x", "GET")
    assert (found.candidates[0].claim, found.candidates[0].standing) == (unreadable, BLOCKS)


def test_what_comes_first_is_a_candidate_however_many_longer_entries_there_are() -> None:
    tools = tuple(deny("/a", index=index, headers=(("x-tool", f"{index}"),)) for index in range(MAX_LOOKED_AT + 50))
    found = explain(snapshot_of(*tools, exchange("/", source=BLUE)), HOST, "/a", "GET", headers=HeaderFields((), raw=True))
    assert found.candidates[0] == Candidate(exchange("/", source=BLUE), WON, WINS)


def granted(*path_prefixes: str, hosts: tuple[str, ...] = (HOST,)) -> Grants:
    """Return grants of all actions on these paths alone."""
    (everything,) = EVERYTHING_GRANTED.grants
    return Grants((attrs.evolve(everything, hosts=hosts, path_prefixes=path_prefixes),))


def test_a_path_that_is_not_granted_is_named_as_the_reason() -> None:
    snapshot = snapshot_of(ORDERS).with_grants(granted("/orders"))
    assert explain(snapshot, HOST, "/orders/1", "GET").candidates == (Candidate(ORDERS, WON, WINS),)
    assert explain(snapshot, HOST, "/orders-old", "GET").candidates == (Candidate(ORDERS, NO, "its namespace is not granted this path"),)


def test_an_entry_narrowed_by_grants_is_explained_as_written() -> None:
    wide = deny("/a", host="*.example.com")
    both = Grants((*granted("/a", hosts=("*.example.com",)).grants, *granted("/ab").grants))
    found = explain(snapshot_of(wide).with_grants(both), HOST, "/ab/x", "GET")
    assert isinstance(found.decision, DenyEntry)
    assert found.decision.match.host == HOST
    assert found.candidates == (Candidate(wide, WON, WINS),)


def test_an_entry_whose_right_was_revoked_blocks_what_it_would_decide() -> None:
    revocation = Revocation(HashTrieMap({ORDERS.source.namespace: (Allowance(),)}))
    found = explain(snapshot_of(ORDERS).revoked_by(revocation), HOST, "/orders", "GET")
    assert isinstance(found.decision, Unhealthy)
    assert found.candidates == (Candidate(ORDERS, BLOCKS, found.decision.reason),)
    assert "granted less than before" in found.decision.reason


def test_a_header_whose_value_is_ambiguous_is_named_as_the_reason() -> None:
    named = deny("/orders", index=1, headers=(("x-a", "1"),))
    found = explain(snapshot_of(ORDERS, named), HOST, "/orders", "GET", headers=HeaderFields((("x-a", "1,2"),), raw=True))
    assert found.decision == AMBIGUOUS_HEADER
    assert {one.claim: one.why for one in found.candidates} == {
        named: "it names a header whose value is ambiguous: repeated, with a comma, or with a name that differs in _ and -",
        ORDERS: "the request's header can be read in ways that lead to different decisions",
    }


def test_an_earlier_version_that_decides_more_strictly_is_explained() -> None:
    before, after = deny("/orders", index=1), exchange("/orders", index=2)
    snapshot = attrs.evolve(snapshot_of(after), settled=snapshot_of(before))
    found = explain(snapshot, HOST, "/orders", "GET")
    assert found.decision == before
    assert found.candidates == (
        Candidate(before, WON, f"in the previous version of the policy, which still counts: {WINS}"),
        Candidate(after, NO, "the previous version of the policy still counts, and decides more strictly"),
    )


def test_everything_loses_to_the_baseline() -> None:
    denial, closed = DenyEntry(BASELINE, 0, MatchScope(None, "/orders")), closed_scope("/orders", source=BLUE)
    for claims in ((ORDERS,), (ORDERS, closed)):
        snapshot = snapshot_of(*claims)
        found = explain(snapshot.with_grants(attrs.evolve(snapshot.grants, baseline=(denial,))), HOST, "/orders", "GET")
        whys = {one.claim: (one.standing, one.why) for one in found.candidates}
        assert (found.decision, found.candidates[0].claim) == (denial, denial)
        assert whys[denial][0] is WON
        assert whys[claims[-1]] == (NO, "the platform's baseline denies the request before any policy applies")


def test_an_invalid_entrys_scope_that_covers_the_request_is_shown() -> None:
    near, far = closed_scope("/a", source=BLUE, methods=frozenset({"PUT"})), closed_scope("/a", source=BLUE, host="*.example.com")
    found = explain(snapshot_of(near, far), HOST, "/a", "GET")
    assert found.candidates == (Candidate(far, BLOCKS, CLOSES),)
