"""Small policies that several tests of this room start from."""

from typing import TypedDict, Unpack

import attrs

from exchanger.model.entry import (
    AllowEntry,
    Claim,
    DenyEntry,
    Entry,
    ExchangeEntry,
    FailClosedScope,
    HeaderMatch,
    MatchScope,
    PathType,
    Source,
    TokenTarget,
)
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.snapshot import PolicySnapshot

HOST = "api.example.com"
RED = Source("red", "policy")
BLUE = Source("blue", "policy")
ISSUERS = frozenset({"primary"})
TARGET = TokenTarget("primary", scope="read:orders")
ANYTHING = ("*",)
ACTIONS = frozenset({"exchange", "deny", "allow"})
# Grants everything to every namespace: without grants, no entry may let requests pass.
EVERYTHING_GRANTED = Grants((NamespaceGrant(None, None, ANYTHING, ("",), ACTIONS, ANYTHING, ANYTHING, ANYTHING, ANYTHING),))


class Where(TypedDict, total=False):
    """The rest of an entry's area."""

    host: str
    methods: frozenset[str] | None
    case_insensitive: bool
    path_type: PathType
    headers: tuple[HeaderMatch, ...]


def exchange(prefix: str, *, source: Source = RED, index: int = 0, **where: Unpack[Where]) -> ExchangeEntry:
    return ExchangeEntry(source, index, attrs.evolve(MatchScope(HOST, prefix), **where), TARGET)


def deny(prefix: str, *, source: Source = RED, index: int = 0, **where: Unpack[Where]) -> DenyEntry:
    return DenyEntry(source, index, attrs.evolve(MatchScope(HOST, prefix), **where))


def allow(prefix: str, *, source: Source = RED, index: int = 0, **where: Unpack[Where]) -> AllowEntry:
    return AllowEntry(source, index, attrs.evolve(MatchScope(HOST, prefix), **where))


def closed_scope(
    prefix: str,
    *,
    source: Source = RED,
    index: int | None = 0,
    host: str | None = HOST,
    methods: frozenset[str] | None = None,
    case_insensitive: bool = False,
) -> FailClosedScope:
    return FailClosedScope(source, MatchScope(host, prefix, methods, case_insensitive), f"fail-closed scope of {source}", index)


def document_of(*claims: Claim, source: Source = RED, text: str | None = None) -> PolicyDocument:
    """Return a document of ``claims``, with indices in this order; a fail-closed scope of the document itself keeps its ``None``."""
    entries, closed_scopes = list[Entry](), list[FailClosedScope]()
    for index, claim in enumerate(claims):
        if isinstance(claim, FailClosedScope):
            closed_scopes.append(attrs.evolve(claim, source=source, index=None if claim.index is None else index))
        else:
            entries.append(attrs.evolve(claim, source=source, index=index))
    return PolicyDocument(source, tuple(entries), tuple(closed_scopes), text=text)


def with_documents(snapshot: PolicySnapshot, *documents: PolicyDocument) -> PolicySnapshot:
    """Return ``snapshot`` with these documents besides its others."""
    return snapshot.changed({document.source: document for document in documents})


def without(snapshot: PolicySnapshot, *sources: Source) -> PolicySnapshot:
    """Return ``snapshot`` without some of its documents."""
    return snapshot.changed(dict.fromkeys(sources))


def with_baseline(snapshot: PolicySnapshot, *denials: DenyEntry) -> PolicySnapshot:
    """Return ``snapshot`` with a baseline instead of its present one."""
    return snapshot.with_grants(attrs.evolve(snapshot.grants, baseline=denials))


def snapshot_of(*claims: Claim) -> PolicySnapshot:
    """Return a snapshot of one document for each source among ``claims``, all of which are granted."""
    documents = []
    for source in dict.fromkeys(claim.source for claim in claims):
        own = [claim for claim in claims if claim.source == source]
        entries = tuple(claim for claim in own if not isinstance(claim, FailClosedScope))
        closed_scopes = tuple(claim for claim in own if isinstance(claim, FailClosedScope))
        documents.append(PolicyDocument(source, entries, closed_scopes))
    return with_documents(PolicySnapshot(grants=EVERYTHING_GRANTED), *documents)


def parsed(text: str | None, source: Source = RED) -> PolicyDocument:
    return parse_document(source, text, ISSUERS)
