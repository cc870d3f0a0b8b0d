"""What an edited policy file would change: example requests that are decided otherwise, found with the service's own engine. Pure.

Examples are the scenarios' requests, and for each entry that is changed, a request at its edge. Others may be decided otherwise, too.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, final

import attrs

from exchanger.console.policy_view import shown_place
from exchanger.playground.lint import TEXT_LIMIT, LintRules, objects_in, policy_of
from exchanger.policy.authority import WILDCARD
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.lookup import CONFLICT
from exchanger.policy.selection import PolicyObject
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.scenarios.scenario import Call
from exchanger.util.text import printable
from exchanger.values.entry import AllowEntry, Claim, DenyEntry, ExchangeEntry, TokenTarget
from exchanger.values.verdict import Ambiguous, NoMatch, Unhealthy, Verdict

# Requests that are compared: the worst take a millisecond each, and a page waits for them.
MAX_EXAMPLES: Final = 500
# Requests that are reported; of more, the number.
MAX_SHOWN: Final = 50
# Methods of one entry that are tried.
METHODS: Final = 4

UNREADABLE: Final = "the text cannot be read, so it would change nothing"
UNKNOWN: Final = "the saved file cannot be read, so what is in force came from an older one"

Json = dict[str, object]


@final
@attrs.frozen
class Example:
    """A request as the policy sees it."""

    method: str
    host: str
    path: str


def preview(name: str, text: str, saved: Mapping[str, str], rules: LintRules, calls: Iterable[Call]) -> Json:
    """Return which examples ``text`` in the file ``name`` decides otherwise than the ``saved`` files of the folder. Never raises.

    Returns:
        ``examples``, the number of those that were compared, ``changes``, ``more`` that are not listed, and ``why_not``, a sentence if
        nothing can be compared, else "".
    """
    edited = objects_in(text)
    if edited is None or objects_in(saved.get(name, "")) is None:
        return _report(0, [], UNREADABLE if edited is None else UNKNOWN)
    others = [item for key, other in saved.items() if key != name for item in objects_in(other) or ()]
    before, after = _policy((*others, *(objects_in(saved[name]) or ())), rules), _policy((*others, *edited), rules)
    examples = list(islice(dict.fromkeys(_examples(before, after, calls)), MAX_EXAMPLES))
    return _report(len(examples), [change for example in examples if (change := _change(example, before, after)) is not None], "")


def _report(examples: int, changes: list[Json], why_not: str) -> Json:
    return {"examples": examples, "changes": changes[:MAX_SHOWN], "more": max(0, len(changes) - MAX_SHOWN), "why_not": why_not}


def _policy(objects: tuple[PolicyObject, ...], rules: LintRules) -> PolicySnapshot:
    return policy_of(objects, rules).snapshot.reaching(rules.reach)


def _examples(before: PolicySnapshot, after: PolicySnapshot, calls: Iterable[Call]) -> Iterator[Example]:
    for call in calls:
        yield Example(call.method, call.host, call.path)
    for source in sorted({*before.documents, *after.documents}):
        was, is_now = before.documents.get(source), after.documents.get(source)
        if was != is_now:
            old = () if was is None else tuple(_parts(was))
            new = () if is_now is None else tuple(_parts(is_now))
            # Counted, since an entry that is there twice conflicts with itself.
            olds, news = Counter(map(_saying, old)), Counter(map(_saying, new))
            changed = (claim for claim in (*old, *new) if olds[_saying(claim)] != news[_saying(claim)])
            yield from (example for claim in changed for example in _edge(claim))


def _parts(document: PolicyDocument) -> Iterator[Claim]:
    yield from document.entries
    for region in document.regions:
        yield from region.parts()


def _saying(claim: Claim) -> tuple[object, ...]:
    """Return what ``claim`` says, wherever it stands."""
    return claim.match, type(claim), (claim.target, claim.resource_metadata) if isinstance(claim, ExchangeEntry) else None


def _edge(claim: Claim) -> Iterator[Example]:
    """Yield requests for the path that is the claim's prefix. A region of unknown host has none of its own."""
    scope = claim.match
    if scope.host is not None:
        methods = ["GET"] if scope.methods is None else sorted(islice(scope.methods, METHODS))
        host = f"www.{scope.host.removeprefix(WILDCARD)}" if scope.host.startswith(WILDCARD) else scope.host
        yield from (Example(method, host, scope.path_prefix or "/") for method in methods)


def _change(example: Example, before: PolicySnapshot, after: PolicySnapshot) -> Json | None:
    was, is_now = (policy.match(example.host, example.path, example.method) for policy in (before, after))
    if _effect(was) == _effect(is_now):
        return None
    shown = {name: printable(text, TEXT_LIMIT) for name, text in attrs.asdict(example).items()}
    return {**shown, "before": _shown(was), "after": _shown(is_now)}


def _effect(verdict: Verdict) -> tuple[str, TokenTarget | None, str]:
    """Return what is done, for what token, and where its metadata is."""
    match verdict:
        case NoMatch():
            return "no policy", None, ""
        case ExchangeEntry():
            return "exchange", verdict.target, verdict.resource_metadata
        case DenyEntry():
            return "deny", None, ""
        case AllowEntry():
            return "allow", None, ""
        case Unhealthy():
            return "conflict" if verdict == CONFLICT else "blocked by", None, ""
        case Ambiguous():
            return "ambiguous", None, ""


def _shown(verdict: Verdict) -> Json:
    outcome, target, metadata = _effect(verdict)
    source = None if isinstance(verdict, NoMatch | Ambiguous) else verdict.source
    index = None if isinstance(verdict, NoMatch | Ambiguous) else verdict.index
    return {
        "outcome": outcome,
        "policy": None if source is None else shown_place(source, index),
        "target": None
        if target is None
        else {
            "issuer": printable(target.issuer_ref, TEXT_LIMIT),
            "scope": printable(target.scope, TEXT_LIMIT),
            "resources": [printable(resource, TEXT_LIMIT) for resource in target.resources[:METHODS]],
            "audiences": [printable(audience, TEXT_LIMIT) for audience in target.audiences[:METHODS]],
            "resource_metadata": printable(metadata, TEXT_LIMIT),
        },
        "reason": printable(verdict.reason, TEXT_LIMIT) if isinstance(verdict, Unhealthy) else "",
    }
