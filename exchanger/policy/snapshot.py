"""One version of the whole policy: documents are added and removed, requests matched. Each change makes a new version.

Must not know: where documents come from, who publishes or reads, or what follows from a verdict.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final, assert_never, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.authority import read_authority
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.grants.restriction import Cut, closed_whole
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.interpretation import MAX_POSSIBLE, Interpretation, path_interpretations
from exchanger.policy.lookup import CONFLICT, Beyond, Found, UnreadableReach, find, find_at_once, possible_paths
from exchanger.policy.path import MalformedPath, is_plain_with_query
from exchanger.policy.policy_trie import Paths, PolicyTrie, Sifting
from exchanger.policy.routing.lookup import denied_by
from exchanger.policy.routing.table import VirtualHosts
from exchanger.policy.shares import Lookups, NamespaceLimits, lacking, may_exceed, shared, weight
from exchanger.policy.trie import Steps
from exchanger.values.entry import UNKNOWN_NAMESPACE, AllowEntry, DenyEntry, ExchangeEntry, Source
from exchanger.values.notice import NO_NOTICES, Notices
from exchanger.values.request import NO_FIELDS, HeaderFields
from exchanger.values.verdict import AMBIGUOUS_AUTHORITY, AMBIGUOUS_PATH, NO_MATCH, Ambiguous, NoMatch, Unhealthy, Verdict


@final
@attrs.frozen
class Part:
    """What one namespace has: its documents, and how many entries, areas and claims are in them.

    ``exceeds``: its share has changed some of them. ``lookups`` bounds those that the claims make of one path: each change adds those of
    its document, and takes nothing away. So the documents are divided again only once that exceeds the share, not with each change.
    """

    sources: "HashTrieMap[Source, None]" = attrs.field(factory=HashTrieMap)
    entries: int = 0
    areas: int = 0
    claims: int = 0
    exceeds: bool = False
    lookups: Lookups = attrs.field(factory=Lookups, eq=False)

    def changed(self, documents: Iterable[PolicyDocument], sign: int) -> "Part":
        """Return the part with ``documents`` (``sign`` 1), or without them (-1)."""
        sources, entries, areas, count, lookups = self.sources, self.entries, self.areas, self.claims, self.lookups
        for document in documents:
            claims, has = document.claims, weight(document)
            sources = sources.insert(document.source, None) if sign > 0 else sources.discard(document.source)
            entries += sign * has.entries
            areas += sign * has.areas
            count += sign * len(claims)
            if sign > 0 and not self.exceeds:
                lookups = lookups.added(claims)
        return Part(sources, entries, areas, count, self.exceeds, lookups)


@final
@attrs.frozen
class PolicySnapshot:
    """All documents, and ``trie``, which combines their claims.

    ``invalid_documents`` counts the documents with at least one region, ``refused_count`` the entries outside the grants. ``reach`` is that
    of regions whose host is unknown. ``baseline`` has the operator's denials, which come before all documents. ``cut`` restricts entries at
    each look-up until the documents are restricted themselves. ``held`` are earlier versions, the newest first, that this one may not
    loosen yet: the strictest verdict of all counts. ``limits`` are what the operator lets each namespace have.

    Methods that change documents take the ``grants`` that restrict them, which bound what an excess closes.
    """

    EMPTY: ClassVar["PolicySnapshot"]

    documents: "HashTrieMap[Source, PolicyDocument]" = attrs.field(factory=HashTrieMap, repr=False)
    entry_count: int = 0
    region_count: int = 0
    invalid_documents: int = 0
    refused_count: int = 0
    trie: PolicyTrie = attrs.field(factory=PolicyTrie, repr=False)
    reach: UnreadableReach = attrs.field(default=UnreadableReach.UNMATCHED, repr=False)
    baseline: VirtualHosts | None = attrs.field(default=None, repr=False)
    cut: Cut | None = attrs.field(default=None, eq=False, repr=False)
    held: "tuple[PolicySnapshot, ...]" = attrs.field(default=(), repr=False)
    limits: NamespaceLimits = attrs.field(default=NamespaceLimits(), repr=False)
    # None is in it without a document.
    namespaces: "HashTrieMap[str, Part]" = attrs.field(factory=HashTrieMap, repr=False)
    # Whether an entry names headers.
    needs_headers: bool = attrs.field(init=False, eq=False, repr=False)

    @needs_headers.default
    def _needs_headers(self) -> bool:
        return self.trie.hosts.with_headers > 0 or any(version.needs_headers for version in self.held)

    def apply(self, document: PolicyDocument, grants: Grants = NO_GRANTS) -> "PolicySnapshot":
        """Return a snapshot in which ``document`` replaces an older one of its source; costs the size of these two documents.

        If only its text differs, or grants leave the same of it, nothing else changes.
        """
        return self.changed({document.source: document}, grants)

    def _altered(self, known: PolicyDocument, document: PolicyDocument) -> "PolicySnapshot":
        """Return the snapshot with ``document`` in the place of ``known``, which has the same text: most claims are the same, too."""
        before, after = (dict.fromkeys(one.claims) for one in (known, document))
        trie = self.trie
        for claim in before:
            if claim not in after:
                trie = trie.without_claim(claim)
        for claim in after:
            if claim not in before:
                trie = trie.with_claim(claim)
        base = self._changed(self.documents, trie, (known,), -1)
        return base._changed(self.documents.insert(document.source, document), trie, (document,), 1)  # noqa: SLF001 - of the same class

    def withdraw(self, source: Source, grants: Grants = NO_GRANTS) -> "PolicySnapshot":
        """Return a snapshot without the document of ``source``; itself if there is none."""
        return self.changed({source: None}, grants)

    def changed(self, documents: "Mapping[Source, PolicyDocument | None]", grants: Grants = NO_GRANTS) -> "PolicySnapshot":
        """Return a snapshot in which ``documents`` replace those of their sources; ``None`` removes one.

        In addition to these documents, it costs some microseconds for each claim of their namespaces, but for a namespace within its share
        only once in as many changes as its share has room for.
        """
        snapshot = self
        for source, document in documents.items():
            snapshot = snapshot._removed(source) if document is None else snapshot._with(document.alone or document)
        differs = snapshot is not self
        for namespace in {source.namespace: None for source in documents}:
            part = snapshot.namespaces.get(namespace)
            if differs or (part is not None and part.exceeds):  # what closes the excess may be another area
                snapshot = snapshot._shared(namespace, grants)  # noqa: SLF001 - of the same class
        return snapshot

    def leave(self, *sources: Source) -> "PolicySnapshot":
        """Return a snapshot in which the documents of ``sources`` have no effect. Costs the same for any document.

        Their claims stay in the trie until they are ``swept``; look-ups ignore them.
        """
        documents, leaving, standing = self.documents, self.trie.leaving, self.trie.standing
        gone = [document for document in map(documents.get, sources) if document is not None]
        for document in gone:
            documents, leaving = documents.discard(document.source), leaving.insert(document.source, document.claims)
            if document.closing is not None:
                standing = standing.insert(document.source, None)
        return self._changed(documents, attrs.evolve(self.trie, leaving=leaving, standing=standing), gone, -1) if gone else self

    def swept(self, source: Source, most: int | None = None, grants: Grants = NO_GRANTS) -> "PolicySnapshot":
        """Return a snapshot without the claims of a document that is leaving, or ``most`` of them; itself if it is not leaving.

        Its part of the share becomes free.
        """
        snapshot = self._swept(source, most)
        return self if snapshot is self else snapshot._shared(source.namespace, grants)  # noqa: SLF001 - of the same class

    def closed(self, document: PolicyDocument) -> "PolicySnapshot":
        """Return a snapshot with ``document``, which has no entry; the share of its namespace counts with the next change there."""
        return self._with(document)

    def shares_with(self, document: PolicyDocument, grants: Grants = NO_GRANTS) -> "HashTrieMap[Source, PolicyDocument]":
        """Return the documents of the namespace that its share would change if ``document`` were there, as it would leave them."""
        part = self.namespaces.get(document.source.namespace, Part())
        others = [self.documents[source] for source in part.sources if source != document.source]
        return shared([document, *(other.alone or other for other in others)], self.limits, partial(closed_whole, grants)).changed

    def _shared(self, namespace: str, grants: Grants) -> "PolicySnapshot":
        """Return the snapshot with the documents of ``namespace`` as its share leaves them."""
        part = self.namespaces.get(namespace)
        if part is None or namespace == UNKNOWN_NAMESPACE:
            return self
        if not part.exceeds and not may_exceed(part.entries, part.areas, part.lookups, self.limits):
            return self
        documents = [self.documents[source] for source in part.sources]
        division = shared([document.alone or document for document in documents], self.limits, partial(closed_whole, grants))
        shares, snapshot = division.changed, self
        for document in documents:
            left = shares.get(document.source, document.alone or document)
            if left is not document and (left, left.closing) != (document, document.closing):
                snapshot = snapshot._removed(document.source)._with(left)  # noqa: SLF001 - of the same class
        part = attrs.evolve(snapshot.namespaces[namespace], exceeds=bool(shares), lookups=Lookups(division.most))
        return attrs.evolve(snapshot, namespaces=snapshot.namespaces.insert(namespace, part))

    def lacking(self, namespace: str) -> tuple[PolicyDocument, ...]:
        """Return the documents of ``namespace`` that must be read again, since there is room for them now."""
        part = self.namespaces.get(namespace)
        if part is None or not part.exceeds:
            return ()
        return lacking((self.documents[source] for source in part.sources), self.limits)

    def _with(self, document: PolicyDocument) -> "PolicySnapshot":
        known = self.documents.get(document.source)
        before = None if known is None else known.alone or known
        if before == document and document.closing is None:
            if before.is_like(document):
                return self
            if known is before:
                return attrs.evolve(self, documents=self.documents.insert(document.source, document))
        base = self._swept(document.source)
        if known is not None and known.text is not None and known.text == document.text:
            return base._altered(known, document)  # noqa: SLF001 - of the same class
        base = base._removed(document.source)  # noqa: SLF001 - of the same class
        trie = base.trie
        for claim in document.claims:
            trie = trie.with_claim(claim)
        return base._changed(base.documents.insert(document.source, document), trie, (document,), 1)  # noqa: SLF001 - of the same class

    def _removed(self, source: Source) -> "PolicySnapshot":
        return self.leave(source)._swept(source)  # noqa: SLF001 - of the same class

    def _swept(self, source: Source, most: int | None = None) -> "PolicySnapshot":
        claims = self.trie.leaving.get(source)
        if claims is None:
            return self
        now, later = (claims, ()) if most is None else (claims[:most], claims[most:])
        leaving = self.trie.leaving.insert(source, later) if later else self.trie.leaving.discard(source)
        standing = self.trie.standing if later else self.trie.standing.discard(source)
        trie = attrs.evolve(self.trie, leaving=leaving, standing=standing)
        for claim in now:
            trie = trie.without_claim(claim)
        return attrs.evolve(self, trie=trie)

    def closed_alone(self, document: PolicyDocument) -> int:
        """Return the number of scopes in granted areas that no document but ``document``, which is here, closes."""
        closed = self.trie.closed.get(document.source.namespace)
        alone = (area for area in document.areas if closed is not None and len(closed[area].regions) <= len(document.regions))
        return sum(len(area.scopes) for area in alone)

    def cut_by(self, cut: Cut | None) -> "PolicySnapshot":
        """Return the snapshot with ``cut`` taken from its entries at each look-up; ``None`` for nothing."""
        return self if cut is self.cut else attrs.evolve(self, cut=cut)

    def reaching(self, reach: UnreadableReach) -> "PolicySnapshot":
        """Return the snapshot with ``reach`` for its regions of unknown host; itself if it has that already."""
        if reach is self.reach and not self.held:
            return self
        return attrs.evolve(self, reach=reach, held=tuple(version.reaching(reach) for version in self.held))

    def with_baseline(self, baseline: VirtualHosts | None) -> "PolicySnapshot":
        """Return the snapshot with these denials before all documents; ``None`` for none."""
        return attrs.evolve(self, baseline=baseline)

    def with_limits(self, limits: NamespaceLimits) -> "PolicySnapshot":
        """Return the snapshot, which is empty, with these limits for each namespace."""
        return attrs.evolve(self, limits=limits)

    def _changed(
        self, documents: "HashTrieMap[Source, PolicyDocument]", trie: PolicyTrie, changed: Sequence[PolicyDocument], sign: int
    ) -> "PolicySnapshot":
        """Return the snapshot with new counts; ``changed`` are the documents that were added (``sign`` 1) or removed (-1)."""
        entries, regions, invalid, refused = self.entry_count, self.region_count, self.invalid_documents, self.refused_count
        parts: dict[str, list[PolicyDocument]] = {}
        for document in changed:
            entries += sign * document.entry_count
            regions += sign * len(document.regions)
            invalid += sign * bool(document.regions)
            refused += sign * len(document.refused)
            parts.setdefault(document.source.namespace, []).append(document)
        namespaces = self.namespaces
        for namespace, own in parts.items():
            part = namespaces.get(namespace, Part()).changed(own, sign)
            namespaces = namespaces.insert(namespace, part) if part.sources else namespaces.discard(namespace)
        return PolicySnapshot(
            documents,
            entries,
            regions,
            invalid,
            refused,
            trie,
            self.reach,
            self.baseline,
            self.cut,
            (),
            self.limits,
            namespaces,
        )

    def match(
        self,
        host: str,
        path: str,
        method: str,
        *,
        raw: bool = False,
        headers: HeaderFields = NO_FIELDS,
        refuses_unmatched: bool = False,
    ) -> Verdict:
        """Return the verdict on a request.

        Args:
            host: the authority as received, with or without port
            path: the path as received, with its query
            method: in upper case
            raw: the path is the raw bytes; otherwise a ``!`` in it may replace a byte that the gateway could not put into text
            headers: all header fields of the request
            refuses_unmatched: requests that no entry covers are refused, which is then stricter than an exchange if versions differ
        """
        authority = read_authority(host)
        if method == "CONNECT":  # it has no path, whatever a gateway states in its place (RFC 9110 section 9.3.6)
            path = ""
        if not self.held and self.baseline is None and self.cut is None:
            return self._decided(authority, path, method, raw, headers, None)
        request = _Request(authority, path, method, raw, headers)
        verdict = self._verdict(request)
        for version in self.held:
            if not version.is_alike_on(authority, self):
                earlier = version._verdict(request)  # noqa: SLF001 - of the same class
                verdict = stricter(verdict, earlier, refuses_unmatched=refuses_unmatched)
        return verdict

    def is_alike_on(self, host: str | None, other: "PolicySnapshot") -> bool:
        """Return whether ``other`` certainly has the same verdicts on ``host``, by identity: versions share equal parts."""
        one, two = self.trie, other.trie
        if self.baseline is not other.baseline or one.any_host is not two.any_host or self.cut is not other.cut:
            return False
        if one.leaving is not two.leaving and (one.leaving or two.leaving):
            return False
        own, others = one.hosts.places(host), two.hosts.places(host)
        return len(own) == len(others) and all(map(operator.is_, own, others))

    def _verdict(self, request: "_Request") -> Verdict:
        """Return the verdict of this version alone."""
        for denials in (self.baseline, None if self.cut is None else self.cut.denials):
            if denials is not None and (denied := _denied(denials, request)) is not None:
                return denied
        return self._decided(request.host, request.path, request.method, request.raw, request.given, request)

    def _decided(self, host: str | None, path: str, method: str, raw: bool, given: HeaderFields, request: "_Request | None") -> Verdict:  # noqa: FBT001 - its callers are here
        """Return the verdict of the documents. ``request`` is ``None`` if no other version is asked."""
        trie = self.trie
        found = None if method == "HEAD" and self.cut is not None else find_at_once(trie, host, path, method)
        if found is not None:
            found = found if self.cut is None else self._after_cut(found, path)
            if isinstance(found, Unhealthy) or is_plain_with_query(path, raw=raw):
                return found
        places, headers, sifting = trie.hosts.places(host), _NO_HEADERS, None
        if found is None and not places and (trie.any_host is None or not trie.any_host.places(host)):
            return NO_MATCH if host is not None else AMBIGUOUS_AUTHORITY
        if trie.hosts.with_headers:
            headers = RequestHeaders(given) if request is None else request.headers
        beyond = None if trie.any_host is None else Beyond(trie, host, self.reach)
        if trie.leaving:
            sifting = Sifting() if request is None else request.sifting
        if found is None:
            found = self._find(places, beyond, Interpretation(path), method, headers, sifting)
            if isinstance(found, Unhealthy):
                return found
            if host is None:
                return AMBIGUOUS_AUTHORITY
            if is_plain_with_query(path, raw=raw):
                return found
        interpretations = path_interpretations(host, path, method, raw=raw) if request is None else request.interpretations
        if isinstance(interpretations, MalformedPath):
            return AMBIGUOUS_PATH
        return _agreed(found, self._others(interpretations, places, beyond, method, headers, sifting))

    def _others(
        self,
        interpretations: tuple[Interpretation, ...],
        places: tuple[Paths, ...],
        beyond: Beyond | None,
        method: str,
        headers: RequestHeaders,
        sifting: Sifting | None,
    ) -> Iterator[tuple[Interpretation, Found]]:
        """Yield every interpretation but the first, or the paths that its ``!`` may stand for, with what is found for each."""
        seen, room = set[tuple[str, bool]](), Steps(MAX_POSSIBLE)
        for one in interpretations[1:]:
            if one.markers is None:
                yield one, self._find(places, beyond, one, method, headers, sifting)
                continue
            seen = seen or {(other.path, other.rewritten) for other in interpretations if other.markers is None}
            closing: dict[int, Paths] = {}
            # First on the host itself: which regions of unknown host count depends on that.
            for where in (places, closing.values()):
                possible = possible_paths(tuple(where), one, room)
                if possible is None:
                    yield one, AMBIGUOUS_PATH
                    return
                for path in possible:
                    key = path.path, path.rewritten
                    if key in seen and beyond is None:
                        continue
                    seen.add(key)
                    found = self._find(places, beyond, path, method, headers, sifting)
                    yield path, found
                    if beyond is not None:
                        as_get = self._find(places, beyond, path, "GET", headers, sifting) if method == "HEAD" else found
                        closing.update((id(paths), paths) for paths in (*beyond.of(found), *beyond.of(as_get)))
                if not closing:
                    break

    def _find(
        self,
        places: tuple[Paths, ...],
        beyond: Beyond | None,
        interpretation: Interpretation,
        method: str,
        headers: RequestHeaders,
        sifting: Sifting | None,
    ) -> Found:
        after_cut = None if self.cut is None else self._after_cut
        return find(self.trie, places, beyond, interpretation, method, headers, after_cut=after_cut, sifting=sifting)

    def _after_cut(self, found: Found, path: str) -> Found:
        """Return the verdict for ``path``, closed if it is an entry that may no longer decide."""
        if self.cut is None or isinstance(found, NoMatch | Unhealthy | Ambiguous) or self.cut.spares(found, path):
            return found
        return Unhealthy(_LESS, found.source, found.index)


def _agreed(found: Found, others: Iterable[tuple[Interpretation, Found]]) -> Verdict:
    """Return ``found`` if every other interpretation leads to the same; two denials are the same, whatever their documents."""
    agreed = True
    for interpretation, other in others:
        if isinstance(other, Unhealthy) and (other is not CONFLICT or not interpretation.supposed):  # markers only hint at one
            return other
        agreed = agreed and (other is found or any(isinstance(other, kind) and isinstance(found, kind) for kind in _ALIKE))
    return found if agreed else AMBIGUOUS_PATH


@final
@attrs.define(eq=False)
class _Request:
    """A request whose look-ups have parts in common. Each is computed once, for all interpretations and all versions."""

    host: str | None
    path: str
    method: str
    raw: bool
    given: HeaderFields
    _headers: RequestHeaders | None = None
    _interpretations: tuple[Interpretation, ...] | MalformedPath | None = None
    _sifting: Sifting | None = None

    @property
    def headers(self) -> RequestHeaders:
        """The header fields, as entries name them."""
        if self._headers is None:
            self._headers = RequestHeaders(self.given)
        return self._headers

    @property
    def sifting(self) -> Sifting:
        """Tells claims that are leaving from the others, within one budget."""
        if self._sifting is None:
            self._sifting = Sifting()
        return self._sifting

    @property
    def interpretations(self) -> tuple[Interpretation, ...] | MalformedPath:
        """Every interpretation of the path, the path as received first, or why it cannot be read."""
        if self._interpretations is None:
            self._interpretations = path_interpretations(self.host, self.path, self.method, raw=self.raw)
        return self._interpretations


def _denied(denials: VirtualHosts, request: _Request) -> Verdict | None:
    """Return the denial if an interpretation is denied before any policy counts; ``None`` if no interpretation is."""
    near = denials.near(request.host)
    if not near:
        return None
    plain = is_plain_with_query(request.path, raw=request.raw)
    return denied_by(near, (Interpretation(request.path),) if plain else request.interpretations, request.path, request.method)


def stricter(verdict: Verdict, earlier: Verdict, *, refuses_unmatched: bool = False) -> Verdict:
    """Return the stricter verdict, the first of two that refuse alike; of two exchanges, that of the ``earlier`` version.

    A changed target withdraws one exchange and adds another: the withdrawal waits.
    """
    own, others = _strictness(verdict, refuses_unmatched), _strictness(earlier, refuses_unmatched)
    return earlier if others > own or (others == own and isinstance(earlier, ExchangeEntry)) else verdict


def _strictness(verdict: Verdict, refuses_unmatched: bool) -> int:  # noqa: FBT001 - its only caller's
    match verdict:
        case DenyEntry():  # before other refusals: what is denied throughout has the same answer, although mixed versions have conflicts
            return 5
        case Unhealthy():
            return 4
        case Ambiguous():
            return 3
        case NoMatch():
            return 2 if refuses_unmatched else 0
        case ExchangeEntry():
            return 1
        case AllowEntry():
            return 0
        case _:
            assert_never(verdict)


_LESS: Final = "its namespace is granted less than before, and its documents are being checked against the new grants"
_NO_HEADERS: Final = RequestHeaders(NO_FIELDS)
# Entries of these kinds do the same, whatever their documents.
_ALIKE: Final = (DenyEntry, AllowEntry)
PolicySnapshot.EMPTY = PolicySnapshot()


@final
@attrs.define(eq=False)
class CurrentPolicy:
    """The policy in force: the one place where a version replaces the previous one. A request reads ``snapshot`` once and keeps it.

    ``snapshot`` is ``None`` while all requests are refused: until there is a complete version, and with ``required`` while ``newest`` has
    no entry. ``notices`` are probable mistakes. ``reach`` is the operator's setting, applied to every version.
    """

    snapshot: PolicySnapshot | None = None
    _on_change: tuple[Callable[[PolicySnapshot], None], ...] = ()
    required: bool = attrs.field(default=False, kw_only=True)
    reach: UnreadableReach = attrs.field(default=UnreadableReach.UNMATCHED, kw_only=True)
    newest: PolicySnapshot | None = attrs.field(default=None, init=False)
    notices: Notices = attrs.field(default=NO_NOTICES, init=False)

    @property
    def is_missing(self) -> bool:
        """Return whether there is a version that does not count because a policy is required."""
        return self.newest is not None and self.snapshot is None

    def publish(self, snapshot: PolicySnapshot, /) -> None:
        """Put ``snapshot`` in force for every request that begins from now on."""
        self.newest = snapshot = snapshot.reaching(self.reach)
        self.snapshot = None if self.required and not snapshot.entry_count else snapshot
        for callback in self._on_change:
            callback(snapshot)

    def withdraw(self) -> None:
        """Refuse all requests until the next version: the last one may no longer be used."""
        self.newest = self.snapshot = None

    def on_change(self, callback: Callable[[PolicySnapshot], None]) -> None:
        """Call ``callback`` with each snapshot published from now on; it must neither block nor raise."""
        self._on_change = (*self._on_change, callback)
