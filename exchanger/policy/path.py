"""Interpretations of a request path: every path that the servers behind a gateway may take it for.

Servers rewrite a path before they use it, each in its own way and order: they decode escapes once or twice, take a backslash for a slash,
merge slashes, take what follows two slashes for a host, drop parameters, resolve dot segments, drop blanks at the ends of segments,
normalise Unicode. The interpretations of a path are its closure under these rewritings. If all lead to the same decision, it does not
matter which server is right; otherwise the request is refused. The query stays unchanged at the end of every interpretation.

Must not know: policy entries, or the decision.
"""

import enum
import re
from typing import Final
from unicodedata import is_normalized, normalize
from urllib.parse import quote

# Each interpretation is looked up on its own. A path with one oddity has 2 or 3, one with three different ones up to 8.
MAX_INTERPRETATIONS: Final = 16
MAX_ODD_PATH: Final = 8192  # characters; the customary limit of servers for the whole request line
# Characters of the query that rewritten interpretations keep: no prefix is longer, and 16 copies of 60 KB take a while.
MAX_QUERY: Final = 2048
MAX_NON_ASCII_PATH: Final = 512  # characters; NFKC takes time with the square of a run of combining marks
# What rewriting a path into all interpretations may cost, in tenths of a microsecond: so the worst path that could be found takes half a
# millisecond (see bench/policy_match.py). Some 1,500 escapes, or 8,192 plain characters and some hundred oddities, stay below it.
MAX_WORK: Final = 4096
_CHARS: Final = 8  # characters that a search looks at in that time
_ESCAPE_WORK: Final = 2
_NFKC_WORK: Final = 16  # for each character of a path that is not normalised

# RFC 3986 section 3.3 and 3.4 (https://www.rfc-editor.org/rfc/rfc3986#section-3.3): pchar without ``;`` and escapes, "/", and a query of
# visible characters. Together with the absence of "//" and "/." no rewriting changes such a path.
_PLAIN: Final = r"/[A-Za-z0-9._~!$&'()*+,=:@/-]*+"
_is_plain_text: Final = re.compile(_PLAIN).fullmatch
_is_plain_with_query: Final = re.compile(_PLAIN + r"(?:\?[!-\"$-~]*+)?").fullmatch

_find_unprintable: Final = re.compile(r"[\x00-\x20\x7f-\x9f]").search  # control characters, space and DEL
_find_control: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]").search  # what an escape must not decode to; an escaped space is common in names
find_surrogate: Final = re.compile(r"[\ud800-\udfff]").search  # bytes that were not UTF-8, or half a character
_PARAMETERS: Final = re.compile(r";[^/]*+")
# A host follows "//" at the beginning (RFC 3986 section 4.2, https://www.rfc-editor.org/rfc/rfc3986#section-4.2). Servers that read a path
# with a URL parser lose it. WHATWG parsers see one after any number of slashes.
_AUTHORITY: Final = re.compile(r"//++[^/]*+")

# Percent-encoding: RFC 3986 section 2.1 (https://www.rfc-editor.org/rfc/rfc3986#section-2.1).
has_escape: Final = re.compile(r"%[0-9A-Fa-f]{2}").search
has_broken_escape: Final = re.compile(r"%(?![0-9A-Fa-f]{2})").search

_UNCERTAIN: Final = re.compile(r"[^\x00-\x20\x22-\x7f]+")

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_ENCODED_SLASH: Final = re.compile(r"%(?=2[Ff])")
_DIGITS: Final = "0123456789abcdefABCDEF"
# A table and one pass: the time does not depend on how many percent signs begin no escape, as it does in urllib.parse.unquote.
_OCTETS: Final = {(high + low).encode(): bytes([int(high + low, 16)]) for high in _DIGITS for low in _DIGITS}
_ASCII: Final = "".join(map(chr, range(128)))


@enum.unique
class MalformedPath(enum.Enum):
    """Why a path has no interpretations."""

    NOT_ORIGIN_FORM = "not in origin form"  # RFC 9112 section 3.2.1
    FRAGMENT = "has a fragment"
    UNPRINTABLE = "has control characters or blanks"
    BROKEN_ESCAPE = "has a broken percent escape"
    NOT_UTF8 = "is not UTF-8"
    TOO_LONG = "is too long to be read in all ways"
    TOO_MANY_INTERPRETATIONS = "has too many interpretations"


PathInterpretations = tuple[str, ...] | MalformedPath


def read_path(path: str, method: str) -> PathInterpretations:
    """Return all interpretations of ``path`` (with as much of its query as a prefix may reach), raw first, or why it cannot be read."""
    if is_plain_with_query(path):
        return (path,)
    if path == "*" and method == "OPTIONS":  # RFC 9112 section 3.2.4
        return (path,)
    part, mark, query = path.partition("?")
    if len(part) > MAX_ODD_PATH and not is_plain(part):
        return MalformedPath.TOO_LONG
    if (malformed := _malformed(path)) is not None:
        return malformed
    if has_broken_escape(part):
        return MalformedPath.BROKEN_ESCAPE
    interpretations = interpretations_of(part)
    if isinstance(interpretations, MalformedPath):
        return interpretations
    if not mark:
        return interpretations
    kept = mark + query[:MAX_QUERY]
    return (path, *[one + kept for one in interpretations[1:]])


def without_markers(path: str) -> str:
    """Return ``path``, which is not raw, as servers see it that drop the bytes behind each ``!``; the query is kept."""
    part, mark, query = path.partition("?")
    return part.replace("!", "") + mark + query


def certain_part(text: str) -> str:
    """Return what is certain of a text in which each ``!`` may stand for a character beyond ASCII, or for nothing."""
    return _UNCERTAIN.sub("", text) if is_uncertain(text) else text


def is_uncertain(text: str) -> bool:
    """Return whether a text has a ``!``, or a character that a gateway may replace by one."""
    return "!" in text or not text.isascii()


def _malformed(path: str) -> MalformedPath | None:
    if not path.startswith("/"):
        return MalformedPath.NOT_ORIGIN_FORM
    if "#" in path:
        return MalformedPath.FRAGMENT
    if path.isprintable():  # most are, and a query of 60 KB would take the searches a millisecond
        return MalformedPath.UNPRINTABLE if " " in path else None
    if path.isascii() or _find_unprintable(path, 0, MAX_ODD_PATH):
        return MalformedPath.UNPRINTABLE
    if len(path) > MAX_ODD_PATH:
        return MalformedPath.TOO_LONG
    return MalformedPath.NOT_UTF8 if find_surrogate(path) else None


def is_plain(part: str) -> bool:
    """Return whether no rewriting changes ``part``, a path without query, because it is plain ASCII text."""
    return _is_plain_text(part) is not None and "//" not in part and "/." not in part


def is_plain_with_query(path: str, *, raw: bool = True) -> bool:
    """Return whether no rewriting changes ``path`` before its query, because it is plain ASCII text.

    Unless the path is ``raw``, a ``!`` in it may replace a byte that the gateway could not put into text.
    """
    return "//" not in path and "/." not in path and (raw or "!" not in path) and _is_plain_with_query(path) is not None


def interpretations_of(part: str) -> PathInterpretations:
    """Return the closure of ``part``, a path without query, under all rewritings, ``part`` first."""
    if is_plain(part):
        return (part,)
    interpretations = [part]
    seen = {part}
    work = 0
    for interpretation in interpretations:  # grows meanwhile
        work += _work(interpretation)
        if work > MAX_WORK or len(interpretation) > (MAX_ODD_PATH if interpretation.isascii() else MAX_NON_ASCII_PATH):
            return MalformedPath.TOO_LONG
        for rewritten in _rewritten(interpretation):
            if isinstance(rewritten, MalformedPath):
                return rewritten
            if rewritten not in seen:
                seen.add(rewritten)
                interpretations.append(rewritten)
        if len(interpretations) > MAX_INTERPRETATIONS:
            return MalformedPath.TOO_MANY_INTERPRETATIONS
    return tuple(interpretations)


def _work(path: str) -> int:
    """Return the cost of rewriting ``path``, as ``MAX_WORK`` counts it."""
    work = len(path) // _CHARS + path.count("%") * _ESCAPE_WORK + path.count("/") + path.count(";")
    return work if path.isascii() or is_normalized("NFKC", path) else work + len(path) * _NFKC_WORK


def _rewritten(path: str) -> list[str | MalformedPath]:
    """Return the result of each rewriting that applies to ``path``."""
    results: list[str | MalformedPath] = []
    if has_escape(path):
        results.append(_checked(decode(path)))
        if "%2F" in path or "%2f" in path:
            results.append(_checked(decode_but_slashes(path)))
    if "\\" in path:
        results.append(path.replace("\\", "/"))
    if "//" in path:
        results.append(_merge_slashes(path))
        if path.startswith("//"):
            results.append(_AUTHORITY.sub("", path, count=1) or "/")
    if ";" in path:
        results.append(_PARAMETERS.sub("", path))
    if "/." in path:
        results.append(remove_dot_segments(path))
    if " " in path:
        results.append("/".join([segment.strip(" ") for segment in path.split("/")]))  # as file systems do without blanks at an end
    if not path.isascii() and not is_normalized("NFKC", path):
        results.append(_checked(normalize("NFKC", path)))
    return results


def _checked(path: str | None) -> str | MalformedPath:
    if path is None:
        return MalformedPath.NOT_UTF8
    if path.isascii() and path.isprintable():  # a third of the search's time
        return path
    return MalformedPath.UNPRINTABLE if _find_control(path) else path


def _merge_slashes(path: str) -> str:
    while "//" in path:
        path = path.replace("//", "/")
    return path


def remove_dot_segments(path: str) -> str:
    """Resolve ``.`` and ``..`` as RFC 3986 section 5.2.4 does (https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def decode(text: str) -> str | None:
    """Decode every escape once, ``None`` if that is not UTF-8; a percent sign without an escape is literal."""
    try:
        parts = _ESCAPE.split(text.encode())
        parts[1::2] = map(_OCTETS.__getitem__, parts[1::2])
        return b"".join(parts).decode()
    except UnicodeError:
        return None


def decode_but_slashes(text: str) -> str | None:
    """Decode every escape but those of slashes, as some servers do before they resolve dot segments."""
    return decode(_ENCODED_SLASH.sub("%25", text))


def encode(text: str) -> str | None:
    """Escape non-ASCII characters, with upper-case digits in all escapes (RFC 3986 section 6.2.2.1), ``None`` for half a character."""
    try:
        return re.sub("%[0-9A-Fa-f]{2}", lambda escape: escape[0].upper(), quote(text, safe=_ASCII))
    except UnicodeEncodeError:
        return None
