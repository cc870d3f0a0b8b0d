"""Runs promtool over the alerts: their syntax, and for each the cases of alerts.yaml, in which it fires or keeps silent."""

import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import yaml

from tests.helm.chart import BRIEF
from tests.monitoring.sources import RELEASE, alerts, dashboard_queries, groups
from tests.tools import find_tool

pytestmark = pytest.mark.go

# Seconds: all cases take three on an idle machine.
PROMTOOL_S: Final = 120.0
# What Grafana puts into queries where PromQL wants a number or a duration; variables in matchers are text already.
SECONDS_OF_GRAFANA: Final = {"$__rate_interval": "5m", "$gateway_timeout": "1", "$token_timeout": "0.75"}


@attrs.frozen
class Case:
    """What an alert makes of some series; minutes."""

    alert: str
    case: str
    series: dict[str, str]
    silent: list[int] = attrs.field(factory=list)
    fires: list[int] = attrs.field(factory=list)
    summary: str = ""
    labels: dict[str, str] = attrs.field(factory=dict)

    def as_promtool_has_it(self) -> dict[str, Any]:
        """Return the test of promtool."""
        severity = alerts()[self.alert]["labels"]["severity"]
        fired = {"exp_labels": {**self.labels, "severity": severity}, "exp_annotations": {"summary": self.summary}}
        expected: list[tuple[int, list[Any]]] = [(minute, []) for minute in self.silent] + [(minute, [fired]) for minute in self.fires]
        return {
            "name": f"{self.alert}: {self.case}",
            "interval": "1m",
            "input_series": [{"series": labelled(name), "values": values} for name, values in self.series.items()],
            "alert_rule_test": [{"eval_time": f"{minute}m", "alertname": self.alert, "exp_alerts": fires} for minute, fires in expected],
        }


@cache
def cases() -> tuple[Case, ...]:
    return tuple(Case(**case) for case in yaml.safe_load((Path(__file__).parent / "alerts.yaml").read_text()))


def labelled(series: str) -> str:
    assert series.endswith("}")
    return f"{series[:-1]}," + ",".join(f'{label}="{value}"' for label, value in RELEASE.items()) + "}"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (find_tool("promtool"), *arguments),
        capture_output=True,
        text=True,
        timeout=PROMTOOL_S,
        check=False,
        env={"HOME": "/nonexistent", **BRIEF},
    )


def run_tests(folder: Path, wanted: Iterable[Case]) -> subprocess.CompletedProcess[str]:
    """Have promtool run cases, those of each alert against that alert alone: with all others beside it they take ten times as long.

    The rules have the summary as their only annotation, since promtool compares all of them.
    """
    find_tool("promtool")  # before its files are written for nothing
    of_alert: dict[str, list[dict[str, Any]]] = {}
    for case in wanted:
        of_alert.setdefault(case.alert, []).append(case.as_promtool_has_it())
    paths = []
    for name, tests in of_alert.items():
        rule = alerts()[name]
        rule["annotations"] = {"summary": rule["annotations"]["summary"]}
        write(folder / f"{name}.yaml", {"groups": [{"name": name, "rules": [rule]}]})
        content = {"rule_files": [f"{name}.yaml"], "evaluation_interval": "1m", "tests": tests}
        paths.append(write(folder / f"{name}.test.yaml", content))
    return promtool("test", "rules", *paths)


def write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=1000))
    return path


def test_promtool_accepts_the_alerts(tmp_path: Path) -> None:
    path = write(tmp_path / "rules.yaml", {"groups": groups()})

    done = promtool("check", "rules", "--lint=all", "--lint-fatal", path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(alerts())} rules found" in done.stdout


def test_promtool_accepts_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = []
    for number, query in enumerate(dashboard_queries()):
        expression = query.expression
        for variable, value in SECONDS_OF_GRAFANA.items():
            expression = expression.replace(variable, value)
        rules.append({"record": f"dashboard:query:{number}", "expr": expression})
    path = write(tmp_path / "queries.yaml", {"groups": [{"name": "dashboard", "rules": rules}]})

    done = promtool("check", "rules", path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules)} rules found" in done.stdout


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    done = run_tests(tmp_path, cases())

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(alerts()))
def test_each_alert_has_cases_on_both_sides_of_its_threshold(name: str) -> None:
    of_alert = [case for case in cases() if case.alert == name]
    firing = [case for case in of_alert if case.fires]

    assert all(case.silent and case.summary for case in firing), "a case that fires also says until when it does not"
    assert any(not case.fires for case in of_alert), "there is a case in which it never fires"
    assert any(min(case.fires) - 1 in case.silent for case in firing)
