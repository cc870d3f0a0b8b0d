"""Examples of the machine. Its laws are in ``tests/property/test_publish_history.py`` and ``test_publish_machine.py``."""

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from exchanger.model.codes.manifests import MANY_AREAS
from exchanger.model.entry import AllowEntry, DenyEntry, ExchangeEntry, MatchScope, Source
from exchanger.model.policy_decision import NoMatch, PolicyDecision, Unhealthy
from exchanger.model.selector import parse_selector
from exchanger.policy import selection
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.selection import DocumentText, Text, UnknownText
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.publish.build import FIRST_BUDGET_S, Build, Read
from exchanger.sources.publish.machine import GATHER_S, HOLD_S, STEP, Machine
from exchanger.sources.publish.pending import LIGHT_WORK, Lane
from tests.sources.publish.world import ALLOW, DENY, EXCHANGE, FREE, ISSUERS, World, begun, denial, is_refused, text_of
from tests.steps import MOST_CALLS, counted_calls

A, B, OTHER = Source("a", "p"), Source("a", "q"), Source("b", "p")


def decision(world: World, path: str, host: str = "h") -> PolicyDecision:
    assert world.active is not None
    return world.active.match(host, path, "GET")


# When a version is published.


def test_nothing_is_published_before_all_feeds_and_texts_are_complete() -> None:
    world = World(Machine("xy"))
    world.apply({A: denial("/a", LIGHT_WORK), OTHER: denial("/b")})
    world.catch_up("x")
    world.end()
    assert world.active is None
    world.apply({B: denial("/c", LIGHT_WORK)})
    world.catch_up("y")
    world.apply({Source("a", "r"): denial("/d", LIGHT_WORK)})  # which came too late to be waited for
    assert world.active is None
    world.finish("heavy", "build")
    assert world.machine.unread == 1
    assert [isinstance(decision(world, path), DenyEntry) for path in ("/a", "/b", "/c")] == [True, True, True]


def test_the_first_version_waits_only_for_texts_before_the_catch_up() -> None:
    world = World(Machine("x"))
    world.apply({A: denial("/old", LIGHT_WORK)})
    world.apply({A: denial("/new", LIGHT_WORK)})
    world.catch_up("x")
    world.finish("heavy")
    assert world.active is None
    world.apply({A: denial("/newest", LIGHT_WORK)})
    world.finish("heavy", "build")
    assert world.machine.unread == 1
    assert isinstance(decision(world, "/new"), DenyEntry)


def test_the_first_version_has_no_text_replaced_before_the_catch_up() -> None:
    world = World(Machine("x", ISSUERS))
    world.apply({A: text_of(EXCHANGE % "/a", size=LIGHT_WORK)})
    world.apply({A: denial("/a", LIGHT_WORK)})
    world.catch_up("x")
    world.finish("heavy")
    world.apply({B: denial("/a", LIGHT_WORK)})
    world.apply({A: None})  # the denial moves, and its text is not read any more
    world.finish("heavy", "build")
    assert world.active is None
    world.finish("heavy", "build")
    assert isinstance(decision(world, "/a"), DenyEntry)


def test_an_edit_that_waits_does_not_excuse_the_text_it_replaces() -> None:
    world = World(Machine("x"))
    world.apply({OTHER: denial("/b", LIGHT_WORK), A: denial("/a", LIGHT_WORK)})
    world.catch_up("x")
    world.apply({A: denial("/new", LIGHT_WORK)})
    world.finish("heavy", "build")
    assert world.active is None
    world.finish("heavy", "build")
    assert isinstance(decision(world, "/new"), DenyEntry)


def test_the_first_version_does_not_wait_for_ever_for_one_namespace() -> None:
    seconds = iter(range(0, 1_000 * int(FIRST_BUDGET_S), int(FIRST_BUDGET_S)))
    world = World(Machine("x"), cpu=lambda: float(next(seconds)))
    sources = [Source("a", f"p{number}") for number in range(40)]
    world.apply({OTHER: denial("/b", LIGHT_WORK), **{source: denial(f"/{source.name}", LIGHT_WORK) for source in sources}})
    world.catch_up("x")
    for _ in range(5):
        world.finish()
    assert world.active is not None
    assert world.active.document_count == 41
    assert world.active.entry_count < 10
    assert isinstance(decision(world, "/p39"), Unhealthy)
    assert isinstance(decision(world, "/b"), Unhealthy | DenyEntry)
    world.end()
    assert (world.active.entry_count, world.active.invalid_documents) == (41, 0)


def test_a_text_removed_while_read_can_spend_the_budget_of_its_namespace() -> None:
    seconds = iter([0.0, FIRST_BUDGET_S + 1])
    world = World(Machine("x"), cpu=lambda: next(seconds))
    world.apply({A: denial("/a", LIGHT_WORK)})
    world.apply({A: None})
    world.catch_up("x")
    assert "build" in world.jobs
    world.apply({B: denial("/b", LIGHT_WORK)})
    world.do(world.machine.fell_behind("x", -math.inf, world.now))
    world.catch_up("x")
    world.finish("build")
    world.finish("heavy")
    world.finish("build")
    assert isinstance(decision(world, "/b"), Unhealthy)


def test_what_the_first_version_cost_excuses_no_text_when_the_service_reopens() -> None:
    seconds = iter(range(0, 1_000 * int(FIRST_BUDGET_S), int(FIRST_BUDGET_S) + 1))
    world = World(Machine("x", ISSUERS, max_staleness=60.0), cpu=lambda: float(next(seconds)))
    world.apply({A: denial("/a", LIGHT_WORK)}, feeds="x")
    world.do(world.machine.passed("x", world.now, world.now))
    world.finish("heavy", "build")
    world.pause(60.0)  # nothing happens between the first version and its end
    assert world.said == ["publish", "close 0"]
    world.apply({A: denial("/new", LIGHT_WORK)}, feeds="x")
    world.do(world.machine.passed("x", world.now, world.now))
    world.finish("build")
    assert world.active is None
    world.finish("heavy", "build")
    assert isinstance(decision(world, "/new"), DenyEntry)


def test_nothing_is_read_or_published_for_texts_that_are_known() -> None:
    world = begun({A: denial("/a"), OTHER: Text(None)})
    world.apply({A: denial("/a"), Source("a", "never there"): None})
    assert not world.jobs
    world.end()
    assert world.said == ["publish"]


def test_a_text_that_waits_or_is_being_read_is_not_read_twice() -> None:
    world, texts = begun({}), {A: denial("/a", LIGHT_WORK), OTHER: denial("/b", LIGHT_WORK)}
    for _ in range(2):
        world.apply(texts)
        assert world.machine.unread == 2


def test_what_is_read_and_what_is_being_built_is_unread() -> None:
    world = begun({})
    for number, source in enumerate((A, B, OTHER), 1):
        world.apply({source: denial("/a")})
        if source is not OTHER:
            world.finish("light")
        assert world.machine.unread == number
    assert world.jobs.keys() == {"build", "light"}


@pytest.mark.parametrize(("what", "ticks"), [("texts", 1), ("removals", 2), ("labels", 1)])
def test_a_report_is_looked_at_step_by_step(what: str, ticks: int) -> None:
    sources = [Source(f"n{number}", "p") for number in range(2 * STEP - 1)]
    world = begun({} if what == "texts" else {source: denial("/a") for source in sources})
    if what == "labels":
        world.do(world.machine.applied({}, world.now, {source.namespace: RED for source in sources}))
    else:
        world.do(world.machine.applied({source: denial("/b") if what == "texts" else None for source in sources}, world.now))
    for _ in range(ticks):
        assert world.timer == world.now
        world.do(world.machine.tick(world.now))
    assert world.timer > world.now


def test_a_report_that_is_not_looked_at_yet_is_unread() -> None:
    texts = {Source("a", f"p{number}"): denial("/a") for number in range(2 * STEP)}
    world = begun(texts)
    world.machine.applied(texts, world.now)
    assert world.machine.unread == 1
    world.take_steps()
    world.do(world.machine.tick(world.now))
    world.take_steps()
    assert world.machine.unread == 0


def test_changes_tell_what_differs_since_the_last_version() -> None:
    world = begun({A: denial("/a"), OTHER: denial("/b")})
    world.apply({A: denial("/c"), OTHER: None})
    world.end()
    assert [(len(change.documents), change.removed) for change in world.changes] == [(2, ()), (1, (OTHER,))]
    assert world.changes[-1].documents[0].text == denial("/c").text


def test_what_is_read_within_a_moment_is_built_together() -> None:
    world = begun({})
    for number in range(10):
        world.apply({Source("a", f"p{number}"): denial(f"/{number}", LIGHT_WORK // 2)})
    for _ in range(9):
        world.finish("light")
    assert "build" not in world.jobs
    world.pause(GATHER_S)
    world.finish("build")
    assert len(world.changes[-1].documents) == 9


# What tightens is not delayed, and what loosens is.


def test_edits_beside_a_large_text_take_effect_at_once() -> None:
    world = begun({A: denial("/a")})
    world.apply({OTHER: denial("/b", LIGHT_WORK)})
    for number in range(50):
        world.apply({A: denial(f"/{number}")})
        world.finish("light", "build")
        assert isinstance(decision(world, f"/{number}"), DenyEntry)
        assert world.active is not None
        assert world.active.settled is None or world.active.settled.settled is None
        world.pause(0.03)


def test_a_document_that_is_removed_before_it_is_read_holds_no_version() -> None:
    world = begun({A: denial("/a")})
    world.apply({OTHER: denial("/b", LIGHT_WORK)})
    world.apply({OTHER: None, A: None})
    world.finish("build")
    assert "heavy" in world.jobs
    assert world.active is not None
    assert world.active.settled is None
    assert isinstance(decision(world, "/a"), NoMatch)


@pytest.mark.parametrize("end", ["read", "time"])
def test_what_loosens_waits_until_all_is_read_or_the_time_is_up(end: str) -> None:
    world = begun({A: denial("/a")})
    world.apply({OTHER: denial("/b", LIGHT_WORK), A: None})
    world.finish("build")
    world.pause(HOLD_S - 0.1)
    world.apply({B: denial("/c")})  # which prolongs nothing
    world.finish("light", "build")
    assert isinstance(decision(world, "/a"), DenyEntry)
    if end == "read":
        world.finish("heavy", "build")
    else:
        world.pause(0.1)
    assert isinstance(decision(world, "/a"), NoMatch)


def test_an_allow_waits_for_a_simultaneous_heavy_denial_under_default_deny() -> None:
    world = begun({}, grants=FREE)
    world.apply({A: text_of(ALLOW % "/"), B: denial("/admin", LIGHT_WORK)})
    world.finish("light", "build")
    assert world.active is not None
    assert isinstance(world.active.match("h", "/admin", "GET", refuses_unmatched=True), NoMatch)
    world.end()
    assert isinstance(decision(world, "/admin"), DenyEntry)
    assert isinstance(decision(world, "/"), AllowEntry)


@pytest.mark.parametrize("state", ["active", "being built", "read", "being read"])
def test_what_a_removed_document_allows_is_gone_at_once(state: str) -> None:
    texts = {B: text_of(ALLOW % "/x", DENY % "/y")}
    world = begun({OTHER: denial("/"), **(texts if state == "active" else {})}, grants=FREE)
    if state == "read":
        world.apply({Source("c", "busy"): denial("/busy")})
        world.finish("light")
    if state != "active":
        world.apply(texts)
    if state in {"read", "being built"}:
        world.finish("light")
    world.apply({A: denial("/z", LIGHT_WORK)})
    assert "heavy" in world.jobs
    world.apply({B: None})
    for _ in range(3):
        world.finish("light", "build")
    assert isinstance(decision(world, "/x"), DenyEntry)
    assert isinstance(decision(world, "/y"), DenyEntry)
    world.end()
    assert world.active is not None
    assert {document.source for document in world.active.documents()} >= {OTHER, A}
    assert world.active.document(B) is None


@pytest.mark.parametrize("permitted_by", ["labels", "grants"])
def test_what_a_removed_document_allows_is_not_permitted_while_the_removal_waits(permitted_by: str) -> None:
    to_red = attrs.evolve(FREE, grants=(attrs.evolve(FREE.grants[0], selector=parse_selector("team=red")),))
    world = begun({B: text_of(ALLOW % "/x")}, grants=to_red, labels={"a": BLUE})
    world.apply({A: denial("/z", LIGHT_WORK)})
    world.apply({B: None})
    world.finish("build")
    if permitted_by == "labels":
        world.apply({}, {"a": RED})
    else:
        world.do(world.machine.granted(FREE, world.now))
        world.finish("revoke", "regrant")
    for _ in range(3):
        world.finish("build")
        world.pause(HOLD_S)
        assert not isinstance(decision(world, "/x"), AllowEntry)
    assert "heavy" in world.jobs


def test_what_a_removed_document_allowed_counts_again_when_it_comes_back() -> None:
    texts = {B: text_of(ALLOW % "/x")}
    world = begun(texts, grants=FREE)
    world.apply({A: denial("/z", LIGHT_WORK), B: None})
    world.finish("build")
    assert isinstance(decision(world, "/x"), NoMatch)
    world.apply(texts)
    world.end()
    assert isinstance(decision(world, "/x"), AllowEntry)


def test_a_removed_document_back_before_the_next_build_still_allows() -> None:
    texts = {B: text_of(ALLOW % "/x")}
    world = begun(texts, grants=FREE)
    world.apply({OTHER: denial("/busy")})
    world.finish("light")
    assert "build" in world.jobs
    world.apply({A: denial("/z", LIGHT_WORK), B: None})
    world.apply(texts)
    world.end()
    assert isinstance(decision(world, "/x"), AllowEntry)


# Feeds that are behind.


def test_a_feed_quiet_for_hours_may_be_behind_a_while() -> None:
    world = begun({A: denial("/a")}, feeds="xy", max_staleness=60.0)
    world.now = 7200.5
    world.do(world.machine.fell_behind("x", 7200.0, world.now))
    assert (world.said, world.timer) == (["publish"], 7260.0)
    world.now = 7210.5
    world.do(world.machine.fell_behind("x", 7210.0, world.now))  # it still knows no more than before
    assert world.timer == 7260.0
    world.pause(48.0)
    world.catch_up("x")
    world.pause(100.0)
    assert world.said == ["publish"]
    world.now = 7400.0
    world.do(world.machine.fell_behind("y", 7400.0, world.now))
    world.pause(30.0)
    world.do(world.machine.fell_behind("x", 7430.0, world.now))
    world.pause(30.0)
    assert world.said == ["publish", "close 7400"]
    world.catch_up("x", "y")
    assert world.said[2:] == ["open", "publish"]


def test_a_feed_that_lists_is_as_old_as_its_last_list() -> None:
    world = begun({A: denial("/a")}, max_staleness=60.0)
    world.do(world.machine.fell_behind("x", world.now, world.now))
    for _ in range(10):
        world.pause(50.0)
        world.do(world.machine.passed("x", world.now, world.now))
    assert world.said == ["publish"]
    world.pause(60.0)
    assert world.active is None


def test_what_loosens_waits_for_the_next_list_of_a_slow_feed() -> None:
    world = begun({A: denial("/a")}, feeds="xy")
    world.do(world.machine.fell_behind("y", world.now, world.now))
    world.pause(5.0)
    world.apply({A: None})
    world.end()
    world.do(world.machine.passed("y", world.now - 1.0, world.now))
    world.pause(5.0)
    assert isinstance(decision(world, "/a"), DenyEntry)
    world.do(world.machine.passed("y", world.now - 1.0, world.now))
    assert isinstance(decision(world, "/a"), NoMatch)


def test_each_edit_while_a_feed_is_behind_tightens_and_none_loosens() -> None:
    world = begun({A: denial("/a")})
    world.do(world.machine.fell_behind("x", world.now, world.now))
    paths = ["/a", "/b", "/c", "/d"]
    for number, path in enumerate(paths):
        world.apply({A: denial(path)})
        world.finish("light", "build")
        world.pause(5.0)
        refused = [isinstance(decision(world, path), DenyEntry) for path in paths]
        assert refused == [index in {0, number} for index in range(4)]
    assert world.said.count("held back") == 1
    world.catch_up("x")
    world.end()
    assert [isinstance(decision(world, path), DenyEntry) for path in paths] == [False, False, False, True]
    assert world.said[-2:] == ["publish", "active"]


def test_an_exchange_stays_as_it_was_while_a_feed_is_behind() -> None:
    def exchange(audience: str) -> Text:
        target = f"exchange: {{issuerRef: one, audiences: [{audience}]}}"
        return text_of(f"{{match: {{host: h, pathPrefix: /a}}, action: exchange, {target}}}")

    def audience() -> str:
        found = decision(world, "/a")
        assert isinstance(found, ExchangeEntry)
        return found.target.audiences[0]

    world = begun({A: exchange("old")})
    world.do(world.machine.fell_behind("x", world.now, world.now))
    world.apply({A: exchange("new"), B: denial("/a/b")})
    world.end()
    assert audience() == "old"
    assert isinstance(decision(world, "/a/b"), DenyEntry)
    world.catch_up("x")
    assert audience() == "new"


def test_a_denial_that_moved_in_an_outage_holds_while_being_read() -> None:
    def check(version: PolicySnapshot) -> None:
        assert isinstance(version.match("h", "/a", "GET"), DenyEntry)

    world = begun({A: denial("/a")})
    world.check = check
    world.do(world.machine.fell_behind("x", world.now, world.now))
    world.pause(10.0)
    world.apply({OTHER: denial("/a", LIGHT_WORK), A: None})
    world.catch_up("x")
    world.finish("build")
    world.pause(10.0)
    assert isinstance(decision(world, "/a"), DenyEntry)
    world.end()
    assert isinstance(decision(world, "/a"), DenyEntry)
    assert world.active is not None
    assert world.active.settled is None


def test_a_feed_that_joins_delays_loosening_until_it_catches_up() -> None:
    world = begun({A: denial("/a")}, max_staleness=60.0)
    world.do(world.machine.fell_behind("y", float("-inf"), world.now))
    world.apply({A: None})
    world.end()
    world.pause(30.0)
    assert isinstance(decision(world, "/a"), DenyEntry)
    world.apply({OTHER: denial("/a")})
    world.catch_up("y")
    world.end()
    world.pause(HOLD_S)
    assert isinstance(decision(world, "/a"), DenyEntry)
    assert world.active is not None
    assert world.active.settled is None


def test_after_an_outage_nothing_passes_before_all_that_was_missed_is_read() -> None:
    world = begun({A: denial("/a")}, max_staleness=60.0)
    lost = world.now
    world.do(world.machine.fell_behind("x", lost, world.now))
    world.pause(61.0)
    assert world.active is None
    world.apply({OTHER: denial("/b", LIGHT_WORK)})
    world.catch_up("x")
    world.apply({B: denial("/c", LIGHT_WORK)})  # which is newer
    assert world.active is None
    world.do(world.machine.fell_behind("x", world.now, world.now))
    world.finish("heavy", "build")
    world.end()
    assert world.active is None  # contact is lost again
    world.catch_up("x")
    world.end()
    assert isinstance(decision(world, "/b"), DenyEntry)
    assert [one for one in world.said if one != "publish"] == [f"close {lost:g}", "open"]


def test_the_first_version_has_what_came_while_a_feed_was_late() -> None:
    world = World(Machine("xy"))
    world.apply({OTHER: denial("/b")}, feeds="x")
    world.catch_up("x")
    world.pause(1.0)
    world.do(world.machine.passed("y", world.now, world.now))
    world.finish("light")
    assert "build" in world.jobs
    world.pause(1.0)
    world.apply({A: denial("/a")}, feeds="x")
    world.finish("light")
    world.pause(1.0)
    world.do(world.machine.passed("y", world.now, world.now))
    world.finish("build")
    world.end()
    assert [isinstance(change.snapshot.match("h", "/a", "GET"), DenyEntry) for change in world.changes] == [True]


def test_edits_without_end_do_not_keep_it_closed() -> None:
    world = begun({A: denial("/a")}, max_staleness=60.0)
    world.do(world.machine.fell_behind("x", world.now, world.now))
    world.pause(61.0)
    world.apply({OTHER: denial("/0")})
    world.catch_up("x")
    for number in range(1, 10):
        world.apply({OTHER: denial(f"/{number}")})
        world.finish("light")
        world.apply({B: denial(f"/{number}")})
        world.finish("build")
        world.pause(0.1)
    assert world.active is not None


def test_news_of_a_feed_that_is_behind_waits_for_the_others_alone() -> None:
    world = begun({A: denial("/a")}, feeds="xy")
    world.do(world.machine.fell_behind("x", world.now, world.now))
    world.pause(1.0)
    world.apply({A: None}, feeds="x")
    world.end()
    assert isinstance(decision(world, "/a"), NoMatch)
    world.apply({A: denial("/a")}, feeds="x")
    world.end()
    world.do(world.machine.fell_behind("y", world.now, world.now))
    world.pause(1.0)
    world.apply({A: None}, feeds="x")
    world.end()
    assert isinstance(decision(world, "/a"), DenyEntry)
    world.catch_up("y")
    assert isinstance(decision(world, "/a"), NoMatch)


def test_a_feed_of_unknown_age_delays_loosening_and_closes_nothing() -> None:
    world = begun({A: denial("/a")}, max_staleness=60.0)
    world.do(world.machine.fell_behind("order", -math.inf, world.now))
    world.apply({A: None})
    world.end()
    world.pause(59.0)
    assert isinstance(decision(world, "/a"), DenyEntry)
    world.pause(1.0)
    assert isinstance(decision(world, "/a"), NoMatch)
    assert "close" not in " ".join(world.said)


# Issuers, labels and grants.


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """Return the sources of the texts that are parsed from now on."""
    found = list[Source]()

    def parse(source: Source, *args: Any) -> PolicyDocument:
        found.append(source)
        return parse_document(source, *args)

    monkeypatch.setattr(selection, "parse_document", parse)
    return found


def test_other_issuers_have_all_documents_read_again_also_those_on_the_way(parsed: list[Source]) -> None:
    world = begun({A: text_of(EXCHANGE % "/a"), OTHER: text_of(EXCHANGE % "/b")})
    built = text_of(EXCHANGE % "/c")
    world.apply({B: built})
    world.finish("light")
    assert "build" in world.jobs
    world.apply({OTHER: text_of(EXCHANGE % "/d")})
    parsed.clear()
    world.use_issuers(frozenset({"another"}))
    world.end()
    assert sorted(set(parsed)) == [A, B, OTHER]
    assert [isinstance(decision(world, path), Unhealthy) for path in ("/a", "/b", "/c", "/d")] == [True, False, True, True]
    world.use_issuers(ISSUERS)
    world.end()
    assert all(isinstance(decision(world, path), ExchangeEntry) for path in ("/a", "/c", "/d"))


def test_a_newer_text_counts_although_the_older_is_read_again() -> None:
    world = begun({})
    world.apply({A: denial("/old", LIGHT_WORK)})
    world.use_issuers(frozenset({"another"}))
    world.apply({A: denial("/new", LIGHT_WORK)})
    world.end()
    assert [type(decision(world, path)) for path in ("/old", "/new")] == [NoMatch, DenyEntry]


def test_a_document_without_a_text_is_not_read_again_for_other_issuers() -> None:
    world = begun({A: UnknownText("nobody knows it")})
    world.use_issuers(frozenset({"another"}))
    assert not world.jobs


RED, BLUE = ((("team", "red"),),), ((("team", "blue"),),)
BY_LABEL = NamespaceGrant(None, parse_selector("team=red"), ("h",), issuers=("one",), scopes=("s",))
OF_B = NamespaceGrant(frozenset({"b"}), None, ("h",), ("/b",), issuers=("one",), scopes=("s",))


def two_teams() -> World:
    world = begun({A: text_of(EXCHANGE % "/a"), OTHER: text_of(EXCHANGE % "/b")}, labels={"a": RED}, grants=Grants((BY_LABEL, OF_B)))
    assert isinstance(decision(world, "/a"), ExchangeEntry)
    return world


def test_narrower_grants_take_effect_before_documents_are_held_against_them(parsed: list[Source]) -> None:
    world = two_teams()
    parsed.clear()
    baseline = DenyEntry(Source("", "baseline"), 0, MatchScope("other", "/"))
    wider = attrs.evolve(OF_B, path_prefixes=("/b", "/c"))
    world.do(world.machine.granted(Grants((wider,), (baseline,)), world.now))
    world.finish("revoke")
    assert isinstance(decision(world, "/a"), Unhealthy)  # rather than passing as what no policy covers
    assert isinstance(decision(world, "/b"), ExchangeEntry)
    assert decision(world, "/", "other") == baseline
    world.apply({B: denial("/new")})  # what tightens does not wait meanwhile
    world.finish("light", "build")
    assert "regrant" in world.jobs
    assert isinstance(decision(world, "/new"), Unhealthy | DenyEntry)
    world.finish("regrant", "build")
    world.finish("build")
    assert isinstance(decision(world, "/a"), NoMatch)
    assert world.active is not None
    assert (world.active.revocation, world.active.settled) == (None, None)
    world.do(world.machine.granted(Grants((wider, OF_B)), world.now))
    world.do(world.machine.granted(Grants((wider,)), world.now))
    world.end()
    assert isinstance(decision(world, "/", "other"), NoMatch)
    assert parsed == [B]


def test_what_the_settled_version_has_is_held_against_new_grants_too() -> None:
    world = begun({A: denial("/a"), OTHER: denial("/b")}, grants=FREE)
    world.do(world.machine.fell_behind("x", world.now, world.now))
    world.apply({A: None})
    world.finish("build")
    assert isinstance(decision(world, "/a"), DenyEntry)
    world.do(world.machine.granted(Grants((OF_B,)), world.now))
    world.finish("revoke")
    assert isinstance(decision(world, "/a"), Unhealthy)
    world.finish("regrant")
    world.finish("build")
    assert isinstance(decision(world, "/a"), NoMatch)
    assert isinstance(decision(world, "/b"), DenyEntry)
    assert world.active is not None
    assert world.active.settled is not None
    assert world.active.settled.revocation is None


def test_lost_labels_end_an_exchange_at_once_and_read_nothing_again(parsed: list[Source]) -> None:
    world = two_teams()
    parsed.clear()
    world.apply({Source("c", "p"): denial("/c", LIGHT_WORK)}, {"a": BLUE})
    world.finish("build")
    assert isinstance(decision(world, "/a"), Unhealthy)
    assert world.machine.newest.namespaces["a"].labels == RED, "the right ends before the namespace is built again, which may take seconds"
    world.finish("build")
    assert isinstance(decision(world, "/a"), Unhealthy)  # it was an exchange in the settled version
    assert isinstance(decision(world, "/b"), ExchangeEntry)
    world.end()
    assert isinstance(decision(world, "/a"), NoMatch)
    world.apply({}, {"a": RED})
    world.end()
    assert isinstance(decision(world, "/a"), ExchangeEntry)
    assert parsed == [Source("c", "p")]


def test_lost_labels_open_nothing_while_a_feed_is_behind() -> None:
    grants = Grants(tuple(NamespaceGrant(None, parse_selector(f"team={team}"), (f"{team}.example.com",)) for team in "xy"))
    labels = {team: ((("team", team),),) for team in "xy"}

    def of_team(team: str) -> Text:
        return text_of(f"{{match: {{host: {team}.example.com, pathPrefix: /}}, action: deny}}")

    world = begun({A: of_team("x"), OTHER: of_team("y")}, feeds="xy", grants=grants, labels={"a": labels["x"], "b": labels["y"]})
    world.do(world.machine.fell_behind("y", world.now, world.now))
    world.apply({}, {"a": labels["y"], "b": labels["x"]})
    for _ in range(20):
        world.end()
        world.pause(1.0)
        assert [type(decision(world, "/", f"{team}.example.com")) for team in "xy"] == [DenyEntry, DenyEntry]
    world.apply({A: of_team("y"), OTHER: of_team("x")})
    world.catch_up("y")
    for _ in range(3):
        world.end()
        world.pause(1.0)
        assert [type(decision(world, "/", f"{team}.example.com")) for team in "xy"] == [DenyEntry, DenyEntry]


def test_new_labels_keep_a_denial_until_the_other_feed_catches_up() -> None:
    world = begun({A: denial("/a")}, feeds="xy", grants=Grants((attrs.evolve(BY_LABEL, actions=frozenset({"deny"})),)), labels={"a": RED})
    world.do(world.machine.fell_behind("y", world.now, world.now))
    world.apply({}, {"a": BLUE})
    world.end()
    assert isinstance(decision(world, "/a"), DenyEntry)
    world.catch_up("y")
    assert isinstance(decision(world, "/a"), NoMatch)


@pytest.mark.parametrize("order", ["light revoke build", "light build build build revoke"])
def test_a_document_that_arrives_while_grants_change_uses_new_grants(order: str) -> None:
    world = two_teams()
    world.apply({Source("c", "p"): text_of(EXCHANGE % "/c")}, {"c": RED})
    world.finish("light")
    assert "build" in world.jobs
    world.do(world.machine.granted(Grants((OF_B,)), world.now))
    world.apply({Source("d", "p"): text_of(EXCHANGE % "/d")}, {"d": RED})
    world.finish(*order.split())
    assert isinstance(decision(world, "/c"), Unhealthy)
    world.pause(HOLD_S)
    assert "regrant" in world.jobs
    assert not any(isinstance(decision(world, path), ExchangeEntry) for path in ("/a", "/c", "/d"))
    world.end()
    assert [type(decision(world, path)) for path in ("/a", "/b", "/c", "/d")] == [NoMatch, ExchangeEntry, NoMatch, NoMatch]


def test_labels_that_give_more_while_grants_take_it_away_give_nothing() -> None:
    """The version that was being built for the new labels alone let requests pass that only the old grants had allowed."""
    blue = attrs.evolve(BY_LABEL, selector=parse_selector("team=blue"))
    world = begun({A: text_of(EXCHANGE % "/a")}, grants=Grants((blue,)), labels={"a": RED})
    world.apply({}, {"a": BLUE})
    world.do(world.machine.granted(Grants((OF_B,)), world.now))
    world.finish("revoke")
    world.finish("build")
    assert not isinstance(decision(world, "/a"), ExchangeEntry)
    world.end()
    assert isinstance(decision(world, "/a"), NoMatch)


def test_a_right_of_labels_being_built_is_revoked_under_newer_labels() -> None:
    world = begun({OTHER: denial("/b")}, grants=Grants((BY_LABEL, OF_B)))
    world.apply({A: text_of(EXCHANGE % "/a")}, {"a": RED})
    world.finish("light")
    assert "build" in world.jobs
    world.apply({}, {"a": BLUE})
    world.do(world.machine.granted(Grants((OF_B,)), world.now))
    world.finish("revoke", "build")
    assert not isinstance(decision(world, "/a"), ExchangeEntry)


def test_a_right_being_built_is_revoked_by_grants_enforced_meanwhile() -> None:
    world = begun({OTHER: denial("/b")}, grants=Grants((OF_B,), enforced=False))
    world.apply({A: text_of(EXCHANGE % "/a")})
    world.finish("light")
    assert "build" in world.jobs
    world.do(world.machine.granted(Grants((OF_B,)), world.now))
    world.finish("revoke", "build")
    assert not isinstance(decision(world, "/a"), ExchangeEntry)


@pytest.mark.parametrize("done", ["revoke", "revoke regrant"])
def test_grants_taken_back_while_being_built_revoke_what_they_gave(done: str) -> None:
    world = two_teams()
    world.apply({Source("c", "p"): text_of(EXCHANGE % "/c")}, {"c": BLUE})
    world.end()
    everything = NamespaceGrant(frozenset({"c"}), None, ("h",), issuers=("one",), scopes=("s",))
    world.do(world.machine.granted(Grants((BY_LABEL, OF_B, everything)), world.now))
    world.finish(*done.split())
    world.do(world.machine.granted(Grants((BY_LABEL, OF_B)), world.now))
    world.finish("revoke", "build")
    assert not isinstance(decision(world, "/c"), ExchangeEntry)
    world.end()
    assert isinstance(decision(world, "/c"), NoMatch)


def test_grants_taken_back_give_nothing_to_documents_only_in_the_settled_version() -> None:
    """What was being built for the wider grants lets the settled version exchange, too."""
    narrow = Grants((OF_B,))
    world = begun({A: text_of(EXCHANGE % "/a"), OTHER: text_of(EXCHANGE % "/b")}, labels={"a": RED}, grants=narrow)
    world.do(world.machine.fell_behind("x", world.now, world.now))
    world.apply({A: None})
    world.finish("build")
    world.do(world.machine.granted(Grants((BY_LABEL, OF_B)), world.now))
    world.finish("revoke", "regrant")
    assert "build" in world.jobs
    world.do(world.machine.granted(narrow, world.now))
    world.finish("revoke", "build")
    assert not isinstance(decision(world, "/a"), ExchangeEntry)


def test_rights_from_superseded_grants_never_reach_the_next_build() -> None:
    world = begun({OTHER: text_of(EXCHANGE % "/b")}, grants=FREE)
    of_c = attrs.evolve(OF_B, namespaces=frozenset({"c"}), path_prefixes=("/c",))
    world.do(world.machine.granted(Grants((OF_B, of_c)), world.now))
    world.finish("revoke")
    world.apply({Source("c", "p"): text_of(EXCHANGE % "/c")})
    world.finish("light")
    assert {"regrant", "build"} <= world.jobs.keys()
    world.do(world.machine.granted(Grants((OF_B,)), world.now))
    world.finish("regrant")
    world.finish("build", "revoke")
    assert not isinstance(decision(world, "/c"), ExchangeEntry)


@pytest.mark.parametrize("meanwhile", ["labels", "grants"])
def test_a_moving_denial_holds_while_rights_change_beside_a_regrant(meanwhile: str) -> None:
    """The settled version without the rights of others was taken for a later one, and one that lacked the denial took its place."""
    deniers = NamespaceGrant(frozenset({"a", "b"}), None, ("*",))
    first, *others = (Grants((deniers, BY_LABEL, OF_B)[:number]) for number in (3, 2, 1))
    world = begun({A: denial("/a"), Source("c", "p"): text_of(EXCHANGE % "/c")}, labels={"c": RED}, grants=first)
    decisions: list[PolicyDecision] = []
    world.check = lambda version: decisions.append(version.match("h", "/a", "GET"))
    world.apply({A: None, OTHER: denial("/a", size=9000)})
    world.finish("build")
    world.do(world.machine.granted(others[0], world.now))
    world.finish("revoke")
    if meanwhile == "labels":
        world.apply({}, {"c": BLUE})
        world.finish("build")
        world.finish("regrant")
    else:
        world.finish("regrant")
        world.do(world.machine.granted(others[1], world.now))
        world.finish("revoke")
        assert {"regrant", "build"} <= world.jobs.keys()
    for _ in range(3):
        world.finish("build")
        world.finish("regrant", "revoke")
    assert "heavy" in world.jobs
    assert len(decisions) > 2
    assert all(map(is_refused, decisions))


def test_a_text_slow_to_read_is_checked_against_newest_labels() -> None:
    grants = Grants((BY_LABEL, attrs.evolve(BY_LABEL, selector=parse_selector("team=blue"), hosts=("other",))))
    world = begun({}, grants=grants)
    world.apply({A: text_of(EXCHANGE % "/a", size=LIGHT_WORK)}, {"a": RED})
    world.apply({}, {"a": BLUE})
    world.end()
    assert not isinstance(decision(world, "/a"), ExchangeEntry)


def test_a_namespace_keeps_its_labels_while_it_has_no_documents() -> None:
    world = two_teams()
    world.apply({A: None})
    world.end()
    world.apply({A: text_of(EXCHANGE % "/a")})
    world.end()
    assert isinstance(decision(world, "/a"), ExchangeEntry)
    world.apply({A: None}, {"a": None})
    world.end()
    world.apply({A: text_of(EXCHANGE % "/a")})
    world.end()
    assert isinstance(decision(world, "/a"), NoMatch)


@pytest.mark.parametrize("is_built", [False, True])
def test_a_right_lost_by_labels_stays_lost_after_deselection(is_built: bool) -> None:
    world = two_teams()
    world.apply({}, {"a": BLUE})
    world.finish(*["build"] * is_built)
    world.apply({A: None, Source("c", "p"): denial("/c", LIGHT_WORK)}, {"a": None})
    world.finish("build")
    world.finish("build")
    assert "heavy" in world.jobs
    assert not isinstance(decision(world, "/a"), ExchangeEntry)


def test_an_exchange_ends_with_the_settled_version_when_its_namespace_is_deselected() -> None:
    world = two_teams()
    world.apply({A: None, Source("c", "p"): denial("/c", LIGHT_WORK)}, {"a": None})
    world.finish("build")
    assert isinstance(decision(world, "/a"), ExchangeEntry)
    world.end()
    assert isinstance(decision(world, "/a"), NoMatch)


def test_labels_that_change_during_every_build_hold_back_nothing_for_long() -> None:
    world = begun({A: denial("/a"), OTHER: denial("/b")})
    world.apply({A: None})
    for number in range(20):
        world.apply({}, {"b": (RED, BLUE)[number % 2]})
        world.pause(HOLD_S / 10)
        world.finish("build")
    assert isinstance(decision(world, "/a"), NoMatch)


# Quotas.

BROKEN = text_of("{match: {host: h, pathPrefix: /a}, action: no}", "{match: {host: h, pathPrefix: /b}, action: no}")


@pytest.mark.parametrize("how", ["repaired", "removed", "grants"])
def test_a_document_over_quota_is_read_again_when_there_is_room(how: str) -> None:
    last, limits = Source("a", "z"), NamespaceLimits(fail_closed_scopes=3)
    world = begun({A: BROKEN, last: BROKEN, OTHER: BROKEN}, grants=Grants((NamespaceGrant(None, None, ("*",)),), limits=limits))
    assert world.active is not None
    document = world.active.document(last)
    assert document is not None
    assert [problem.code for problem in document.findings] == [MANY_AREAS]
    assert isinstance(decision(world, "/c"), Unhealthy)
    if how == "grants":
        world.do(world.machine.granted(Grants((NamespaceGrant(frozenset({"a"}), None, ("h",)),)), world.now))
    else:
        world.apply({A: denial("/c") if how == "repaired" else None})
    world.end()
    document = world.active.document(last)
    assert document is not None
    assert (document.is_over_quota, len(document.problems)) == (False, 2)
    assert isinstance(decision(world, "/d"), NoMatch)


@pytest.mark.parametrize("is_edited", [False, True])
def test_a_denial_over_quota_is_back_once_its_siblings_are_removed(is_edited: bool) -> None:
    many, own = Source("a", "many"), Source("a", "own")
    limits = Grants(limited=False, limits=NamespaceLimits(entries=3))
    world = begun({many: text_of(*(DENY % f"/{number}" for number in range(4))), own: denial("/own"), OTHER: denial("/")}, grants=limits)
    assert isinstance(decision(world, "/own"), Unhealthy)
    world.apply({many: None})
    world.finish("build")
    if is_edited:
        world.apply({own: denial("/own", LIGHT_WORK)})
    began = world.now
    world.end()
    assert isinstance(decision(world, "/own"), DenyEntry)
    assert world.now < began + 2.0


# Work on the event loop.


def test_ten_thousand_reported_texts_are_taken_in_bounded_steps() -> None:
    texts: dict[Source, DocumentText | None] = {Source(f"n{number % 20}", f"p{number}"): Text("version: v1") for number in range(10_000)}
    world, most = World(Machine("x", ISSUERS)), 0

    def counted(event: Callable[[], Any]) -> None:
        nonlocal most
        with counted_calls() as calls:
            actions = event()
        most = max(most, calls.count)
        world.do(actions)

    def end() -> None:
        for _ in range(2_000):
            if world.timer <= world.now:
                counted(lambda: world.machine.tick(world.now))
            elif world.jobs:
                name, job = next(iter(world.jobs.items()))
                del world.jobs[name]
                if isinstance(job, Read):
                    documents, costs = job.run(world.cpu)
                    counted(lambda: world.machine.read(job.lane, documents, world.now, costs))  # noqa: B023 - called at once
                elif isinstance(job, Build):
                    built = job.run()
                    counted(lambda: world.machine.built(built, world.now))  # noqa: B023 - called at once
            elif world.machine.unread:
                world.now += 0.04
            else:
                return

    counted(lambda: world.machine.applied(texts, world.now))
    counted(lambda: world.machine.caught_up("x", world.now))
    end()
    assert world.active is not None
    assert world.active.document_count == 10_000
    counted(lambda: world.machine.use_issuers(frozenset(), world.now))
    end()
    counted(lambda: world.machine.applied(dict.fromkeys(texts), world.now))
    end()
    assert world.active.document_count == 0
    assert most <= MOST_CALLS


def test_actions_come_in_the_same_order_in_every_process() -> None:
    for _ in range(50):
        machine = Machine("x")
        machine.pending.put(A, denial("/a", LIGHT_WORK))
        machine.pending.put(OTHER, denial("/b"))
        assert [one.lane for one in machine.tick(0.0) if isinstance(one, Read)] == [Lane.LIGHT, Lane.HEAVY]


def test_a_result_that_was_not_asked_for_is_a_fault() -> None:
    world = begun({})
    world.apply({A: denial("/a")})
    world.finish("light")
    job = world.jobs["build"]
    assert isinstance(job, Build)
    world.finish("build")
    with pytest.raises(AssertionError, match="built twice"):
        world.machine.built(job.run(), world.now)


def test_grants_give_nothing_to_labels_that_the_settled_version_alone_has() -> None:
    world = begun({A: text_of(EXCHANGE % "/a"), OTHER: text_of(EXCHANGE % "/b")}, labels={"a": RED}, grants=Grants((OF_B,)))
    world.do(world.machine.fell_behind("x", world.now, world.now))
    world.apply({A: denial("/b")}, {"a": BLUE})
    world.end()
    world.do(world.machine.granted(Grants((BY_LABEL, OF_B)), world.now))
    world.end()
    assert world.active is not None
    assert world.active.settled is not None
    assert not isinstance(decision(world, "/a"), ExchangeEntry)


@pytest.mark.parametrize("enforced", [True, False])
def test_lost_labels_end_an_exchange_at_once_although_grants_are_replaced_meanwhile(enforced: bool) -> None:
    """What the last grants but one revoke is shown until that of the next ones is known: it lacks what labels have lost."""
    other = attrs.evolve(OF_B, namespaces=frozenset({"c"}))
    world = begun({A: text_of(EXCHANGE % "/a"), OTHER: text_of(EXCHANGE % "/b")}, labels={"a": RED}, grants=Grants((BY_LABEL, OF_B)))
    world.do(world.machine.granted(Grants((BY_LABEL,), enforced=enforced), world.now))
    world.finish("revoke")
    world.do(world.machine.granted(Grants((BY_LABEL, other)), world.now))
    world.apply({}, {"a": BLUE})
    world.finish("build")
    assert "regrant" in world.jobs
    assert not isinstance(decision(world, "/a"), ExchangeEntry)


def test_a_denial_newer_than_changed_grants_stays_closed_when_it_moves() -> None:
    world = begun({A: denial("/a"), OTHER: denial("/b")}, grants=FREE)
    world.do(world.machine.granted(attrs.evolve(FREE, limits=NamespaceLimits(documents=99)), world.now))
    world.finish("revoke")
    world.apply({A: denial("/new")})
    world.finish("light", "build")
    world.pause(HOLD_S)
    assert world.active is not None
    assert world.active.settled is None  # what is settled is newer than what is being held against the grants
    world.apply({Source("c", "p"): denial("/c")})
    world.finish("light")  # a build is under way, so that the next one has the removal and the grants
    world.apply({OTHER: denial("/new", LIGHT_WORK), A: None})
    world.finish("regrant")
    world.finish("build")
    world.finish("build")
    assert isinstance(decision(world, "/new"), DenyEntry)
    world.end()
    assert isinstance(decision(world, "/new"), DenyEntry)
    assert world.active.settled is None


def test_a_denial_that_moves_after_the_first_regrant_never_opens() -> None:
    """The service opened as a build under new grants began, which put the version without documents back as the settled one."""
    world = World(Machine("x", ISSUERS, PolicySnapshot(FREE)))
    world.apply({A: denial("/a")})
    world.do(world.machine.granted(attrs.evolve(FREE, limits=NamespaceLimits(documents=99)), world.now))
    world.finish("revoke")
    world.catch_up("x")
    world.finish("light")
    assert {"build", "regrant"} <= world.jobs.keys()
    world.apply({Source("c", "p"): denial("/c")})
    world.finish("light", "regrant")
    world.finish("build")
    world.apply({OTHER: denial("/a", LIGHT_WORK), A: None})
    for _ in range(2):
        world.finish("build")
        assert isinstance(decision(world, "/a"), DenyEntry)


def test_labels_that_change_while_documents_are_held_against_grants_count_under_them() -> None:
    world = begun({A: text_of(EXCHANGE % "/a")}, grants=Grants((BY_LABEL,)), labels={"a": BLUE})
    world.do(world.machine.granted(Grants((BY_LABEL, OF_B)), world.now))
    world.finish("revoke")
    world.apply({}, {"a": RED})
    for _ in range(2):
        world.finish("build")
    assert "regrant" in world.jobs
    world.end()
    assert isinstance(decision(world, "/a"), ExchangeEntry)


def test_labels_that_are_back_before_all_is_settled_are_not_forgotten() -> None:
    texts = {A: text_of(EXCHANGE % "/a")}
    world = begun(texts, grants=Grants((BY_LABEL,)), labels={"a": RED})
    world.apply({OTHER: denial("/b", LIGHT_WORK)}, {"a": None})
    world.apply({}, {"a": RED})
    world.end()
    for reported in ({A: None}, texts):
        world.apply(reported)
        world.end()
    assert isinstance(decision(world, "/a"), ExchangeEntry)


def test_labels_end_under_the_next_grants_what_the_settled_version_alone_has() -> None:
    world = begun({A: text_of(EXCHANGE % "/a")}, feeds="xy", grants=Grants((BY_LABEL,), enforced=False), labels={"a": RED})
    world.do(world.machine.fell_behind("y", world.now, world.now))
    world.apply({A: None})
    world.finish("build")
    world.do(world.machine.granted(Grants((BY_LABEL,)), world.now))
    world.finish("revoke")
    assert isinstance(decision(world, "/a"), ExchangeEntry)
    world.apply({}, {"a": BLUE})
    world.finish("build")
    assert not isinstance(decision(world, "/a"), ExchangeEntry)


def test_what_settled_unenforced_while_grants_changed_is_held_against_them() -> None:
    world = begun({A: denial("/a")}, grants=Grants(enforced=False), labels={"a": RED})
    world.do(world.machine.granted(Grants(()), world.now))
    world.finish("revoke")
    world.apply({A: text_of(EXCHANGE % "/a")})
    world.finish("light", "build")
    world.pause(HOLD_S)
    world.apply({Source("c", "p"): denial("/c")})
    world.finish("light")
    world.apply({OTHER: denial("/b", LIGHT_WORK), A: None})
    world.finish("regrant", "build")
    world.finish("build")
    assert "regrant" not in world.jobs
    assert not isinstance(decision(world, "/a"), ExchangeEntry)


def test_the_first_version_after_an_outage_drops_rights_labels_lost() -> None:
    grants = Grants((BY_LABEL,))
    world = begun({A: text_of(EXCHANGE % "/a")}, grants=grants, labels={"a": RED}, max_staleness=60.0)
    world.do(world.machine.fell_behind("x", world.now, world.now))
    world.pause(60.0)
    assert world.active is None
    world.apply({OTHER: denial("/b")}, feeds="x")
    world.catch_up("x")
    world.finish("light")
    assert "build" in world.jobs
    world.apply({}, {"a": BLUE})
    world.finish("build")
    assert "open" not in world.said
    world.end()
    assert isinstance(decision(world, "/a"), NoMatch)


def test_what_comes_while_grants_are_replaced_has_no_right_that_neither_gives() -> None:
    world = begun({OTHER: text_of(EXCHANGE % "/b")}, grants=FREE)
    world.do(world.machine.granted(Grants((OF_B,)), world.now))
    world.finish("revoke")
    world.apply({Source("c", "p"): text_of(EXCHANGE % "/c")})
    world.finish("light")
    world.do(world.machine.granted(Grants((OF_B, BY_LABEL)), world.now))
    world.finish("build")
    assert "regrant" in world.jobs
    assert not isinstance(decision(world, "/c"), ExchangeEntry)
