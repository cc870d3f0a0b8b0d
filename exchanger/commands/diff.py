"""``exchanger diff``: the areas that another version of the policies decides differently, each with an example request.

0: every example is decided alike. 1: some are not. 2: the arguments or a file are wrong, or there are too many areas to look at them all.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final, TextIO, final

import attrs

from exchanger.authz.decision.answer import ExplainedDecision
from exchanger.commands.areas import AMBIGUOUS, AreaExample, PathKind, examples
from exchanger.commands.display import Json, decided, target, text_of
from exchanger.commands.offline.inputs import PolicyInputs
from exchanger.commands.policies import AssembledPolicy, policy_of_paths, read_once
from exchanger.commands.question import Question
from exchanger.model.entry import HeaderMatch
from exchanger.model.errors import ConfigurationError
from exchanger.model.secret import Secret
from exchanger.operations.console.message import encode
from exchanger.operations.console.policy_view import AnswerJson, shown_answer
from exchanger.util.json_schema import written
from exchanger.util.text import printable

SAME: Final = 0
DIFFERENT: Final = 1
NO_TELLING: Final = 2

# Examples that are compared: this takes ten seconds in the worst case.
MAX_EXAMPLES: Final = 200_000
# Areas that are kept, and that are shown.
MAX_AREAS: Final = 2_000
MAX_SHOWN: Final = 100
# Sets of headers of one area that are written out.
MAX_HEADERS: Final = 4


@final
@attrs.define(eq=False)
class Area:
    """Requests that are decided differently before and after: those of ``hosts`` and ``prefix`` that continue by ``kinds``."""

    hosts: str
    prefix: str
    example: AreaExample
    before: ExplainedDecision
    after: ExplainedDecision
    # Fields of the issuer's profile that differ.
    issuer_fields: tuple[str, ...]
    kinds: dict[PathKind, None] = attrs.field(factory=dict)
    methods: dict[str, None] = attrs.field(factory=dict)
    headers: dict[tuple[HeaderMatch, ...], None] = attrs.field(factory=dict)


@final
@attrs.frozen
class Comparison:
    """The areas that differ. ``complete``: every example was compared, and every area is included."""

    areas: tuple[Area, ...]
    complete: bool


def diff(namespace: argparse.Namespace) -> int:
    """Run ``exchanger diff`` with the arguments that ``options`` declares; return the exit status."""
    old, new = PolicyInputs(namespace.old_issuers, namespace.old_grants), PolicyInputs(namespace.new_issuers, namespace.new_grants)
    return run_diff(namespace.old, namespace.new, old, new, as_json=namespace.json)


def run_diff(
    old: str,
    new: str,
    old_inputs: PolicyInputs,
    new_inputs: PolicyInputs,
    *,
    as_json: bool = False,
    variables: Mapping[str, str] | None = None,
    out: TextIO | None = None,
) -> int:
    """Print what differs to ``out`` (default: standard output), and return the exit status. Notes and errors go to standard error."""
    environment = os.environ if variables is None else variables
    try:
        read_once(old, new)
        before, after = policy_of_paths((old,), old_inputs, environment), policy_of_paths((new,), new_inputs, environment)
    except ConfigurationError as error:
        for problem in error.problems:
            sys.stderr.write(f"exchanger diff: {printable(problem)}\n")
        return NO_TELLING
    for name, notes in (("OLD", before.notes), ("NEW", after.notes)):
        for note in notes:
            sys.stderr.write(f"exchanger diff: {name}: {printable(note)}\n")
    found = compare(before, after)
    (out or sys.stdout).write(encode(_as_json(found)).decode() + "\n" if as_json else text_of(_as_text(found)))
    return DIFFERENT if found.areas else SAME if found.complete else NO_TELLING


def compare(old: AssembledPolicy, new: AssembledPolicy, limit: int = MAX_EXAMPLES) -> Comparison:
    """Return the areas that ``old`` and ``new`` decide differently; at most ``limit`` examples are looked at."""
    areas: dict[tuple[object, ...], Area] = {}
    complete = True
    made = examples(old, new)
    for example in islice(made, limit):
        if example is None:
            complete = False
            continue
        before, after = old.answer(example.request), new.answer(example.request)
        fields = _issuer_fields(before, after, old, new)
        if _decision(before) == _decision(after) and not fields:
            continue
        key = (example.hosts, example.prefix, example.kind is PathKind.ODD, _decision(before), _decision(after), fields)
        area = areas.get(key)
        if area is None:
            if len(areas) >= MAX_AREAS:
                complete = False
                break
            area = areas[key] = Area(example.hosts, example.prefix, example, before, after, fields)
        area.kinds[example.kind] = None
        area.methods.update(dict.fromkeys(example.methods))
        area.headers[example.headers] = None
    if next(made, None) is not None:
        complete = False
    return Comparison(tuple(_without_parts(list(areas.values()))), complete)


def _decision(answer: ExplainedDecision) -> tuple[object, ...]:
    return answer.effect, answer.status, answer.target, answer.resource_metadata


def _issuer_fields(before: ExplainedDecision, after: ExplainedDecision, old: AssembledPolicy, new: AssembledPolicy) -> tuple[str, ...]:
    """Return the fields in which the profiles of the same exchange differ; their values may be secret."""
    if before.target is None or before.target != after.target or old.profiles is None or new.profiles is None:
        return ()
    one, other = (policy.profiles.get(before.target.issuer_ref) for policy in (old, new) if policy.profiles is not None)
    if one is None or other is None:
        return ()
    return tuple(_differing(one, other))


def _differing(one: attrs.AttrsInstance, other: attrs.AttrsInstance, path: str = "") -> Iterator[str]:
    """Yield the fields, as the file spells them, in which two values of a class that is read from it differ."""
    for field in attrs.fields(type(one)):
        before, after = getattr(one, field.name), getattr(other, field.name)
        named = f"{path}{written(field.name)}"
        if before == after:
            continue
        if type(before) is type(after) and attrs.has(type(before)) and not isinstance(before, Secret):
            yield from _differing(before, after, f"{named}.")
        else:
            yield named


def _without_parts(areas: list[Area]) -> Iterator[Area]:
    """Yield the areas that are not part of another one, and paths that are odd or no paths only where plain paths do not differ."""
    plain = {place for area in areas if not area.kinds.keys() & _NOT_PLAIN for place in (area.hosts, (area.hosts, area.prefix))}
    wholes: dict[tuple[object, ...], list[Area]] = {}
    for area in areas:
        place = area.hosts if PathKind.UNREADABLE in area.kinds else (area.hosts, area.prefix)
        if area.kinds.keys() & _NOT_PLAIN and place in plain:
            continue
        key = (area.hosts, *_what(area), tuple(area.methods), tuple(area.headers))
        others = wholes.setdefault(key, [])
        if any(_covers(other, area) for other in others):
            continue
        others.append(area)
        yield area


_NOT_PLAIN: Final = {PathKind.ODD, PathKind.UNREADABLE}


def _what(area: Area) -> tuple[object, ...]:
    return _decision(area.before), _decision(area.after), area.issuer_fields


def _covers(whole: Area, part: Area) -> bool:
    if PathKind.UNREADABLE in part.kinds or PathKind.UNREADABLE in whole.kinds or not part.prefix.startswith(whole.prefix):
        return False
    rest = part.prefix[len(whole.prefix) :]
    return (PathKind.BELOW if rest.startswith("/") or whole.prefix.endswith("/") else PathKind.LONGER) in whole.kinds


def _as_text(found: Comparison) -> Iterator[str]:
    for area in found.areas[:MAX_SHOWN]:
        shown = _shown(area)
        words = [shown["hosts"], shown["paths"], *([", ".join(shown["methods"])] if shown["methods"] else [])]
        headers = shown["headers"]
        more = "; …" if len(headers) > MAX_HEADERS else ""
        yield "  ".join(words) + (f"  with {'; or '.join(headers[:MAX_HEADERS])}{more}" if headers else "")
        yield f"  before   {_said(shown['before'])}"
        yield f"  after    {_said(shown['after'])}"
        if area.issuer_fields:
            yield f"  issuer   its profile differs in {', '.join(area.issuer_fields)}"
        if set(area.methods) == {"HEAD"}:
            yield "  note     HEAD gets the stricter of two decisions: by entries for HEAD itself, and as GET"
        given = "".join(f" -H '{name}: {value}'" for name, value in area.example.headers)
        raw = " --raw" if area.example.request.path_is_raw else ""
        yield f"  example  {shown['example']['method']} {shown['example']['url']}{given}{raw}"
        yield ""
    count = len(found.areas)
    if count > MAX_SHOWN:
        yield f"and {count - MAX_SHOWN} more areas"
    if not count and found.complete:
        yield "Every request is decided as before."
    else:
        yield f"{count} {'area is' if count == 1 else 'areas are'} decided differently."
    if not found.complete:
        yield "There is more to compare than this command can: other areas may differ, too."


def _said(answer: AnswerJson) -> str:
    asked = "".join(f", {name} {value}" for name, value in target(answer["exchange"]))
    return f"{decided(answer)}{asked}" + (f": {answer['reason']}" if answer["kind"] == "refused" else "")


def _shown(area: Area) -> Json:
    request = area.example.request
    url = Question(request.method, request.host, request.path).url()
    return {
        "hosts": area.hosts,
        "prefix": None if PathKind.UNREADABLE in area.kinds else area.prefix,
        "paths": _paths(area),
        "methods": list(area.methods),
        "headers": [_headers(headers) for headers in area.headers] if any(area.headers) else [],
        "before": _without_profile(shown_answer(area.before)),
        "after": _without_profile(shown_answer(area.after)),
        "issuer_fields": list(area.issuer_fields),
        "example": {
            "method": request.method,
            "url": url,
            "headers": [list(header) for header in area.example.headers],
            "raw": request.path_is_raw,
        },
    }


def _without_profile(answer: AnswerJson) -> Json:
    """Return ``answer`` without the issuer's profile: only the names of differing fields are shown, no values."""
    exchange = answer["exchange"]
    return {**answer} if exchange is None else {**answer, "exchange": {name: told for name, told in exchange.items() if name != "profile"}}


def _headers(headers: tuple[HeaderMatch, ...]) -> str:
    if not headers:
        return "no such header"
    return ", ".join(f"{name} {AMBIGUOUS}" if value.endswith(f",{AMBIGUOUS}") else f"{name}: {value}" for name, value in headers)


def _paths(area: Area) -> str:
    """Return the paths of an area in words."""
    kinds, prefix = set(area.kinds), area.prefix
    if PathKind.UNREADABLE in kinds:
        return area.prefix
    if kinds == {PathKind.ODD}:
        return "*" if area.example.request.path == "*" else f"paths that some servers read as {prefix}"
    if {PathKind.END, PathKind.BELOW} <= kinds and (PathKind.LONGER in kinds or prefix.endswith("/")):
        return f"{prefix}…"
    if {PathKind.END, PathKind.BELOW} <= kinds:
        return f"{prefix} and below"
    return {PathKind.END: prefix, PathKind.BELOW: f"below {prefix}", PathKind.LONGER: f"{prefix}… but not below"}[_first(area)]


def _first(area: Area) -> PathKind:
    return next(kind for kind in (PathKind.END, PathKind.BELOW, PathKind.LONGER) if kind in area.kinds)


def _as_json(found: Comparison) -> Json:
    return {"same": not found.areas and found.complete, "complete": found.complete, "areas": [_shown(area) for area in found.areas]}
