"""What grants leave of a policy, in the simplest form: a look at every host and path that there is.

Nothing here is shared with the service but its values.
"""

from collections.abc import Iterable
from typing import Final

import attrs

from exchanger.model.entry import AllowEntry, Claim, DenyEntry, Entry, ExchangeEntry, FailClosedScope, MatchScope, PathType
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.grants.allowance import NamespaceGrant
from tests.property.policy_model import Part, begins, hosts_above

_EVERYTHING: Final = NamespaceGrant(None, None, ("*",))
_ACTIONS: Final = {AllowEntry: "allow", DenyEntry: "deny", ExchangeEntry: "exchange"}


def is_on(host: str, pattern: str | None) -> bool:
    return pattern in {None, "*", *hosts_above(host)}


def common(host: str | None, granted: tuple[str, ...]) -> tuple[str | None, ...]:
    """Return the host itself if it is granted, otherwise the granted hosts below it."""
    if "*" in granted or (host is not None and any(host == one or (one.startswith("*.") and host.endswith(one[1:])) for one in granted)):
        return (host,)
    return tuple(one for one in granted if host is None or (host.startswith("*.") and one.endswith(host[1:])))


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

    def on_hosts(self, claim: Claim, grants: Iterable[NamespaceGrant]) -> dict[str | None, set[str]]:
        """Return the paths of ``claim`` that are granted on each host that it has in common with ``grants``."""
        found: dict[str | None, set[str]] = {}
        for grant in grants:
            for host in common(claim.match.host, grant.hosts):
                found.setdefault(host, set()).update(path for path in self.granted(grant) if begins(path, claim.match))
        return {host: paths for host, paths in found.items() if paths}

    def closing(self, claim: Claim, grants: Iterable[NamespaceGrant]) -> list[Part]:
        """Return what closes all of ``claim`` that is granted."""
        may_mean_any = isinstance(claim, FailClosedScope) and claim.reaches_any_host
        return [
            Part(FailClosedScope(claim.source, attrs.evolve(claim.match.closed, host=host), "", claim.index, guessed=guessed), paths)
            for host, paths in self.on_hosts(claim, grants).items()
            for guessed in [may_mean_any and host is not None]
        ]

    def left(self, document: PolicyDocument, grants: Iterable[NamespaceGrant]) -> list[Part]:
        """Return what ``grants`` leave of ``document``."""
        own = [grant for grant in grants if grant.namespaces is not None and document.source.namespace in grant.namespaces]
        return [
            *(part for entry in document.entries for part in self.left_of(entry, own)),
            *(part for closed_scope in document.closed_scopes for part in self.closing(closed_scope, own)),
        ]

    def left_of(self, entry: Entry, own: list[NamespaceGrant]) -> list[Part]:
        """Return what grants leave of an entry.

        It counts where it is granted with all that it requests, and a plain prefix on its whole segments, and what else it may use there.
        Otherwise it closes all that is granted of it; what is inside, but requests too much, closes its own area, and no other host.
        """
        covering = [grant for grant in own if self.covers(grant, entry.match)]
        if covering:
            return [Part(entry)] if is_asked(entry, covering) else self.closing(entry, [_EVERYTHING])
        segments = attrs.evolve(entry.match, path_type=PathType.SEGMENT)
        covering = [grant for grant in own if segments.path_prefix in grant.path_prefixes and self.covers(grant, segments)]
        if entry.match.path_type is not PathType.PREFIX or not covering or not is_asked(entry, covering):
            return self.closing(entry, own)
        usable = [grant for grant in own if isinstance(entry, DenyEntry) or (isinstance(entry, ExchangeEntry) and is_asked(entry, [grant]))]
        found = self.on_hosts(entry, usable)
        found.setdefault(entry.match.host, set()).update(path for path in self.paths if begins(path, segments))
        return [Part(attrs.evolve(entry, match=attrs.evolve(entry.match, host=host)), paths) for host, paths in found.items()]


# Hosts and paths are few, and each wildcard, prefix and case has one of them to itself, so that areas can be compared one by one.
HOSTS: Final = ("a.example", "x.a.example", "z.x.a.example", "b.example", "other.test")
PREFIXES: Final = ("/", "/a", "/a/", "/a/b", "/ab", "/b", "/A", "/a/B")
PATHS: Final = (
    "/",
    "/a",
    "/a/",
    "/ab",
    "/abz",
    "/ab/z",
    "/a/b",
    "/a/b/",
    "/a/bc",
    "/a/c",
    "/A",
    "/A/",
    "/A/b",
    "/a/B",
    "/A/B",
    "/Ab",
    "/aB",
    "/b",
    "/ba",
    "/B",
    "/Bz",
)
UNHEARD_OF: Final = ("/a/b/ccc", "/zzz", "/A/z", "/A/b/z", "/a/B/z", "/a/Bz", "/b/z", "/B/z", "/Az", "/AZ")  # below and beside every prefix
MODEL: Final = GrantsModel(
    (*HOSTS, "[2001:db8::1]", "unheard-of.example", "unheard-of.a.example", "unheard-of.b.a.example", "unheard.of"),
    (*PATHS, *UNHEARD_OF),
)
