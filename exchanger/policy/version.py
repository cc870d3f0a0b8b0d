"""One version of the policy: namespaces, and the routes of each host that follow from them. A change makes a new version.

Must not know: where documents come from, or who publishes and reads.
"""

from collections.abc import Mapping
from typing import Final, final

import attrs
from rpds import HashTrieMap

from exchanger.policy.authority import MAX_WILDCARD, read_authority, wildcards_above
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import UNLIMITED, Allowance
from exchanger.policy.headers import RequestHeaders
from exchanger.policy.interpretation import path_interpretations
from exchanger.policy.namespace import Changes, Differences, NamespacePolicy
from exchanger.policy.path import is_plain_with_query
from exchanger.policy.revocation import Revocation
from exchanger.policy.routing.lookup import Found, Near, Trace, decide, decide_at_once, denied_by, stricter_for_head
from exchanger.policy.routing.scope import Route
from exchanger.policy.routing.table import VirtualHosts
from exchanger.policy.shares import NamespaceLimits
from exchanger.policy.snapshot import stricter
from exchanger.values.entry import UNKNOWN_NAMESPACE, Source
from exchanger.values.request import NO_FIELDS, HeaderFields
from exchanger.values.verdict import NO_MATCH, Verdict


@final
@attrs.frozen(eq=False)
class PolicyVersion:
    """All namespaces with documents, and ``hosts``, which have their routes. ``baseline`` denies first.

    ``allowances`` say what namespaces may do, also those without documents; all others may do what is ``unknown``: everything, or nothing
    if there is a grants file. ``enforced``: if false, grants restrict nothing but what lets requests pass. ``revocation`` has the rights
    that namespaces have lost since. ``is_global``: mistakes whose author may have meant any host yield to nobody. ``settled`` is the last
    version that was one moment of the source, if this one is not: the stricter verdict of both counts.
    """

    namespaces: "HashTrieMap[str, NamespacePolicy]" = attrs.field(factory=HashTrieMap, repr=False)
    allowances: "HashTrieMap[str, tuple[Allowance, ...]]" = attrs.field(factory=HashTrieMap, repr=False)
    unknown: tuple[Allowance, ...] = attrs.field(default=(UNLIMITED,), repr=False)
    enforced: bool = True
    limits: NamespaceLimits = attrs.field(factory=NamespaceLimits)
    hosts: VirtualHosts = attrs.field(factory=VirtualHosts, repr=False)
    baseline: VirtualHosts | None = attrs.field(default=None, repr=False)
    revocation: Revocation | None = attrs.field(default=None, repr=False)
    is_global: bool = False
    settled: "PolicyVersion | None" = attrs.field(default=None, repr=False)

    def changed(self, documents: Changes, allowances: Mapping[str, tuple[Allowance, ...] | None] = {}) -> "PolicyVersion":
        """Return a version with other documents, and with other allowances of some namespaces, ``None`` for what is unknown.

        Costs the size of these documents, and for each host with a new prefix the number of its prefixes.
        """
        namespaces, known, by_namespace = self.namespaces, self.allowances, dict[str, dict[Source, PolicyDocument | None]]()
        for name, given in allowances.items():
            known = known.discard(name) if given is None else known.insert(name, given)
        for source, document in documents.items():
            by_namespace.setdefault(source.namespace, {})[source] = document
        together = Differences()
        for name in {**by_namespace, **allowances}:
            may = known.get(name, (UNLIMITED,) if name == UNKNOWN_NAMESPACE else self.unknown)
            before = namespaces.get(name, NamespacePolicy(may, self.limits, self.enforced))
            after, differences = before.changed(by_namespace.get(name, {}))
            if may != before.allowances:
                after, _ = after.granted(may, enforced=self.enforced)
                every = {**dict(before.routes.items()), **dict(after.routes.items())}
                differences = {host: (list(before.on(host)), list(after.on(host))) for host in every}
            namespaces = namespaces.insert(name, after) if after.documents else namespaces.discard(name)
            for host, (removed, added) in differences.items():
                all_removed, all_added = together.setdefault(host, ([], []))
                all_removed += removed
                all_added += added
        hosts = self.hosts
        for host, (removed, added) in together.items():
            kept = set(removed).intersection(added) if removed and added else set[Route]()
            hosts = hosts.replaced(host, [one for one in removed if one not in kept], [one for one in added if one not in kept])
        return attrs.evolve(self, namespaces=namespaces, allowances=known, hosts=hosts)

    def match(
        self,
        host: str,
        path: str,
        method: str,
        *,
        raw: bool = False,
        headers: HeaderFields = NO_FIELDS,
        refuses_unmatched: bool = False,
        trace: Trace | None = None,
    ) -> Verdict:
        """Return the verdict on a request.

        Args:
            host: the authority as received, with or without port
            path: the path as received, with its query
            method: in upper case
            raw: the path is the raw bytes; otherwise a ``!`` in it may replace a byte that the gateway could not put into text
            headers: all header fields of the request
            refuses_unmatched: requests that no entry covers are denied, which is then stricter than an exchange if versions differ
            trace: receives the look-up in this version
        """
        authority = read_authority(host)
        found = self._at_once(authority, path, method, raw=raw) if trace is None else None
        verdict = self._verdict(authority, path, method, raw=raw, headers=RequestHeaders(headers), trace=trace) if found is None else found
        settled = self.settled
        if settled is None or settled.is_alike_on(authority, self):
            return verdict
        earlier = settled.match(host, path, method, raw=raw, headers=headers)
        return stricter(verdict, earlier, refuses_unmatched=refuses_unmatched)

    def is_alike_on(self, host: str | None, other: "PolicyVersion") -> bool:
        """Return whether ``other`` certainly has the same verdicts on ``host``: versions share what is equal."""
        if self.baseline is not other.baseline or self.revocation is not other.revocation:
            return False
        own, others = self.hosts.near(host), other.hosts.near(host)
        return len(own) == len(others) and all(one is two for (_, one), (_, two) in zip(own, others, strict=True))

    def _at_once(self, host: str | None, path: str, method: str, *, raw: bool) -> Found | None:
        """Return the verdict in the usual case, where host, path and method decide; ``None`` in any other case."""
        hosts = self.hosts
        if host is None or hosts.yielding or hosts.every is not None or self.baseline is not None or self.revocation is not None:
            return None
        if not is_plain_with_query(path, raw=raw):
            return None
        if method == "HEAD":
            return _head_at_once(hosts.near(host), path)
        there = hosts.by_name.get(host)
        found = NO_MATCH if there is None else decide_at_once(there, path, method)
        if found is not NO_MATCH or not hosts.wildcards:
            return found
        for name in wildcards_above(host[-MAX_WILDCARD:]):
            there = hosts.by_name.get(name)
            if there is not None and (found := decide_at_once(there, path, method)) is not NO_MATCH:
                break
        return found

    def _verdict(self, host: str | None, path: str, method: str, *, raw: bool, headers: RequestHeaders, trace: Trace | None) -> Verdict:
        """Return the verdict of this version alone."""
        for denials in (self.baseline, None if self.revocation is None else self.revocation.denials):
            near = () if denials is None else denials.near(host)
            if near and (denied := denied_by(near, path_interpretations(host, path, method, raw=raw), path, method)) is not None:
                return denied
        permits = None if self.revocation is None else self.revocation.permits
        return decide(self.hosts, host, path, method, headers, raw=raw, is_global=self.is_global, permits=permits, trace=trace)


def _head_at_once(near: Near, path: str) -> Found | None:
    """Return the verdict on HEAD in the usual case: the stricter of what decides GET, and of what covers HEAD no farther away."""
    itself: Found = NO_MATCH
    for _, there in near:
        as_get = decide_at_once(there, path, "GET")
        own = decide_at_once(there, path, "HEAD") if itself is NO_MATCH and there.with_methods else as_get
        if own is None or as_get is None:
            return None
        itself = own if itself is NO_MATCH else itself
        if as_get is not NO_MATCH:
            return stricter_for_head(itself, as_get)
    return itself


EMPTY: Final = PolicyVersion()
