"""``exchanger test``: compares the decisions of the service's engine for requests with the expected ones.

0: all are as expected. 1: one is not. 2: the arguments or a file are wrong. Entries that no test reaches are listed and change nothing.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO, final

import attrs

from exchanger.authz.decision.answer import ExplainedDecision
from exchanger.commands.cases import BASELINE_NAME, Case, ExpectedDecision, read_cases
from exchanger.commands.display import Json, decided, headline, place, text_of
from exchanger.commands.offline.inputs import PolicyInputs
from exchanger.commands.policies import STANDARD_INPUT, AssembledPolicy, policy_of_paths, read_once
from exchanger.commands.terminal import read_input
from exchanger.formats.yaml.reader import MAX_BYTES
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import BASELINE, Entry, Source
from exchanger.model.errors import ConfigurationError
from exchanger.operations.console.message import encode
from exchanger.operations.console.policy_view import shown_answer, shown_place
from exchanger.util.regular_file import open_regular, unreadable
from exchanger.util.text import printable

PASSED: Final = 0
FAILED: Final = 1
UNUSABLE: Final = 2


@final
@attrs.frozen
class CaseResult:
    """The outcome of one test; ``wrong`` says how the answer differs, and is empty if it is as expected."""

    file: str
    case: Case
    answer: ExplainedDecision
    wrong: tuple[str, ...]

    @property
    def asked(self) -> str:
        """The request in one line."""
        return f"{self.case.question.method.upper()} {self.case.question.url()}"


@final
@attrs.frozen
class CaseReport:
    """The results in the order of the files, and the entries that no test reaches."""

    results: tuple[CaseResult, ...]
    unreached: tuple[Entry, ...]

    @property
    def failed(self) -> int:
        """How many tests failed."""
        return sum(bool(result.wrong) for result in self.results)


def test(namespace: argparse.Namespace) -> int:
    """Run ``exchanger test`` with the arguments that ``options`` declares; return the exit status."""
    return run_tests(namespace.files, namespace.policy, PolicyInputs(namespace.issuers, namespace.grants), as_json=namespace.json)


def run_tests(
    files: Sequence[str],
    paths: Sequence[str],
    inputs: PolicyInputs,
    *,
    as_json: bool = False,
    variables: Mapping[str, str] | None = None,
    out: TextIO | None = None,
) -> int:
    """Print the results to ``out`` (default: standard output), and return the exit status. Notes and errors go to standard error."""
    try:
        read_once(*files, *paths)
        policy = policy_of_paths(paths, inputs, os.environ if variables is None else variables)
        named = [(file, case) for file in files for case in _read(file)]
    except ConfigurationError as error:
        for problem in error.problems:
            sys.stderr.write(f"exchanger test: {printable(problem)}\n")
        return UNUSABLE
    for note in policy.notes:
        sys.stderr.write(f"exchanger test: {printable(note)}\n")
    report = checked(named, policy)
    (out or sys.stdout).write(encode(_as_json(report)).decode() + "\n" if as_json else text_of(_as_text(report)))
    return FAILED if report.failed else PASSED


def _read(file: str) -> tuple[Case, ...]:
    """Return the tests in a file.

    Raises:
        ConfigurationError: it cannot be read, or has a problem.
    """
    try:
        if file == STANDARD_INPUT:
            data = read_input(MAX_BYTES + 1)
        else:
            with open_regular(Path(file)) as opened:
                data = opened.read(MAX_BYTES + 1)
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigurationError((f"{file} is not UTF-8",)) from None
    except (OSError, ValueError) as error:  # a path with a NUL
        raise ConfigurationError((f"{file} {unreadable(error)}",)) from None
    found = read_cases(text)
    cases = tuple(one for one in found if isinstance(one, Case))
    problems = [one for one in found if not isinstance(one, Case)]
    if problems:
        raise ConfigurationError(tuple(_told(file, problem) for problem in problems))
    return cases


def _told(file: str, problem: Problem) -> str:
    place = "".join(f":{number}" for number in (problem.line, problem.column) if number is not None)
    return f"{file}{place}: {problem.text}{f'; did you mean {problem.hint}?' if problem.hint else ''}"


def checked(cases: Sequence[tuple[str, Case]], policy: AssembledPolicy) -> CaseReport:
    """Ask ``policy`` for every request, and return the results; ``cases`` are named after their files."""
    results = []
    reached: set[tuple[Source | None, int | None]] = set()
    for file, case in cases:
        answer = policy.answer(case.question.request())
        reached.add((answer.source, answer.index))
        results.append(CaseResult(file, case, answer, tuple(_differences(case.expect, answer))))
    documents = sorted(policy.newest.documents(), key=lambda document: document.source)
    entries = (entry for document in documents for entry in document.entries)
    return CaseReport(tuple(results), tuple(entry for entry in entries if (entry.source, entry.index) not in reached))


def _differences(expect: ExpectedDecision, answer: ExplainedDecision) -> Iterator[str]:
    """Yield in what ``answer`` is not as expected."""
    if answer.effect is not expect.decision:
        yield f"expected {expect.decision.value}, got {headline(shown_answer(answer))}: {answer.reason}"
    if expect.policy is not None and answer.source != expect.policy:
        got = "none" if answer.source is None else _named(answer.source)
        yield f"expected policy {_named(expect.policy)}, got {got}"
    target = answer.target
    if target is None:
        return
    if expect.scope is not None and frozenset(target.scope.split()) != expect.scope:
        yield f'expected scope "{" ".join(sorted(expect.scope))}", got "{target.scope}"'
    if expect.audiences is not None and frozenset(target.audiences) != expect.audiences:
        yield f"expected audiences [{', '.join(sorted(expect.audiences))}], got [{', '.join(target.audiences)}]"


def _named(source: Source) -> str:
    return BASELINE_NAME if source == BASELINE else str(source)


def _as_text(report: CaseReport) -> Iterator[str]:
    for result in report.results:
        said = "FAIL" if result.wrong else "ok"
        yield f"{said:5} {result.file}:{result.case.line}  {result.asked}  {decided(shown_answer(result.answer))}"
        yield from (f"      {wrong}" for wrong in result.wrong)
    count = len(report.results)
    yield ""
    yield f"{count} {'test' if count == 1 else 'tests'}: {count - report.failed} passed, {report.failed} failed"
    if report.unreached:
        yield "No test reaches:"
        yield from (f"  {place(shown_place(entry.source, entry.index))}" for entry in report.unreached)


def _as_json(report: CaseReport) -> Json:
    results = [
        {
            "file": result.file,
            "line": result.case.line,
            "request": result.asked,
            "passed": not result.wrong,
            "differences": list(result.wrong),
            "decision": shown_answer(result.answer),
        }
        for result in report.results
    ]
    unreached = [shown_place(entry.source, entry.index) for entry in report.unreached]
    return {"passed": len(results) - report.failed, "failed": report.failed, "tests": results, "unreached": unreached}
