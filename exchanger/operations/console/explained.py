"""The explanation of a decision: one value, which the console and ``exchanger explain`` show. Pure."""

from collections.abc import Mapping
from typing import Final, NotRequired, TypedDict, final

import attrs

from exchanger.authz.decision.answer import ExplainedDecision, answer
from exchanger.authz.decision.check import DecisionRules
from exchanger.model.entry import Source
from exchanger.model.policy_decision import Unhealthy
from exchanger.model.request import HttpRequest
from exchanger.model.text import loggable_path
from exchanger.operations.console.policy_view import (
    AnswerJson,
    DecisionViewJson,
    EntryJson,
    Lines,
    shown_answer,
    shown_decision,
    shown_entry,
)
from exchanger.policy.explanation import Explanation, explain
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import printable

# Characters of why a candidate won or not.
_WHY_LIMIT: Final = 1024
_NOT_READY: Final = "no complete policy has been loaded yet"
_MISSING: Final = "a policy is required, and no entry is active"


class CandidateJson(EntryJson):
    """An entry that was considered. ``at``: its file and line there, where the policy comes from files."""

    outcome: str
    won: bool
    why: str
    at: NotRequired[str]


class ExplainedJson(TypedDict):
    """What ``/api/explain`` answers."""

    revision: int
    verdict: DecisionViewJson
    readings: list[str]
    candidates: list[CandidateJson]
    more: int
    decision: AnswerJson


@final
@attrs.frozen
class Explained:
    """How ``snapshot`` decides a request and why, and the service's answer."""

    explanation: Explanation
    answer: ExplainedDecision
    snapshot: PolicySnapshot

    def documents(self) -> dict[Source, EffectiveDocument]:
        """Return the documents of the candidates."""
        sources = dict.fromkeys(candidate.claim.source for candidate in self.explanation.candidates)
        found = ((source, self.snapshot.document(source)) for source in sources)
        return {source: document for source, document in found if document is not None}

    def shown(self, lines: Mapping[Source, Lines], revision: int) -> ExplainedJson:
        """Return it in JSON's types; ``lines`` are those of ``documents``."""
        found = self.explanation
        return {
            "revision": revision,
            "verdict": shown_decision(found.decision),
            "readings": [loggable_path(interpretation) for interpretation in found.interpretations],
            "candidates": [
                {
                    **shown_entry(candidate.claim, self.snapshot, lines.get(candidate.claim.source, ())),  # type: ignore[typeddict-item]
                    "outcome": candidate.standing.value,
                    "won": candidate.won,
                    "why": printable(candidate.why, _WHY_LIMIT),
                }
                for candidate in found.candidates
            ],
            "more": found.more,
            "decision": shown_answer(self.answer),
        }


def explained(asked: HttpRequest, newest: PolicySnapshot | None, rules: DecisionRules, *, is_missing: bool) -> Explained:
    """Return how ``newest`` decides; ``is_missing``: it does not, since a policy is required and no entry is active."""
    snapshot = newest or PolicySnapshot.EMPTY
    found = explain(snapshot, asked.host, asked.path, asked.method, raw=asked.path_is_raw, headers=asked.fields)
    if newest is None or is_missing:
        why = Unhealthy(_NOT_READY if newest is None else _MISSING)
        found = attrs.evolve(found, decision=why, candidates=(), more=0)
    return Explained(found, answer(asked, None if is_missing else newest, rules), snapshot)
