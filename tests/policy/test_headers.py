"""Headers of a match: what counts as a value without doubt, and which entry comes first."""

import base64

import pytest

from exchanger.policy.headers import MAX_WORK
from exchanger.values.entry import DenyEntry, Entry
from exchanger.values.headers import HeaderFields
from exchanger.values.verdict import AMBIGUOUS_HEADER, Unhealthy, Verdict
from tests.policy.examples import BLUE, HOST, deny, exchange, region, snapshot_of

PLAIN = exchange("/mcp")
DELETE = deny("/mcp", index=1, headers=(("mcp-name", "delete_order"),))
CALL = exchange("/mcp", index=2, headers=(("mcp-method", "tools/call"), ("mcp-name", "delete_order")))


def found(*fields: tuple[str, str], entries: tuple[Entry, ...] = (PLAIN, DELETE), raw: bool = True, path: str = "/mcp") -> Verdict:
    return snapshot_of(*entries).match(HOST, path, "POST", headers=HeaderFields(tuple(fields), raw=raw))


def encoded(text: bytes, scheme: str = "base64") -> str:
    return f"=?{scheme}?{base64.b64encode(text).decode()}?="


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ((), PLAIN),
        ((("MCP-Name", "delete_order"),), DELETE),
        ((("mcp-name", "Delete_Order"),), PLAIN),
        ((("mcp-name", ""),), PLAIN),
        ((("mcp-name", "delete_order"), ("accept", "a, b"), ("accept", "c")), DELETE),  # no entry names this one
        ((("mcp-name", "delete_order"), ("mcp-name", "delete_order")), AMBIGUOUS_HEADER),
        ((("mcp-name", "delete_order, x"),), AMBIGUOUS_HEADER),
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
def test_a_value_counts_if_there_is_no_doubt_about_it(fields: tuple[tuple[str, str], ...], verdict: Verdict) -> None:
    assert found(*fields) == verdict


def test_only_headers_of_the_protocol_are_decoded() -> None:
    entry = deny("/mcp", headers=(("x-name", "a"),))
    assert not isinstance(found(("x-name", encoded(b"a")), entries=(entry,)), DenyEntry)


def test_a_mark_for_an_unknown_byte_is_no_value() -> None:
    entry = deny("/mcp", index=3, headers=(("x-name", "a!"),))
    assert found(("x-name", "a!"), entries=(entry, exchange("/", index=1)), raw=False) == AMBIGUOUS_HEADER
    assert found(("x-name", "b!"), entries=(entry, PLAIN), raw=False) == PLAIN
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
        ((exchange("/mcp", source=BLUE), deny("/", host="*.example.com", headers=(("mcp-name", "x"),))), "/mcp"),  # a nearer host does
        ((exchange("/", source=BLUE), deny("/m%63p", headers=(("mcp-name", "x"),))), "/m%63p"),
    ],
)
def test_doubt_counts_wherever_an_entry_matches_otherwise(entries: tuple[Entry, ...], path: str) -> None:
    assert found(("mcp-name", "a,b"), entries=entries, path=path) == AMBIGUOUS_HEADER
    assert found(("mcp-name", "a"), entries=entries, path=path) not in {AMBIGUOUS_HEADER, DELETE}


def test_an_invalid_entry_closes_whatever_the_headers_are() -> None:
    closed = snapshot_of(DELETE, region("/mcp", source=BLUE))
    assert isinstance(closed.match(HOST, "/mcp", "POST", headers=HeaderFields((("mcp-name", "a,b"),))), Unhealthy)


def test_no_policy_makes_a_request_expensive() -> None:
    names = [f"x-{number}" for number in range(MAX_WORK)]
    crowd = tuple(deny("/mcp", index=number, headers=((name, "1"), ("y", "2"))) for number, name in enumerate(names))
    fields = [*((name, "1") for name in names), ("y", "2")]
    assert found(*fields, entries=crowd) == AMBIGUOUS_HEADER
