"""Holds the runbooks against what there is: alerts, commands, variables, log events, metrics. Nobody checks a page at night."""

import re
import shlex
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from exchanger.authz.decision.outcome import DecisionReason, Deny
from exchanger.authz.decision.strict import strict_answer
from exchanger.cli import parse
from exchanger.model.entry import Source
from exchanger.model.errors import Diagnostic
from exchanger.model.token import ErrorKind, ExchangeFailure
from exchanger.operations.telemetry.decision_log import decision_line
from exchanger.operations.telemetry.render import render_json
from tests.monitoring.exported import exported
from tests.monitoring.pages import (
    GUIDES,
    INDEX,
    PAGES,
    RUNBOOK_PAGES,
    SETUPS,
    blocks,
    code_lines,
    commands,
    functions,
    setups,
    ticked,
    variables,
)
from tests.monitoring.sources import ROOT, RULES, RUNBOOKS, alerts, values
from tests.operations.telemetry.records import record
from tests.test_pages import events

SECTIONS: Final = [
    "What it means for users",
    "How to see it",
    "Likely causes, in order",
    "What to do",
    "How to see that it is over",
    "When to escalate",
]
# What whoever is woken has, besides the functions of the set-up.
PROGRAMS: Final = frozenset({"curl", "grep", "sort", "uniq", "exchanger", "export"})
# Only where the paragraph before says so.
IN_A_CLUSTER: Final = frozenset({"kubectl", "helm", "upgrade"})
VALUE_WORDS: Final = frozenset(
    {"log", "metrics", "rbac", "networkPolicy", "policyNamespaces", "prometheusRule", "tokenExchange", "service", "resources"}
    | {"autoscaling", "audit", "authorizationPolicy", "envoyFilter", "envoyGateway", "gkeExtProc", "policy"}
)
EVENT: Final = re.compile(r"(?:audit|check|config|grants|grpc|http_authz|issuers|library|log|policy|service|tls)\.[a-z_]+")
SOURCE: Final = "\n".join(path.read_text() for path in sorted((ROOT / "exchanger").rglob("*.py")))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def known_value(path: str) -> bool:
    node: object = values()
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    assert {page.stem for page in RUNBOOK_PAGES} == alerts().keys()


def test_triage_leads_to_every_runbook_and_the_index_to_both_guides() -> None:
    linked = set(re.findall(r"\]\((\w+)\.md", GUIDES[0].read_text()))
    assert {page.stem for page in RUNBOOK_PAGES} <= linked
    assert all(f"]({page.name})" in INDEX.read_text() for page in GUIDES)


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_and_its_page_say_the_same_and_what_to_do(name: str) -> None:
    rule, text = alerts()[name], (RUNBOOKS / f"{name}.md").read_text()
    (severity,) = rule["labels"].values()

    assert rule["labels"] == {"severity": severity}
    assert severity in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "action", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    for annotation in ("description", "action"):
        assert rule["annotations"][annotation].endswith("."), annotation
        assert "{{" not in rule["annotations"][annotation], "figures belong into the summary, which the cases check"
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert f"Severity: {severity}, after {rule['for']}." in text
    assert "```sh" in text


def test_the_index_lists_every_alert_as_it_is() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| (\w+) \| .+ \|$", INDEX.read_text(), re.MULTILINE)

    assert rows == [(name, name, rule["labels"]["severity"], rule["for"]) for name, rule in alerts().items()]


@every_page
def test_runbook_uses_only_functions_and_commands_that_exist(page: Path) -> None:
    everywhere = PROGRAMS.union(frozenset.intersection(*map(functions, SETUPS)))
    for block in blocks(page):
        said = [words for line in block.text.splitlines() for words in commands(line)]
        assert {words[0] for words in said} <= everywhere | (IN_A_CLUSTER if block.cluster else frozenset()), block.text
    said = [words for line in code_lines(page) for words in commands(line)]
    ours = [words for words in said if words[0] == "exchanger"] + [
        shlex.split(text) for text in ticked(page) if text.startswith("exchanger ")
    ]
    assert all(parse(words[1:]) is not None for words in ours)


@every_page
def test_every_variable_of_a_command_is_set_before_it(page: Path) -> None:
    everywhere = frozenset.intersection(*(variables(setups()[setup]) for setup in SETUPS))
    known = set(everywhere)
    for block in blocks(page):
        known |= variables("\n".join(line for line in block.text.splitlines() if line.startswith("export ")))
        used = set(re.findall(r"\$\{?([A-Z_]+)", block.text))
        assert used <= known | (variables(setups()["cluster"]) if block.cluster else set()), block.text


def test_a_setup_takes_what_differs_between_alerts_from_their_labels() -> None:
    text = setups()["cluster"]
    by = set(chain.from_iterable(re.findall(r"by \(([\w, ]+)\)", rule["expr"]) for rule in alerts().values()))
    labels = {"namespace", "service"} | {label for group in by for label in group.split(", ")} - {"le", "job", "version", "issuer"}
    named = {word for line in text.splitlines() if "the alert's label" in line for word in re.findall(r"\w+", line.partition("#")[2])}
    assert labels <= named


def test_every_runbook_says_where_its_commands_come_from() -> None:
    for page in (*RUNBOOK_PAGES, *GUIDES):
        assert "et up your shell](README.md#set-up-your-shell)" in page.read_text(), page.stem


@pytest.mark.parametrize("name", [name for name, rule in sorted(alerts().items()) if re.search(r"get (?:a )?(?:4|5)0\d", str(rule))])
def test_an_alert_and_its_page_say_what_users_get_with_strict_errors(name: str) -> None:
    """An unhealthy policy is no failed exchange, so that ``errors`` changes nothing there."""
    text = alerts()[name]["annotations"]["description"]
    assert "errors: strict" in text or name in {"ExchangerPolicyInvalid", "ExchangerPolicyUnhealthyHit"}
    assert "`errors" in (RUNBOOKS / f"{name}.md").read_text()


def statuses_of_the_index() -> dict[str, str]:
    """Return what the index says about strict errors, by code."""
    found: dict[str, str] = {}
    for codes, cell in re.findall(r"^\| [^|]*\((TXE-[^)]*)\) \| [^|]* \| ([^|]*) \|$", INDEX.read_text(), re.MULTILINE):
        numbers = codes.replace("TXE-", "").replace(" to ", "-")
        for part in numbers.split(", "):
            first, _, last = part.partition("-")
            found |= {f"TXE-{number}": cell for number in range(int(first), int(last or first) + 1)}
    return found


@pytest.mark.parametrize("diagnostic", [one for one in Diagnostic if one is not Diagnostic.OAUTH_ERROR])
def test_the_index_says_which_status_a_code_has_with_strict_errors(diagnostic: Diagnostic) -> None:
    cell = statuses_of_the_index().get(diagnostic.value)
    assert cell is not None or diagnostic.value.startswith("TXE-200")  # what an issuer refuses is listed by its error
    if cell is not None and diagnostic is not Diagnostic.UNKNOWN_ISSUER:  # without a profile there is no ``errors``
        failure = ExchangeFailure(diagnostic, ErrorKind.TRANSPORT_ERROR, 500, "")
        assert str(strict_answer(failure, "realm", "", "").status) in cell


@every_page
def test_every_variable_value_event_and_metric_that_a_page_names_exists(page: Path) -> None:
    for text in ticked(page):
        if re.fullmatch(r"[A-Z][A-Z0-9_]{5,}(=\w+)?", text):
            assert text.partition("=")[0] in SOURCE, text
        value = re.fullmatch(r"([a-z]\w*(?:\.\w+)+)(?:: .+)?", text)
        if value and value.group(1).split(".")[0] in VALUE_WORDS and not (EVENT.fullmatch(text) and f'"{text}"' in SOURCE):
            assert known_value(value.group(1)) or value.group(1) == "resources.limits.memory", text
        if re.match(r"(ext_authz|policy|log_lines|exchanger_build|process)_", text) and text != "policy_denied":
            assert text in exported(), text
    in_code = [event.replace("\\.", ".") for line in code_lines(page) for event in re.findall(r"[a-z]+\\\.[a-z_]+", line)]
    for event in in_code + [text for text in ticked(page) if EVENT.fullmatch(text) and not known_value(text)]:
        assert f'"{event}"' in SOURCE, event
    for line in code_lines(page):
        for pattern in re.findall(r"^metrics \| grep (?:-E )?'?([^']+)'?$", line):
            assert any(re.search(pattern, name) for name in exported()), pattern


def lines_of_the_log() -> list[str]:
    """Return a line of each kind that the service writes: of every decision and failure, and of every event."""
    source = Source("team-a", "orders")
    denied = [Deny(reason, 500, "", source=source) for reason in DecisionReason if reason.value.startswith(("deny", "missing"))]
    failed = [
        Deny(DecisionReason.DENY_EXCHANGE_ERROR, 500, "", source=source, diagnostic=Diagnostic.REQUEST_FAILED, error_kind=kind)
        for kind in ErrorKind
    ]
    decided = [render_json(decision_line(record(outcome), "2026-01-01T00:00:00Z")).decode() for outcome in (*denied, *failed)]
    return decided + [f'{{"timestamp":"2026-01-01T00:00:00Z","level":"info","event":"{event}"}}' for event in events()]


LINES: Final = lines_of_the_log()


@every_page
def test_log_patterns_of_a_runbook_match_log_lines(page: Path) -> None:
    for line in code_lines(page):
        searched, *greps = [words for words in commands(line) if words[0] in {"logs", "previous_logs", "grep"}] or [[]]
        if searched[:1] != ["logs"]:
            continue
        for words in greps:
            pattern = next(word for word in words[1:] if not word.startswith("-"))
            for alternative in pattern.split("|") if "(" not in pattern else [pattern]:
                assert any(re.search(alternative, one) for one in LINES), (line, alternative)


def test_what_only_the_log_has_is_in_no_alert() -> None:
    page = ROOT / "docs" / "explanation" / "review" / "what-if-something-is-down.md"
    (sentence,) = re.findall(r"Only the log has ([^;.]*(?:\.[a-z_]+[^;.]*)*)", page.read_text())
    only = set(re.findall(r"`(\w+\.\w+)`", sentence))
    assert only
    assert only & {event for event in events() if event in RULES.read_text()} == set()


def test_severities_wake_for_symptoms_only() -> None:
    critical = {name for name, rule in alerts().items() if rule["labels"]["severity"] == "critical"}

    assert critical == {
        "ExchangerAbsent",
        "ExchangerConnectionsRefused",  # seen by gateways only, which refuse what they cannot ask about
        "ExchangerErrorsFast",
        "ExchangerPolicyNotLoaded",
        "ExchangerPolicyShrunk",
        "ExchangerPolicyTooOld",
    }


def test_every_alert_is_unique_and_explains_its_duration() -> None:
    text = RULES.read_text()

    assert re.findall(r"- alert: (\w+)", text) == list(alerts())
    for name, rule in alerts().items():
        reason = re.search(rf"# (\w+): .*\n(?: *#.*\n)* *- alert: {name}\n", text)
        assert reason is not None, name
        assert reason.group(1) == rule["for"], name
    assert values()["prometheusRule"]["alerts"] == {}
