"""Headers in a match: the names and values that an entry may have, and a request's values.

A header must not be a way around an entry. So if an entry that otherwise matches names a header, the request must leave no doubt about its
value: it occurs at most once, without a comma, and no other name differs from it only in ``_`` and ``-``, since some servers treat these as
equal (RFC 3875 section 4.1.18, https://www.rfc-editor.org/rfc/rfc3875#section-4.1.18). It has no leading or trailing spaces, which
Envoy forwards from HTTP/2 and servers remove, and no bytes that are not UTF-8, some of which servers remove as well.

Must not know: hosts, paths, or documents.
"""

import base64
import binascii
import enum
import re
from functools import lru_cache
from typing import Final, final

import attrs

from exchanger.model.entry import HeaderMatch
from exchanger.model.request import HeaderFields
from exchanger.policy.path import certain_part, find_surrogate
from exchanger.util.frozen import fast_init

# Headers of one entry; the Model Context Protocol needs two or three.
MAX_HEADERS: Final = 8
# Characters of a name or a value in a policy; gateways have limits of the same order for all headers together.
MAX_NAME: Final = 256
MAX_VALUE: Final = 4096

# Names of headers in policies whose canonical form is kept.
_KEPT_NAMES: Final = 1_024

TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 section 5.6.2
# Headers that other parts of a match cover, and those that do not belong in a policy.
FORBIDDEN: Final = frozenset({"authorization", "cookie", "host"})
_is_token: Final = re.compile(TOKEN).fullmatch
_find_control: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search

# The Model Context Protocol sends values that are not plain ASCII as =?base64?…?= (Streamable HTTP, "Standard headers").
_PROTOCOL: Final = "mcp-"
_is_encoded: Final = re.compile(r"=\?(base64)\?(.*)\?=", re.IGNORECASE | re.DOTALL).fullmatch


def name_problem(name: str) -> str:
    """Return why no entry may name the header ``name``, "" if one may; the text continues after the field's name."""
    if name.startswith(":"):
        return "is a pseudo-header: match it by host, pathPrefix and methods"
    if len(name) > MAX_NAME or not _is_token(name):
        return "is not a header name"
    if canonical(name) in FORBIDDEN:
        return "cannot be matched: match the host by host, and leave credentials out of policies"
    return ""


def value_problem(value: str) -> str:
    """Return why no header can have ``value`` without doubt, "" if one can; the text continues after the field's name."""
    if value != value.strip():
        return "has leading or trailing blanks, which gateways remove"
    if "," in value:
        return "has a comma, which separates header values"
    if _find_control(value):
        return "has a character that headers cannot have"
    return f"is longer than {MAX_VALUE} characters" if len(value) > MAX_VALUE else ""


@lru_cache(maxsize=_KEPT_NAMES)
def canonical(name: str) -> str:
    """Return ``name`` as seen by servers that take ``_`` for ``-``."""
    return name.lower().replace("_", "-")


@final
@attrs.frozen
class _Field:
    """A header that occurred once: its name in lower case, and its value. ``masked``: parts of the value are unknown."""

    name: str
    value: str
    masked: bool


@final
@fast_init
@attrs.frozen(weakref_slot=False)
class HeaderValues:
    """The values of some headers. ``masked``: a ``!`` in one of them may stand for other characters, or for none."""

    texts: tuple[str, ...]
    masked: bool


@enum.unique
class _Doubt(enum.Enum):
    """A header occurred whose value servers may read differently."""

    DOUBT = "doubt"


@final
@attrs.define(eq=False, repr=False)
class RequestHeaders:
    """The headers of one request, read when a policy first needs one."""

    _given: HeaderFields
    # By canonical name: the name in lower case and the value, ``None`` if there are several.
    _once: dict[str, tuple[str, str] | None] | None = attrs.field(default=None, init=False)
    _fields: "dict[str, _Field | _Doubt | None]" = attrs.field(factory=dict, init=False)

    def field(self, key: str) -> "_Field | _Doubt | None":
        """Return the header with the canonical name ``key``; ``None`` if it did not occur."""
        try:
            return self._fields[key]
        except KeyError:
            return self._fields.setdefault(key, self.read(key))

    def is_doubtful(self, key: str, name: str) -> bool:
        """Return whether servers may read the header ``name``, with the canonical name ``key``, in different ways."""
        field = self.field(key)
        return field is _Doubt.DOUBT or (isinstance(field, _Field) and field.name != name)

    def values_of(self, names: tuple[str, ...]) -> "HeaderValues | None":
        """Return the values of headers without doubt; ``None`` if one is missing."""
        texts, masked = list[str](), False
        for name in names:
            field = self.field(canonical(name))
            if not isinstance(field, _Field) or field.name != name:
                return None
            texts.append(field.value)
            masked = masked or field.masked
        return HeaderValues(tuple(texts), masked)

    def read(self, key: str) -> "_Field | _Doubt | None":
        """Read the header with the canonical name ``key``, which ``field`` remembers."""
        if self._once is None:
            self._once = once = {}
            for given, value in self._given.fields:
                name = given.lower()
                other = name.replace("_", "-")
                once[other] = None if other in once else (name, value)
        if key not in self._once:
            return None
        came = self._once[key]
        if came is None:
            return _Doubt.DOUBT
        name, value = came
        masked = not self._given.raw and "!" in value
        certain = certain_part(value) if masked else value
        if "," in value or certain != certain.strip() or find_surrogate(value):
            return _Doubt.DOUBT
        if key.startswith(_PROTOCOL) and (encoded := _is_encoded(value)):
            decoded = _decoded(encoded[2]) if encoded[1] == "base64" else None
            return _Doubt.DOUBT if decoded is None else _Field(name, decoded, masked)
        return _Field(name, value, masked)

    def has(self, headers: tuple[HeaderMatch, ...]) -> bool:
        """Return whether the request has all ``headers`` without doubt."""
        for name, value in headers:
            field = self.field(canonical(name))
            if not isinstance(field, _Field) or (field.name, field.value) != (name, value):
                return False
        return True


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True).decode()
    except (UnicodeError, binascii.Error):
        return None
