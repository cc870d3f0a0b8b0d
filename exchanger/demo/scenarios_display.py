"""How ``exchanger scenarios`` shows scenarios and findings: lines for people, one JSON object for tools. No token is in either.

Must not know: how a scenario is run, or where the lines go.
"""

import json
from collections.abc import Sequence
from typing import assert_never, final

import attrs

from exchanger.demo.display import Columns, curl_line, table_head, table_row
from exchanger.demo.runner import Finding, summary
from exchanger.demo.scenario import EqualRequests, OneRequest, PolicyEdit, Scenario

RELAXED = "With your own token an exchange is judged by one thing: what the upstream sees differs from what was sent."


@final
@attrs.frozen
class Report:
    """What is reported about: the gateway, the scenarios, and whether expectations are relaxed; ``lenient`` as in ``Ground``."""

    gateway: str
    scenarios: tuple[Scenario, ...]
    lenient: bool

    def as_expected(self, findings: Sequence[Finding]) -> bool:
        """Whether something was run, and all of it came out as expected."""
        return all(finding.ok for finding in findings) and any(not finding.skipped for finding in findings)


@final
@attrs.frozen
class Lines:
    """The report as lines, which can be shown while scenarios are run."""

    report: Report
    columns: Columns

    def head(self) -> str:
        """Return what comes first."""
        relaxed = (RELAXED,) if self.report.lenient else ()
        return "\n".join((f"Gateway: {self.report.gateway}", *relaxed, "", table_head(self.columns)))

    def row(self, finding: Finding) -> str:
        """Return the line of one scenario, with lines of detail where it is not as expected, and the trace to look for."""
        row = table_row(finding, self.columns)
        traces = () if finding.ok else tuple(asked.trace_id for asked in finding.asked if asked.trace_id)[:1]
        return "\n".join((row, *(f"       trace    {trace_id}" for trace_id in traces)))

    def foot(self, findings: Sequence[Finding]) -> str:
        """Return what comes last."""
        counts = _counts(findings)
        skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
        return f"\n{counts['as_expected']} of {counts['as_expected'] + counts['not_as_expected']} as expected{skipped}"


def as_lines(report: Report) -> Lines:
    """Return the report as lines."""
    return Lines(report, Columns.of(report.scenarios, lenient=report.lenient))


def as_json(report: Report, findings: Sequence[Finding]) -> str:
    """Return all of it as one JSON object."""
    return json.dumps(
        {
            "gateway": report.gateway,
            "own_token": report.lenient,
            **_counts(findings),
            "scenarios": [_finding(finding) for finding in findings],
        },
        indent=2,
    )


def list_as_text(scenarios: tuple[Scenario, ...]) -> str:
    """Return the scenarios, three lines each."""
    return "\n".join(f"{scenario.name}: {scenario.watch}\n  => {summary(scenario)}\n  {curl_line(scenario.call)}" for scenario in scenarios)


def list_as_json(scenarios: tuple[Scenario, ...]) -> str:
    """Return the scenarios as one JSON object."""
    return json.dumps({"scenarios": [_scenario(scenario) for scenario in scenarios]}, indent=2)


def kind_of(scenario: Scenario) -> str:
    """Return the kind of a scenario in one word."""
    match scenario:
        case OneRequest():
            return "request"
        case EqualRequests():
            return "equal"
        case PolicyEdit():
            return "edit"
        case _:
            assert_never(scenario)


def _scenario(scenario: Scenario) -> dict[str, object]:
    call = scenario.call
    return {
        "name": scenario.name,
        "kind": kind_of(scenario),
        "watch": scenario.watch,
        "expected": summary(scenario),
        "request": {
            "method": call.method,
            "host": call.host,
            "path": call.path,
            "headers": [list(header) for header in call.headers],
            "subject": call.subject.value,
        },
        "curl": curl_line(call),
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "name": finding.name,
        "ok": None if finding.skipped else finding.ok,
        "skipped": finding.skipped or None,
        "expected": finding.expected,
        "got": finding.got,
        "elapsed_ms": round(finding.elapsed * 1000, 1),
        "details": list(finding.details),
        "trace_ids": [asked.trace_id for asked in finding.asked if asked.trace_id],
    }


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    skipped = sum(bool(finding.skipped) for finding in findings)
    as_expected = sum(finding.ok for finding in findings) - skipped
    return {"as_expected": as_expected, "not_as_expected": len(findings) - skipped - as_expected, "skipped": skipped}
