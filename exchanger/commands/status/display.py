"""A survey as text for people and as JSON for tools; equal clusters give equal output.

Must not know: how it was made.
"""

from collections.abc import Collection, Iterator
from typing import Final, Literal, final

import attrs
import orjson

from exchanger.app.grants_file import GrantsSettings
from exchanger.commands.status.survey import DocumentProblem, NamespaceGrantSummary, Policy, Survey
from exchanger.commands.tables import Column, Screen, cells
from exchanger.model.entry import Source
from exchanger.policy.grants.allowance import ANYTHING, Granted
from exchanger.util.text import printable

# Characters of one line: a reason has all problems of an entry.
LINE_LIMIT: Final = 2048
_LABEL_WIDTH: Final = 12


@final
@attrs.frozen
class Header:
    """The server or the folder, the known profiles (``None`` if references to issuers were not checked), and the grants."""

    place: str
    profiles: tuple[str, ...] | None
    profiles_file: str = ""
    grants: GrantsSettings = attrs.field(factory=GrantsSettings)
    kind: Literal["server", "folder"] = "server"


def as_text(header: Header, survey: Survey, screen: Screen | None = None) -> str:
    """Return lines for people; ``screen`` is the terminal that shows them, if it shows colours."""
    if header.profiles is None:
        issuers = "not checked: neither --issuers nor TOKEN_EXCHANGE_ISSUER_PROFILES_FILE names a file"
    else:
        issuers = f"{_count(len(header.profiles), 'profile')} in {header.profiles_file}"
    names = f": {', '.join(survey.namespaces)}" if survey.namespaces else ""
    lines = [
        f"{header.kind:{_LABEL_WIDTH}}{header.place}",
        f"{'namespaces':{_LABEL_WIDTH}}{len(survey.namespaces)} selected{names}",
        f"{'issuers':{_LABEL_WIDTH}}{issuers}",
        *([] if header.grants.path is None else [f"{'grants':{_LABEL_WIDTH}}{_grants(header.grants)}"]),
        "",
    ]
    if survey.allowed:
        lines += ["may do:", *(line for allowed in survey.allowed for line in _allowed(allowed)), ""]
    if survey.unreadable:
        lines += ["cannot be read, so a starting service has no active policy (grant the permission, or remove the name from the list):"]
        lines += [*(f"  {found.namespace}: {found.missing_right}" for found in survey.unreadable), ""]
    table = ""
    if survey.policies:
        rows = _table(survey.policies, enforced=header.grants.enforced)
        above, lines = lines, [""]
        shown = _plain(rows) if screen is None else _styled(rows, screen)
        table = _text(above) + "".join(f"{line}\n" for line in shown)
    if survey.notices.count:
        more = [f"  and {survey.notices.more} more"] if survey.notices.more else []
        lines += ["probable mistakes:", *(f"  {notice}" for notice in survey.notices.listed), *more, ""]
    if survey.gaps:
        lines += ["not checked for mistakes:", *(f"  {gap}" for gap in survey.gaps), ""]
    totals = (
        _count(len(survey.policies), "ConfigMap"),
        "1 entry" if survey.entries == 1 else f"{survey.entries} entries",
        _count(survey.problems, "problem"),
        *([f"{survey.not_granted} {_refused_word(header.grants)}"] if survey.not_granted else []),
        *([_count(survey.notices.count, "warning")] if survey.notices.count else []),
    )
    lines.append(f"{'total':{_LABEL_WIDTH}}{', '.join(totals)}")
    return table + _text(lines)


def _text(lines: list[str]) -> str:
    return "".join(f"{printable(line, LINE_LIMIT)}\n" for line in lines)


def as_json(header: Header, survey: Survey) -> str:
    """Return one JSON object, in one line. It includes grants if there are any."""
    granted = header.grants.path is not None
    content = {
        header.kind: header.place,
        "healthy": survey.healthy,
        "namespaces": survey.namespaces,
        "issuers": {"checked": header.profiles is not None, "profiles": header.profiles},
        **({"grants": _grants_json(header.grants), "allowed": [_allowed_json(one) for one in survey.allowed]} if granted else {}),
        "configMaps": [
            {
                **_named(policy.source),
                "entries": policy.entries,
                "problems": [_problem_json(problem) for problem in policy.problems],
                **({"notGranted": [_problem_json(problem) for problem in policy.not_granted]} if granted else {}),
            }
            for policy in survey.policies
        ],
        "unreadable": [{"namespace": found.namespace, "missingRight": found.missing_right} for found in survey.unreadable],
        "ignored": [_named(source) for source in survey.ignored],
        "notices": [notice.fields() for notice in survey.notices.listed],
        "notLookedThrough": survey.gaps,
        "totals": {
            "configMaps": len(survey.policies),
            "entries": survey.entries,
            "problems": survey.problems,
            **({"notGranted": survey.not_granted} if granted else {}),
            "notices": survey.notices.count,
        },
    }
    return orjson.dumps(content).decode() + "\n"


@final
@attrs.frozen
class _Row:
    """A policy: its name, its numbers, and its problems."""

    name: str
    numbers: tuple[int, ...]
    problems: tuple[str, ...] = ()


def _table(policies: tuple[Policy, ...], *, enforced: bool) -> list[_Row]:
    has_refused = any(policy.not_granted for policy in policies)
    rows = []
    for policy in policies:
        word = "refused: " if enforced else ""  # otherwise the reason says what enforcing would do
        refused = [line for problem in policy.not_granted for line in _told(problem, f"{problem.code}: {word}{problem.reason}")]
        wrong = [line for problem in policy.problems for line in _told(problem, problem.coded)]
        numbers = (policy.entries, len(policy.problems), *((len(policy.not_granted),) if has_refused else ()))
        rows.append(_Row(str(policy.source), numbers, (*wrong, *refused)))
    return rows


def _told(problem: DocumentProblem, text: str) -> Iterator[str]:
    yield f"{_place(problem)}: {text}"
    if problem.remedy:
        yield f"  = {problem.remedy}"


_HEADS: Final = ("ENTRIES", "PROBLEMS", "REFUSED")


def _plain(rows: list[_Row]) -> Iterator[str]:
    width = max(len("POLICY"), *(len(row.name) for row in rows))
    heads = _HEADS[: len(rows[0].numbers)]
    yield f"{'POLICY':{width}}  {'  '.join(heads)}"
    for row in rows:
        numbers = (f"{number:{len(head)}}" for head, number in zip(heads, row.numbers, strict=True))
        yield printable(f"{row.name:{width}}  {'  '.join(numbers)}", LINE_LIMIT)
        yield from (printable(f"  {problem}", LINE_LIMIT) for problem in row.problems)


def _styled(rows: list[_Row], screen: Screen) -> Iterator[str]:
    heads = _HEADS[: len(rows[0].numbers)]
    width = max(len("POLICY"), *(cells(row.name) for row in rows))
    columns = (Column("POLICY", width), *(Column(head, len(head), right=True) for head in heads), Column(""))
    yield screen.head(columns)
    for row in rows:
        numbers = [(str(number), "bold red" if at and number else "") for at, number in enumerate(row.numbers)]
        yield screen.row(columns, [(printable(row.name, LINE_LIMIT), "" if row.problems else "green"), *numbers, ("", "")])
        yield from (screen.note(printable(problem, LINE_LIMIT), "red", 2) for problem in row.problems)


def _grants(grants: GrantsSettings) -> str:
    baseline = len(grants.grants.baseline)
    mode = "enforced" if grants.enforced else "report mode: nothing is refused yet"
    return f"{_count(len(grants.grants.grants), 'grant')} and {_count(baseline, 'baseline denial')} in {grants.path}, {mode}"


def _refused_word(grants: GrantsSettings) -> str:
    return "refused" if grants.enforced else "would be refused"


def _allowed(allowed: NamespaceGrantSummary) -> list[str]:
    """Return the lines about a namespace: one for each grant."""
    if not allowed.granted:
        return [f"  {allowed.namespace}: nothing"]
    return [f"  {allowed.namespace}: {_granted(granted)}" for granted in allowed.granted]


def _granted(granted: Granted) -> str:
    hosts = "no host" if not granted.hosts else _listed("host", granted.hosts)
    below = "" if "" in granted.prefixes else f" below {', '.join(sorted(granted.prefixes)) or 'no path'}"
    asked = {
        "issuer": granted.issuers,
        "audience": granted.audiences,
        "resource": granted.resources,
        "scope": granted.scopes,
    }
    may_ask = [_listed(noun, values) for noun, values in asked.items() if values]
    exchange = f"; {'; '.join(may_ask)}" if may_ask else ""
    return f"{', '.join(sorted(granted.actions)) or 'no action'} on {hosts}{below}{exchange}"


def _listed(noun: str, values: Collection[str]) -> str:
    return f"any {noun}" if ANYTHING in values else f"{noun} {', '.join(sorted(values))}"


def _grants_json(grants: GrantsSettings) -> dict[str, object]:
    mode = "enforce" if grants.enforced else "report"
    return {"file": str(grants.path), "mode": mode, "grants": len(grants.grants.grants), "baseline": len(grants.grants.baseline)}


def _allowed_json(allowed: NamespaceGrantSummary) -> dict[str, object]:
    """Return what a namespace may do, in the words of the grants file; of path prefixes, "" is every path."""
    return {"namespace": allowed.namespace, "granted": [_granted_json(granted) for granted in allowed.granted]}


def _granted_json(granted: Granted) -> dict[str, object]:
    return {
        "hosts": sorted(granted.hosts),
        "pathPrefixes": sorted(granted.prefixes),
        "actions": sorted(granted.actions),
        "issuers": sorted(granted.issuers),
        "audiences": granted.audiences,
        "resources": granted.resources,
        "scopes": granted.scopes,
    }


def _problem_json(problem: DocumentProblem) -> dict[str, object]:
    remedy = {"remedy": problem.remedy} if problem.remedy else {}
    return {"entry": problem.entry, "line": problem.line, "code": problem.code, "reason": problem.reason, **remedy}


def _place(problem: DocumentProblem) -> str:
    what = "document" if problem.entry is None else f"entry {problem.entry}"
    return what if problem.line is None else f"{what}, line {problem.line}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _named(source: Source) -> dict[str, str]:
    return {"namespace": source.namespace, "name": source.name}
