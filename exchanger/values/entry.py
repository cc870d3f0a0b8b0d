"""Policy as values: who wrote it, where it applies, and what it does. There is no unvalidated entry.

Must not know: YAML, Kubernetes, or how entries are found for a request.
"""

from typing import Final, final

import attrs

# The namespace of an unreadable document whose namespace is not known; no Kubernetes namespace has this name.
UNKNOWN_NAMESPACE: Final = ""


@final
@attrs.frozen(order=True, cache_hash=True)
class Source:
    """The ConfigMap that a policy came from."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@final
@attrs.frozen
class MatchScope:
    """Where an entry or region applies. ``None`` is all hosts, or all methods; ``path_prefix`` "" is every path.

    ``case_insensitive``: ``path_prefix`` ignores the case of ASCII letters.
    """

    host: str | None = None
    path_prefix: str = ""
    methods: frozenset[str] | None = None
    case_insensitive: bool = False


EVERYWHERE = MatchScope()


@final
@attrs.frozen
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
    """Requests that ``match`` covers are refused."""

    source: Source
    index: int
    match: MatchScope


@final
@attrs.frozen(cache_hash=True)
class ExchangeEntry:
    """Requests that ``match`` covers proceed with a token exchanged for ``target``."""

    source: Source
    index: int
    match: MatchScope
    target: TokenTarget


Entry = DenyEntry | ExchangeEntry


@final
@attrs.frozen
class FailClosedRegion:
    """A scope that fails closed, because nobody can know what its author wanted there. ``reason`` is written for the author.

    ``index`` is the position in ``entries`` (``None``: the document as a whole). An invalid entry has a region for each host that it
    closes, and these differ in their hosts alone. ``line`` and ``column`` are the place to look at, counted from 1 (``None``: there is
    none); regions that differ in their column alone are equal.
    """

    source: Source
    match: MatchScope
    reason: str
    index: int | None = None
    line: int | None = None
    column: int | None = attrs.field(default=None, eq=False)


Claim = Entry | FailClosedRegion
