"""What grants leave of a policy, in the simplest form: a look at every host and path that there is.

Nothing here is shared with the service but its values.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import NamespaceGrant
from exchanger.values.entry import AllowEntry, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, MatchScope, PathType
from tests.property.policy_model import begins, hosts_above

_EVERYTHING: Final = NamespaceGrant(None, None, ("*",))
_ACTIONS: Final = {AllowEntry: "allow", DenyEntry: "deny", ExchangeEntry: "exchange"}


def is_on(host: str, pattern: str | None) -> bool:
    return pattern in {None, "*", *hosts_above(host)}


def common(host: str | None, pattern: str) -> tuple[str | None, ...]:
    """Return the hosts that both have in common."""
    if pattern == "*":
        return (host,)
    if host is None or (host.startswith("*.") and pattern.endswith(host[1:])):
        return (pattern,)
    return (host,) if host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:])) else ()


def is_asked(entry: Entry, grants: list[NamespaceGrant]) -> bool:
    """Tell whether all that ``entry`` asks for is granted."""
    if not any(_ACTIONS[type(entry)] in grant.actions for grant in grants):
        return False
    if not isinstance(entry, ExchangeEntry):
        return True
    target = entry.target
    asked = [("issuers", target.issuer_ref)]
    asked += [("scopes", scope) for scope in target.scope.split()] + [("audiences", audience) for audience in target.audiences]
    return all(any({one, "*"} & {*getattr(grant, kind)} for grant in grants) for kind, one in asked)


@attrs.frozen
class GrantsModel:
    """Every host and path; below each wildcard there is one that nobody names."""

    hosts: tuple[str, ...]
    paths: tuple[str, ...]

    def granted(self, grant: NamespaceGrant) -> set[str]:
        """Return the paths that ``grant`` is about."""
        return {path for path in self.paths if any(path == one or path.startswith(one + "/") or not one for one in grant.path_prefixes)}

    def area(self, scope: MatchScope) -> set[tuple[str, str]]:
        """Return all hosts and paths of ``scope``."""
        return {(host, path) for host in self.hosts if is_on(host, scope.host) for path in self.paths if begins(path, scope)}

    def covers(self, grant: NamespaceGrant, scope: MatchScope) -> bool:
        paths = self.granted(grant)
        return all(any(is_on(host, pattern) for pattern in grant.hosts) and path in paths for host, path in self.area(scope))

    def closing_regions(self, claim: Entry | FailClosedRegion, grants: Iterable[NamespaceGrant]) -> tuple[FailClosedRegion, ...]:
        """Return one region for each path of ``claim`` that is granted."""
        found = dict[FailClosedRegion, None]()
        for grant in grants:
            pairs = ((host, path) for pattern in grant.hosts for host in common(claim.match.host, pattern) for path in self.granted(grant))
            for host, path in pairs:
                if begins(path, claim.match):
                    scope = MatchScope(host, path, claim.match.methods, path_type=PathType.EXACT)
                    guessed = isinstance(claim, FailClosedRegion) and claim.match.host is None and host is not None
                    found[FailClosedRegion(claim.source, scope, "", claim.index, guessed=guessed)] = None
        return tuple(found)

    def left(self, document: PolicyDocument, grants: Iterable[NamespaceGrant], *, closes_beside: bool = False) -> PolicyDocument:
        """Return what ``grants`` leave of ``document``.

        ``closes_beside``: a plain prefix that requests what is not granted closes all granted paths that it begins, not segments alone.
        """
        own = [grant for grant in grants if grant.namespaces is not None and document.source.namespace in grant.namespaces]
        entries: list[Entry] = []
        regions = [region for claim in document.regions for region in self.closing_regions(claim, own)]
        for entry in document.entries:
            scope = entry.match
            covering = [grant for grant in own if self.covers(grant, scope)]
            if not covering and scope.path_type is PathType.PREFIX:
                scope = attrs.evolve(scope, path_type=PathType.SEGMENT, narrowed=True)
                covering = [grant for grant in own if scope.path_prefix in grant.path_prefixes and self.covers(grant, scope)]
            if covering and is_asked(entry, covering):
                entries.append(attrs.evolve(entry, match=scope))
            elif covering and closes_beside and scope is not entry.match:
                regions += self.closing_regions(entry, own)
            elif covering:  # what is inside closes its own area, and no other host than its own
                regions += self.closing_regions(attrs.evolve(entry, match=scope.closed), [_EVERYTHING])
            else:
                regions += self.closing_regions(entry, own)
        return PolicyDocument(document.source, tuple(entries), tuple(regions))
