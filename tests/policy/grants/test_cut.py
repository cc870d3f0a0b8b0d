"""What grants take away is cut at look-up until documents are held against them: from both decisions of HEAD, and at a bounded cost."""

import pytest
from exchanger.policy.grants.restriction import Cut, restrict, restrict_again
from rpds import HashTrieMap

from exchanger.assembly.assembler import changed_allowances
from exchanger.policy.documents.document import parse_document
from exchanger.policy.grants import restriction
from exchanger.policy.grants.allowance import UNLIMITED, Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import DenyEntry, Entry, ExchangeEntry, MatchScope, Source
from exchanger.values.verdict import Unhealthy

A, B, C = Source("a", "p"), Source("b", "p"), Source("c", "p")


def grants_of(*items: str) -> Grants:
    grants = read_grants("version: v1\ngrants:\n" + "".join(f"- {item}\n" for item in items), has_labels=True)
    assert isinstance(grants, Grants)
    return grants


def entry(match: str, audience: str | None) -> str:
    action = "action: deny" if audience is None else f"action: exchange, exchange: {{issuerRef: i, audiences: [{audience}]}}"
    return f"- {{match: {{host: h, {match}}}, {action}}}\n"


def versions(texts: dict[Source, str], before: Grants, after: Grants) -> tuple[PolicySnapshot, PolicySnapshot]:
    """Return the policy under ``before``, cut by ``after``, and the one whose documents are held against ``after``."""
    old = new = PolicySnapshot.EMPTY
    for source, entries in texts.items():
        document = restrict(parse_document(source, f"version: v1\nentries:\n{entries}", frozenset({"i"})), before, ())
        old, new = old.apply(document), new.apply(restrict_again(document, after))
    return old.cut_by(Cut(HashTrieMap(changed_allowances(old, {}, before, after)), after.denials)), new


def test_head_is_cut_with_what_get_loses() -> None:
    one = "{{namespaces: [a], hosts: [h], issuers: [i], audiences: {}}}"
    text = entry("pathPrefix: /x, methods: [GET]", "one") + entry("pathPrefix: /x, methods: [HEAD]", "two")
    cut, held = versions({A: text}, grants_of(one.format("[one, two]")), grants_of(one.format("[two]")))
    for method in ("GET", "HEAD"):
        assert isinstance(cut.match("h", "/x", method), Unhealthy)
    assert isinstance(held.match("h", "/x", "HEAD"), Unhealthy)


def test_head_is_not_open_where_a_lost_entry_for_get_uncovers_a_denial() -> None:
    others = "{namespaces: [b, c], hosts: [h], issuers: [i], audiences: ['*']}"
    own = "{{namespaces: [a], hosts: [{}], issuers: [i], audiences: ['*']}}"
    texts = {
        A: entry("pathPrefix: /x/y, methods: [GET]", "one"),
        B: entry("pathPrefix: /x/y, methods: [HEAD]", "two"),
        C: entry("pathPrefix: /x", None),
    }
    cut, held = versions(texts, grants_of(others, own.format("h")), grants_of(others, own.format("other")))
    assert isinstance(held.match("h", "/x/y", "HEAD"), DenyEntry)
    assert isinstance(cut.match("h", "/x/y", "HEAD"), Unhealthy | DenyEntry)


def test_a_request_under_a_cut_walks_no_granted_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """9,900 prefixes took 83 ms for each request."""
    kept = ", ".join(f"/{number}" for number in range(50))
    one = "{{namespaces: [a], hosts: [h], issuers: [i], audiences: ['*'], pathPrefixes: [{}]}}"
    cut, _ = versions({A: entry("pathPrefix: /zzz", "one")}, grants_of(one.format(f"/zzz, {kept}")), grants_of(one.format(kept)))

    def walked(*_: object) -> None:
        raise AssertionError("the parts of an entry do not matter here")

    monkeypatch.setattr(restriction, "_intersections", walked)
    assert isinstance(cut.match("h", "/zzz/a", "GET"), Unhealthy)


@pytest.mark.parametrize(("method", "judged"), [("GET", 1), ("HEAD", 2)])
def test_what_is_found_is_judged_once(monkeypatch: pytest.MonkeyPatch, method: str, judged: int) -> None:
    both = "{namespaces: [a], hosts: [h], issuers: [i], audiences: ['*']}"
    text = entry("pathPrefix: /x, methods: [GET]", "one") + entry("pathPrefix: /x, methods: [HEAD]", "two")
    cut, _ = versions({A: text}, grants_of(both), grants_of(both.replace("'*'", "one, two")))
    found, spares = list[Entry](), Cut.spares

    def counted(cut: Cut, entry: Entry, path: str) -> bool:
        found.append(entry)
        return spares(cut, entry, path)

    monkeypatch.setattr(Cut, "spares", counted)
    assert isinstance(cut.match("h", "/x", method), ExchangeEntry)
    assert len(found) == judged


def test_a_document_that_leaves_closes_nothing_through_a_broken_one_beside_it() -> None:
    """A region of unknown host spares what another namespace decides, also where that is decided only without the leaving document."""
    snapshot = PolicySnapshot.EMPTY
    for source, text in ((A, f"entries:\n{entry('pathPrefix: /x/y', None)}"), (B, f"entries:\n{entry('pathPrefix: /x', None)}")):
        snapshot = snapshot.apply(parse_document(source, f"version: v1\n{text}", frozenset()))
    snapshot = snapshot.apply(parse_document(Source("a", "broken"), "version: v2", frozenset()))
    assert snapshot.leave(A).match("h", "/x/y", "GET") == snapshot.withdraw(A).match("h", "/x/y", "GET")


def test_report_mode_and_namespaces_without_limits_are_cut_by_nothing() -> None:
    (allowance,) = grants_of("{namespaces: [a], hosts: [other], actions: [deny]}").allowances("a", ())
    denial = DenyEntry(A, 0, MatchScope("h", "/x"))
    assert not Cut(HashTrieMap({"a": (allowance,)})).spares(denial, "/x")
    assert Cut(HashTrieMap({"a": (allowance,)}), enforced=False).spares(denial, "/x")
    assert Cut(HashTrieMap({"a": (UNLIMITED,)})).spares(denial, "/x")


def test_a_plain_prefix_that_is_granted_by_whole_segments_is_cut_beside_them() -> None:
    (allowance,) = grants_of("{namespaces: [a], hosts: [h], pathPrefixes: [/x], actions: [deny]}").allowances("a", ())
    cut, denial = Cut(HashTrieMap({"a": (allowance,)})), DenyEntry(A, 0, MatchScope("h", "/x"))
    assert cut.spares(denial, "/x/y")
    assert cut.spares(denial, "/x?y")
    assert not cut.spares(denial, "/xy")
