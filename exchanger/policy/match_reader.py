"""Where an entry applies: its ``match`` as scopes, one for each host. A part that is missing or cannot be read is everything.

Must not know: what an entry asks for.
"""

import re
from typing import Final, final

import attrs

from exchanger.policy.authority import normalise_policy_host
from exchanger.policy.fields import Field, Fields, FieldType
from exchanger.policy.host_reader import MAX_TEXT, HostReading, read_host
from exchanger.policy.prefix_reader import MAX_PREFIX, PrefixReading, read_prefix
from exchanger.policy.quoting import bounded, quoted
from exchanger.policy.text_rules import EVERY_METHOD, HOST, METHOD, METHODS, PATH_PREFIX
from exchanger.values.entry import EVERYWHERE, MatchScope

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


@final
@attrs.define(eq=False)
class MatchReader:
    """Reads the matches of one document. It remembers what texts mean, since aliases may repeat a long one in each of many entries."""

    _hosts: dict[str, HostReading] = attrs.field(factory=dict, init=False, repr=False)
    _prefixes: dict[str, PrefixReading] = attrs.field(factory=dict, init=False, repr=False)

    def read(self, entry: Fields) -> tuple[MatchScope, ...]:
        """Read where ``entry`` applies; more than one scope only where there is a problem, and then they differ in their hosts alone."""
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
