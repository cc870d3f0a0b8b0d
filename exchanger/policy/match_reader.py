"""Where an entry applies: its ``match`` as areas, one for each host. A part that is missing or cannot be read is everything.

Must not know: what an entry asks for.
"""

import re
from typing import Final, final

import attrs

from exchanger.policy.authority import normalise_policy_host
from exchanger.policy.fields import Fields
from exchanger.policy.host_reader import MAX_TEXT, HostReading, read_host
from exchanger.policy.prefix_reader import MAX_PREFIX, PrefixReading, read_prefix
from exchanger.policy.quoting import bounded, quoted
from exchanger.values.entry import EVERYWHERE, Area

_MATCH_FIELDS: Final = frozenset({"host", "pathPrefix", "methods", "caseInsensitive"})
_SHOWN_METHODS: Final = 5

_is_method: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*+").fullmatch
_find_methods: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*+").findall
_EVERY: Final = frozenset({"ALL", "ANY"})  # words for all methods elsewhere; as methods they would match nothing


@final
@attrs.define(eq=False)
class MatchReader:
    """Reads the matches of one document. It remembers what texts mean, since aliases may repeat a long one in each of many entries."""

    _hosts: dict[str, HostReading] = attrs.field(factory=dict, init=False, repr=False)
    _prefixes: dict[str, PrefixReading] = attrs.field(factory=dict, init=False, repr=False)

    def read(self, entry: Fields) -> tuple[Area, ...]:
        """Read where ``entry`` applies; more than one area only where there is a problem, and then they differ in their hosts alone."""
        match = entry.mapping("match", _MATCH_FIELDS)
        if match is None:
            if "match" not in entry.nodes:
                entry.problem("match", "is required")
            return (EVERYWHERE,)
        hosts = self._read_hosts(match)
        prefix = self._read_prefix(match, hosts)
        methods = _read_methods(match)
        insensitive = match.boolean("caseInsensitive") is not False
        return tuple([Area(host, prefix, methods, insensitive) for host in hosts])

    def _read_hosts(self, match: Fields) -> tuple[str | None, ...]:
        text = match.required("host")[: MAX_TEXT + 1]
        if not text:
            return (None,)
        reading = self._hosts.get(text) or self._hosts.setdefault(text, read_host(text))
        if reading.problem:
            match.problem("host", reading.problem)
        return reading.hosts

    def _read_prefix(self, match: Fields, hosts: tuple[str | None, ...]) -> str:
        text = match.required("pathPrefix")[: MAX_PREFIX + 1]
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
    wrong = next((text for text in texts if text != "*" and (not _is_method(text) or text.upper() in _EVERY)), None)
    if wrong is not None:
        match.problem("methods", _sentence(wrong))
    methods = frozenset(text.upper() for text in texts)
    return None if wrong is not None or not methods or "*" in methods else methods


def _sentence(wrong: str) -> str:
    if wrong.upper() in _EVERY:
        return f"has no word for all methods: leave methods out instead of {quoted(wrong)}"
    found = dict.fromkeys(method.upper() for method in _find_methods(wrong[:1_000]) if method.upper() not in _EVERY)
    if wrong.startswith(("!", "^", "-", "~")) or not found:
        return f"must name each method, such as [GET, POST], or be left out for all of them, instead of {quoted(wrong)}"
    return f"must be a list of methods: write [{bounded(', '.join(list(found)[:_SHOWN_METHODS]))}] instead of [{quoted(wrong)}]"
