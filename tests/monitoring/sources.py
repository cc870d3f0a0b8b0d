"""The alerts and the dashboard as the files have them, with the chart's default values in place of what is a value."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "helm" / "exchanger"
RULES: Final = CHART / "rules" / "exchanger.yaml"
DASHBOARD: Final = CHART / "dashboards" / "exchanger.json"
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
# Labels of the series that the alerts look at.
RELEASE: Final = {"job": "exchanger", "namespace": "edge"}

Json = dict[str, Any]


@attrs.frozen
class Query:
    """An expression and where it is."""

    place: str
    expression: str


@cache
def values() -> Json:
    """Return the chart's default values."""
    loaded: Json = yaml.load((CHART / "values.yaml").read_text(), yaml.CSafeLoader)
    return loaded


@cache
def placeholders() -> dict[str, str]:
    """Return what templates/prometheusrule.yaml puts into the rules for a release ``exchanger`` in ``edge``, with default values."""
    given = values()["prometheusRule"]
    return {
        **{name: f"{value:g}" for name, value in given["thresholds"].items()},
        "selector": ",".join(f'{label}="{value}"' for label, value in sorted(RELEASE.items())),
        "runbooks": given["runbookBaseUrl"],
        "tokenEndpointTimeoutSeconds": "0.75",
    }


def groups() -> list[Json]:
    """Return the rules, in a form of their own that callers may change."""
    text = re.sub(r"\$\{(\w+)\}", lambda found: placeholders()[found.group(1)], RULES.read_text())
    loaded: list[Json] = yaml.load(text, yaml.CSafeLoader)["groups"]
    return loaded


def alerts() -> dict[str, Json]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for group in groups() for rule in group["rules"]}


@cache
def dashboard() -> Json:
    """Return the dashboard."""
    loaded: Json = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> Iterator[Json]:
    """Yield every panel, those of collapsed rows too, and rows themselves."""
    for panel in dashboard()["panels"]:
        yield panel
        yield from panel.get("panels", ())


def dashboard_queries() -> Iterator[Query]:
    """Yield every query of the dashboard: of panels, variables and annotations."""
    for panel in panels():
        for target in panel.get("targets", ()):
            yield Query(f"panel {panel['title']}", target["expr"])
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            selector = re.fullmatch(r"label_values\((.+), *(\w+)\)", variable["query"]["query"])
            assert selector is not None, variable["name"]
            yield Query(f"variable {variable['name']}", f"count by ({selector.group(2)}) ({selector.group(1)})")
    for annotation in dashboard()["annotations"]["list"]:
        if "expr" in annotation:
            yield Query(f"annotation {annotation['name']}", annotation["expr"])


def alert_queries() -> Iterator[Query]:
    """Yield the expression of every alert."""
    for name, rule in alerts().items():
        yield Query(f"alert {name}", rule["expr"])
