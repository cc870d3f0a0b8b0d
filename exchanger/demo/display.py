"""What the demo says on the terminal: progress while it starts, what to try, and the table of findings.

Must not know: processes, sockets, or how a scenario is run.
"""

import json
import shlex
from typing import Protocol, assert_never, final

import attrs

from exchanger.demo.answer import Reached
from exchanger.demo.envoy import LOOPBACK
from exchanger.demo.faults import DemoError
from exchanger.demo.programme import Programme
from exchanger.demo.runner import Finding, summary
from exchanger.demo.scenarios import SCENARIOS, Call, EqualRequests, OneRequest, PolicyEdit, Scenario, Subject
from exchanger.demo.site import Site
from exchanger.demo.unsigned_jwt import claims_of

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ERASE = "\r\x1b[K"  # to the start of the line, and clear it (ECMA-48 EL)
_SHELL_NAMES = {subject: f"${subject.name}" for subject in Subject if subject is not Subject.NONE} | {Subject.VALID: "$TOKEN"}


class Output(Protocol):
    """Where text is written: what is needed of a text stream."""

    def write(self, text: str, /) -> int:
        """Take ``text``."""

    def flush(self) -> None:
        """Pass on what was taken."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""


@attrs.define(eq=False)
class Progress:
    """Steps as they are taken: a line that moves on a terminal, whole lines anywhere else.

    Each method raises ``DemoError`` when nobody takes what is written any more: a closed pipe, or a terminal that is gone.
    """

    _out: Output
    _step: str = ""
    _frame: int = 0

    def statistics(self) -> str:
        """Return the step that is being taken, "" between steps."""
        return self._step

    def begin(self, step: str) -> None:
        """Say that ``step`` begins."""
        self._step = step
        if self._out.isatty():
            self.tick()
        else:
            self._write(f"{step} …\n")

    def tick(self) -> None:
        """Show that the step is still being taken; nothing where lines cannot be overwritten."""
        if self._step and self._out.isatty():
            self._frame = (self._frame + 1) % len(_FRAMES)
            self._write(f"{_ERASE}{_FRAMES[self._frame]} {self._step} …")

    def done(self, result: str) -> None:
        """Say how the step ended."""
        erase = _ERASE if self._out.isatty() else ""
        self._write(f"{erase}{self._step}: {result}\n")
        self._step = ""

    def say(self, text: str) -> None:
        """Write ``text`` on lines of its own, ending an unfinished step's line."""
        if self._step and self._out.isatty():
            self._write("\n")
        self._step = ""
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError as error:
            raise DemoError(f"the output cannot be written: {error.strerror}") from error


@final
@attrs.frozen
class Columns:
    """How wide the table's columns are, in characters."""

    name: int
    expected: int

    @classmethod
    def of(cls, scenarios: tuple[Scenario, ...], *, lenient: bool = False) -> "Columns":
        """Return what findings about these need; ``lenient`` as in ``Ground``."""
        return cls(
            max((len(scenario.name) for scenario in scenarios), default=0),
            max((len(summary(scenario, lenient=lenient)) for scenario in scenarios), default=0),
        )


_COLUMNS = Columns.of(SCENARIOS)


def table_head(columns: Columns = _COLUMNS) -> str:
    """Return the head of the table of findings."""
    return f"     {'scenario':<{columns.name}}  {'expected':<{columns.expected}}   time  got"


def table_row(finding: Finding, columns: Columns = _COLUMNS) -> str:
    """Return ``finding`` as a line of the table, with lines of detail below where it is not as expected."""
    begin = f"{finding.name:<{columns.name}}  {finding.expected:<{columns.expected}}"
    if finding.skipped:
        return f"skip {begin}      -  {finding.skipped}"
    mark = "ok  " if finding.ok else "FAIL"
    row = f"{mark} {begin}  {finding.elapsed:4.2f}s  {finding.got}"
    return "\n".join((row, *(f"       {line}" for line in finding.details)))


def curl_line(call: Call, *, with_head: bool = False) -> str:
    """Return the curl command for ``call``; token and gateway are shell variables, which ``guide`` sets.

    ``with_head`` shows status and headers, which say most of an answer that is a refusal.
    """
    parts = ["curl -si" if with_head else "curl -s"]
    if call.method != "GET":
        parts.append(f"-X {call.method}")
    parts.append(f"-H {shlex.quote(f'Host: {call.host}')}")
    if call.subject in _SHELL_NAMES:
        parts.append(f'-H "Authorization: Bearer {_SHELL_NAMES[call.subject]}"')
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in call.headers]
    path = shlex.quote(call.path)
    parts.append(f'"$GATEWAY"{path}')
    return " ".join(parts)


def guide(site: Site, issued: dict[str, object], programme: Programme) -> str:
    """Return what to try and where to look; ``issued`` are the claims of the token that the upstream saw first."""
    scenarios = programme.scenarios
    needed = {scenario.call.subject for scenario in scenarios}
    tokens = [(name.removeprefix("$"), programme.token(subject)) for subject, name in _SHELL_NAMES.items() if subject in needed]
    return "\n".join(
        (
            "",
            *((f"Console: {site.console}  (to be opened in a browser)", "") if site.console_port else ()),
            "The caller's token, as the gateway receives it:",
            _claims(claims_of(site.subjects.valid) or {}),
            "The token that the upstream receives in its place:",
            _claims(issued),
            f"To try in another terminal ({programme.remark}):",
            "",
            f"  export GATEWAY={site.gateway}",
            *(f"  export {name}={token}" for name, token in tokens),
            f"  export POLICY={shlex.quote(str(site.policy))}",
            *((f"  # a new one: {programme.renewal}",) if programme.renewal else ()),
            "",
            *(f"  # {scenario.name}: {scenario.watch}\n  # => {summary(scenario)}\n  {shell_line(scenario)}\n" for scenario in scenarios),
            f"Policy folder: {site.policy}",
            "  It may be edited: what is saved there is in force within a second. It is removed at the end.",
            f"Logs:          {site.policy.parent}/*.log",
            *((f"Token counts:  http://{LOOPBACK}:{site.token_port}/stats",) if site.token_port else ()),
            f"Metrics:       http://{LOOPBACK}:{site.metrics_port}/metrics",
            "",
            "Ctrl-C ends everything.",
        )
    )


def shell_line(scenario: Scenario) -> str:
    """Return what a shell is given to see ``scenario``; see ``curl_line``."""
    match scenario:
        case OneRequest():
            return curl_line(scenario.call, with_head=scenario.expected.upstream is Reached.NOT)
        case EqualRequests():
            return f"for i in $(seq {scenario.count}); do {curl_line(scenario.call)} & done; wait"
        case PolicyEdit():
            edit = shlex.quote(f"s/{scenario.old}/{scenario.new}/")
            file = f'"$POLICY"/{scenario.file}'
            # With a suffix, -i means the same to GNU's sed and to the BSDs'. The file is put back whatever the gateway answers.
            return f"sed -i.before {edit} {file} && sleep 1 && {curl_line(scenario.call)}; mv {file}.before {file}"
        case _:
            assert_never(scenario)


def _claims(claims: dict[str, object]) -> str:
    return "\n".join(f"  {line}" for line in json.dumps(claims, indent=2).splitlines()) + "\n"
