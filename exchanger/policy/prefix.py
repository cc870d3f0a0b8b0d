"""A policy's path prefix: the meaning of ``pathPrefix``, and the spellings under which its entry is found.

A prefix is plain text. One that servers rewrite, or that is a pattern, would only seem to protect something. It closes the paths that
begin with the unambiguous text in front, or every path if servers could end up anywhere, as with dot segments.

A prefix with escapes or non-ASCII characters differs between the raw path and the path after a server has decoded it. An entry that is
found under each of these spellings is found by each interpretation of an honest request, so the interpretations agree.

Must not know: other fields, requests, or where spellings are stored.
"""

import enum
import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Final, final
from unicodedata import normalize

import attrs

from exchanger.model.codes import policy as codes
from exchanger.model.codes.code import Code
from exchanger.model.entry import MatchScope
from exchanger.policy.path import MAX_NON_ASCII_PATH, decode, decode_but_slashes, encode, has_escape, is_plain, remove_dot_segments
from exchanger.util.text import bounded, quoted, without_secrets

# Characters of a prefix; longer paths are legal, but no policy needs one.
MAX_PREFIX: Final = 2048
# Rounds of decoding; a server that decodes twice is unusual.
MAX_DECODINGS: Final = 8


@enum.unique
class Fault(enum.Enum):
    """The problem, in words that continue the field's name."""

    URL = "is a URL"
    NETWORK_PATH = "begins with two slashes, so servers take what follows for a host"
    QUOTED = "contains quotation marks"
    EXPRESSION = "is taken literally, not as a regular expression"
    DOTS = 'has a dot segment ("." or ".."), which servers resolve'
    SLASHES = 'has an empty segment ("//"), which servers drop'
    BACKSLASH = "has a backslash, which servers treat as a slash"
    FRAGMENT = "has a fragment, which servers never see"
    QUERY = "has a query, but prefixes are for paths only"
    ESCAPE = 'has a "%" that does not begin an escape'
    INVISIBLE = "has an invisible character, which no path has"
    LIST = "is more than one prefix"
    WILDCARD = "is a prefix already"
    PATTERN = "is taken literally, not as a pattern"
    REWRITTEN = "has escapes or parameters that servers rewrite"
    LONG = f"is longer than {MAX_PREFIX:,} characters"


CODE_OF: Final = MappingProxyType(
    {
        Fault.URL: codes.PREFIX_URL,
        Fault.NETWORK_PATH: codes.PREFIX_NETWORK_PATH,
        Fault.QUOTED: codes.PREFIX_QUOTED,
        Fault.EXPRESSION: codes.PREFIX_EXPRESSION,
        Fault.DOTS: codes.PREFIX_DOTS,
        Fault.SLASHES: codes.PREFIX_SLASHES,
        Fault.BACKSLASH: codes.PREFIX_BACKSLASH,
        Fault.FRAGMENT: codes.PREFIX_FRAGMENT,
        Fault.QUERY: codes.PREFIX_QUERY,
        Fault.ESCAPE: codes.PREFIX_ESCAPE,
        Fault.INVISIBLE: codes.PREFIX_INVISIBLE,
        Fault.LIST: codes.SEVERAL_PREFIXES,
        Fault.WILDCARD: codes.PREFIX_WILDCARD,
        Fault.PATTERN: codes.PREFIX_PATTERN,
        Fault.REWRITTEN: codes.PREFIX_REWRITTEN,
        Fault.LONG: codes.LONG_PREFIX,
    }
)

_MAX_CUTS: Final = 4  # of one prefix; no honest mistake needs more

_HERE: Final = "[^/\\\\?#]*+"
_match_url: Final = re.compile(rf"/?[a-z][a-z0-9+.-]*+:[/\\]{{2}}{_HERE}|(?:https?|wss?):[/\\]*+", re.IGNORECASE).match
_match_slashes: Final = re.compile(r"//+|[/\\]*\\[/\\]*").match
_match_quote: Final = re.compile(r"[\"'`](?=/)|/?[\"`]").match
_match_anchor: Final = re.compile(r"/?\^").match

_END: Final = r"(?=[/?#;,|\s\\)]|\Z)"  # of a segment
# Default ignorable code points of Unicode up to U+FFFF, for a regular expression to choose from; none is a blank.
UNSEEN: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
_UNSEEN: Final = UNSEEN + r"\u2028\u2029\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
# These close everything that begins with the text before them. Groups are named after faults.
_find_fault: Final = re.compile(
    r"(?P<SLASHES>//)"
    r"|(?P<BACKSLASH>\\)"
    r"|(?P<FRAGMENT>#)"
    r"|(?P<QUERY>\?)"
    r"|(?P<ESCAPE>%(?![0-9A-Fa-f]{2}))"
    rf"|(?P<INVISIBLE>[\x00-\x1f\x7f-\x9f\ud800-\udfff{_UNSEEN}])"
    rf"|(?P<WILDCARD>(?<![.*])\.*+\*++{_END})"
    r"|(?P<PATTERN>(?<=/)\*|\.\*"
    rf"|\.\+{_END}"
    rf"|(?<=/)(?:\{{[^/]*\}}|<[^/]*>){_END}|\$\{{|\{{\{{"
    r"|\((?=/|[^()'/]*\|)|\[\^|\[[^/\]]{1,64}\][*+{])"
).search
_find_list: Final = re.compile(r"(?<![\s,|])[\s,|]++(?=/)").search
_SLASH: Final = re.compile(r"[/\\]")
_find_rewritable: Final = re.compile(r"[%;]|[^\x00-\x7f]").search
_find_control: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INVISIBLE_RUN: Final = re.compile(rf"[\x00-\x1f\x7f-\x9f{_UNSEEN}]+")


@final
@attrs.frozen
class PrefixReading:
    """The prefix of an entry or, if there is a ``problem``, the one that is closed: "", which is every path, or a legal prefix."""

    prefix: str
    problem: str = ""
    code: Code | None = attrs.field(default=None, eq=False, repr=False)


@final
@attrs.frozen
class _Found:
    """The problem, the prefix that it closes, and the prefix that was probably meant ("": unknown)."""

    fault: Fault
    closed: str = ""
    meant: str = ""


def read_prefix(text: str) -> PrefixReading:
    """Read the trimmed, non-empty text of ``pathPrefix``. Total, and takes bounded work; looks no further than ``MAX_PREFIX``."""
    found = _check(text)
    if found is None:
        return PrefixReading(_with_slash(text))
    return PrefixReading(_legal(found.closed), _sentence(text, found), CODE_OF[found.fault])


def _legal(closed: str) -> str:
    """Return a legal beginning of ``closed``, which may have been cut in the middle of something, as ``/a*`` from ``/a*%``."""
    for _ in range(_MAX_CUTS):
        found = _check(closed) if closed else None
        if found is None:
            return closed
        closed = found.closed
    return ""


def _sentence(text: str, found: _Found) -> str:
    shown, what = quoted(without_secrets(text[:MAX_PREFIX])), found.fault.value
    meant = found.meant if found.meant and _check(found.meant) is None else ""
    if found.fault is Fault.LONG:
        return f"{what}: write a shorter beginning of the path instead of {shown}"
    if found.fault in {Fault.LIST, Fault.PATTERN}:
        each = "one entry for each prefix" + (f", or {bounded(meant)} for all of them," if meant else "")
        return f"{what}: write {each} instead of {shown}"
    if found.fault is Fault.ESCAPE and meant:
        return f"{what}: write {bounded(meant)} instead of {shown} if the sign itself is meant"
    return f"{what}: write {bounded(meant) or 'the path as servers see it'} instead of {shown}"


def _with_slash(text: str) -> str:
    return text if text.startswith("/") else "/" + text


def _check(text: str) -> _Found | None:
    """Return the problem of ``text``, ``None`` if it is valid."""
    if len(text) > MAX_PREFIX:
        cut = _check(text[:MAX_PREFIX])
        return _Found(Fault.LONG, _with_slash(text[:MAX_PREFIX]).rstrip("/")) if cut is None else attrs.evolve(cut, meant="")
    if (everywhere := _judge_beginning(text)) is not None:
        return everywhere
    prefix = _with_slash(text)
    path = _before_query(prefix)
    if _find_list(path):
        return _Found(Fault.LIST)
    rewritten = _rewritten(path)
    if rewritten is not None and rewritten.fault is Fault.DOTS:
        return rewritten
    place = _find_fault(prefix)
    if place is None:
        return rewritten
    fault, closed = Fault[place.lastgroup or ""], prefix[: place.start()].rstrip("/")
    match fault:
        case Fault.SLASHES:
            meant = re.sub("//+", "/", prefix)
        case Fault.BACKSLASH:
            meant = re.sub(r"[/\\]+", "/", prefix)
        case Fault.ESCAPE:
            meant = _BROKEN_ESCAPE.sub("%25", prefix)
        case Fault.INVISIBLE:
            meant = _INVISIBLE_RUN.sub("", prefix)
        case _:
            meant = closed or "/"
    if fault is Fault.WILDCARD and place.end() < len(prefix):
        fault = Fault.PATTERN
    return _Found(fault, closed, meant)


def _judge_beginning(text: str) -> _Found | None:
    """Return the problem of the beginning of ``text``, which closes every path."""
    if url := _match_url(text):
        return _Found(Fault.URL, meant=_with_slash(_before_query(text[url.end() :])))
    if slashes := _match_slashes(text):
        fault = Fault.BACKSLASH if "\\" in slashes[0] else Fault.NETWORK_PATH
        return _Found(fault, meant="/" + text[slashes.end() :])
    if _match_quote(text):
        return _Found(Fault.QUOTED, meant=text.strip("\"'`"))
    if anchor := _match_anchor(text):
        return _Found(Fault.EXPRESSION, meant=_with_slash(text[anchor.end() :].removesuffix("$")))
    return None


def _before_query(text: str) -> str:
    return re.split(r"[?#]", text, maxsplit=1)[0]


def _rewritten(path: str) -> _Found | None:
    """Return the problem of ``path``, a prefix without its query, after servers rewrote it; ``None`` if it is valid."""
    place = _find_rewritable(path)
    closed = "" if place is None else path[: place.start()].rstrip("/")
    if not path.isascii() and len(path) > MAX_NON_ASCII_PATH:  # as of a request
        return _Found(Fault.LONG, closed)
    found: _Found | None = None
    for stage in _stages(path):
        if stage is None:
            return found or _Found(Fault.REWRITTEN, closed)
        segments = [segment.partition(";")[0].strip(" ") for segment in _SLASH.split(stage)]
        if "." in segments or ".." in segments:
            return _Found(Fault.DOTS, meant=remove_dot_segments(path))
        if "\\" in stage or "" in segments[1:-1]:
            found = _Found(Fault.REWRITTEN, closed)
    return found


def _stages(path: str) -> Iterator[str | None]:
    """Yield ``path`` normalised and then decoded again and again, ``None`` at the end if the result is not a path."""
    for _ in range(MAX_DECODINGS):
        path = path if path.isascii() else normalize("NFKC", path)
        yield path
        if not has_escape(path):
            return
        decoded = decode(path)
        if decoded is None or _find_control(decoded):
            break
        path = decoded
    yield None


@final
@attrs.frozen
class Spellings:
    """The distinct spellings of a prefix.

    ``literal``: unambiguous ones: as written, as clients escape it, decoded but still in need of escapes.
    ``rewritten``: decoded ones that somebody may also write, such as ``/orders/`` for ``/orders%2F``. A prefix is plain text, so a written
    one comes first: escapes in one entry never affect requests that match another entry and need no decoding.
    """

    literal: tuple[str, ...]
    rewritten: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All spellings."""
        return self.literal + self.rewritten


def fold(text: str) -> str:
    """Return ``text`` with ASCII letters in lower case, for comparison that ignores case."""
    return text.lower() if text.isascii() else text.encode(errors="surrogatepass").lower().decode(errors="surrogatepass")


def spellings_of(scope: MatchScope) -> Spellings:
    """Return the spellings of a scope's prefix, folded if it ignores case."""
    spellings = prefix_spellings(scope.path_prefix)
    if not scope.case_insensitive:
        return spellings
    literal = dict.fromkeys(map(fold, spellings.literal))
    return Spellings(tuple(literal), tuple(other for other in dict.fromkeys(map(fold, spellings.rewritten)) if other not in literal))


def prefix_spellings(prefix: str) -> Spellings:
    """Return the spellings of ``prefix``, itself first."""
    if "%" not in prefix and prefix.isascii():
        return Spellings((prefix,))
    path, mark, query = prefix.partition("?")
    as_came: list[str | None] = [path, encode(path)]
    rewritten: list[str] = []
    for decoded in (decode(path), decode_but_slashes(path)):
        if decoded is not None and is_plain(decoded.partition("?")[0]):
            rewritten.append(decoded)
        else:
            as_came.append(decoded)
    literal = dict.fromkeys(spelling + mark + query for spelling in as_came if spelling is not None)
    others = dict.fromkeys(spelling + mark + query for spelling in rewritten)
    return Spellings(tuple(literal), tuple(other for other in others if other not in literal))


def decoded_again(prefix: str) -> tuple[str, ...]:
    """Return what servers make of ``prefix``, a legal one, that decode it more often than its spellings are."""
    known = dict.fromkeys(prefix_spellings(prefix).all)
    found = list(known) if "%25" in prefix else []
    for text in found:  # grows meanwhile
        for decoded in (decode(text), decode_but_slashes(text)) if has_escape(text) else ():
            if decoded is not None and decoded not in known:
                known[decoded] = None
                found.append(decoded)
    return tuple(found[len(prefix_spellings(prefix).all) :])
