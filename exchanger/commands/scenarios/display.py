"""How scenarios and findings are shown: tables and curl commands for people, one JSON object for tools. None of them contains a token."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Final, assert_never, final

import attrs

from exchanger.commands.scenarios.answer import Reached
from exchanger.commands.scenarios.runner import Finding, summary
from exchanger.commands.scenarios.scenario import EqualRequests, GatewayCall, LooseRequest, OneRequest, PolicyEdit, Scenario
from exchanger.commands.scenarios.tokens import Subject
from exchanger.commands.tables import Column, Screen, cells, padded

# The shell variables for the tokens of a copied command.
SHELL_NAMES: Final[Mapping[Subject, str]] = {
    **{subject: f"${subject.name}" for subject in Subject if subject is not Subject.NONE},
    Subject.VALID: "$TOKEN",
}

_DETAIL: Final = 7  # columns before the details below a row
RELAXED: Final = "With your own token, an exchange passes if the upstream sees another token than the one sent."


@final
@attrs.frozen
class Columns:
    """How wide the table's columns are, in characters."""

    name: int
    expected: int

    @classmethod
    def of(cls, scenarios: tuple[Scenario, ...], *, lenient: bool = False) -> "Columns":
        """Return the widths for these scenarios; ``lenient`` as in ``ScenarioTarget``."""
        return cls(
            max((cells(scenario.name) for scenario in scenarios), default=0),
            max((cells(summary(scenario, lenient=lenient)) for scenario in scenarios), default=0),
        )

    def table(self) -> tuple[Column, ...]:
        """Return them as a terminal's table has them."""
        return Column("", 4), Column("scenario", self.name), Column("expected", self.expected), Column("time", 5, right=True), Column("got")


def table_head(columns: Columns, screen: Screen | None = None) -> str:
    """Return the head of the table of findings; ``screen``, here and below, is the terminal that shows it, if it shows colours."""
    if screen is not None:
        return screen.head(columns.table())
    return f"     {'scenario':<{columns.name}}  {'expected':<{columns.expected}}   time  got"


def table_row(finding: Finding, columns: Columns, screen: Screen | None = None) -> str:
    """Return ``finding`` as a line of the table, with lines of detail below if the result is unexpected."""
    if screen is not None:
        return _styled_row(finding, columns, screen)
    begin = f"{padded(finding.name, columns.name)}  {padded(finding.expected, columns.expected)}"
    if finding.skipped:
        return f"skip {begin}      -  {finding.skipped}"
    mark = "ok  " if finding.ok else "FAIL"
    row = f"{mark} {begin}  {finding.elapsed:4.2f}s  {finding.got}"
    return "\n".join((row, *(f"       {line}" for line in finding.details)))


def _styled_row(finding: Finding, columns: Columns, screen: Screen) -> str:
    mark, style = ("skip", "yellow") if finding.skipped else ("ok", "green") if finding.ok else ("FAIL", "bold red")
    elapsed, got = ("-", finding.skipped) if finding.skipped else (f"{finding.elapsed:4.2f}s", finding.got)
    texts = ((mark, style), (finding.name, ""), (finding.expected, ""), (elapsed, ""), (got, "" if finding.ok else style))
    details = () if finding.skipped else finding.details
    return "\n".join((screen.row(columns.table(), texts), *(screen.note(line, indentation=_DETAIL) for line in details)))


def curl_line(call: GatewayCall, *, with_head: bool = False) -> str:
    """Return the curl command for ``call``; token and gateway are shell variables.

    ``with_head`` shows status and headers, which say most about a refusal.
    """
    parts = ["curl -si" if with_head else "curl -s"]
    if call.method != "GET":
        parts.append(f"-X {call.method}")
    parts.append(f"-H {shlex.quote(f'Host: {call.host}')}")
    if call.subject in SHELL_NAMES:
        parts.append(f'-H "Authorization: Bearer {SHELL_NAMES[call.subject]}"')
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in call.headers]
    path = shlex.quote(call.path)
    parts.append(f'"$GATEWAY"{path}')
    return " ".join(parts)


def shell_line(scenario: Scenario) -> str:
    """Return the shell command that shows ``scenario``; see ``curl_line``."""
    match scenario:
        case OneRequest():
            return curl_line(scenario.call, with_head=scenario.expected.upstream is Reached.NOT)
        case LooseRequest():
            return curl_line(scenario.call, with_head=True)
        case EqualRequests():
            return f"for i in $(seq {scenario.count}); do {curl_line(scenario.call)} & done; wait"
        case PolicyEdit():
            edit = shlex.quote(f"s/{scenario.old}/{scenario.new}/")
            file = f'"$POLICY"/{scenario.file}'
            # With a suffix, -i means the same to GNU's sed and the BSDs'. The file is restored whatever the gateway answers.
            return f"sed -i.before {edit} {file} && sleep 1 && {curl_line(scenario.call)}; mv {file}.before {file}"
        case _:
            assert_never(scenario)


@final
@attrs.frozen
class RunReport:
    """A run on ``gateway`` as lines or as JSON; ``lenient`` as in ``ScenarioTarget``."""

    gateway: str
    scenarios: tuple[Scenario, ...]
    lenient: bool
    screen: Screen | None = None

    def as_expected(self, findings: Sequence[Finding]) -> bool:
        """Whether something was run, and all results are as expected."""
        return all(finding.ok for finding in findings) and any(not finding.skipped for finding in findings)

    def head(self) -> str:
        """Return the first lines."""
        relaxed = (RELAXED,) if self.lenient else ()
        return "\n".join((f"Gateway: {self.gateway}", *relaxed, "", table_head(self._columns(), self.screen)))

    def row(self, finding: Finding) -> str:
        """Return the line of one scenario; if it is not as expected, with details and the trace to look for."""
        row = table_row(finding, self._columns(), self.screen)
        traces = () if finding.ok else tuple(asked.trace_id for asked in finding.asked if asked.trace_id)[:1]
        return "\n".join((row, *(f"       trace    {trace_id}" for trace_id in traces)))

    def as_json(self, findings: Sequence[Finding]) -> str:
        """Return all of it as one JSON object."""
        shown = [_finding(finding) for finding in findings]
        return json.dumps({"gateway": self.gateway, "own_token": self.lenient, **_counts(findings), "scenarios": shown}, indent=2)

    def _columns(self) -> Columns:
        return Columns.of(self.scenarios, lenient=self.lenient)


def foot(findings: Sequence[Finding]) -> str:
    """Return the last line below a table."""
    counts = _counts(findings)
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    return f"\n{counts['as_expected']} of {counts['as_expected'] + counts['not_as_expected']} as expected{skipped}"


def list_as_text(scenarios: tuple[Scenario, ...]) -> str:
    """Return the scenarios, three lines each."""
    return "\n".join(f"{scenario.name}: {scenario.watch}\n  => {summary(scenario)}\n  {curl_line(scenario.call)}" for scenario in scenarios)


def list_as_json(scenarios: tuple[Scenario, ...]) -> str:
    """Return the scenarios as one JSON object."""
    return json.dumps({"scenarios": [as_object(scenario) | {"curl": curl_line(scenario.call)} for scenario in scenarios]}, indent=2)


def as_object(scenario: Scenario) -> dict[str, object]:
    """Return the JSON of a scenario."""
    call = scenario.call
    return {
        "name": scenario.name,
        "kind": _kind(scenario),
        "watch": scenario.watch,
        "expected": summary(scenario),
        "request": {
            "method": call.method,
            "host": call.host,
            "path": call.path,
            "headers": [list(header) for header in call.headers],
            "subject": call.subject.value,
        },
    }


def _kind(scenario: Scenario) -> str:
    match scenario:
        case OneRequest() | LooseRequest():
            return "request"
        case EqualRequests():
            return "equal"
        case PolicyEdit():
            return "edit"
        case _:
            assert_never(scenario)


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
