"""The active policy as the console shows it: documents with their health, entries with their places, problems in words. Pure."""

from itertools import islice
from typing import Final, NotRequired, TypeAlias, TypedDict

from exchanger.authz.decision.answer import ExplainedDecision, profile_of
from exchanger.model.entry import BASELINE, AllowEntry, Claim, DenyEntry, ExchangeEntry, FailClosedScope, Source
from exchanger.model.notice import Notices
from exchanger.model.policy_decision import Ambiguous, NoMatch, PolicyDecision, Unhealthy
from exchanger.policy.conflicts import conflicts_with
from exchanger.policy.documents.document import PolicyRefusal
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import printable

Json: TypeAlias = dict[str, object]
Lines: TypeAlias = tuple[tuple[int, int], ...]

# Characters of a name, a path prefix, a scope: longer ones are attacks on their readers.
TEXT_LIMIT: Final = 1024
# Methods, resources and audiences of an entry that are shown.
LIST_LIMIT: Final = 64
# Methods of an entry that are sorted before the first ones are shown; of more, any.
MANY_METHODS: Final = 4096
# Problems, and refused entries, of one document in the list of documents; the document itself shows all of them.
MAX_PROBLEMS: Final = 20

_ACTIONS: Final = {AllowEntry: "allow", DenyEntry: "deny", ExchangeEntry: "exchange", FailClosedScope: "invalid"}


class PlaceJson(TypedDict):
    """Which entry of which policy; ``entry`` is ``None`` for the whole document."""

    namespace: str
    name: str
    entry: int | None


class NamedText(TypedDict):
    """A text and its meaning."""

    name: str
    text: str


class NamedValue(TypedDict):
    """A header that an entry asks for."""

    name: str
    value: str


class EntryJson(PlaceJson):
    """An entry, or the fail-closed scope that replaces an invalid one."""

    line: int | None
    end_line: int | None
    action: str
    host: str | None
    path_prefix: str
    path_type: str
    headers: list[NamedValue]
    case_insensitive: bool
    methods: list[str] | None
    issuer: str | None
    scope: str
    resources: list[str]
    audiences: list[str]
    resource_metadata: str
    conflicts: list[PlaceJson]


class DecisionViewJson(TypedDict):
    """A decision with its reason in words."""

    kind: str
    policy: PlaceJson | None
    reason: str


class ExchangeJson(TypedDict):
    """The exchange that would be requested, and from which issuer. A console of an earlier version does not know the last two."""

    issuer: str
    endpoint: str | None
    scope: str
    resources: list[str]
    audiences: list[str]
    resource_metadata: NotRequired[str]
    profile: NotRequired[list[NamedText]]


class AnswerJson(DecisionViewJson):
    """The service's answer."""

    passes: bool
    status: int | None
    exchange: ExchangeJson | None


def health_of(document: EffectiveDocument, conflicts: "frozenset[Source] | set[Source]") -> str:
    """Return the health of a document: problems are worse than conflicts, and these than refusals."""
    if document.problems:
        return "problems"
    if document.source in conflicts:
        return "conflicts"
    return "refused" if document.refused else "ok"


def shown_document(document: EffectiveDocument, health: str) -> Json:
    """Return a document as a line of the list."""
    problems = [shown_problem(closed_scope) for closed_scope in document.problems[:MAX_PROBLEMS]]
    refused = [shown_refusal(refusal) for refusal in document.refused[:MAX_PROBLEMS]]
    shown = {"name": _text(document.source.name), "entries": document.entry_count, "health": health}
    return {**shown, "problems": problems, "refused": refused}


def shown_problem(closed_scope: FailClosedScope) -> Json:
    """Return the problem, and its place."""
    return {
        "entry": closed_scope.index,
        "line": closed_scope.line,
        "column": closed_scope.column,
        "code": closed_scope.code,
        "reason": _text(closed_scope.reason),
    }


def shown_refusal(refusal: PolicyRefusal) -> Json:
    """Return what is or would be refused: an entry, or ``None`` for the document."""
    return {"entry": refusal.index, "code": refusal.code.name, "reason": _text(refusal.reason)}


def shown_notices(notices: tuple[Notices, ...]) -> Json:
    """Return probable mistakes, and how many more there are."""
    listed = [one.fields() for several in notices for one in several.listed]
    return {"listed": listed, "more": sum(several.more for several in notices)}


def claims_of(document: EffectiveDocument) -> list[Claim]:
    """Return the entries of a document, and the fail-closed scopes of each invalid one, in its order."""
    closed = {problem.index for problem in document.problems}
    closed_scopes = [closed_scope for closed_scope in document.document.closed_scopes if closed_scope.index in closed]
    written = {closed_scope.index for closed_scope in closed_scopes}
    made = [problem for problem in document.problems if problem.index not in written]  # by grants and limits
    claims: list[Claim] = [*document.entries, *closed_scopes, *made]
    return sorted(claims, key=lambda claim: -1 if claim.index is None else claim.index)


def shown_entry(claim: Claim, snapshot: PolicySnapshot, lines: Lines) -> EntryJson:
    """Return an entry, or the fail-closed scope that replaces an invalid one. ``lines`` are those of its document's entries."""
    target = claim.target if isinstance(claim, ExchangeEntry) else None
    area, index = claim.match, claim.index
    first, last = (
        lines[index] if index is not None and index < len(lines) else (claim.line if isinstance(claim, FailClosedScope) else None, None)
    )
    rivals = () if isinstance(claim, FailClosedScope) else conflicts_with(claim, snapshot)
    return {
        "namespace": _text(claim.source.namespace),
        "name": _text(claim.source.name),
        "entry": index,
        "line": first,
        "end_line": last,
        "action": _ACTIONS[type(claim)],
        "host": None if area.host is None else _text(area.host),
        "path_prefix": _text(area.path_prefix),
        "path_type": area.path_type.value,
        "headers": [{"name": _text(name), "value": _text(value)} for name, value in area.headers],
        "case_insensitive": area.case_insensitive,
        "methods": None if area.methods is None else _methods(area.methods),
        "issuer": None if target is None else _text(target.issuer_ref),
        "scope": "" if target is None else _text(target.scope),
        "resources": [] if target is None else [_text(resource) for resource in target.resources[:LIST_LIMIT]],
        "audiences": [] if target is None else [_text(audience) for audience in target.audiences[:LIST_LIMIT]],
        "resource_metadata": _text(claim.resource_metadata) if isinstance(claim, ExchangeEntry) else "",
        "conflicts": [shown_place(rival.source, rival.index) for rival in rivals],
    }


def shown_place(source: Source, index: int | None) -> PlaceJson:
    """Return which entry of which policy."""
    return {"namespace": _text(source.namespace), "name": _text(source.name), "entry": index}


def shown_decision(decision: PolicyDecision) -> DecisionViewJson:
    """Return the decision with its reason in words."""
    match decision:
        case NoMatch():
            return {"kind": "no_match", "policy": None, "reason": "no entry applies to any interpretation of the request"}
        case ExchangeEntry():
            return {"kind": "exchange", "policy": shown_place(decision.source, decision.index), "reason": "an entry asks for an exchange"}
        case DenyEntry(source=source) if source == BASELINE:
            reason = "the baseline of the grants denies the request before any policy applies"
            return {"kind": "deny", "policy": shown_place(source, decision.index), "reason": reason}
        case DenyEntry():
            return {"kind": "deny", "policy": shown_place(decision.source, decision.index), "reason": "an entry denies the request"}
        case AllowEntry():
            return {"kind": "allow", "policy": shown_place(decision.source, decision.index), "reason": "an entry lets the request pass"}
        case Unhealthy():
            place = None if decision.source is None else shown_place(decision.source, decision.index)
            return {"kind": "unhealthy", "policy": place, "reason": _text(decision.reason)}
        case Ambiguous():
            reason = f"the {decision.part.value} cannot be read, or can be read in ways that lead to different decisions"
            return {"kind": "ambiguous", "policy": None, "reason": reason}


def shown_answer(answer: ExplainedDecision) -> AnswerJson:
    """Return how a request is decided, and what would be requested from which issuer."""
    target, issuer = answer.target, answer.issuer
    return {
        "kind": answer.effect.value,
        "passes": answer.passes,
        "status": answer.status,
        "policy": None if answer.source is None else shown_place(answer.source, answer.index),
        "reason": _text(answer.reason),
        "exchange": None
        if target is None
        else {
            "issuer": _text(target.issuer_ref),
            "endpoint": (issuer is not None and _text(issuer.endpoint_host)) or None,
            "scope": _text(target.scope),
            "resources": [_text(resource) for resource in target.resources[:LIST_LIMIT]],
            "audiences": [_text(audience) for audience in target.audiences[:LIST_LIMIT]],
            "resource_metadata": _text(answer.resource_metadata),
            "profile": [] if issuer is None else [{"name": name, "text": _text(text)} for name, text in profile_of(issuer)],
        },
    }


def _methods(methods: frozenset[str]) -> list[str]:
    few = methods if len(methods) <= MANY_METHODS else islice(methods, LIST_LIMIT)  # sorting 100,000 takes too long
    return [_text(method) for method in sorted(few)[:LIST_LIMIT]]


def _text(text: str) -> str:
    return printable(text, TEXT_LIMIT)
