"""One entry of a document, from nodes to a value: an entry where all is well, otherwise regions over what can be read of its scope.

Must not know: YAML text, or other entries.
"""

from typing import Final

from exchanger.policy.fields import Field, Fields, FieldType, Problem
from exchanger.policy.match_reader import MATCH_FIELDS, MatchReader
from exchanger.policy.quoting import quoted
from exchanger.policy.text_rules import ACTION, DENY, EXCHANGE
from exchanger.policy.yaml_nodes import Node
from exchanger.values.entry import EVERYWHERE, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, MatchScope, Source, TokenTarget

ISSUER: Final = "issuerRef"
EXCHANGE_FIELDS: Final = (
    Field(ISSUER, FieldType.TEXT, "The name of the issuer profile whose token endpoint exchanges the token."),
    Field("scope", FieldType.TEXT, "The scopes to ask for, separated by spaces. An exchange needs a scope, a resource or an audience."),
    Field("resources", FieldType.TEXTS, "URIs of the services that the token is meant for, sent as resource parameters (RFC 8707)."),
    Field("audiences", FieldType.TEXTS, "Names of the services that the token is meant for, sent as audience parameters (RFC 8693)."),
)
ENTRY_FIELDS: Final = (
    Field("match", FieldType.MAPPING, "The requests that the entry applies to.", required=True, fields=MATCH_FIELDS),
    Field(
        "action",
        FieldType.TEXT,
        "What happens to these requests: exchange replaces the caller's token, deny refuses the request. Case does not matter.",
        required=True,
        rule=ACTION,
    ),
    Field(
        "exchange",
        FieldType.MAPPING,
        "What to ask the token endpoint for. The action exchange needs it.",
        fields=EXCHANGE_FIELDS,
    ),
)
TARGETS: Final = ("scope", "resources", "audiences")
"""Fields of which an exchange needs one at least that is not blank."""


def read_entry(
    source: Source, index: int, node: Node, issuers: frozenset[str], matches: MatchReader
) -> Entry | tuple[FailClosedRegion, ...]:
    """Return the entry at ``index``, or the regions that its problems close, one for each host that may have been meant.

    The regions' place is that of the first problem: the field that is wrong, or the mapping that lacks one.

    Args:
        source: the document
        index: the position in its ``entries``
        node: what stands there
        issuers: the profiles that it may refer to
        matches: the reader of all matches of the document
    """
    problems: list[Problem] = []
    scopes: tuple[MatchScope, ...] = (EVERYWHERE,)
    target = None
    entry = Fields.of(node, f"entries[{index}]", ENTRY_FIELDS, problems)
    if entry is not None:
        scopes = matches.read(entry)
        target = _read_action(entry, issuers)
    if problems:
        reason, place = "; ".join(problem.text for problem in problems), problems[0].node
        return tuple(FailClosedRegion(source, scope, reason, index, place.line, place.column) for scope in scopes)
    (scope,) = scopes
    return DenyEntry(source, index, scope) if target is None else ExchangeEntry(source, index, scope, target)


def _read_action(entry: Fields, issuers: frozenset[str]) -> TokenTarget | None:
    """Read what the entry asks for, and return the target of an exchange that has no problem."""
    action = entry.text("action").lower()
    wanted = action == EXCHANGE
    if action and not wanted and action != DENY:
        entry.problem("action", f"must be exchange or deny, not {quoted(action)}")
    exchange = entry.mapping("exchange", required=wanted)
    if exchange is None:
        return None
    # The block of another action need not be complete, but must be made of the fields and types that it may have.
    issuer = exchange.text(ISSUER, required=wanted)
    scope, resources, audiences = exchange.text("scope"), exchange.texts("resources"), exchange.texts("audiences")
    if not wanted:
        return None
    if issuer and issuer not in issuers:
        exchange.problem(ISSUER, f"references unknown issuer profile {quoted(issuer)}")
    if not (scope or resources or audiences) and resources is not None and audiences is not None:
        entry.problem("exchange", "needs at least one of scope, resources and audiences")
    return None if entry.problems else TokenTarget(issuer, scope, resources or (), audiences or ())
