"""Authorities: the canonical form of a request's authority, and the meaning of a policy's ``host``.

A name is in lower case without port and trailing dot; an IPv6 literal is in brackets and spelled as in RFC 5952.

A policy host that no request can have would protect nothing. So it closes the hosts that its author may have meant. If the text names no
host, only the reach of unreadable parts bounds the entry. User information and queries are not searched: they may hold a secret, and hosts
are shown.

Must not know: other fields of entries, or which header an authority comes from.
"""

import re
import string
from collections.abc import Iterator
from ipaddress import IPv6Address
from itertools import chain
from typing import Final, final
from unicodedata import category, normalize

import attrs

from exchanger.model.codes import policy as codes
from exchanger.model.codes.code import Code
from exchanger.util.text import bounded, quoted, without_secrets

# A text is read once, from left to right, whatever its length: quantifiers of characters are possessive, and a group begins with a
# character that ends what is before it. Quantifiers of groups are never possessive, since CPython before 3.11.5 matches them wrongly
# (https://github.com/python/cpython/issues/106052).
NAME: Final = r"[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++)*"
LITERAL: Final = r"\[[0-9A-Fa-f:.]{2,45}+\]"  # 45: the longest IPv6 address, six groups and a dotted quad

# The common case first: most requests name their host in canonical form, and a match without groups is the cheapest test (0.2 µs). A
# cache would not be faster, and would keep texts of strangers.
_is_canonical_name: Final = re.compile(NAME.replace("A-Z", "")).fullmatch

# RFC 3986 section 3.2.2 and 3.2.3 (https://www.rfc-editor.org/rfc/rfc3986#section-3.2), without percent escapes and sub-delims, which no
# host has, and without userinfo, which RFC 9110 section 4.2.4 forbids. A port may be empty. Blanks around are those of RFC 9110 OWS.
_match_authority: Final = re.compile(rf"[ \t]*+(?:({NAME})\.?|({LITERAL}))(?::[0-9]*+)?[ \t]*+").fullmatch

# The text after a policy host's first colon, optionally surrounded by blanks. It is dropped, so it must be a possible port.
_match_with_port: Final = re.compile(rf"((?:{NAME}\.?)|{LITERAL})[ \t]*+:[ \t]*+([^ \t]*+)").fullmatch
_is_port: Final = re.compile(r"[0-9]*+|\*").fullmatch
# RFC 6335 section 5.1 (https://www.rfc-editor.org/rfc/rfc6335#section-5.1): at most 15 characters, one of them a letter.
_is_service: Final = re.compile(r"(?=.{1,15}\Z)(?=.*[A-Za-z])[A-Za-z0-9]++(?:-[A-Za-z0-9]++)*").fullmatch

# Schemes if a name follows their colon: ``http:orders`` is about ``orders``.
SCHEMES: Final = frozenset(["http", "https", "ws", "wss", "grpc", "grpcs", "h2", "h2c", "tcp", "tls"])

_ASCII_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

# RFC 3986 section 3.1 and appendix B (https://www.rfc-editor.org/rfc/rfc3986#section-3.1); servers know http and https only, but a pattern
# that takes any scheme misses none of theirs.
_absolute: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*+://([^/?#]*+)(.*)", re.DOTALL).fullmatch

# The beginning of a wildcard host, which covers all hosts below another one.
WILDCARD: Final = "*."
# Characters of such a host: more than any name has (RFC 1035 section 2.3.4). They bound the look-ups for the host of a request.
MAX_WILDCARD: Final = 255

# Characters of a text that are searched for hosts: a name has at most 253 (RFC 1035 section 2.3.4), so this is a list of eight.
MAX_TEXT: Final = 2048
# The same if Unicode has to be normalised, which takes time quadratic in a run of combining marks.
MAX_NON_ASCII_TEXT: Final = 512
# Hosts that one text may close by name. Each costs as much as an entry.
MAX_HOSTS: Final = 8

_MAX_LABEL: Final = 63  # RFC 1035 section 2.3.4
_SHOWN_HOSTS: Final = 3

# A URL that consists of a host only.
_match_bare_url: Final = re.compile(rf"https?://({NAME})/?", re.IGNORECASE).fullmatch
_is_template: Final = re.compile(r"[${}<>%]").search
_SEPARATORS: Final = re.compile(r"[\s,;|\"'`&]+")
_find_list_sign: Final = re.compile(r"[,;|]").search
_match_scheme: Final = re.compile(
    rf"[A-Za-z][A-Za-z0-9+.-]*+:(?=[/\\])|(?i:{'|'.join(sorted(SCHEMES, key=len, reverse=True))})(?::(?![0-9*])|(?=[/\\]))"
).match
_find_end_of_authority: Final = re.compile(r"[/\\?#]").search
_find_query: Final = re.compile(r"[?#]").search
_USER_OF_URL: Final = re.compile(r"(?<=//)[^/\\\s]*@")
_WORDS: Final = re.compile(r"([\s,/\\]+)")
# Brackets and quantifiers next to a name make it a pattern, whose hosts cannot be known.
_is_pattern: Final = re.compile(r"[\w.-][(\[]|[)\]][\w.+?-]|[+?]\.").search
_LITERAL: Final = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]")
# One of IPv6, with or without its brackets.
_ADDRESS: Final = re.compile(r"(?<![\w.-])\[?(?:[0-9A-Fa-f]{1,4})?(?::[0-9A-Fa-f.]{0,15}){2,8}\]?(?![\w.-])")
_TOKEN: Final = re.compile(r"[\w.-]+")
_BETWEEN_NAMES: Final = frozenset(["Pi", "Pf", "Ps", "Pe", "Zs"])  # quotation marks, brackets, blanks; other signs may belong to a name
_is_ipv4: Final = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}").fullmatch


def read_authority(text: str) -> str | None:
    """Return the canonical form of a request's authority, ``None`` if it is malformed.

    An empty (or blank) authority is "", which is well-formed but matches no policy's host.
    """
    if _is_canonical_name(text):
        return text
    parts = _match_authority(text)
    if parts is None:
        return None if text.strip(" \t") else ""
    name, literal = parts.groups()
    return _canonical_ipv6(literal[1:-1]) if name is None else name.lower()


def normalise_policy_host(text: str) -> str:
    """Return the canonical form of a policy's host; total and idempotent.

    A port is dropped: digits, a service name, or ``*``, so that a deny for ``api.example.com:*`` denies. Any other text is only trimmed and
    lower-cased: ``is_host`` is false for it, and no request's authority equals it.
    """
    text = text.strip()
    if host := read_authority(text) or _canonical_ipv6(text):
        return host
    if parts := _split_port(text):
        return read_authority(parts[0]) or text.translate(_ASCII_LOWER)
    return text.translate(_ASCII_LOWER)


def _split_port(text: str) -> tuple[str, str] | None:
    """Return a policy's host without its port, and the port, ``None`` if ``text`` has no colon that begins one."""
    parts = _match_with_port(text)
    if parts is None:
        return None
    name, port = parts.groups()
    return (name, port) if _is_port(port) or (_is_service(port) and name.lower() not in SCHEMES) else None


def port_of(text: str) -> str:
    """Return the port that a policy's host names, "" if it names none, or every one (``*``)."""
    _, port = _split_port(text.strip().removeprefix(WILDCARD)) or ("", "")
    return "" if port == "*" else port


def wildcards_above(host: str) -> Iterator[str]:
    """Yield the wildcards that cover the canonical ``host``, the longest first."""
    _, dot, above = host.partition(".")
    while dot:
        yield WILDCARD + above
        _, dot, above = above.partition(".")


def is_host(text: str) -> bool:
    """Return whether a request's authority can equal a normalised policy host."""
    return bool(text) and read_authority(text) == text


def _canonical_ipv6(text: str) -> str | None:
    """Return the bracketed RFC 5952 form of an address without zone (RFC 9110 has no zones), ``None`` for anything else."""
    if "%" in text:
        return None
    try:
        return f"[{IPv6Address(text).compressed}]"
    except ValueError:
        return None


def split_absolute_form(target: str) -> tuple[str, str] | None:
    """Return authority and path (with query, and a leading ``/``) of an absolute-form ``target``, ``None`` for any other form.

    A server that gets an absolute form uses its authority and ignores the Host header (RFC 9112 section 3.2.2,
    https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2).
    """
    if target[:1] == "/" or (parts := _absolute(target)) is None:
        return None
    authority, path = parts.groups()
    return authority, path if path.startswith("/") else f"/{path}"


@final
@attrs.frozen
class HostReading:
    """The hosts of an entry, ``None`` if they are unknown; exactly one host if there is no ``problem``.

    ``code`` is that of the problem, ``meant`` the host that was certainly meant, "" in case of doubt, and ``advice`` what to do, "" if
    the code says it.
    """

    hosts: tuple[str | None, ...]
    problem: str = ""
    code: Code | None = attrs.field(default=None, repr=False)
    meant: str = ""
    advice: str = ""


def read_host(text: str) -> HostReading:
    """Read the trimmed, non-empty text of ``host``. Total, and takes bounded work."""
    host = normalise_policy_host(text) if len(text) <= MAX_TEXT else ""
    if is_host(host):
        return HostReading((host,))
    if text.startswith(WILDCARD) and (wildcard := _wildcard(text)):
        return HostReading((wildcard,))
    if text.startswith(".") and (wildcard := _wildcard(f"*{text}")):  # what is below it, as in NO_PROXY and cookies, or the host itself
        host = wildcard.removeprefix(WILDCARD)
        to_write = f"write {bounded(wildcard)} for all hosts below it, or {bounded(host)}"
        sentence = f"begins with a dot: {to_write}, instead of {quoted(_safe(text))}"
        advice = f'Write "{bounded(wildcard)}" for all hosts below {bounded(host)}, or {bounded(host)} for that host alone.'
        return HostReading((wildcard, host), sentence, codes.HOST_URL, advice=advice)
    if len(text) > (MAX_TEXT if text.isascii() else MAX_NON_ASCII_TEXT):
        sentence = f"is longer than any host: write one host name instead of {quoted(_safe(text))}"
        return HostReading((None,), sentence, codes.LONG_HOST)
    if _is_template(text):
        sentence = f"is a template or has escapes: write the host name itself instead of {quoted(_safe(text))}"
        return HostReading((None,), sentence, codes.HOST_TEMPLATE)
    if "*" in text.removeprefix(WILDCARD):
        sentence = 'has a misplaced "*": write one entry for each host name, or *.example.com for all below one, instead of'
        return HostReading((None,), f"{sentence} {quoted(_safe(text))}", codes.HOST_PATTERN)
    if _is_pattern(_LITERAL.sub(" ", text)):
        sentence = f"has no patterns: write one entry for each host name instead of {quoted(_safe(text))}"
        return HostReading((None,), sentence, codes.HOST_PATTERN)
    named = _named_in(text)
    known = [name for name in named if name is not None]
    hosts = (*known[:MAX_HOSTS], *([None] if None in named or not known or len(known) > MAX_HOSTS else []))
    code = codes.SEVERAL_HOSTS if len(known) > 1 else codes.HOST_URL if known else codes.NO_HOST
    only = _match_bare_url(text)
    meant = only[1].lower() if only is not None and hosts == (only[1].lower(),) else ""
    return HostReading(hosts, _sentence(text, known), code, meant)


def _wildcard(text: str) -> str:
    """Return the canonical form of a wildcard (``*.`` and a host name, with an optional port), "" if ``text`` is not one."""
    host = normalise_policy_host(text.removeprefix(WILDCARD))
    fits = is_host(host) and not host.startswith("[") and len(host) < MAX_WILDCARD - 1
    return WILDCARD + host if fits else ""


def _sentence(text: str, known: list[str]) -> str:
    shown = quoted(_safe(text))
    if len(known) > 1:
        more = " and the others" if len(known) > _SHOWN_HOSTS else ""
        return (
            f"is more than one host: write one entry for each of {', '.join(map(bounded, known[:_SHOWN_HOSTS]))}{more} instead of {shown}"
        )
    if not known:
        return f"is not a host: write a host name or a bracketed IPv6 address instead of {shown}"
    what = "is a URL" if "://" in text or text.startswith("//") else "is more than a host name"
    return f"{what}: write {bounded(known[0])} instead of {shown}"


def _safe(text: str) -> str:
    """Return ``text`` without anything secret."""
    words = _WORDS.split(without_secrets(text[:MAX_TEXT]))
    return "".join([word if (at := word.rfind("@")) < 0 else "…" + word[at:] for word in words])


def _named_in(text: str) -> tuple[str | None, ...]:
    """Return the hosts that ``text`` names, each once, and ``None`` if something in it may be a host that cannot be known."""
    text = " ".join(text.split())
    found: dict[str | None, None] = dict.fromkeys([None] if _may_hide_hosts(text) else [])
    text = _USER_OF_URL.sub(_without_user, text)
    text = text.replace("\\.", ".")  # a dot in a pattern
    if not text.isascii():
        text = normalize("NFKC", text).replace("\u3002", ".")  # the full stop of CJK, which browsers take for a dot
    # A blank, or an invisible character, may separate two names or have slipped into one.
    apart = "".join([" " if _is_invisible(char) else char for char in text])
    together = _join_dots("".join([char for char in text if not _is_invisible(char)]))
    for item in chain.from_iterable(map(_SEPARATORS.split, dict.fromkeys((together, apart)))):
        found.update(dict.fromkeys(_named_by(item)))
        if len(found) > MAX_HOSTS:  # more than are used
            break
    return tuple(found)


def _without_user(found: re.Match[str]) -> str:
    """Return "" for user information, and all of ``found`` if it spans more than one URL of a list."""
    items = _SEPARATORS.split(found[0])
    return found[0] if len(items) > 1 and any("[" in item or _is_ipv4(item) or _is_domain(item) for item in items) else ""


def _may_hide_hosts(text: str) -> bool:
    """Return whether removed user information may be hosts of a list: ``orders`` in ``https://orders,user@billing``.

    The text after a colon that begins no port is a password, and so is a comma in it.
    """
    left_out = (found[0] for found in _USER_OF_URL.finditer(text) if not _without_user(found))
    return any(_find_list_sign(user) and not _has_password(_SEPARATORS.split(user, maxsplit=1)[0]) for user in left_out)


def _has_password(item: str) -> bool:
    _, colon, after = item.rpartition(":")
    return bool(colon) and not after.isdecimal()


def _join_dots(text: str) -> str:
    return text.replace(" .", ".").replace(". ", ".")


def _is_invisible(char: str) -> bool:
    return category(char) in {"Cc", "Cf"} and not char.isspace()


def _named_by(item: str) -> Iterator[str | None]:
    """Yield the hosts that one ``item`` of a list names."""
    if item.startswith(WILDCARD):
        for host in _named_by(item.removeprefix(WILDCARD)):
            yield (host and _wildcard(WILDCARD + host)) or None
        return
    scheme = _match_scheme(item)
    item = (item if scheme is None else item[scheme.end() :]).lstrip("/\\")
    if query := _find_query(item):
        item = item[: query.start()]
    end = _find_end_of_authority(item)
    authority, path = (item, "") if end is None else (item[: end.start()], item[end.start() :])
    before, _, after = authority.rpartition("@")
    authority = after or before
    host = normalise_policy_host(authority)
    if not is_host(host):
        # "localhost:api.example.com" may mean either of the two; after a domain's colon an ordinary word is more likely a port.
        yield from _names(authority, dotted=":" in authority and _is_domain(authority.partition(":")[0]))
    elif not host.isdecimal():  # else rather one of several ports
        yield host
    yield from _names(path.rpartition("@")[2], dotted=True)


def _names(text: str, *, dotted: bool) -> Iterator[str | None]:
    """Yield the hosts among the words of ``text``; ``dotted``: only those that cannot be an ordinary word."""
    for address in _ADDRESS.findall(text):
        host = normalise_policy_host(address.strip("[]"))
        if is_host(host):
            yield host
            text = text.replace(address, " ")
    if not all(char.isascii() or char.isalnum() or category(char) in _BETWEEN_NAMES for char in text):
        yield None
        return
    for word in _TOKEN.findall(text):
        name = ".".join(label for label in word.split(".") if label)
        if not name or name.isdecimal() or name.lower() in SCHEMES:
            continue
        if dotted and not (_is_ipv4(name) or _is_domain(name)):
            continue
        yield from [normalise_policy_host(name)] if name.isascii() else _a_names(name)


def _is_domain(name: str) -> bool:
    """Return whether ``name`` has a dot, and a letter in its last label, as every domain has; version numbers have none."""
    _, dot, last = name.rpartition(".")
    return bool(dot) and any(char.isalpha() for char in last)


def _a_names(name: str) -> Iterator[str | None]:
    """Yield the A-labels (RFC 5890 section 2.3.2.1) of ``name`` as clients compute them: with and without a sharp s mapped to ss."""
    for mapped in dict.fromkeys(normalize("NFKC", form) for form in (name.lower(), name.casefold())):
        labels = [label if label.isascii() else "xn--" + label.encode("punycode").decode() for label in mapped.split(".")]
        host = ".".join(labels)
        yield host if is_host(host) and all(len(label) <= _MAX_LABEL for label in labels) else None
