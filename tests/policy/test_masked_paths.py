"""A ``!`` in a path that is not raw may stand for a byte that is not UTF-8: Envoy's ext_authz replaces each of them so."""

from unittest import mock

import attrs
import pytest

from exchanger.model.entry import AllowEntry, DenyEntry, PathType
from exchanger.model.policy_decision import AMBIGUOUS_AUTHORITY, AMBIGUOUS_HEADER, AMBIGUOUS_PATH, NO_MATCH, Ambiguous, Unhealthy
from exchanger.model.request import HeaderFields
from exchanger.policy.grants.allowance import NamespaceGrant
from exchanger.policy.interpretation import MAX_MARKER_WORK, MAX_MARKERS, MAX_POSSIBLE
from exchanger.policy.lookup import Walk
from tests.policy.examples import (
    ANYTHING,
    BLUE,
    EVERYTHING_GRANTED,
    HOST,
    RED,
    allow,
    closed_scope,
    deny,
    exchange,
    snapshot_of,
    with_baseline,
)

ORDERS, ADMIN = exchange("/orders"), deny("/admin", index=1)
POLICY = snapshot_of(ORDERS, ADMIN)


@pytest.mark.parametrize("path", ["/adm!in", "/!admin", "/!!admin", "/.!./admin", "/x/.!./admin/y", "/!/admin", "/ad!%6din", "/adm!in?x=1"])
def test_masked_bytes_that_a_server_drops_hide_nothing(path: str) -> None:
    assert POLICY.match(HOST, path, "GET") is AMBIGUOUS_PATH


@pytest.mark.parametrize("path", ["/orders/hi!", "/orders!", "/orders/!/x?y=!", "/orders?a=!"])
def test_a_mark_that_makes_no_difference_is_unchanged(path: str) -> None:
    assert POLICY.match(HOST, path, "GET") is ORDERS
    assert POLICY.match(HOST, path, "GET", raw=True) is ORDERS


def test_a_raw_path_has_no_masks() -> None:
    assert POLICY.match(HOST, "/adm!in", "GET", raw=True) is NO_MATCH
    assert POLICY.match(HOST, "/x?/adm!in", "GET") is NO_MATCH
    assert POLICY.match(HOST, "/hello!", "GET") is NO_MATCH


@pytest.mark.parametrize("prefix", ["/café", "/caf%C3%A9", "/caf!"])
def test_a_mark_may_be_a_character_beyond_ascii(prefix: str) -> None:
    policy = snapshot_of(deny(prefix), exchange("/", source=BLUE))
    for path in ("/caf!", "/caf!/x", "/x/../caf!", "/caf!?x"):
        assert policy.match(HOST, path, "GET") is AMBIGUOUS_PATH
    for path in ("/cafe!", "/caf", "/ca!", "/cafe"):
        assert policy.match(HOST, path, "GET") == exchange("/", source=BLUE)


@pytest.mark.parametrize(
    ("path", "disputed"), [("/hi!/x", True), ("/hi!!", True), ("/hi/x!", False), ("/!hi", True), ("/h!i!", True), ("/hello!", False)]
)
def test_a_prefix_with_a_mark_is_one_way_to_read_it(path: str, *, disputed: bool) -> None:
    policy = snapshot_of(exchange("/h"), deny("/hi!", index=1))
    assert (policy.match(HOST, path, "GET") is AMBIGUOUS_PATH) == disputed
    assert policy.match(HOST, "/hi!/x", "GET", raw=True) == deny("/hi!", index=1)


@pytest.mark.parametrize("path", ["/hi!/adm!in", "/!hi!/admin", "/x/.!./hi!/admin", "/hi!//admin!", "/;x!/hi!/admin"])
def test_a_prefix_with_a_mark_is_not_passed_by_other_marks(path: str) -> None:
    assert snapshot_of(deny("/hi!/admin")).match(HOST, path, "GET") is AMBIGUOUS_PATH


def test_the_query_keeps_its_marks() -> None:
    policy = snapshot_of(exchange("/o"), deny("/o?admin", index=1), deny("/o?q=é", index=2), deny("/o?x!y", index=3))
    assert policy.match(HOST, "/o?adm!in", "GET") == exchange("/o")
    assert policy.match(HOST, "/o?!admin", "GET") == exchange("/o")
    assert policy.match(HOST, "/o!?!admin", "GET") == exchange("/o")
    assert policy.match(HOST, "/o?x!y", "GET") is AMBIGUOUS_PATH  # it may be another character, too
    assert policy.match(HOST, "/o?x!y", "GET", raw=True) == deny("/o?x!y", index=3)
    assert policy.match(HOST, "/o?q=!", "GET") is AMBIGUOUS_PATH
    assert policy.match(HOST, "/o!?admin", "GET") is AMBIGUOUS_PATH
    assert policy.match(HOST, "/o!?x!y", "GET") is AMBIGUOUS_PATH


def test_a_path_that_is_malformed_without_its_marks_is_refused() -> None:
    policy = snapshot_of(exchange("/"))
    assert policy.match(HOST, f"/{'a' * 9_000}/!/x", "GET") is AMBIGUOUS_PATH
    assert policy.match(HOST, f"/{'a' * 9_000}/!x", "GET") == exchange("/")
    assert policy.match(HOST, "/x#!", "GET") is AMBIGUOUS_PATH
    assert policy.match(HOST, "/%!41", "GET") is AMBIGUOUS_PATH


def test_marks_are_bounded() -> None:
    policy = snapshot_of(exchange("/"))
    assert policy.match(HOST, "/a" + "!" * MAX_MARKERS, "GET") == exchange("/")
    assert policy.match(HOST, "/a" + "!" * (MAX_MARKERS + 1), "GET") is AMBIGUOUS_PATH
    assert policy.match(HOST, "/a" + "!" * (MAX_MARKERS + 1), "GET", raw=True) == exchange("/")
    assert policy.match(HOST, "/a?" + "!" * (MAX_MARKERS + 1), "GET") == exchange("/")


@pytest.mark.parametrize(
    "prefixes",
    [
        [f"/{chr(0x4E00 + number)}" for number in range(MAX_MARKER_WORK + 1)],
        ["/" + "".join("!" * (number >> bit & 1) + "a" for bit in range(10)) for number in range(1024)],
    ],
)
def test_the_work_that_a_policy_makes_of_marks_is_bounded(prefixes: list[str]) -> None:
    policy = snapshot_of(*(exchange(prefix, index=index) for index, prefix in enumerate(prefixes)))
    assert policy.match(HOST, "/" + "!a" * 10, "GET") is AMBIGUOUS_PATH
    assert policy.match("other.example.com", "/!", "GET") is NO_MATCH


@pytest.mark.parametrize("count", [1, MAX_POSSIBLE - 3, MAX_POSSIBLE, 2 * MAX_POSSIBLE])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_possible_paths_of_a_mark_are_looked_up_within_a_bound(count: int, method: str) -> None:
    policy = snapshot_of(
        *(exchange(prefix, index=index) for index, prefix in enumerate(["/", *(f"/{chr(0x4E00 + n)}" for n in range(count))]))
    )
    with mock.patch.object(Walk, "decision", autospec=True, side_effect=Walk.decision) as looked_up:
        decision = policy.match(HOST, "/!", method)

    assert decision is AMBIGUOUS_PATH  # some exchange for another entry
    assert looked_up.call_count <= MAX_POSSIBLE + 4
    interpretations = [(one.path, one.rewritten) for _, one in (call.args for call in looked_up.call_args_list)]
    assert len(set(interpretations)) == len(interpretations), "one interpretation is looked up twice"


@pytest.mark.parametrize("prefixes", [["/éb", "/éя"], ["/é/b", "/é"], ["/éb/c", "/é%62"]])
@pytest.mark.parametrize("path_type", [PathType.PREFIX, PathType.SEGMENT])
def test_each_prefix_that_a_mark_may_hide_is_compared(prefixes: list[str], path_type: PathType) -> None:
    allowed = [allow("/", index=0), *(allow(prefix, index=index) for index, prefix in enumerate(prefixes, 1))]
    assert snapshot_of(*allowed).match(HOST, "/!b/c", "GET") == allow("/", index=0)
    denied = snapshot_of(*allowed, deny("/я" if path_type is PathType.PREFIX else "/яb", index=9, path_type=path_type))
    assert denied.match(HOST, "/!b/c", "GET") is AMBIGUOUS_PATH
    assert denied.match(HOST, "/яb/c", "GET", raw=True) == deny(
        "/я" if path_type is PathType.PREFIX else "/яb", index=9, path_type=path_type
    )


def test_a_prefix_within_which_an_entry_counts_may_be_hidden() -> None:
    granted = NamespaceGrant(frozenset({"blue"}), None, ANYTHING, ("/é",))
    grants = attrs.evolve(EVERYTHING_GRANTED, grants=(attrs.evolve(EVERYTHING_GRANTED.grants[0], namespaces=frozenset({"red"})), granted))
    policy = snapshot_of(allow("/"), deny("/", source=BLUE)).with_grants(grants)
    assert policy.match(HOST, "/é/x", "GET", raw=True) is not allow("/")
    assert not isinstance(policy.match(HOST, "/!/x", "GET"), AllowEntry)


def test_the_baseline_compares_each_prefix_that_a_mark_may_hide() -> None:
    policy = with_baseline(snapshot_of(), deny("/éb/c"), deny("/é", index=1, methods=frozenset({"PUT"})))
    assert policy.match(HOST, "/!b/c", "GET") == deny("/éb/c")
    assert policy.match(HOST, "/!b", "PUT") == deny("/é", index=1, methods=frozenset({"PUT"}))
    assert policy.match(HOST, "/orders", "PUT") is NO_MATCH
    denials = [deny(f"/{chr(0x4E00 + number)}/x", index=number) for number in range(MAX_MARKER_WORK + 1)]
    crowded = with_baseline(snapshot_of(), *denials)
    assert crowded.match(HOST, "/!/y", "GET") is NO_MATCH
    assert isinstance(crowded.match(HOST, "/!/x", "GET"), DenyEntry | Ambiguous)


def test_a_marked_header_value_may_be_any_value_that_entries_name() -> None:
    named = exchange("/", headers=(("x-tool", "café"),)), deny("/", index=1, headers=(("x-tool", "delete"),)), allow("/", index=2)
    policy = snapshot_of(*named)
    for value in ("caf!", "c!af!", "del!ete", "delete!", "!cafe!"[:5]):
        fields = HeaderFields((("x-tool", value),))
        expected: object = named[2] if value == "!cafe" else AMBIGUOUS_HEADER
        assert policy.match(HOST, "/", "GET", headers=fields) == expected, value
        assert policy.match(HOST, "/", "GET", headers=attrs.evolve(fields, raw=True)) == named[2]
    left = snapshot_of(*named[1:])
    assert left.match(HOST, "/", "GET", headers=HeaderFields((("x-tool", "caf!"),))) == named[2]


def test_closed_scopes_of_unknown_host_follow_the_interpretation() -> None:
    policy = snapshot_of(exchange("/"), closed_scope("/caf\u00e9", source=BLUE, host=None))
    assert policy.match(HOST, "/caf!", "GET") == exchange("/")
    assert policy.match("other.example.com", "/caf!", "GET") == Unhealthy(f"fail-closed scope of {BLUE}", BLUE, 0)
    many = [closed_scope(f"/{chr(0x4E00 + number)}", source=BLUE, index=number, host=None) for number in range(MAX_MARKER_WORK + 1)]
    few, crowded = snapshot_of(exchange("/"), *many[: MAX_POSSIBLE // 2]), snapshot_of(exchange("/"), *many)
    assert few.match(HOST, "/!", "GET") == exchange("/")
    assert isinstance(few.match("other.example.com", "/!", "GET"), Unhealthy)
    for host in (HOST, "other.example.com"):
        assert crowded.match(host, "/!", "GET") is AMBIGUOUS_PATH


@pytest.mark.parametrize("host", ["api!example.com", "!api.example.com", "api.example.com!", "[2001:db8::1!]", "!"])
def test_an_authority_with_a_mark_is_refused_whatever_the_policy(host: str) -> None:
    assert POLICY.match(host, "/orders", "GET") is AMBIGUOUS_AUTHORITY
    assert snapshot_of().match(host, "/orders", "GET", raw=True) is AMBIGUOUS_AUTHORITY
    assert isinstance(snapshot_of(closed_scope("", source=RED, host=None)).match(host, "/orders", "GET"), Unhealthy)
