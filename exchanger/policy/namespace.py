"""The policy of one namespace: its documents, what it is granted, and its limits, and the routes that follow, by host.

A document counts whole, or it is over quota: then it fails closed on the hosts that it names, as far as they are granted. Everything
depends on the namespace's own documents alone, in whatever order they came.

Must not know: other namespaces, or requests.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias, TypeVar, final

import attrs
from rpds import HashTrieMap

from exchanger.model.codes.code import Code
from exchanger.model.codes.grants import PARTLY_OUTSIDE_GRANTS
from exchanger.model.codes.manifests import DEEP_ENTRIES, MANY_AREAS, MANY_DOCUMENTS, MANY_ENTRIES
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import AllowEntry, Claim, Entry, FailClosedScope, MatchScope, Source
from exchanger.policy.depth import OVER_DEPTH, HostRoutes, by_name, closing
from exchanger.policy.documents.document import Labels, PolicyDocument, PolicyRefusal
from exchanger.policy.expansion import EVERY_DOCUMENT, Expansion
from exchanger.policy.grants.allowance import UNLIMITED, Allowance
from exchanger.policy.grants.restriction import (
    PARTLY,
    Routes,
    closed_entry,
    closing_paths,
    refusals_of,
    routes_of,
    without_hidden_issuers,
)
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.scope import Route

# The codes of what fails closed because of a namespace's limits.
QUOTA_CODES: Final = frozenset({MANY_ENTRIES, MANY_AREAS, MANY_DOCUMENTS, DEEP_ENTRIES})

T = TypeVar("T")

# The document of each source from now on, ``None`` for none.
Changes: TypeAlias = Mapping[Source, PolicyDocument | None]
# The routes that are removed from each host, and those that are added there.
Differences: TypeAlias = dict[str | None, tuple[list[Route], list[Route]]]


@final
@attrs.frozen(eq=False)
class EffectiveDocument:
    """A document, and what grants and limits leave of it in its namespace.

    ``written`` is as its author wrote it; ``document`` is the same, but suggests only issuer profiles that the namespace is granted.
    ``entries`` are those that decide requests, ``problems`` the first fail-closed scope of the document or of each invalid entry, and
    ``refused`` what is outside the grants. ``used_entries`` and ``used_scopes`` count towards the quota. Of a document that
    ``is_over_quota``, only the text and the hosts that it names are kept: it must be read again when there is room.
    """

    written: PolicyDocument = attrs.field(repr=False)
    document: PolicyDocument
    routes: "HashTrieMap[str | None, Routes]" = attrs.field(repr=False)
    entries: tuple[Entry, ...]
    problems: tuple[FailClosedScope, ...]
    refused: tuple[PolicyRefusal, ...]
    used_entries: int
    used_scopes: int
    is_over_quota: bool = False

    @property
    def source(self) -> Source:
        """The object that the document is from."""
        return self.document.source

    @property
    def text(self) -> str | None:
        """The document as its author wrote it, ``None`` if it is missing or unknown."""
        return self.document.text

    @property
    def entry_count(self) -> int:
        """The number of entries that decide requests."""
        return len(self.entries)

    def is_like(self, other: "EffectiveDocument | None") -> bool:
        """Return whether ``other`` has the same text, and says and does the same."""
        return other is not None and (self.document, self.text, self.entries, self.problems, self.refused, self.is_over_quota) == (
            other.document,
            other.text,
            other.entries,
            other.problems,
            other.refused,
            other.is_over_quota,
        )

    @property
    def findings(self) -> tuple[Problem, ...]:
        """Everything that is wrong: its author's mistakes, and what exceeds grants and limits, in the order of entries."""
        invalid = {closed_scope.index for closed_scope in self.document.problems}
        found = [
            *self.document.findings,
            *[one for closed_scope in self.problems if closed_scope.index not in invalid for one in closed_scope.problems],
        ]
        found += [Problem(refusal.code, refusal.reason, refusal.index, line=refusal.line, hint=refusal.hint) for refusal in self.refused]
        return tuple(sorted(found, key=lambda problem: (problem.entry is not None, problem.entry)))


@final
@attrs.frozen(eq=False)
class NamespacePolicy:
    """The documents of a namespace, and their ``routes`` by host. ``used_entries`` and ``used_scopes`` count for the quota.

    ``labels`` describe the namespace, several times if files disagree. It is granted what all ``allowances`` grant, of which there is one
    for each description. ``enforced``: if false, grants restrict nothing but what lets requests pass. ``over_quota`` has the documents over
    quota, with the limit that the first of them exceeds, and ``over_depth`` the hosts on which all routes fail closed.
    """

    labels: tuple[Labels, ...] = ()
    allowances: tuple[Allowance, ...] = (UNLIMITED,)
    limits: NamespaceLimits = attrs.field(default=NamespaceLimits())
    enforced: bool = True
    documents: "HashTrieMap[Source, EffectiveDocument]" = attrs.field(default=HashTrieMap(), repr=False)
    routes: "HashTrieMap[str | None, HostRoutes]" = attrs.field(default=HashTrieMap(), repr=False)
    used_entries: int = 0
    used_scopes: int = 0
    over_quota: "HashTrieMap[Source, Code]" = attrs.field(default=HashTrieMap())
    over_depth: frozenset[str | None] = frozenset()
    expansion: Expansion = attrs.field(repr=False)
    entry_count: int = 0
    invalid_documents: int = 0
    refused_count: int = 0
    # Documents that were over quota, and for which there is room now: of these only the text is known.
    to_read_again: frozenset[Source] = frozenset()

    @expansion.default
    def _nothing_expanded(self) -> Expansion:
        return Expansion(self.allowances, self.enforced)

    def changed(self, documents: Changes) -> "tuple[NamespacePolicy, Differences]":
        """Return the namespace with other documents, and how its routes differ."""
        return self._with({source: None if one is None else _Content.of(one) for source, one in documents.items()})

    def granted(
        self, labels: tuple[Labels, ...], allowances: tuple[Allowance, ...], limits: NamespaceLimits, *, enforced: bool
    ) -> "NamespacePolicy":
        """Return the namespace under other allowances and limits."""
        contents = {source: _Content.known(one) for source, one in self.documents.items()}
        return NamespacePolicy(labels, allowances, limits, enforced)._with(contents)[0]  # noqa: SLF001 - of the same class

    def on(self, host: str | None) -> Routes:
        """Return the routes on ``host``; if they make too many levels, what closes them all."""
        routes = self.routes.get(host, _NO_ROUTES).all()
        return closing(routes, closing_paths(host, self.allowances) if self.enforced else None) if host in self.over_depth else routes

    def _with(self, contents: "_Contents") -> "tuple[NamespacePolicy, Differences]":
        """Return the namespace with other contents of some documents, and how its routes differ."""
        used_entries, used_scopes, over_quota = self._quota(contents)
        affected = self._within_quota(contents, over_quota)
        expansion, closed_hosts = self.expansion.changed({source: content and content.document for source, content in affected.items()})
        if expansion.is_over_limit is not self.expansion.is_over_limit:
            others = [self.documents[source] for source in expansion.documents if source not in affected]
            affected |= {one.source: _Content.known(one) for one in others}
        after = {source: content and self._effective(content, expansion) for source, content in affected.items()}
        routes, differences = self._routes_with(after, closed_hosts)
        over_depth = self.over_depth.difference(differences).union(
            [host for host in differences if routes.get(host, _NO_ROUTES).is_over_depth]
        )
        if over_depth or self.over_depth:
            after |= self._at_depth(after, routes, over_depth, expansion)
        documents, entries, invalid, refused = self._documents_with(after)
        read_again = keys_of(self.to_read_again, self.over_quota, contents).keys() - over_quota.keys()
        changed = NamespacePolicy(
            self.labels,
            self.allowances,
            self.limits,
            self.enforced,
            documents,
            routes,
            used_entries,
            used_scopes,
            HashTrieMap(over_quota),
            over_depth,
            expansion,
            entries,
            invalid,
            refused,
            frozenset(source for source in read_again if source in documents and documents[source].is_over_quota),
        )
        for host in differences.keys() & (self.over_depth | over_depth):
            differences[host] = (list(self.on(host)), list(changed.on(host)))
        return changed, differences

    def _quota(self, contents: "_Contents") -> tuple[int, int, dict[Source, Code]]:
        """Return how many entries and fail-closed scopes count, and which documents are over quota."""
        entries, closed_scopes, count = self.used_entries, self.used_scopes, len(self.documents)
        for source, content in contents.items():
            for one, sign in ((self.documents.get(source), -1), (content, 1)):
                if one is not None:
                    entries, closed_scopes, count = entries + sign * one.used_entries, closed_scopes + sign * one.used_scopes, count + sign
        exceeds = entries > self.limits.entries or closed_scopes > self.limits.fail_closed_scopes or count > self.limits.documents
        return entries, closed_scopes, self._over_quota(contents) if exceeds else {}

    def _over_quota(self, contents: "_Contents") -> dict[Source, Code]:
        """Return the documents over quota, in the order of their names: the first that exceeds a limit, and all that follow."""
        limits, found = self.limits, dict[Source, Code]()
        entries = closed_scopes = count = 0
        exceeded: Code | None = None
        for source in sorted(keys_of(self.documents, contents), key=by_name):
            content = contents[source] if source in contents else self.documents[source]
            if content is None:
                continue
            count, entries, closed_scopes = count + 1, entries + content.used_entries, closed_scopes + content.used_scopes
            if exceeded is None and count > limits.documents:
                exceeded = MANY_DOCUMENTS
            elif exceeded is None and entries > limits.entries:
                exceeded = MANY_ENTRIES
            elif exceeded is None and closed_scopes > limits.fail_closed_scopes:
                exceeded = MANY_AREAS
            if exceeded is not None:
                found[source] = exceeded
        return found

    def _within_quota(self, contents: "_Contents", over_quota: Mapping[Source, Code]) -> "dict[Source, _Content | None]":
        """Return the contents of documents that differ, reduced if they are over quota."""
        others = sorted(keys_of(self.over_quota, over_quota).keys() - contents.keys())
        moved = [source for source in others if over_quota.get(source) is not self.over_quota.get(source)]
        affected: dict[Source, _Content | None] = {}
        for source, content in (*contents.items(), *((source, _Content.known(self.documents[source])) for source in moved)):
            before, left = self.documents.get(source), content and content.within(over_quota.get(source), self.limits)
            if left is None or before is None or left.document is not before.written:
                affected[source] = left
        return affected

    def _effective(self, content: "_Content", expansion: Expansion, over_depth: frozenset[str | None] = frozenset()) -> EffectiveDocument:
        """Return what grants and limits leave of a document."""
        document = without_hidden_issuers(content.document, self.allowances)
        found = list[tuple[Claim, Routes]]()
        # Fail-closed scopes of one entry may be equal once they are on the same granted host; hosts count their routes, and each must be
        # there once.
        by_host: dict[str | None, dict[Route, None]] = {}
        for claim in (*document.entries, *document.closed_scopes):
            if expansion.is_over_limit and expansion.size(claim):  # its hosts fail closed as a whole
                effect = claim if isinstance(claim, FailClosedScope) else closed_entry(claim, PARTLY, PARTLY_OUTSIDE_GRANTS)
                found.append((claim, (Route(effect),)))
                continue
            routes = routes_of(claim, self.allowances, enforced=self.enforced)
            found.append((claim, routes))
            for route in routes:
                by_host.setdefault(route.match.host, {})[route] = None
        entries, problems, refused = document.entries, document.problems, tuple[PolicyRefusal, ...]()
        if self.allowances != (UNLIMITED,) or any(isinstance(entry, AllowEntry) for entry in entries):
            granted = {claim.index for claim, routes in found if routes}
            effects = [route.effect for _, routes in found for route in reversed(routes)]
            closed = {effect.index: effect for effect in effects if isinstance(effect, FailClosedScope)}
            if not self.enforced or not all(routes for _, routes in found):
                refused = refusals_of(document, self.allowances, enforced=self.enforced)
            problems = tuple([closed_scope for closed_scope in problems if closed_scope.index in granted])
            problems += tuple([closed[entry.index] for entry in entries if entry.index in closed])
            entries = tuple([entry for entry in entries if entry.index in granted and entry.index not in closed])
        deep = {
            route.effect.index: closed_entry(route.effect, f"fails closed: {OVER_DEPTH}", DEEP_ENTRIES)
            for host in over_depth & by_host.keys()
            for route in by_host[host]
            if not isinstance(route.effect, FailClosedScope)
        }
        if deep:
            problems = (*problems, *[deep[entry.index] for entry in entries if entry.index in deep])
            entries = tuple([entry for entry in entries if entry.index not in deep])
        if all(closed_scope.index is not None for closed_scope in problems):  # an unreadable document has its own reason
            problems = (*expansion.problems(document.source), *problems)
        return EffectiveDocument(
            content.document,
            document,
            HashTrieMap({host: tuple(routes) for host, routes in by_host.items()}),
            entries,
            problems,
            refused,
            content.used_entries,
            content.used_scopes,
            content.is_over_quota,
        )

    def _routes_with(
        self, after: Mapping[Source, EffectiveDocument | None], closed_hosts: Mapping[str | None, Routes]
    ) -> "tuple[HashTrieMap[str | None, HostRoutes], Differences]":
        """Return the routes by host where those of some documents are others, and the differences."""
        own: dict[str | None, dict[Source, Routes]] = {}
        for source, one in after.items():
            before = self.documents.get(source)
            for host in () if before is None else before.routes:
                own.setdefault(host, {})[source] = ()
            for host, those in () if one is None else one.routes.items():
                own.setdefault(host, {})[source] = those
        for host, those in closed_hosts.items():
            own.setdefault(host, {})[_EVERY_DOCUMENT] = those
        routes, differences = self.routes, Differences()
        for host, changes in own.items():
            there, removed, added = routes.get(host, _NO_ROUTES).changed(changes)
            routes = routes.insert(host, there) if there.count else routes.discard(host)
            differences[host] = removed, added
        return routes, differences

    def _at_depth(
        self,
        after: Mapping[Source, EffectiveDocument | None],
        routes: "HashTrieMap[str | None, HostRoutes]",
        over_depth: frozenset[str | None],
        expansion: Expansion,
    ) -> dict[Source, EffectiveDocument]:
        """Return the documents with entries that fail closed because of ``over_depth``, or no longer do."""
        sources = {source for host in over_depth ^ self.over_depth for source in routes.get(host, _NO_ROUTES).by_source}
        sources.update(source for source, one in after.items() if one is not None and not over_depth.isdisjoint(one.routes))
        there = (after[source] if source in after else self.documents.get(source) for source in sources)
        return {one.source: self._effective(_Content.known(one), expansion, over_depth) for one in there if one is not None}

    def _documents_with(
        self, after: Mapping[Source, EffectiveDocument | None]
    ) -> "tuple[HashTrieMap[Source, EffectiveDocument], int, int, int]":
        """Return the documents, and how many entries decide, documents have problems, and entries are refused."""
        documents, entries, invalid, refused = self.documents, self.entry_count, self.invalid_documents, self.refused_count
        for source, one in after.items():
            for counted, sign in ((self.documents.get(source), -1), (one, 1)):
                if counted is not None:
                    entries += sign * len(counted.entries)
                    invalid += sign * bool(counted.problems)
                    refused += sign * len(counted.refused)
            documents = documents.discard(source) if one is None else documents.insert(source, one)
        return documents, entries, invalid, refused


@final
@attrs.frozen(eq=False)
class _Content:
    """A document, and what it counts towards the quota, also if only its text and hosts are kept."""

    document: PolicyDocument
    used_entries: int
    used_scopes: int
    is_over_quota: bool = False

    @classmethod
    def of(cls, document: PolicyDocument) -> "_Content":
        return cls(document, len(document.entries) + len(document.problems), len(document.closed_scopes))

    @classmethod
    def known(cls, effective: EffectiveDocument) -> "_Content":
        return cls(effective.written, effective.used_entries, effective.used_scopes, effective.is_over_quota)

    def within(self, exceeded: Code | None, limits: NamespaceLimits) -> "_Content":
        """Return the content, reduced if its document is over quota for the limit ``exceeded``."""
        is_small = not self.document.entries and len(self.document.closed_scopes) <= 1  # what is unreadable keeps its own reason
        if exceeded is None or (is_small and not self.is_over_quota):
            return self
        closed_scopes = tuple(_closed_hosts(self.document, exceeded, limits))
        if self.is_over_quota and closed_scopes == self.document.closed_scopes:
            return self
        return attrs.evolve(self, document=attrs.evolve(self.document, entries=(), closed_scopes=closed_scopes), is_over_quota=True)


_Contents: TypeAlias = Mapping[Source, _Content | None]
_NO_ROUTES: Final = HostRoutes()
# Stands for a document among the routes of a namespace: those that close hosts for all documents together.
_EVERY_DOCUMENT: Final = Source("", EVERY_DOCUMENT)


def keys_of(*tables: Iterable[T]) -> dict[T, None]:
    """Return all keys of ``tables`` in a loop, in which other threads have their turns: a persistent map of 10,000 is copied in 15 ms."""
    return {key: None for table in tables for key in table}


def _closed_hosts(document: PolicyDocument, exceeded: Code, limits: NamespaceLimits) -> Iterator[FailClosedScope]:
    """Yield what fails closed on all hosts that ``document`` names, for everybody; it yields to others only where all of it there does."""
    hosts: dict[str | None, bool] = {}
    for claim in (*document.entries, *document.closed_scopes):
        hosts[claim.match.host] = Route(claim).yields_to_others and hosts.get(claim.match.host, True)
    limit = {
        MANY_ENTRIES: f"{limits.entries} entries",
        MANY_AREAS: f"{limits.fail_closed_scopes} scopes that fail closed",
        MANY_DOCUMENTS: f"{limits.documents} documents",
    }[exceeded]
    text = f"the document fails closed on the hosts that it names: its namespace has more than {limit}"
    for host, yields in hosts.items():
        guessed = yields and host is not None
        yield FailClosedScope(document.source, MatchScope(host), text, guessed=guessed, problems=(Problem(exceeded, text),))
