"""What pages name exists: metrics, log events, variables, values of the chart, and commands with their options."""

import contextlib
import io
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exchanger.app.settings import known_variables
from exchanger.cli import available_commands, parse
from tests.monitoring.exported import exported
from tests.monitoring.sources import values
from tests.test_pages import NOT_EVENTS, PAGES, ROOT, events

# Pages about what was, with names that are gone.
OF_THE_PAST: Final = frozenset({"CHANGELOG.md", "NOTES.md", "move-from-go.md"})
NOW: Final = [page for page in PAGES if page.name not in OF_THE_PAST]
every_page = pytest.mark.parametrize("page", NOW, ids=lambda page: str(page.relative_to(ROOT)))
# A misspelt variable, which the service would report.
MISSPELT: Final = frozenset({"TOKEN_EXCHANGE_DEFAULT_DENY_UNMACHED"})
# Keys of Secrets and of gateways' files, and attributes of spans and of results of a command.
NOT_NAMES: Final = frozenset({"policy.labels", "policy.name", "service.instance.id", "tls.ca", "tls.cert", "tls.crt", "tls.key"})
_TICKED: Final = re.compile(r"`([^`\n]+)`")
_FENCED: Final = re.compile(r"^```(?:sh|shell|bash|text)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@every_page
def test_every_metric_on_a_page_is_exported(page: Path) -> None:
    named = re.findall(r"(?<![\w-])(?:ext_authz|log_lines|exchanger_build)_[a-z0-9_]+", page.read_text())
    families = {re.sub(r"_(?:bucket|count|sum|total)$", "", name) for name in exported()}
    wrong = [name for name in named if not name.endswith("_") and re.sub(r"_(?:bucket|count|sum|total)$", "", name) not in families]
    assert wrong == []


@every_page
def test_every_variable_of_ours_on_a_page_exists(page: Path) -> None:
    ours = {name.partition("_")[0] for name in known_variables()} - {"KUBE", "POD"}
    named = {found for text in _TICKED.findall(page.read_text()) for found in re.findall(r"^([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)(?:$|=)", text)}
    others = {name for name in named if name.partition("_")[0] in ours} - known_variables() - MISSPELT - {"HTTP_PROXY"}
    assert {name for name in others if f"`{name}`" not in (ROOT / "docs/reference/admission.md").read_text()} == set()


@every_page
def test_every_event_on_a_page_is_logged(page: Path) -> None:
    rooms = {event.partition(".")[0] for event in events()}
    for text in _TICKED.findall(page.read_text()):
        if re.fullmatch(r"[a-z_]+\.[a-z_]+", text) and text.partition(".")[0] in rooms and not known_value(text):
            assert text in {*events(), *NOT_EVENTS, *NOT_NAMES} or text.rpartition(".")[2] in {"yaml", "json", "md", "py"}, text


@cache
def values_of(chart: str) -> Any:
    return yaml.load((ROOT / "helm" / chart / "values.yaml").read_text(), yaml.CSafeLoader)


def known_value(path: str, chart: str = "exchanger") -> bool:
    """Return whether ``path`` is a value of a chart, or in one whose content is free."""
    node: Any = values() if chart == "exchanger" else values_of(chart)
    for part in path.split("."):
        if node in ({}, [], ""):
            return True
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


@every_page
def test_every_value_of_the_chart_on_a_page_exists(page: Path) -> None:
    rooms = {event.partition(".")[0] for event in events()}
    for text in _TICKED.findall(page.read_text()):
        path = re.match(r"([a-z]\w*(?:\.\w+)+)(?:$|[:=])", text)
        if path is None or path[1] in {*events(), *NOT_EVENTS, *NOT_NAMES} or path[1].partition(".")[0] not in values():
            continue
        if re.search(r"\.(?:yaml|json|md|py|sh)$", path[1]) or (path[1].partition(".")[0] in rooms and "_" in path[1]):
            continue
        assert known_value(path[1], page.parent.name if page.name == "README.md" and "helm" in page.parts else "exchanger"), text


@cache
def options(name: str) -> frozenset[str]:
    """Return the options of a command."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        parse([name, "--help"])
    return frozenset(re.findall(r"(?<!\S)--?[a-z][a-z-]*", said.getvalue()))


@every_page
def test_every_option_of_a_command_of_ours_on_a_page_exists(page: Path) -> None:
    text = page.read_text()
    lines = [line for block in _FENCED.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    lines += [line for line in _TICKED.findall(text) if line.startswith("exchanger ")]
    for line in lines:
        for name, rest in re.findall(r"(?:^|[ /])exchanger ([a-z-]+)((?: [^|;&#>]*)?)", line):
            if name in available_commands():
                assert set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest)) <= options(name), line
