import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.monitoring.promql import read
from tests.monitoring.sources import Json, alerts, dashboard, panels, values

BUILT_IN: Final = frozenset({"__rate_interval", "__all"})
CONTENT: Final = tuple(panel for panel in panels() if panel["type"] != "row")

every_panel = pytest.mark.parametrize("panel", CONTENT, ids=lambda panel: f"{panel['id']} {panel['title']}")


@every_panel
def test_panel_is_described_and_its_legend_uses_kept_labels(panel: Json) -> None:
    assert len(panel["description"]) > 20
    assert panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["legendFormat"]
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= read(target["expr"]).labels
    references = [target["refId"] for target in panel["targets"]]
    assert len(references) == len(set(references))
    assert panel["type"] != "stat" or "thresholds" in defaults
    steps: list[Any] = [step["value"] for step in defaults["thresholds"]["steps"]] if "thresholds" in defaults else [None]
    assert steps[0] is None
    assert steps[1:] == sorted(set(steps[1:]))


@every_panel
def test_counters_are_shown_as_rates_and_gauges_are_not(panel: Json) -> None:
    for target in panel["targets"]:
        for selector in read(target["expr"]).selectors:
            counted = re.search(rf"\b(rate|increase)\({selector.metric}\{{", target["expr"])
            is_counter = selector.metric.endswith(("_total", "_bucket", "_count", "_periods_total")) or (
                selector.metric.startswith("envoy_") and not selector.metric.endswith("_active")
            )
            assert bool(counted) == is_counter, selector.metric


def test_panels_have_different_ids() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _strings(member)
    elif isinstance(value, list):
        for member in value:
            yield from _strings(member)


def test_every_variable_is_used_and_every_one_used_is_there() -> None:
    used = {name for text in _strings(dashboard()) for name in re.findall(r"\$\{?(\w+)\}?", text)} - BUILT_IN

    assert used == {variable["name"] for variable in dashboard()["templating"]["list"]}


def test_several_instances_can_be_chosen_and_all_are_at_first() -> None:
    instance = next(variable for variable in dashboard()["templating"]["list"] if variable["name"] == "instance")

    assert instance["multi"]
    assert instance["includeAll"]
    assert instance["current"]["value"] == ["$__all"]


def _last_step(title: str) -> float:
    found = [panel for panel in CONTENT if panel["title"] == title]
    assert len(found) == 1
    value = found[0]["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
    assert isinstance(value, int | float)
    return value


def test_lines_are_where_alerts_begin() -> None:
    thresholds = values()["prometheusRule"]["thresholds"]

    assert _last_step("Errors (500)") == pytest.approx(14.4 * thresholds["errorBudget"])
    assert _last_step("Share of errors and refusals") == pytest.approx(14.4 * thresholds["errorBudget"])
    assert _last_step("Duration without token endpoint") == thresholds["checkSeconds"]
    assert _last_step("Share of failures") == thresholds["tokenEndpointFailureRatio"]
    assert _last_step("Age of the policy") == thresholds["policyAgeSeconds"]
    assert _last_step("Policy age") == thresholds["policyAgeSeconds"]
    assert _last_step("Time until the certificate expires") == thresholds["certificateDays"] * 86400


def test_alerts_that_panels_mention_exist() -> None:
    mentioned = {name for text in _strings(dashboard()) for name in re.findall(r"Exchanger[A-Z]\w+", text)}

    assert mentioned
    assert mentioned <= alerts().keys()
