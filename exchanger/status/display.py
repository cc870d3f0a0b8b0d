"""A survey as text for people and as JSON for tools; equal clusters give equal output.

Must not know: how it was made.
"""

from typing import Final, final

import attrs
import orjson

from exchanger.status.survey import Policy, Problem, Survey
from exchanger.util.text import printable
from exchanger.values.entry import Source

# Characters of one line: a reason has all problems of an entry.
LINE_LIMIT: Final = 2048
_LABEL_WIDTH: Final = 12


@final
@attrs.frozen
class Header:
    """The server, and the known profiles: ``None`` if references to issuers were not checked."""

    server: str
    profiles: tuple[str, ...] | None
    profiles_file: str = ""


def as_text(header: Header, survey: Survey) -> str:
    """Return lines for people."""
    if header.profiles is None:
        issuers = "not judged: neither --issuers nor TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names a file"
    else:
        issuers = f"{_count(len(header.profiles), 'profile')} in {header.profiles_file}"
    names = f": {', '.join(survey.namespaces)}" if survey.namespaces else ""
    lines = [
        f"{'server':{_LABEL_WIDTH}}{header.server}",
        f"{'namespaces':{_LABEL_WIDTH}}{len(survey.namespaces)} selected{names}",
        f"{'issuers':{_LABEL_WIDTH}}{issuers}",
        "",
    ]
    if survey.unreadable:
        lines += ["cannot be read, so that a service that starts has nothing in force (give the right, or take the name out of the list):"]
        lines += [*(f"  {found.namespace}: {found.missing_right}" for found in survey.unreadable), ""]
    if survey.policies:
        lines += [*_table(survey.policies), ""]
    if survey.notices.count:
        more = [f"  and {survey.notices.more} more"] if survey.notices.more else []
        lines += ["probably mistakes:", *(f"  {notice}" for notice in survey.notices.listed), *more, ""]
    if survey.gaps:
        lines += ["not looked through for mistakes:", *(f"  {gap}" for gap in survey.gaps), ""]
    totals = (
        _count(len(survey.policies), "ConfigMap"),
        "1 entry" if survey.entries == 1 else f"{survey.entries} entries",
        _count(survey.problems, "problem"),
        *([_count(survey.notices.count, "warning")] if survey.notices.count else []),
    )
    lines.append(f"{'total':{_LABEL_WIDTH}}{', '.join(totals)}")
    return "".join(f"{printable(line, LINE_LIMIT)}\n" for line in lines)


def as_json(header: Header, survey: Survey) -> str:
    """Return one JSON object, in one line."""
    content = {
        "server": header.server,
        "healthy": survey.healthy,
        "namespaces": survey.namespaces,
        "issuers": {"judged": header.profiles is not None, "profiles": header.profiles},
        "configMaps": [
            {**_named(policy.source), "entries": policy.entries, "problems": [attrs.asdict(problem) for problem in policy.problems]}
            for policy in survey.policies
        ],
        "unreadable": [{"namespace": found.namespace, "missingRight": found.missing_right} for found in survey.unreadable],
        "ignored": [_named(source) for source in survey.ignored],
        "notices": [attrs.asdict(notice) for notice in survey.notices.listed],
        "notLookedThrough": survey.gaps,
        "totals": {
            "configMaps": len(survey.policies),
            "entries": survey.entries,
            "problems": survey.problems,
            "notices": survey.notices.count,
        },
    }
    return orjson.dumps(content).decode() + "\n"


def _table(policies: tuple[Policy, ...]) -> list[str]:
    width = max(len("POLICY"), *(len(str(policy.source)) for policy in policies))
    lines = [f"{'POLICY':{width}}  ENTRIES  PROBLEMS"]
    for policy in policies:
        lines.append(f"{policy.source!s:{width}}  {policy.entries:7}  {len(policy.problems):8}")
        lines += [f"  {_place(problem)}: {problem.reason}" for problem in policy.problems]
    return lines


def _place(problem: Problem) -> str:
    what = "document" if problem.entry is None else f"entry {problem.entry}"
    return what if problem.line is None else f"{what}, line {problem.line}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _named(source: Source) -> dict[str, str]:
    return {"namespace": source.namespace, "name": source.name}
