"""Reads one entry of a document: an entry if everything is valid, otherwise fail-closed scopes over the readable part of its match.

A part of the match that is missing or unreadable covers everything.

Must not know: YAML text, or other entries.
"""

import re
from collections.abc import Collection
from typing import Final, final

import attrs

from exchanger.formats.yaml.fields import MAX_ITEMS, Field, Fields, FieldType, Findings, Hints, Table, empty, is_unambiguous
from exchanger.formats.yaml.nodes import Mapping, Node, text_of
from exchanger.formats.yaml.text_rules import EVERY_METHOD, NOT_BLANK, TextRule
from exchanger.model.authority import MAX_TEXT, WILDCARD, HostReading, normalise_policy_host, read_authority, read_host
from exchanger.model.codes import policy as codes
from exchanger.model.codes.problem import reason_of
from exchanger.model.entry import (
    EVERYWHERE,
    AllowEntry,
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
from exchanger.policy.documents.text_rules import (
    ACTION,
    ALLOW,
    DENY,
    EXCHANGE,
    HEADER_NAME,
    HEADER_VALUE,
    HOST,
    IS_ALLOW,
    IS_EXCHANGE,
    METADATA_URL,
    METHOD,
    METHODS,
    PATH_PREFIX,
    PATH_TYPE,
    RESOURCE_METADATA,
)
from exchanger.policy.headers import MAX_HEADERS, canonical, name_problem, value_problem
from exchanger.policy.prefix import MAX_PREFIX, PrefixReading, read_prefix
from exchanger.util.json_schema import Schema
from exchanger.util.text import bounded, quoted

MATCH_FIELDS: Final = Table.of(
    Field(
        "host",
        FieldType.TEXT,
        "One host name, or an IPv6 address, without scheme and path. Case and port do not matter. *.example.com is every host below "
        "example.com, but not that host itself.",
        required=True,
        rule=HOST,
        aliases=frozenset({"hostname", "authority"}),
    ),
    Field(
        "pathPrefix",
        FieldType.TEXT,
        "The beginning of the paths, as plain text. It is not a pattern: /orders covers /orders, /orders/1 and /orders-old (see pathType).",
        required=True,
        rule=PATH_PREFIX,
        aliases=frozenset({"path", "prefix"}),
    ),
    Field(
        "methods",
        FieldType.TEXTS,
        "The methods, such as GET. Default, or with a *: all methods. HEAD gets the stricter of two decisions: the one for HEAD itself, "
        "and the one for GET.",
        rule=METHODS,
        nullable=True,
    ),
    Field(
        "pathType",
        FieldType.TEXT,
        "How pathPrefix matches. Prefix, the default: the path begins with it. Segment: the path equals it, or continues with a slash. "
        "Exact: the path equals it. Segment and Exact ignore the query.",
        rule=PATH_TYPE,
    ),
    Field(
        "headers",
        FieldType.MAPPINGS,
        "Headers that the request must have, all of them. The gateway must send them (allowed_headers).",
        fields=Table.of(
            Field("name", FieldType.TEXT, "The header's name, in any case.", required=True, rule=HEADER_NAME),
            Field("value", FieldType.TEXT, "Its whole value.", required=True, rule=HEADER_VALUE),
        ),
    ),
    Field("caseInsensitive", FieldType.BOOLEAN, "Whether matching the path ignores the case of ASCII letters. Default: false."),
)
_SHOWN_METHODS: Final = 5
ACTIONS: Final = (EXCHANGE, DENY, ALLOW)
# Issuer profiles that are searched for the intended one.
MAX_CANDIDATES: Final = 256
# Characters of the metadata URL: the challenge must fit into the headers of an answer, which some proxies limit to 4 KiB in all.
MAX_METADATA: Final = 2048
_MAX_PORT: Final = 65535

_is_method: Final = re.compile(METHOD).fullmatch
_needs_no_quotes: Final = re.compile(r"[A-Za-z][A-Za-z0-9._-]*").fullmatch
_find_methods: Final = re.compile(METHOD).findall
_match_metadata: Final = re.compile(METADATA_URL).fullmatch
ISSUER: Final = "issuerRef"
METADATA: Final = "resourceMetadata"
EXCHANGE_FIELDS: Final = Table.of(
    Field(
        ISSUER,
        FieldType.TEXT,
        "The name of the issuer profile whose token endpoint exchanges the token.",
        nullable=True,
        aliases=frozenset({"issuer", "issuername", "issuerprofile"}),
    ),
    Field(
        "scope",
        FieldType.TEXT,
        "The scopes to request, separated by spaces. An exchange needs a scope, a resource or an audience.",
        nullable=True,
    ),
    Field(
        "resources",
        FieldType.TEXTS,
        "URIs of the services that the token is meant for, sent as resource parameters (RFC 8707).",
        nullable=True,
    ),
    Field(
        "audiences",
        FieldType.TEXTS,
        "Names of the services that the token is meant for, sent as audience parameters (RFC 8693).",
        nullable=True,
    ),
    Field(
        METADATA,
        FieldType.TEXT,
        "The https URL, on the entry's own host, of the metadata that tells clients how to get a token (RFC 9728). Responses with 401 "
        "name it.",
        rule=TextRule(examples=("https://api.example.com/.well-known/oauth-protected-resource",)),
        nullable=True,
    ),
)


def _complete_exchange() -> Schema:
    """Return the schema of an entry with the action exchange; for another action, the block need not be complete."""
    present: dict[str, object] = {"type": "string", "pattern": NOT_BLANK}
    listed = {"type": "array", "contains": present}
    # An exchange needs at least one of these that is not blank.
    targets = {"scope": present, "resources": listed, "audiences": listed}
    exchange: dict[str, object] = {
        "type": "object",
        "required": [ISSUER],
        "properties": {ISSUER: present, METADATA: {"pattern": RESOURCE_METADATA.pattern}},
        "anyOf": [{"properties": {name: says}, "required": [name]} for name, says in targets.items()],
    }
    return _if_action(IS_EXCHANGE, {"required": ["exchange"], "properties": {"exchange": exchange}})


def _allow_without_null() -> Schema:
    """Return the schema of an entry with the action allow: null, or a blank method, would open more than was meant."""
    methods = {"type": "array", "items": {"type": "string", "pattern": NOT_BLANK}}
    return _if_action(IS_ALLOW, {"properties": {"match": {"properties": {"methods": methods}}}})


def _if_action(pattern: str, then: Schema) -> Schema:
    says: Schema = {"properties": {"action": {"type": "string", "pattern": pattern}}, "required": ["action"], "type": "object"}
    return {"if": says, "then": then}


ENTRY_FIELDS: Final = Table.of(
    Field("match", FieldType.MAPPING, "The requests that the entry applies to.", required=True, fields=MATCH_FIELDS),
    Field(
        "action",
        FieldType.TEXT,
        "What happens to these requests: exchange replaces the caller's token, deny refuses the request, allow lets it pass unchanged, "
        "which the platform must grant. Case does not matter.",
        required=True,
        rule=ACTION,
    ),
    Field(
        "exchange",
        FieldType.MAPPING,
        "What to request from the token endpoint. Required with action: exchange.",
        fields=EXCHANGE_FIELDS,
        nullable=True,
    ),
    says={"allOf": [_complete_exchange(), _allow_without_null()]},
)


def read_entry(
    source: Source, index: int, node: Node, issuers: frozenset[str], matches: "MatchReader"
) -> Entry | tuple[FailClosedScope, ...]:
    """Return the entry at ``index``, or the fail-closed scopes that its problems close, one for each host that may have been meant.

    The fail-closed scopes have the place of the first problem: the wrong field, or the mapping without a required one.

    Args:
        source: the document
        index: the position in its ``entries``
        node: what stands there
        issuers: the profiles that it may refer to
        matches: the reader of all matches of the document
    """
    findings = Findings(index, matches.hints)
    scopes: tuple[MatchScope, ...] = (EVERYWHERE,)
    action, target, metadata = "", None, ""
    entry = Fields.of(node, f"entries[{index}]", ENTRY_FIELDS, findings)
    if entry is not None:
        # The Go service has no allow, so no policy of it relies on null there. Without methods, an allow opens all of them.
        action_node = entry.nodes.get("action")
        findings.strict = action_node is not None and (text_of(action_node) or "").strip().lower() == ALLOW
        scopes = matches.read(entry)
        action, target, metadata = _read_action(entry, issuers, scopes)
    if findings.kept:
        problems = tuple(findings.kept)
        first, reason = problems[0], reason_of(problems)
        closed = (attrs.evolve(scope, headers=()) for scope in scopes)
        return tuple(FailClosedScope(source, scope, reason, index, first.line, first.column, problems=problems) for scope in closed)
    (scope,) = scopes
    if action == ALLOW:
        return AllowEntry(source, index, scope, node.line)
    if target is None:
        return DenyEntry(source, index, scope, node.line)
    return ExchangeEntry(source, index, scope, target, metadata, node.line)


def _read_action(entry: Fields, issuers: frozenset[str], scopes: tuple[MatchScope, ...]) -> tuple[str, TokenTarget | None, str]:
    """Read the action, and the target and the URL of the metadata of an exchange without problems."""
    action = entry.text("action").lower()
    wanted = action == EXCHANGE
    if action and action not in ACTIONS:
        hint = entry.findings.hints.meant(action, ACTIONS)
        # To allow is never suggested as the only answer: it opens.
        instead = hint if hint != ALLOW and is_unambiguous(action, hint, ACTIONS) else ""
        entry.problem(codes.UNKNOWN_ACTION, "action", f"must be exchange, deny or allow, not {quoted(action)}", hint=hint, instead=instead)
    exchange = entry.mapping("exchange", required=wanted)
    if exchange is None:
        return action, None, ""
    # For another action, the block may be incomplete, but its fields and types must be right.
    issuer = exchange.text(ISSUER, required=wanted)
    before = exchange.findings.count
    scope, resources, audiences = exchange.text("scope", listed=True), exchange.texts("resources"), exchange.texts("audiences")
    target_known = exchange.findings.count == before
    metadata = exchange.text(METADATA)
    if not wanted:
        return action, None, ""
    if issuer and issuer not in issuers:
        known = sorted(issuers) if len(issuers) <= MAX_CANDIDATES else []
        hint = entry.findings.hints.meant(issuer, known)
        instead = hint if is_unambiguous(issuer, hint, known) else ""
        text = f"references unknown issuer profile {quoted(issuer)}"
        exchange.problem(codes.UNKNOWN_ISSUER, ISSUER, text, hint=bounded(hint), instead=_plain_scalar(instead))
    if target_known and not (scope or resources or audiences or exchange.meant & {"scope", "resources", "audiences"}):
        entry.problem(codes.NO_TARGET, "exchange", "needs at least one of scope, resources and audiences")
    if problem := metadata and _metadata_problem(metadata, {scope.host for scope in scopes}):
        exchange.problem(codes.WRONG_METADATA, METADATA, problem)
    return action, None if entry.findings.count else TokenTarget(issuer, scope, resources or (), audiences or ()), metadata


def _metadata_problem(text: str, hosts: Collection[str | None]) -> str:
    """Return why ``text`` is not a metadata URL on one of ``hosts``, "" if it is; it is not repeated, since it may contain a secret."""
    if len(text) > MAX_METADATA:
        return f"is longer than {MAX_METADATA} characters"
    url = _match_metadata(text)
    if url is None or (url[2] and int(url[2]) > _MAX_PORT):
        return "must be an https URL of visible ASCII, without user information, fragment, double quote, comma or backslash"
    host = read_authority(url[1])
    known = [own for own in hosts if own is not None]
    is_own = host is not None and any(host == own or (own.startswith(WILDCARD) and host.endswith(own[1:])) for own in known)
    return "" if is_own or len(known) < len(hosts) else f"must be on the entry's own host, not on {quoted(url[1])}"


@final
@attrs.define(eq=False)
class MatchReader:
    """Reads the matches of one document. It caches what texts mean, because aliases may repeat a long one in many entries."""

    _hosts: dict[str, HostReading] = attrs.field(factory=dict, init=False, repr=False)
    _prefixes: dict[str, PrefixReading] = attrs.field(factory=dict, init=False, repr=False)
    hints: Hints = attrs.field(factory=Hints, init=False, repr=False)

    def read(self, entry: Fields, *, every_host: bool = False) -> tuple[MatchScope, ...]:
        """Read where ``entry`` applies. More than one scope means that there is a problem; they then differ only in their hosts.

        ``every_host``: it applies to every host, whatever its text says.
        """
        match = entry.mapping("match")
        if match is None:
            return (EVERYWHERE,)
        hosts = (None,) if every_host else self._read_hosts(match)
        before = match.findings.count
        prefix = self._read_prefix(match, hosts)
        known = match.findings.count == before
        methods = _read_methods(match)
        insensitive = match.boolean("caseInsensitive") is not False
        path_type = _read_path_type(match)
        if path_type is not PathType.EXACT and path_type is not PathType.PREFIX:
            prefix = prefix.rstrip("/")
        # Of a prefix with a problem, only the beginning is known.
        path_type = (path_type or PathType.PREFIX) if known else PathType.PREFIX
        headers = _read_headers(match) if "headers" in match.known else ()
        return tuple([MatchScope(host, prefix, methods, insensitive, path_type, headers) for host in hosts])

    def _read_hosts(self, match: Fields) -> tuple[str | None, ...]:
        text = match.text("host")[: MAX_TEXT + 1]
        if not text:
            return (None,)
        reading = self._hosts.get(text) or self._hosts.setdefault(text, read_host(text))
        if reading.code is not None:
            match.problem(reading.code, "host", reading.problem, instead=reading.meant, advice=reading.advice)
        return reading.hosts

    def _read_prefix(self, match: Fields, hosts: tuple[str | None, ...]) -> str:
        text = match.text("pathPrefix")[: MAX_PREFIX + 1]
        if not text:
            return ""
        reading = self._prefixes.get(text) or self._prefixes.setdefault(text, read_prefix(text))
        if reading.code is not None:
            match.problem(reading.code, "pathPrefix", reading.problem)
        elif not text.startswith("/") and _names_one_of(hosts, text):
            text = f"begins with the host: write only the path instead of {quoted(text)}"
            match.problem(codes.PREFIX_WITH_HOST, "pathPrefix", text)
            return ""
        return reading.prefix


def _plain_scalar(text: str) -> str:
    """Return ``text`` if it needs no quotation marks in YAML, otherwise "", since it must not be inserted unseen."""
    return text if _needs_no_quotes(text) else ""


def _names_one_of(hosts: tuple[str | None, ...], prefix: str) -> bool:
    """Return whether the first segment of ``prefix`` is one of ``hosts``; a host without a dot may also be the name of a segment."""
    first, slash, _ = prefix.partition("/")
    return bool(slash) and "." in first and normalise_policy_host(first) in hosts


def _read_methods(match: Fields) -> frozenset[str] | None:
    """Return the methods in upper case, ``None`` for all of them."""
    texts = match.texts("methods") or ()
    wrong = [text for text in texts if text != "*" and (not _is_method(text) or text.upper() in EVERY_METHOD)]
    for number, text in enumerate(wrong[:MAX_ITEMS]):
        code = codes.EVERY_METHOD if text.upper() in EVERY_METHOD else codes.WRONG_METHOD
        match.problem(code, "methods", _sentence(text), summary="" if number else None)
    methods = frozenset(text.upper() for text in texts)
    return None if wrong or not methods or "*" in methods else methods


def _read_path_type(match: Fields) -> PathType | None:
    """Return the path type, ``None`` if it cannot be read."""
    before = match.findings.count
    text = match.text("pathType")
    if match.findings.count > before:
        return None
    if "pathType" not in match.nodes:
        return PathType.PREFIX
    if not text:
        match.problem(codes.EMPTY_FIELD, "pathType", empty(FieldType.TEXT))
        return None
    found = next((path_type for path_type in PathType if path_type.value.lower() == text.lower()), None)
    if found is None:
        match.problem(codes.UNKNOWN_PATH_TYPE, "pathType", f"must be Prefix, Segment or Exact, not {quoted(text)}")
    return found


def _read_headers(match: Fields) -> tuple[HeaderMatch, ...]:
    """Return the headers by name."""
    if isinstance(node := match.nodes.get("headers"), Mapping):
        names = [text_of(key) for key, _ in node.pairs]
        name = "NAME" if "name" in names else next((name for name in names if name and not name_problem(name)), "NAME")
        match.wrong("headers", "must be a list of mappings", hint=f"[{{name: {bounded(name)}, value: VALUE}}]")  # a value may be a secret
        return ()
    items = match.mappings("headers")
    if len(items) > MAX_HEADERS:
        match.problem(codes.MANY_HEADERS, "headers", f"has more than {MAX_HEADERS} headers")
        return ()
    found: dict[str, HeaderMatch] = {}
    for item in items:
        name, value = item.text("name"), item.written("value", empty=False)
        name = name.lower() if name.isascii() else name  # others have no lower case here: the Kelvin sign would become a k
        if name and (problem := name_problem(name)):
            item.problem(codes.WRONG_HEADER_NAME, "name", f"{problem}, instead of {quoted(name)}")
        elif name and canonical(name) in found:
            item.problem(codes.HEADER_TWICE, "name", f"is listed twice: a request has one value of {quoted(name)}")
        if value and (problem := value_problem(value)):
            item.problem(codes.WRONG_HEADER_VALUE, "value", problem)
        found[canonical(name)] = (name, value)
    return tuple(sorted(found.values()))


def _sentence(wrong: str) -> str:
    if wrong.upper() in EVERY_METHOD:
        return f"takes no word for all methods: leave methods out instead of {quoted(wrong)}"
    found = dict.fromkeys(method.upper() for method in _find_methods(wrong[:1_000]) if method.upper() not in EVERY_METHOD)
    if wrong.startswith(("!", "^", "-", "~")) or not found:
        return f"must name each method, such as [GET, POST], or be left out for all of them, instead of {quoted(wrong)}"
    return f"must be a list of methods: write [{bounded(', '.join(list(found)[:_SHOWN_METHODS]))}] instead of [{quoted(wrong)}]"
