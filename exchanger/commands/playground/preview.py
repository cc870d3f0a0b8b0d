"""The effect of an edited policy file: example requests that are decided differently, found with the service's own engine. Pure.

Examples are the scenarios' requests, and those of ``exchanger diff`` for the prefixes themselves. Others may be decided differently, too.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from exchanger.authz.decision.check import DecisionRules
from exchanger.commands.areas import PathKind, examples
from exchanger.commands.offline.rules import PolicyRules
from exchanger.commands.playground.lint import TEXT_LIMIT, objects_in
from exchanger.commands.policies import AssembledPolicy
from exchanger.commands.scenarios.scenario import GatewayCall
from exchanger.model.entry import AllowEntry, DenyEntry, ExchangeEntry, TokenTarget
from exchanger.model.policy_decision import Ambiguous, NoMatch, PolicyDecision, Unhealthy
from exchanger.operations.console.policy_view import shown_place
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.table import CONFLICT
from exchanger.util.text import printable

# Requests that are compared: the worst take a millisecond each, and a page waits for them.
MAX_EXAMPLES: Final = 500
# Areas in which the policies may differ that are looked at for them: those of a file of 1,000 entries.
MAX_AREAS: Final = 20_000
# Requests that are reported; of more, the number.
MAX_SHOWN: Final = 50
# Resources and audiences of a target that are shown.
LISTED: Final = 4

UNREADABLE: Final = "the text cannot be read, so it would change nothing"
UNKNOWN: Final = "the saved file cannot be read, so what is active came from an older one"

Json = dict[str, object]
# Method, host and path.
Request = tuple[str, str, str]


def preview(name: str, text: str, saved: Mapping[str, str], rules: PolicyRules, calls: Iterable[GatewayCall]) -> Json:
    """Return the examples that ``text`` in the file ``name`` decides differently from the ``saved`` files of the folder. Never raises.

    Returns:
        ``examples``, the number of those that were compared, ``changes``, ``more`` that are not listed, and ``why_not``, a sentence if
        nothing can be compared, otherwise "".
    """
    edited = objects_in(text)
    if edited is None or objects_in(saved.get(name, "")) is None:
        return _report(0, [], UNREADABLE if edited is None else UNKNOWN)
    others = [item for key, other in saved.items() if key != name for item in objects_in(other) or ()]
    objects = (*others, *(objects_in(saved[name]) or ())), (*others, *edited)
    before, after = (rules.version(rules.select(found)).snapshot for found in objects)
    requests = list(islice(dict.fromkeys(_requests(before, after, calls)), MAX_EXAMPLES))
    return _report(len(requests), [change for request in requests if (change := _change(request, before, after)) is not None], "")


def _report(examples: int, changes: list[Json], why_not: str) -> Json:
    return {"examples": examples, "changes": changes[:MAX_SHOWN], "more": max(0, len(changes) - MAX_SHOWN), "why_not": why_not}


def _requests(before: PolicySnapshot, after: PolicySnapshot, calls: Iterable[GatewayCall]) -> Iterator[Request]:
    yield from ((call.method, call.host, call.path) for call in calls)
    for found in islice(examples(*(AssembledPolicy(snapshot, snapshot, DecisionRules()) for snapshot in (before, after))), MAX_AREAS):
        if found is not None and found.kind is PathKind.END and not found.headers:
            yield found.request.method, found.request.host, found.request.path


def _change(request: Request, before: PolicySnapshot, after: PolicySnapshot) -> Json | None:
    method, host, path = request
    was, is_now = (policy.match(host, path, method) for policy in (before, after))
    if _effect(was) == _effect(is_now):
        return None
    shown = {name: printable(text, TEXT_LIMIT) for name, text in zip(("method", "host", "path"), request, strict=True)}
    return {**shown, "before": _shown(was), "after": _shown(is_now)}


def _effect(decision: PolicyDecision) -> tuple[str, TokenTarget | None, str]:
    """Return the action, the target of its exchange, and the address of its metadata."""
    match decision:
        case NoMatch():
            return "no policy", None, ""
        case ExchangeEntry():
            return "exchange", decision.target, decision.resource_metadata
        case DenyEntry():
            return "deny", None, ""
        case AllowEntry():
            return "allow", None, ""
        case Unhealthy():
            return "conflict" if decision == CONFLICT else "blocked by", None, ""
        case Ambiguous():
            return "ambiguous", None, ""


def _shown(decision: PolicyDecision) -> Json:
    outcome, target, metadata = _effect(decision)
    source = None if isinstance(decision, NoMatch | Ambiguous) else decision.source
    index = None if isinstance(decision, NoMatch | Ambiguous) else decision.index
    return {
        "outcome": outcome,
        "policy": None if source is None else shown_place(source, index),
        "target": None
        if target is None
        else {
            "issuer": printable(target.issuer_ref, TEXT_LIMIT),
            "scope": printable(target.scope, TEXT_LIMIT),
            "resources": [printable(resource, TEXT_LIMIT) for resource in target.resources[:LISTED]],
            "audiences": [printable(audience, TEXT_LIMIT) for audience in target.audiences[:LISTED]],
            "resource_metadata": printable(metadata, TEXT_LIMIT),
        },
        "reason": printable(decision.reason, TEXT_LIMIT) if isinstance(decision, Unhealthy) else "",
    }
