"""Headers of a match: what counts as a value without doubt, and which entry comes first."""

import base64
from itertools import combinations

import attrs
import pytest

from exchanger.model.entry import DenyEntry, Entry, PathType
from exchanger.model.policy_decision import AMBIGUOUS_HEADER, AMBIGUOUS_PATH, PolicyDecision, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.policy.explanation import explain
from exchanger.policy.headers import name_problem, value_problem
from exchanger.policy.interpretation import MAX_LOOKUPS
from exchanger.policy.snapshot import PolicySnapshot
from tests.policy.examples import BLUE, HOST, closed_scope, deny, exchange, parsed, snapshot_of

PLAIN = exchange("/mcp")
DELETE = deny("/mcp", index=1, headers=(("mcp-name", "delete_order"),))
CALL = exchange("/mcp", index=2, headers=(("mcp-method", "tools/call"), ("mcp-name", "delete_order")))


def found(*fields: tuple[str, str], entries: tuple[Entry, ...] = (PLAIN, DELETE), raw: bool = True, path: str = "/mcp") -> PolicyDecision:
    return snapshot_of(*entries).match(HOST, path, "POST", headers=HeaderFields(tuple(fields), raw=raw))


def encoded(text: bytes, scheme: str = "base64") -> str:
    return f"=?{scheme}?{base64.b64encode(text).decode()}?="


@pytest.mark.parametrize(
    ("fields", "decision"),
    [
        ((), PLAIN),
        ((("MCP-Name", "delete_order"),), DELETE),
        ((("mcp-name", "Delete_Order"),), PLAIN),
        ((("mcp-name", ""),), PLAIN),
        ((("mcp-name", "delete_order"), ("accept", "a, b"), ("accept", "c")), DELETE),  # no entry names this one
        ((("mcp-name", "delete_order"), ("mcp-name", "delete_order")), AMBIGUOUS_HEADER),
        ((("mcp-name", "delete_order, x"),), AMBIGUOUS_HEADER),
        ((("mcp-name", "delete_order "),), AMBIGUOUS_HEADER),
        ((("mcp-name", "delete_order\udc85"),), AMBIGUOUS_HEADER),  # a byte that Python's servers take for a blank
        ((("mcp_name", "delete_order"),), AMBIGUOUS_HEADER),
        ((("mcp-name", "x"), ("Mcp_Name", "x")), AMBIGUOUS_HEADER),
        ((("mcp-name", encoded(b"delete_order")),), DELETE),
        ((("mcp-name", encoded(b"other")),), PLAIN),
        ((("mcp-name", "=?base64?delete_order?="),), AMBIGUOUS_HEADER),
        ((("mcp-name", encoded(b"\xff")),), AMBIGUOUS_HEADER),
        ((("mcp-name", encoded(b"delete_order", "BASE64")),), AMBIGUOUS_HEADER),
        ((("mcp-name", "=?base64?delete_order"),), PLAIN),
    ],
)
def test_a_value_counts_if_there_is_no_doubt_about_it(fields: tuple[tuple[str, str], ...], decision: PolicyDecision) -> None:
    assert found(*fields) == decision


@pytest.mark.parametrize("with_method", [PLAIN, DELETE])
def test_entries_with_and_without_headers_count_whichever_names_a_method(with_method: Entry) -> None:
    posts = attrs.evolve(with_method, match=attrs.evolve(with_method.match, methods=frozenset({"POST"})))
    entries = tuple(posts if one is with_method else one for one in (PLAIN, DELETE))
    assert [found(entries=entries), found(("mcp-name", "delete_order"), entries=entries)] == [*entries]


def test_headers_named_elsewhere_are_not_looked_at() -> None:
    elsewhere = deny("/other", source=BLUE, host="*.example.com", headers=(("mcp-name", "x"),))
    assert found(("mcp-name", "a,b"), entries=(PLAIN, elsewhere)) == PLAIN


def test_only_headers_of_the_protocol_are_decoded() -> None:
    entry = deny("/mcp", headers=(("x-name", "a"),))
    assert not isinstance(found(("x-name", encoded(b"a")), entries=(entry,)), DenyEntry)


def test_a_mark_for_an_unknown_byte_is_no_value() -> None:
    entry = deny("/mcp", index=3, headers=(("x-name", "a!"),))
    assert found(("x-name", "a!"), entries=(entry, exchange("/", index=1)), raw=False) == AMBIGUOUS_HEADER
    assert found(("x-name", "b!"), entries=(entry, PLAIN), raw=False) == PLAIN
    assert found(("x-name", "b !"), entries=(entry, PLAIN), raw=False) == AMBIGUOUS_HEADER
    assert found(("x-name", "a!"), entries=(entry,)) == entry


def test_more_headers_come_first_and_as_many_conflict() -> None:
    both = (("mcp-name", "delete_order"), ("mcp-method", "tools/call"))
    assert found(*both, entries=(PLAIN, DELETE, CALL)) == CALL
    assert found(both[0], entries=(PLAIN, DELETE, CALL)) == DELETE
    rival = exchange("/mcp", source=BLUE, headers=(("mcp-method", "tools/call"),))
    assert isinstance(found(*both, entries=(DELETE, rival)), Unhealthy)


@pytest.mark.parametrize(
    ("entries", "path"),
    [
        ((exchange("/mcp/x", source=BLUE), DELETE), "/mcp/x"),  # a longer prefix decides
        ((exchange("/", source=BLUE), deny("/m%63p", headers=(("mcp-name", "x"),))), "/m%63p"),
    ],
)
def test_doubt_counts_wherever_an_entry_matches_otherwise(entries: tuple[Entry, ...], path: str) -> None:
    assert found(("mcp-name", "a,b"), entries=entries, path=path) == AMBIGUOUS_HEADER
    assert found(("mcp-name", "a"), entries=entries, path=path) not in {AMBIGUOUS_HEADER, DELETE}


@pytest.mark.parametrize("name", ["accept", "user_agent"])
def test_doubt_on_a_wildcard_counts_only_where_no_nearer_host_decides(name: str) -> None:
    wide = deny("/", source=BLUE, host="*.example.com", headers=((name, "x"),))
    longer = deny("/", source=BLUE, index=2, host="*.eu.example.com", headers=(("x-other", "x"),))
    nearest = exchange("/mcp", index=1, host="*.eu.example.com")
    snapshot = snapshot_of(nearest, PLAIN, wide, longer)
    fields = HeaderFields((("accept", "text/html, */*"), ("user-agent", "curl")), raw=True)

    assert snapshot.match(HOST, "/mcp", "POST", headers=fields) == PLAIN
    assert snapshot.match("x.eu.example.com", "/mcp", "POST", headers=fields) == nearest
    assert snapshot.match(HOST, "/other", "POST", headers=fields) == AMBIGUOUS_HEADER
    nearer = attrs.evolve(fields, fields=(*fields.fields, ("x-other", "1"), ("x-other", "2")))
    assert snapshot.match("x.eu.example.com", "/mcp", "POST", headers=nearer) == AMBIGUOUS_HEADER


def test_an_invalid_entry_closes_whatever_the_headers_are() -> None:
    closed = snapshot_of(DELETE, closed_scope("/mcp", source=BLUE))
    assert isinstance(closed.match(HOST, "/mcp", "POST", headers=HeaderFields((("mcp-name", "a,b"),))), Unhealthy)


def test_long_or_unprintable_headers_are_no_matches() -> None:
    assert name_problem("a" * 257) == name_problem("a b") == name_problem("") == "is not a header name"
    assert value_problem("a\x7f") == "has a character that headers cannot have"
    assert value_problem("a" * 4097).startswith("is longer")
    items = ", ".join(f"{{name: x{number}, value: a}}" for number in range(9))
    (problem,) = parsed(f"version: v1\nentries: [{{match: {{host: a, pathPrefix: /, headers: [{items}]}}, action: deny}}]").problems
    assert problem.reason == "entries[0].match.headers has more than 8 headers"


def test_what_came_before_says_why_an_entry_did_not_win() -> None:
    segment = deny("/mcp", source=BLUE, index=1, path_type=PathType.SEGMENT)
    wide = deny("/mcp", source=BLUE, index=2, host="*.example.com")
    closed = closed_scope("/mcp", source=BLUE, index=3, host="*.example.com")
    snapshot = snapshot_of(PLAIN, DELETE, segment, wide, closed)
    fields = HeaderFields((("mcp-name", "delete_order"),))
    why = {(one.claim.source, one.claim.index): one.why for one in explain(snapshot, HOST, "/mcp", "POST", headers=fields).candidates}
    assert why[PLAIN.source, 0] == "an entry with this pathPrefix matches more closely: by whole segments, or as written"
    assert why[wide.source, 2] == "an entry for the host itself, or for a longer wildcard, matches"
    assert why[closed.source, 3].startswith("it cannot be understood, but an entry for a nearer host decides the request")
    without = snapshot_of(PLAIN, DELETE)
    assert [one.why for one in explain(without, HOST, "/mcp", "POST", headers=fields).candidates][1] == "an entry with more headers matches"
    assert [one.why for one in explain(without, HOST, "/mcp", "POST").candidates][1] == (
        "the request does not have its headers (mcp-name) with their values"
    )


def test_a_policy_says_whether_it_needs_headers() -> None:
    plain, naming = snapshot_of(PLAIN), snapshot_of(PLAIN, DELETE)
    held = attrs.evolve(plain, settled=naming)
    assert [one.needs_headers for one in (PolicySnapshot.EMPTY, plain, naming, held)] == [False, False, True, True]


def test_many_combinations_and_spellings_do_not_decide_a_request() -> None:
    pairs = [(f"y-{number:02}", "1") for number in range(14)]
    for number in range(1, 5):
        some = tuple(deny("/mcp", index=index, headers=headers) for index, headers in enumerate(combinations(pairs[:5], number)))
        assert found(*pairs[:number], entries=some) == some[0]
        assert found(*pairs[5:], entries=(*some, exchange("/", source=BLUE))) == exchange("/", source=BLUE)


def test_a_long_host_limits_how_many_interpretations_a_path_has() -> None:
    path = "/a%2561;b/./c"  # 12 interpretations
    for labels in (8, MAX_LOOKUPS // 12, MAX_LOOKUPS // 12 + 1, 100):
        host = ".".join(["a"] * labels)
        policy = snapshot_of(exchange("/", host=host))
        fits = labels <= MAX_LOOKUPS // 12
        assert policy.match(host, path, "GET", raw=True) == (exchange("/", host=host) if fits else AMBIGUOUS_PATH)
        assert policy.match(host, "/a", "GET", raw=True) == exchange("/", host=host)
