"""Holds the runbooks against what there is: alerts, commands, variables, log events, metrics. Nobody checks a page at night."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from exchanger.cli import parse
from tests.monitoring.exported import exported
from tests.monitoring.sources import ROOT, RULES, RUNBOOKS, alerts, values

INDEX: Final = RUNBOOKS / "README.md"
PAGES: Final = tuple(sorted(RUNBOOKS.glob("*.md")))
SECTIONS: Final = ["What it means for users", "How to see it", "Likely causes, in order", "What to do", "When to escalate"]
# What whoever is woken has; the last one is in busybox, which debug containers are of.
PROGRAMS: Final = frozenset({"kubectl", "helm", "curl", "grep", "sort", "uniq", "exchanger", "export", "netstat"})
VALUE_WORDS: Final = frozenset(
    {"log", "metrics", "rbac", "networkPolicy", "policyNamespaces", "prometheusRule", "tokenExchange", "service", "resources"}
    | {"autoscaling"}
)
EVENT: Final = re.compile(r"(?:check|config|grpc|issuers|library|log|policy|service|tls)\.[a-z_]+")
SOURCE: Final = "\n".join(path.read_text() for path in sorted((ROOT / "exchanger").rglob("*.py")))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def code_lines(page: Path) -> Iterator[str]:
    for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


def commands(line: str) -> Iterator[list[str]]:
    """Yield the commands of a line: those of a pipe, and what ``kubectl exec … --`` runs."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, "|"]:
        if set(word) <= set("|&;"):
            if words:
                yield words
            if "--" in words:
                yield words[words.index("--") + 1 :]
            words = []
        else:
            words.append(word)


def ticked(page: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def known_value(path: str) -> bool:
    node: object = values()
    for part in path.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    assert {page.stem for page in PAGES} - {"README"} == alerts().keys()


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
def test_a_page_uses_programs_that_everybody_has_and_commands_of_ours_that_exist(page: Path) -> None:
    said = [words for line in code_lines(page) for words in commands(line)]
    ours = [words for words in said if words[0] == "exchanger"] + [
        shlex.split(text) for text in ticked(page) if text.startswith("exchanger ")
    ]

    assert {words[0] for words in said} <= PROGRAMS
    assert all(parse(words[1:]) is not None for words in ours)


def test_the_tool_that_shows_policy_is_in_the_pages() -> None:
    assert ["exchanger", "status"] in [words for page in PAGES for line in code_lines(page) for words in commands(line)]


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
        for pattern in re.findall(r"/metrics \| grep -E '([^']+)'", line):
            assert any(re.search(pattern, name) for name in exported()), pattern


def test_words_that_pages_look_for_in_the_log_exist() -> None:
    found = {word for page in PAGES for line in code_lines(page) for word in re.findall(r"\b(?:deny|missing|system)_[a-z_]+", line)}

    assert found
    assert all(f'"{word}"' in SOURCE for word in found if not word.endswith("_"))


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


def test_every_duration_has_its_reason_beside_it_and_no_alert_is_there_twice() -> None:
    text = RULES.read_text()

    assert re.findall(r"- alert: (\w+)", text) == list(alerts())
    for name, rule in alerts().items():
        reason = re.search(rf"# (\w+): .*\n(?: *#.*\n)* *- alert: {name}\n", text)
        assert reason is not None, name
        assert reason.group(1) == rule["for"], name
    assert values()["prometheusRule"]["alerts"] == {}
