"""One entry of a document, from nodes to a value: an entry if all is well, otherwise regions over what can be read of its match.

A part of the match that is missing or cannot be read is everything.

Must not know: YAML text, or other entries.
"""

import re
from typing import Final, final

import attrs

from exchanger.policy.authority import MAX_TEXT, HostReading, normalise_policy_host, read_host
from exchanger.policy.fields import (
    ACTION,
    DENY,
    EVERY_METHOD,
    EXCHANGE,
    HOST,
    METHOD,
    METHODS,
    PATH_PREFIX,
    Field,
    Fields,
    FieldType,
    Problem,
)
from exchanger.policy.prefix import MAX_PREFIX, PrefixReading, read_prefix
from exchanger.policy.yaml_nodes import Node
from exchanger.util.text import bounded, quoted
from exchanger.values.entry import EVERYWHERE, DenyEntry, Entry, ExchangeEntry, FailClosedRegion, MatchScope, Source, TokenTarget

MATCH_FIELDS: Final = (
    Field(
        "host",
        FieldType.TEXT,
        "One host name, or an IPv6 address, without scheme and path. Case and port do not matter. There are no wildcards.",
        required=True,
        rule=HOST,
    ),
    Field(
        "pathPrefix",
        FieldType.TEXT,
        "The beginning of the paths, as plain text. It is no pattern: /orders covers /orders, /orders/1 and /orders-old.",
        required=True,
        rule=PATH_PREFIX,
    ),
    Field(
        "methods",
        FieldType.TEXTS,
        "The methods, such as GET, which covers HEAD too. All of them where there is none, or a *.",
        rule=METHODS,
    ),
    Field("caseInsensitive", FieldType.BOOLEAN, "Whether paths match without regard to the case of ASCII letters. Default: false."),
)
_SHOWN_METHODS: Final = 5

_is_method: Final = re.compile(METHOD).fullmatch
_find_methods: Final = re.compile(METHOD).findall
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
# An exchange needs at least one of these that is not blank.
TARGETS: Final = ("scope", "resources", "audiences")


def read_entry(
    source: Source, index: int, node: Node, issuers: frozenset[str], matches: "MatchReader"
) -> Entry | tuple[FailClosedRegion, ...]:
    """Return the entry at ``index``, or the regions that its problems close, one for each host that may have been meant.

    The regions have the place of the first problem: the wrong field, or the mapping without a required one.

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
    """Read the action, and return the target of an exchange without problems."""
    action = entry.text("action").lower()
    wanted = action == EXCHANGE
    if action and not wanted and action != DENY:
        entry.problem("action", f"must be exchange or deny, not {quoted(action)}")
    exchange = entry.mapping("exchange", required=wanted)
    if exchange is None:
        return None
    # For another action, the block need not be complete, but its fields and types have to be right.
    issuer = exchange.text(ISSUER, required=wanted)
    scope, resources, audiences = exchange.text("scope"), exchange.texts("resources"), exchange.texts("audiences")
    if not wanted:
        return None
    if issuer and issuer not in issuers:
        exchange.problem(ISSUER, f"references unknown issuer profile {quoted(issuer)}")
    if not (scope or resources or audiences) and resources is not None and audiences is not None:
        entry.problem("exchange", "needs at least one of scope, resources and audiences")
    return None if entry.problems else TokenTarget(issuer, scope, resources or (), audiences or ())


@final
@attrs.define(eq=False)
class MatchReader:
    """Reads the matches of one document. It caches what texts mean, because aliases may repeat a long one in many entries."""

    _hosts: dict[str, HostReading] = attrs.field(factory=dict, init=False, repr=False)
    _prefixes: dict[str, PrefixReading] = attrs.field(factory=dict, init=False, repr=False)

    def read(self, entry: Fields) -> tuple[MatchScope, ...]:
        """Read where ``entry`` applies; more than one scope only if there is a problem, and then they differ in their hosts alone."""
        match = entry.mapping("match")
        if match is None:
            return (EVERYWHERE,)
        hosts = self._read_hosts(match)
        prefix = self._read_prefix(match, hosts)
        methods = _read_methods(match)
        insensitive = match.boolean("caseInsensitive") is not False
        return tuple([MatchScope(host, prefix, methods, insensitive) for host in hosts])

    def _read_hosts(self, match: Fields) -> tuple[str | None, ...]:
        text = match.text("host")[: MAX_TEXT + 1]
        if not text:
            return (None,)
        reading = self._hosts.get(text) or self._hosts.setdefault(text, read_host(text))
        if reading.problem:
            match.problem("host", reading.problem)
        return reading.hosts

    def _read_prefix(self, match: Fields, hosts: tuple[str | None, ...]) -> str:
        text = match.text("pathPrefix")[: MAX_PREFIX + 1]
        if not text:
            return ""
        reading = self._prefixes.get(text) or self._prefixes.setdefault(text, read_prefix(text))
        if reading.problem:
            match.problem("pathPrefix", reading.problem)
        elif not text.startswith("/") and _names_one_of(hosts, text):
            match.problem("pathPrefix", f"begins with the host: write the path alone instead of {quoted(text)}")
            return ""
        return reading.prefix


def _names_one_of(hosts: tuple[str | None, ...], prefix: str) -> bool:
    """Tell whether the first segment of ``prefix`` is one of ``hosts``; a host without a dot may also be the name of a segment."""
    first, slash, _ = prefix.partition("/")
    return bool(slash) and "." in first and normalise_policy_host(first) in hosts


def _read_methods(match: Fields) -> frozenset[str] | None:
    """Return the methods in upper case, ``None`` for all of them."""
    texts = match.texts("methods") or ()
    wrong = next((text for text in texts if text != "*" and (not _is_method(text) or text.upper() in EVERY_METHOD)), None)
    if wrong is not None:
        match.problem("methods", _sentence(wrong))
    methods = frozenset(text.upper() for text in texts)
    return None if wrong is not None or not methods or "*" in methods else methods


def _sentence(wrong: str) -> str:
    if wrong.upper() in EVERY_METHOD:
        return f"has no word for all methods: leave methods out instead of {quoted(wrong)}"
    found = dict.fromkeys(method.upper() for method in _find_methods(wrong[:1_000]) if method.upper() not in EVERY_METHOD)
    if wrong.startswith(("!", "^", "-", "~")) or not found:
        return f"must name each method, such as [GET, POST], or be left out for all of them, instead of {quoted(wrong)}"
    return f"must be a list of methods: write [{bounded(', '.join(list(found)[:_SHOWN_METHODS]))}] instead of [{quoted(wrong)}]"
