"""A request path made fit to be shown: nothing that any server may read as a query, a parameter, a fragment or user information.

Servers decode escapes once or again, take backslashes for slashes, merge slashes, drop bytes that they cannot read, and normalise Unicode.
``_read`` undoes all of that at once, and remembers where in the path each character came from. What it finds there decides how much of the
path, as it was written, is shown. No other order of decoding finds more: an escape never begins inside another one, so every order ends in
the same text, and a delimiter stays once it is there.

Must not know: policy, or what a path is matched with.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, final
from unicodedata import normalize

import attrs

from exchanger.util.text import ELLIPSIS

# Of an ASCII character that is neither a percent sign nor one that hides something, or of a byte of characters that normalisation makes no
# such one of. Left out are the first bytes of U+0340, U+2000, U+F000 and their neighbours, and those of overlong forms.
_HARMLESS_ESCAPE: Final = "%(?:[2-7][0-9A-Fa-f](?<!23|25|3[bBfF]|40)|[89ABabCcDdEe][0-9A-Fa-f](?<![Cc][01dD]|[Ee][02fF]))"
# Without other escapes, a parameter or an ``@`` every reading of a path is free of what is hidden.
_PLAIN: Final = re.compile(rf"(?:[A-Za-z0-9._~!$&'()*+,=:/-]++|{_HARMLESS_ESCAPE})*+(?=\?|\Z)")
# What is read as it stands, but within an escape.
_ORDINARY: Final = re.compile(r"[A-Za-z0-9._~$&'()*+,=:@/-]++")
_PLAIN_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]*+")

_DELIMITERS: Final = frozenset("?#;")
_HEX: Final = frozenset("0123456789abcdefABCDEF")
# In the text that is read: a slash for some servers only, written as a backslash or an escape. It may also be part of a password.
_SOFT_SLASH: Final = "\\"
# What some servers leave out of a path. ``!`` may stand for a byte that the gateway has masked.
_DROPPED: Final = frozenset("!\N{REPLACEMENT CHARACTER}") | frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))

# Code points that stand for undecodable bytes in text (PEP 383, https://peps.python.org/pep-0383/).
_ESCAPED_BYTES: Final = range(0xDC80, 0xDD00)
_TRAILING: Final = 0x80
_LEADING: Final = 0xC0
# Bytes that only begin overlong forms or forms of five and six bytes, which lax decoders read as ASCII (RFC 3629 section 10).
_OVERLONG: Final = frozenset((0xC0, 0xC1, *range(0xF8, 0xFE)))
# The least second byte after a first one; a smaller one makes an overlong form (RFC 3629 section 4).
_LEAST_SECOND: Final = {0xE0: 0xA0, 0xF0: 0x90}

_SCHEME: Final = r"[A-Za-z][A-Za-z0-9+.-]*+:"
# A host may follow: where a path does not begin with a slash, and after two of them (RFC 3986 section 4.2), also after others dropped a
# segment of blanks.
_AUTHORITY: Final = re.compile(rf"^(?![/\\])(?:{_SCHEME}[/\\][/\\ ]*+)?+|[/\\][ ]*+[/\\][/\\ ]*+")
_SEGMENT: Final = re.compile(r"[^/]++")
_WHOLE_SCHEME: Final = re.compile(rf"{_SCHEME}[\\ ]*+")


def plain_end(path: str, limit: int) -> int | None:
    """Return where the path ends before its query, ``None`` when it has to be read first, or is longer than ``limit`` characters."""
    found = _PLAIN.match(path, 0, limit + 1)
    return None if found is None or found.end() > limit or "@" in path else found.end()


def is_plain_host(host: str) -> bool:
    """Tell whether ``host`` can be shown as it is."""
    return _PLAIN_HOST.fullmatch(host) is not None


def redacted(path: str, limit: int) -> str:
    """Return what may be shown of the first ``limit`` characters of ``path``; characters that do not print are left as they are.

    Costs time in proportion to ``limit``. What is left out within the path leaves an ellipsis; query and fragment leave nothing. What is
    shown stays the same when it is redacted again.
    """
    text = path[:limit]
    read, origins, read_to = _read(text)
    rest = path[read_to : read_to + 2]
    hidden, queried = rest[:1] in {"?", "#"}, rest[:1] == "?"
    goes_on = rest not in {"", ELLIPSIS} and _may_have_at(path, read_to, escaped=not queried)
    shown: list[str] = []
    at = 0
    for start, end in _secrets(read, outer=goes_on, inner=goes_on and not queried):
        shown += (text[at : origins[start]], ELLIPSIS)
        if end == len(read):
            return "".join(shown)
        at = origins[end]
    return "".join((*shown, text[at:read_to], "" if hidden or read_to == len(path) else ELLIPSIS))


def _may_have_at(path: str, begin: int, *, escaped: bool) -> bool:
    """Tell whether an ``@`` may stand behind ``begin``, also ``escaped``."""
    return path.find("@", begin) >= 0 or (escaped and (path.find("%", begin) >= 0 or not path.isascii()))


def _secrets(text: str, *, outer: bool, inner: bool) -> Iterator[tuple[int, int]]:
    """Yield what is user information, from where to where.

    ``outer`` and ``inner`` tell whether an ``@`` may follow behind the text, for the authority of a target and for a segment.
    """
    authority = _AUTHORITY.search(text)
    begin = len(text) if authority is None else authority.start()
    after_scheme = False
    for found in _SEGMENT.finditer(text):
        if found.start() >= begin:
            break
        at = len(text) if inner and found.end() == len(text) else text.rfind("@", *found.span())
        if at >= 0 and (after_scheme or ":" in text[found.start() : at]):
            if at >= begin:
                authority = None
                at = len(text) if outer else text.rfind("@")
            yield found.start(), at
        after_scheme = _WHOLE_SCHEME.fullmatch(found[0]) is not None
    if authority is not None:
        at = len(text) if outer else text.rfind("@")
        if at > authority.end():
            yield authority.end(), at


def _read(path: str) -> tuple[str, list[int], int]:
    """Return ``path`` with all rewritings undone as far as its first delimiter, where in it each character begins, and where that ends.

    A delimiter that is escaped, or one of parameters, is part of what is shown.
    """
    reader = _Reader()
    at = 0
    while at < len(path):
        char = path[at]
        if not reader.is_within_escape and (run := _ORDINARY.match(path, at)) is not None:
            reader.text += run[0]
            reader.origins += range(at, run.end())
            at = run.end()
            continue
        if char == "/":
            reader.keep(char, at)
        elif reader.takes(char, at):
            return "".join(reader.text), reader.origins, at if char in {"?", "#"} else at + 1
        at += 1
    return "".join(reader.text), reader.origins, len(path)


@final
@attrs.define(eq=False)
class _Reader:
    """Reads one character after the other; ``takes`` tells that a delimiter was found."""

    text: list[str] = attrs.field(factory=list, init=False)
    origins: list[int] = attrs.field(factory=list, init=False)
    # The beginning of a character in UTF-8, from escapes.
    _bytes: bytearray = attrs.field(factory=bytearray, init=False)
    _bytes_at: int = attrs.field(default=0, init=False)

    @property
    def is_within_escape(self) -> bool:
        """Whether what comes next may belong to an escape."""
        return "%" in self.text[-2:]

    def keep(self, char: str, at: int) -> None:
        self.text.append(char)
        self.origins.append(at)

    def takes(self, char: str, at: int) -> bool:
        """Take the character that begins ``at``; return whether it is a delimiter, or completes one."""
        if char in _HEX:
            return self._takes_digit(char, at)
        if char in _DELIMITERS:
            return True
        if char in _DROPPED:
            return False
        if char in {"/", "\\"}:
            char = _SOFT_SLASH
        elif char in {"u", "U"} and self.text[-1:] == ["%"]:
            return True  # ``%u003F`` of some servers
        elif not char.isascii():
            return self._takes_beyond_ascii(char, at)
        self.keep(char, at)
        return False

    def _takes_digit(self, digit: str, at: int) -> bool:
        text, origins = self.text, self.origins
        while len(text) > 1 and text[-2] == "%" and text[-1] in _HEX:
            octet = int(text[-1] + digit, 16)
            at = origins[-2]
            del text[-2:], origins[-2:]
            digit = chr(octet)
            if digit not in _HEX:  # otherwise it may end an escape in its turn
                return self.takes(digit, at) if octet < _TRAILING else self._takes_octet(octet, at)
        self.keep(digit, at)
        return False

    def _takes_octet(self, octet: int, at: int) -> bool:
        if octet >= _LEADING:
            self._bytes[:] = (octet,)
            self._bytes_at = at
            return octet in _OVERLONG
        if not self._bytes:
            return False
        if len(self._bytes) == 1 and octet < _LEAST_SECOND.get(self._bytes[0], 0):
            return True
        self._bytes.append(octet)
        try:
            char = self._bytes.decode()
        except UnicodeDecodeError:
            return False
        self._bytes.clear()
        return self._takes_beyond_ascii(char, self._bytes_at)

    def _takes_beyond_ascii(self, char: str, at: int) -> bool:
        if ord(char) in _ESCAPED_BYTES:
            return self._takes_octet(ord(char) - 0xDC00, at)
        normal = _ascii_of(char)
        if not normal and char.isprintable():
            self.keep(char, at)
        return any(self.takes(part, at) for part in normal)


@lru_cache(maxsize=512)  # a few ligatures take longer than all the rest of a path
def _ascii_of(char: str) -> str:
    """Return the ASCII characters that normalisation makes of ``char``."""
    return "".join(part for part in normalize("NFKC", char) if part.isascii())
