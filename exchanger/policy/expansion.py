"""Claims that cover several hosts granted to their namespace: each is expanded to one route for every such host.

A thousand unreadable documents in a namespace with ten thousand granted hosts would make ten million routes, half a kilobyte each. Beyond
``MAX_EXPANDED``, no claim is expanded: the granted hosts that such claims cover fail closed as a whole, with one route for each host.

Must not know: quotas, or the routes of other claims.
"""

from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import Final, TypeAlias, final

import attrs
from rpds import HashTrieMap

from exchanger.model.authority import WILDCARD
from exchanger.model.codes.manifests import MANY_AREAS
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import AllowEntry, Claim, FailClosedScope, MatchScope, Source
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import Allowance
from exchanger.policy.grants.restriction import Routes, closing_paths, grants_all
from exchanger.policy.scope import Route

MAX_EXPANDED: Final = 10_000
# The name of the source of routes that close hosts for all documents of a namespace; no ConfigMap is called so.
EVERY_DOCUMENT: Final = "*"
# Hosts of which the granted ones are kept: a document may name one wildcard in every entry.
_KEPT_HOSTS: Final = 64
_OVER_LIMIT: Final = f"wildcards and mistakes of its namespace fail closed in more than {MAX_EXPANDED} scopes on granted hosts"

# A host of expanded claims in a document, and whether all of these claims yield to other namespaces.
_Covering: TypeAlias = tuple[str | None, bool]
# The most routes of the expanded claims of a document.
_Expanded: TypeAlias = "HashTrieMap[_Covering, int]"
_NOTHING: Final[_Expanded] = HashTrieMap()


@final
@attrs.frozen(eq=False)
class Expansion:
    """The ``documents`` of a namespace with expanded claims, which make at most ``route_count`` routes under its ``allowances``.

    ``closed``: beyond the limit, how many hosts of claims cover each granted host: of claims that close it for everybody, and of others.
    """

    allowances: tuple[Allowance, ...]
    enforced: bool
    documents: "HashTrieMap[Source, _Expanded]" = attrs.field(default=_NOTHING, repr=False)
    route_count: int = 0
    closed: "HashTrieMap[str | None, tuple[int, int]]" = attrs.field(default=_NOTHING, repr=False)
    # How many documents have expanded claims on each host.
    _covering: "HashTrieMap[_Covering, int]" = attrs.field(default=_NOTHING, repr=False)

    @property
    def is_over_limit(self) -> bool:
        """Whether the hosts of expanded claims fail closed as a whole."""
        return self.route_count > MAX_EXPANDED

    def size(self, claim: Claim) -> int:
        """Return the most routes that ``claim`` is expanded to, 0 if it makes one at most."""
        host = claim.match.host
        if (host is not None and not host.startswith(WILDCARD)) or not (self.enforced or isinstance(claim, AllowEntry)):
            return 0
        count = len(_granted_hosts(host, self.allowances))
        is_granted = not isinstance(claim, FailClosedScope) and all(grants_all(one, claim.match) for one in self.allowances)
        return 0 if count <= 1 or is_granted else count

    def changed(self, documents: Mapping[Source, PolicyDocument | None]) -> "tuple[Expansion, dict[str | None, Routes]]":
        """Return the expansion with other documents, and the other routes of hosts that fail closed as a whole, or no longer do.

        Costs these documents, and the hosts that they cover if no other document names what covers them.
        """
        changed = self._counted(documents)
        if not (self.is_over_limit or changed.is_over_limit):  # nearly always
            return changed, {}
        before, after = (one._covering if one.is_over_limit else _NOTHING for one in (self, changed))  # noqa: SLF001 - of the same class
        own = chain.from_iterable(one.documents.get(source, _NOTHING) for source in documents for one in (self, changed))
        closed, hosts = self.closed, dict[str | None, None]()
        for host, yields in dict.fromkeys(own if before and after else chain(before, after)):
            sign = ((host, yields) in after) - ((host, yields) in before)
            for granted in _granted_hosts(host, self.allowances) if sign else ():
                for_all, yielding = closed.get(granted, (0, 0))
                closed = closed.insert(granted, (for_all, yielding + sign) if yields else (for_all + sign, yielding))
                hosts[granted] = None
        routes: dict[str | None, Routes] = {}
        for host in hosts:
            for_all, yielding = closed[host]
            if not (for_all or yielding):
                closed = closed.discard(host)
                routes[host] = ()
            elif host not in self.closed or bool(for_all) is not bool(self.closed[host][0]):
                routes[host] = self._closing(attrs.evolve(next(iter(documents)), name=EVERY_DOCUMENT), host, yields=not for_all)
        return attrs.evolve(changed, closed=closed), routes

    def problems(self, source: Source) -> tuple[FailClosedScope, ...]:
        """Return why hosts fail closed as a whole, for the author of a document with expanded claims."""
        hosts = [host for host, _ in self.documents.get(source, ())] if self.is_over_limit else []
        return (_closed_host(source, min(hosts, key=str)),) if hosts else ()

    def _counted(self, documents: Mapping[Source, PolicyDocument | None]) -> "Expansion":
        known, route_count, covering = self.documents, self.route_count, self._covering
        for source, document in documents.items():
            before, after = known.get(source, _NOTHING), _NOTHING if document is None else self._expanded(document)
            if not (before or after):  # nearly always
                continue
            known = known.insert(source, after) if after else known.discard(source)
            for expanded, sign in ((before, -1), (after, 1)):
                for one, count in expanded.items():
                    route_count += sign * count
                    number = covering.get(one, 0) + sign
                    covering = covering.insert(one, number) if number else covering.discard(one)
        if known is self.documents:
            return self
        return Expansion(self.allowances, self.enforced, known, route_count, self.closed, covering)

    def _expanded(self, document: PolicyDocument) -> _Expanded:
        hosts: dict[str | None, tuple[int, bool]] = {}
        for claim in (*document.entries, *document.closed_scopes):
            if size := self.size(claim):
                known, yields = hosts.get(claim.match.host, (0, True))
                hosts[claim.match.host] = known + size, yields and Route(claim).yields_to_others
        return HashTrieMap({(host, yields): count for host, (count, yields) in hosts.items()}) if hosts else _NOTHING

    def _closing(self, source: Source, host: str | None, *, yields: bool) -> Routes:
        paths = closing_paths(host, self.allowances)
        closed_scope = _closed_host(source, host, guessed=yields and host is not None)
        return (Route(closed_scope, paths),) if paths is None or paths.prefixes else ()


def _closed_host(source: Source, host: str | None, *, guessed: bool = False) -> FailClosedScope:
    problems = (Problem(MANY_AREAS, _OVER_LIMIT),)
    return FailClosedScope(source, MatchScope(host), _OVER_LIMIT, guessed=guessed, problems=problems)


@lru_cache(maxsize=_KEPT_HOSTS)
def _granted_hosts(host: str | None, allowances: tuple[Allowance, ...]) -> tuple[str | None, ...]:
    """Return the hosts that ``host`` and all ``allowances`` have in common."""
    hosts: dict[str | None, None] = {host: None}
    for allowance in allowances:
        hosts = {other: None for one in hosts for other, grants in allowance.near(one).by_host(one) if grants.granted}
    return tuple(hosts)
