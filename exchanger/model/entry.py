"""Policy as values: its source, where it applies, and what it does. There is no unvalidated entry.

Must not know: YAML, Kubernetes, or how entries are found for a request.
"""

import enum
from typing import Final, final

import attrs

from exchanger.model.codes.problem import Problem, coded

# The namespace of an unreadable document whose namespace is not known; no Kubernetes namespace has this name.
UNKNOWN_NAMESPACE: Final = ""


@final
@attrs.frozen(cache_hash=True)
class Source:
    """The object that a policy came from, in the order of namespace, kind and name. There is one kind, so nobody needs to name it."""

    namespace: str
    name: str
    kind: str = attrs.field(default="ConfigMap", kw_only=True, repr=False)

    def __lt__(self, other: "Source") -> bool:  # attrs' own takes twenty times as long, and thousands are sorted
        return (self.namespace, self.kind, self.name) < (other.namespace, other.kind, other.name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


# The source of the platform's baseline denials; no ConfigMap is called so.
BASELINE: Final = Source("", "baseline")


@enum.unique
class PathType(enum.Enum):
    """How a prefix covers a path; all but ``PREFIX`` look at the path without its query.

    ``PREFIX``: the path begins with it. ``SEGMENT``: the path equals it, or continues with a slash. ``EXACT``: the path is it.
    """

    PREFIX = "Prefix"
    SEGMENT = "Segment"
    EXACT = "Exact"


# A header's name in lower case, and the only value that matches.
HeaderMatch = tuple[str, str]


@final
@attrs.frozen
class MatchScope:
    """Where an entry or fail-closed scope applies. ``None`` is all hosts, or all methods; ``path_prefix`` "" is every path.

    ``host``: a canonical host, or a wildcard (``*.`` and a host): all hosts below it, with one or more additional labels.
    ``case_insensitive``: ``path_prefix`` ignores the case of ASCII letters. ``headers``: sorted by name; the request must have all of them.
    Fail-closed scopes have none.
    """

    host: str | None = None
    path_prefix: str = ""
    methods: frozenset[str] | None = None
    case_insensitive: bool = False
    path_type: PathType = PathType.PREFIX
    headers: tuple[HeaderMatch, ...] = ()

    @property
    def closed(self) -> "MatchScope":
        """The scope of a fail-closed scope that closes it whatever headers a request has."""
        return attrs.evolve(self, headers=()) if self.headers else self


EVERYWHERE = MatchScope()


@final
@attrs.frozen(cache_hash=True)
class TokenTarget:
    """What the exchanged token is requested for (RFC 8693 section 2.1); at least one of the last three is not empty."""

    issuer_ref: str
    scope: str = ""
    resources: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if not self.issuer_ref:
            raise ValueError("issuer_ref is required")
        if not (self.scope or self.resources or self.audiences):
            raise ValueError("at least one of scope, resources and audiences is required")


@final
@attrs.frozen(cache_hash=True)
class DenyEntry:
    """Requests that ``match`` covers are refused. ``line`` is that of the entry in its document, counted from 1."""

    source: Source
    index: int
    match: MatchScope
    line: int | None = attrs.field(default=None, eq=False, repr=False)


@final
@attrs.frozen(cache_hash=True)
class ExchangeEntry:
    """Requests that ``match`` covers proceed with a token exchanged for ``target``. ``line`` as for ``DenyEntry``.

    ``resource_metadata``: the URL where clients without a valid token learn how to get one (RFC 9728), "" without one.
    """

    source: Source
    index: int
    match: MatchScope
    target: TokenTarget
    resource_metadata: str = ""
    line: int | None = attrs.field(default=None, eq=False, repr=False)


@final
@attrs.frozen(cache_hash=True)
class AllowEntry:
    """Requests that ``match`` covers proceed unchanged. ``line`` as for ``DenyEntry``."""

    source: Source
    index: int
    match: MatchScope
    line: int | None = attrs.field(default=None, eq=False, repr=False)


Entry = DenyEntry | ExchangeEntry | AllowEntry


@final
@attrs.frozen
class FailClosedScope:
    """A scope that fails closed, because its author's intention there is unknown. ``reason`` is written for the author.

    ``index`` is the position in ``entries`` (``None``: the document as a whole). An invalid entry has a fail-closed scope for each part
    that it closes, and these differ only in their scopes. ``line`` and ``column`` are the place to look at, counted from 1 (``None``:
    unknown); fail-closed scopes that differ only in their column are equal. ``guessed``: the host is not the author's text, which may have
    meant any host, but one that the namespace was granted; such a fail-closed scope reaches as far as one without a host. ``problems`` are
    the single problems of ``reason``, each with its place.
    """

    source: Source
    match: MatchScope
    reason: str
    index: int | None = None
    line: int | None = None
    column: int | None = attrs.field(default=None, eq=False)
    guessed: bool = False
    problems: tuple[Problem, ...] = attrs.field(default=(), eq=False, repr=False, kw_only=True)

    @property
    def code(self) -> str:
        """The code of the first problem, "" if it has none."""
        return self.problems[0].code.name if self.problems else ""

    @property
    def coded(self) -> str:
        """The reason with the code of each problem before it."""
        return coded(self.problems, self.reason)

    @property
    def reaches_any_host(self) -> bool:
        """Whether the author may have meant any host, so that entries of other namespaces are spared."""
        return self.guessed or self.match.host is None


Claim = Entry | FailClosedScope
