from collections.abc import Callable
from typing import assert_type

import attrs
import pytest

from exchanger.model.entry import UNKNOWN_NAMESPACE, Claim, DenyEntry, PathType, Source
from exchanger.model.policy_decision import AMBIGUOUS_AUTHORITY, AMBIGUOUS_PATH, NO_MATCH, PolicyDecision, Unhealthy
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from tests.policy.examples import BLUE, HOST, RED, closed_scope, deny, exchange, parsed, snapshot_of, with_baseline, with_documents, without

ORDERS, ADMIN = exchange("/orders"), deny("/admin", index=1)
POLICY = snapshot_of(ORDERS, ADMIN)


def test_an_empty_policy_matches_nothing() -> None:
    assert_type(PolicySnapshot.EMPTY.match(HOST, "/", "GET"), PolicyDecision)
    assert PolicySnapshot.EMPTY.match(HOST, "/", "GET") is NO_MATCH
    assert PolicySnapshot.EMPTY.match(HOST, "//%zz#", "GET") is NO_MATCH
    assert PolicySnapshot.EMPTY.match("", "/", "GET") is NO_MATCH
    assert POLICY.match("other.example.com", "//orders/%zz#", "GET") is NO_MATCH


def test_a_malformed_authority_is_refused_whatever_the_policy() -> None:
    assert PolicySnapshot.EMPTY.match("a,b", "/", "GET") is AMBIGUOUS_AUTHORITY
    assert POLICY.match("user@api.example.com", "/orders", "GET") is AMBIGUOUS_AUTHORITY


def test_closed_scopes_for_all_hosts_reach_a_malformed_authority() -> None:
    policy = snapshot_of(closed_scope("/orders", host=None, methods=frozenset({"GET"})))
    assert policy.match("a,b", "/orders", "GET") == Unhealthy(f"fail-closed scope of {RED}", RED, 0)
    assert policy.match("a,b", "/orders", "PUT") is AMBIGUOUS_AUTHORITY
    assert policy.match("a,b", "/x", "GET") is AMBIGUOUS_AUTHORITY
    assert policy.match("", "/orders", "GET") == Unhealthy(f"fail-closed scope of {RED}", RED, 0)
    assert POLICY.match("", "/orders", "GET") is NO_MATCH


def test_the_raw_path_is_looked_up_in_closed_scopes_even_when_malformed() -> None:
    policy = snapshot_of(closed_scope("/orders"))
    assert policy.match(HOST, "/orders#f", "GET") == Unhealthy(f"fail-closed scope of {RED}", RED, 0)
    assert policy.match(HOST, "/other#f", "GET") is AMBIGUOUS_PATH


@pytest.mark.parametrize("path", ["/sale-50%", "/x%0Ay", "/%FF", "/#", "/" + "a;" * 9_000, "/!" * 65])
@pytest.mark.parametrize("host", ["b.example.com", "*.b.example.com"])
def test_a_closed_scope_of_unknown_host_refuses_nothing_outside_its_paths(host: str, path: str) -> None:
    closed = attrs.evolve(closed_scope("/b", source=BLUE, host=host), guessed=True)
    for policy in (snapshot_of(closed), snapshot_of(closed, ORDERS)):
        assert policy.match("a.example.com", path, "GET") is NO_MATCH
        assert policy.match(host.replace("*", "x"), path, "GET") is AMBIGUOUS_PATH


def test_an_unhealthy_reading_makes_the_request_unhealthy() -> None:
    policy = snapshot_of(ORDERS, closed_scope("/closed", index=1))
    assert policy.match(HOST, "/orders/../closed", "GET") == Unhealthy(f"fail-closed scope of {RED}", RED, 1)
    assert policy.match(HOST, "/x/%2e%2e/orders/%2e%2e/closed", "GET") == Unhealthy(f"fail-closed scope of {RED}", RED, 1)


CONNECT = frozenset({"CONNECT"})


@pytest.mark.parametrize("path", ["/orders", "/", "", "*"])
def test_connect_has_no_path_whatever_a_gateway_states_for_it(path: str) -> None:
    for policy in (POLICY, snapshot_of(deny("", methods=CONNECT)), snapshot_of(exchange("", methods=CONNECT))):
        assert policy.match(HOST, path, "CONNECT") is AMBIGUOUS_PATH
        assert policy.match("other.example.com", path, "CONNECT") is NO_MATCH
    closed = snapshot_of(closed_scope("", methods=CONNECT), closed_scope("/orders", source=BLUE))
    assert closed.match(HOST, path, "CONNECT") == Unhealthy(f"fail-closed scope of {RED}", RED, 0)
    assert with_baseline(POLICY, deny("")).match(HOST, path, "CONNECT") == deny("")
    assert with_baseline(POLICY, deny("/orders")).match(HOST, path, "CONNECT") is AMBIGUOUS_PATH


PATH_TYPE_HIT = {
    PathType.PREFIX: {"/a", "/a/", "/a/b", "/ab", "/a?x"},
    PathType.SEGMENT: {"/a", "/a/", "/a/b", "/a?x"},
    PathType.EXACT: {"/a", "/a?x"},
}


@pytest.mark.parametrize("path_type", PathType)
def test_a_path_type_says_what_a_prefix_covers(path_type: PathType) -> None:
    entry = deny("/a", path_type=path_type)
    paths = ["/a", "/a/", "/a/b", "/ab", "/a?x", "/A", "/", "/b?/a"]
    assert {path for path in paths if snapshot_of(entry).match(HOST, path, "GET") == entry} == PATH_TYPE_HIT[path_type]


def test_the_closest_path_type_decides() -> None:
    prefix, segment, exact = (deny("/a", index=index, path_type=path_type) for index, path_type in enumerate(PathType))
    snapshot = snapshot_of(prefix, segment, exact)
    assert [snapshot.match(HOST, path, "GET") for path in ("/a", "/a/b", "/ab")] == [exact, segment, prefix]


@pytest.mark.parametrize("first", [0, 1])
def test_whole_segments_of_the_root_go_before_the_prefix_of_the_root(first: int) -> None:
    everything = (deny("", index=first, path_type=PathType.SEGMENT), exchange("/", index=1 - first))
    exact = deny("/", index=2, path_type=PathType.EXACT)
    beside = deny("/b", source=BLUE, case_insensitive=True)
    for policy in (snapshot_of(*everything, exact), snapshot_of(*everything, exact, beside)):
        assert [policy.match(HOST, path, "GET") for path in ("/a", "/a?x", "/")] == [everything[0], everything[0], exact]
    limited = snapshot_of(attrs.evolve(everything[0], match=attrs.evolve(everything[0].match, methods=frozenset({"PUT"}))), everything[1])
    assert limited.match(HOST, "/a", "GET") == everything[1]


def test_a_prefix_may_reach_into_the_query() -> None:
    entry = deny("/orders?admin", index=2)
    policy = snapshot_of(ORDERS, entry)
    assert policy.match(HOST, "/orders?admin=1", "GET") is entry
    assert policy.match(HOST, "/orders?x", "GET") is ORDERS
    assert policy.match(HOST, "/orders/.?admin", "GET") is ORDERS
    assert policy.match(HOST, "/x/../orders?admin", "GET") is AMBIGUOUS_PATH


@pytest.mark.parametrize("theirs", ["/orders%2f", "/orders%2F1", "/%6frders", "/%6Frders/", "/orders%3F", "/orders%3Fx%3d", "/%2e/orders"])
@pytest.mark.parametrize("claim", [deny, exchange, closed_scope])
def test_nobodys_escapes_reach_into_requests_that_match_another_entry(theirs: str, claim: Callable[..., Claim]) -> None:
    policy = snapshot_of(ORDERS, claim(theirs, source=BLUE))
    for path in ("/orders", "/orders/1", "/orders?x=1", "/orders/~joe?x"):
        assert policy.match(HOST, path, "GET") is ORDERS
    assert policy.match(HOST, theirs + "/x", "GET") not in {ORDERS, NO_MATCH}


def test_an_escaped_prefix_is_not_passed_by_another_spelling() -> None:
    policy = snapshot_of(ORDERS, deny("/orders%3Fadmin", index=1), deny("/orders%2Fsecret", index=2))
    for path in ("/orders%3fadmin", "/%6frders%3Fadmin", "/orders%2fsecret", "/order%73/secret", "/orders//secret"):
        decision = policy.match(HOST, path, "GET")
        assert decision is AMBIGUOUS_PATH or isinstance(decision, DenyEntry), path
    assert policy.match(HOST, "/orders/secret", "GET") is ORDERS


def test_an_unknown_document_that_goes_changes_nothing() -> None:
    assert without(POLICY, BLUE).hosts is POLICY.hosts
    assert set(without(POLICY, BLUE).namespaces) == {"red"}
    empty = without(POLICY, RED)
    assert (empty.document_count, len(empty.namespaces), bool(empty.hosts)) == (0, 0, False)


@pytest.mark.parametrize("text", ["nonsense: [", None])
@pytest.mark.parametrize(
    ("source", "reach", "is_spared"),
    [
        (BLUE, UnreadableReach.UNMATCHED, True),  # what an entry of another namespace decides
        (attrs.evolve(RED, name="another"), UnreadableReach.UNMATCHED, False),
        (Source(UNKNOWN_NAMESPACE, "broken.yaml"), UnreadableReach.UNMATCHED, False),
        (BLUE, UnreadableReach.GLOBAL, False),
    ],
)
def test_an_unreadable_document_closes_what_it_may_be_about(
    text: str | None, source: Source, reach: UnreadableReach, is_spared: bool
) -> None:
    policy = with_documents(POLICY.reaching(reach), parsed(text, source))
    for host, path in ((HOST, "/elsewhere"), ("other.example.com", "/orders"), ("", "/"), ("a,b", "/orders")):
        assert isinstance(policy.match(host, path, "GET"), Unhealthy)
    for entry in (ORDERS, ADMIN):
        decision = policy.match(HOST, entry.match.path_prefix, "GET")
        assert decision is entry if is_spared else isinstance(decision, Unhealthy)
    assert without(policy, source).match(HOST, "/orders", "GET") is ORDERS


def test_another_text_with_the_same_meaning_changes_the_document_alone() -> None:
    first = with_documents(POLICY, PolicyDocument(RED, (ORDERS,), text="one"))
    second = with_documents(first, PolicyDocument(RED, (ORDERS,), text="another"))
    document = second.document(RED)
    assert document is not None
    assert document.text == "another"
    assert second.hosts is first.hosts
    assert (second.entry_count, second.invalid_documents) == (first.entry_count, first.invalid_documents)


def test_the_newest_snapshot_is_active_and_callbacks_learn_of_it() -> None:
    current = CurrentPolicy()
    first: list[PolicySnapshot] = []
    second: list[PolicySnapshot] = []
    current.on_change(first.append)
    current.publish(PolicySnapshot.EMPTY)
    current.on_change(second.append)
    newest = snapshot_of(deny("/"))
    current.publish(newest)
    assert current.snapshot is newest
    assert first == [PolicySnapshot.EMPTY, newest]
    assert second == [newest]


def test_a_required_policy_without_an_entry_is_inactive() -> None:
    current = CurrentPolicy(required=True)
    told: list[PolicySnapshot] = []
    current.on_change(told.append)
    assert not current.is_missing

    versions = [(PolicySnapshot.EMPTY, False), (snapshot_of(deny("/")), True), (PolicySnapshot.EMPTY, False)]
    for step, (publish, decides) in enumerate(versions):
        current.publish(publish)
        assert (current.newest, current.is_missing) == (publish, not decides)
        assert current.snapshot is (publish if decides else None)
        assert len(told) == step + 1

    current.clear()
    assert (current.snapshot, current.newest) == (None, None)
    assert not current.is_missing


def test_a_published_snapshot_gets_the_operators_reach() -> None:
    current = CurrentPolicy(reach=UnreadableReach.GLOBAL)
    seen: list[PolicySnapshot] = []
    current.on_change(seen.append)
    current.publish(PolicySnapshot.EMPTY)
    assert current.snapshot is not None
    assert current.snapshot.reach is UnreadableReach.GLOBAL
    assert seen == [current.snapshot]
    assert CurrentPolicy().reach is UnreadableReach.UNMATCHED
