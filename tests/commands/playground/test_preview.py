"""Which requests an edited file decides otherwise, by the service's own engine."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.playground.preview import MAX_EXAMPLES, MAX_SHOWN, UNKNOWN, UNREADABLE, preview
from exchanger.commands.scenarios.builtin import SCENARIOS
from exchanger.commands.scenarios.scenario import GatewayCall
from exchanger.model.entry import DenyEntry, ExchangeEntry
from exchanger.model.policy_decision import Unhealthy
from exchanger.policy.selection import advance, select
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.sources.directory.folder import Scan, scan
from tests.commands.playground.labs import RULES, SAMPLE, YELLOW, bench
from tests.commands.scenarios.stand_in import deny
from tests.examples import examples
from tests.property.test_playground import edited

CALLS = tuple(scenario.call for scenario in SCENARIOS)


def changes(
    text: str, saved: dict[str, str] = SAMPLE, rules: PolicyRules = RULES, calls: Iterable[GatewayCall] = ()
) -> list[tuple[str, str, str]]:
    found: Any = preview("yellow.yaml", text, saved, rules, calls)
    return [(f"{one['method']} {one['host']}{one['path']}", one["before"]["outcome"], one["after"]["outcome"]) for one in found["changes"]]


def document(*entries: str) -> str:
    """Return the file with these entries in the place of its own."""
    head = YELLOW.partition("    entries:\n")[0]
    return f"{head}    entries:\n" + "".join(f"      - {entry}\n" for entry in entries)


DENY = "{match: {host: h.example.com, pathPrefix: /a}, action: deny}"
EXCHANGE = '{match: {host: h.example.com, pathPrefix: /a}, action: exchange, exchange: {issuerRef: demo, scope: "one"}}'
WITH_METADATA = EXCHANGE.replace('"one"', '"one", resourceMetadata: "https://h.example.com/m"')


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((DENY,), (DENY,), []),
        ((DENY, EXCHANGE.replace("/a", "/b")), (EXCHANGE.replace("/a", "/b"), DENY), []),  # another order
        ((), (DENY,), [("GET h.example.com/a", "no policy", "deny")]),
        ((DENY,), (), [("GET h.example.com/a", "deny", "no policy")]),
        ((DENY,), (EXCHANGE,), [("GET h.example.com/a", "deny", "exchange")]),
        ((EXCHANGE,), (EXCHANGE.replace("one", "two"),), [("GET h.example.com/a", "exchange", "exchange")]),
        ((EXCHANGE,), (WITH_METADATA,), [("GET h.example.com/a", "exchange", "exchange")]),
        ((DENY,), (DENY, DENY), [("GET h.example.com/a", "deny", "conflict")]),
        ((DENY, DENY), (DENY,), [("GET h.example.com/a", "conflict", "deny")]),
        ((DENY,), (DENY.replace("deny", "dny"),), [("GET h.example.com/a", "deny", "blocked by")]),
        (
            (DENY,),
            (DENY.replace("/a}", "/a, methods: [PUT, POST]}"),),
            [("GET h.example.com/a", "deny", "no policy")],
        ),
    ],
)
def test_a_request_at_the_edge_of_each_changed_entry_is_tried(
    before: tuple[str, ...], after: tuple[str, ...], expected: list[tuple[str, str, str]]
) -> None:
    assert changes(document(*after), SAMPLE | {"yellow.yaml": document(*before)}) == expected


def test_an_unreadable_document_closes_as_far_as_the_service_lets_it_reach() -> None:
    unreadable = YELLOW.replace("version: v1", "version: v9")
    unmatched = changes(unreadable, calls=CALLS)
    everywhere = changes(unreadable, rules=attrs.evolve(RULES, reach=UnreadableReach.GLOBAL), calls=CALLS)
    assert {after for _, _, after in everywhere} == {"blocked by"}
    assert set(unmatched) < set(everywhere)


def test_only_so_many_are_tried_and_listed() -> None:
    entries = [f"{{match: {{host: h.example.com, pathPrefix: /{number}}}, action: deny}}" for number in range(MAX_EXAMPLES + 7)]
    found: Any = preview("yellow.yaml", document(*entries), SAMPLE | {"yellow.yaml": document()}, RULES, CALLS)
    assert (found["examples"], len(found["changes"])) == (MAX_EXAMPLES, MAX_SHOWN)
    assert len(set(CALLS)) < MAX_EXAMPLES
    assert found["more"] > 400 - MAX_SHOWN


@pytest.mark.parametrize(("text", "saved", "why_not"), [("a: [", YELLOW, UNREADABLE), ("", YELLOW, UNREADABLE), (YELLOW, "a: [", UNKNOWN)])
def test_what_cannot_be_read_is_not_compared(text: str, saved: str, why_not: str) -> None:
    found = preview("yellow.yaml", text, SAMPLE | {"yellow.yaml": saved}, RULES, CALLS)
    assert found == {"examples": 0, "changes": [], "more": 0, "why_not": why_not}


@settings(max_examples=examples(40))
@given(edited(), edited() | st.just(YELLOW))
def test_both_sides_are_what_the_service_decides(tmp_path_factory: pytest.TempPathFactory, text: str, saved: str) -> None:
    found: Any = preview("yellow.yaml", text, SAMPLE | {"yellow.yaml": saved}, RULES, CALLS)
    assert len(found["changes"]) <= MAX_SHOWN
    if found["why_not"]:
        assert not found["changes"]
        return
    folder = tmp_path_factory.mktemp("policy")
    for side, content in (("before", saved), ("after", text)):
        policy = _active(folder, content)
        for change in found["changes"]:
            decision = policy.match(change["host"], change["path"], change["method"])
            outcome = change[side]["outcome"]
            assert (outcome == "exchange") is isinstance(decision, ExchangeEntry)
            assert (outcome == "deny") is isinstance(decision, DenyEntry)
            assert (outcome in {"blocked by", "conflict"}) is isinstance(decision, Unhealthy)
    assert all(change["before"] != change["after"] for change in found["changes"])


def _active(folder: Path, text: str) -> PolicySnapshot:
    for name, said in (SAMPLE | {"yellow.yaml": text}).items():
        (folder / name).write_bytes(said.encode())
    documents = select(scan(folder, Scan()).manifests(), RULES.namespaces, RULES.configmaps)
    return advance(PolicySnapshot.EMPTY, {}, documents, RULES.issuers).snapshot


async def test_a_preview_is_asked_for_and_saves_nothing(tmp_path: Path) -> None:
    wanted = {"name": "yellow.yaml", "text": YELLOW.replace("action: deny", "action: dny"), "compare": "saved"}
    async with bench(tmp_path, deny) as lab:
        answered = await lab.ask("POST", "/lab/policy/lint", wanted)
        wrong = await lab.ask("POST", "/lab/policy/lint", wanted | {"compare": "s3cret"})
        assert (lab.site.policy / "yellow.yaml").read_text() == YELLOW
    assert "blocked by" in [change["after"]["outcome"] for change in answered.json["compared"]["changes"]]
    assert (wrong.status, wrong.json) == (400, {"error": "compare is not saved"})
