"""A request as people write it, METHOD URL and headers, parsed for a question to the policy.

Nothing is normalised: the service must see what a client could send.
"""

import re
from collections.abc import Iterable
from typing import Final, final

import attrs

from exchanger.authz.decision.answer import STAND_INS, asked_request
from exchanger.model.request import HttpRequest
from exchanger.policy.headers import TOKEN
from exchanger.util.text import quoted

_SCHEMES: Final = frozenset({"", "http", "https", "ws", "wss"})
# Headers of one request; gateways also have a limit of a hundred.
MAX_HEADERS: Final = 100

_parts: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?#]*)([^#]*)(#?)", re.DOTALL).match
_is_method: Final = re.compile(TOKEN).fullmatch
_is_name: Final = re.compile(TOKEN).fullmatch

Header = tuple[str, str]


@final
@attrs.frozen
class MalformedQuestion:
    """Why something is not a request, in a sentence that repeats no header's value."""

    reason: str


@final
@attrs.frozen
class Question:
    """The request in question. ``headers`` have an ``authorization`` unless the request is meant to have none."""

    method: str
    host: str
    path: str
    headers: tuple[Header, ...] = attrs.field(default=(), repr=False)
    raw: bool = False

    def request(self) -> HttpRequest:
        """Return the question for the decision."""
        return asked_request(self.method, self.host, self.path, self.headers, raw=self.raw)

    def url(self) -> str:
        """Return the request's URL unchanged: with another escape it would be another request."""
        return f"https://{self.host}{self.path}"


def read_question(method: str, url: str, headers: Iterable[str | Header] = (), *, raw: bool = False) -> Question | MalformedQuestion:
    """Return the question. A bearer token is assumed unless ``headers`` have ``Authorization``; an empty value is none, as with curl."""
    fields: list[Header] = []
    for header in headers:
        name, colon, value = header.partition(":") if isinstance(header, str) else (header[0], ":", header[1])
        if not colon or not _is_name(name.strip()):
            return MalformedQuestion("a header must be 'Name: value'")
        fields.append((name.strip().lower(), value.strip(" \t")))
    if len(fields) > MAX_HEADERS:
        return MalformedQuestion(f"a request has at most {MAX_HEADERS} headers")
    if not _is_method(method):
        return MalformedQuestion(f"{quoted(method)} is not a method")
    parts = _parts(url)
    scheme, authority, path, fragment = ("", "", "", "") if parts is None else parts.groups(default="")
    if scheme.lower() not in _SCHEMES:
        return MalformedQuestion(f"the URL has the scheme {quoted(scheme)}: write https://HOST/PATH")
    if "@" in authority:
        return MalformedQuestion("the URL has user information: leave it out, or ask with -H 'Authorization: …'")
    if fragment:
        return MalformedQuestion("the URL has a fragment, which clients do not send: write %23 for the character")
    if not authority and not any(name == "host" and value for name, value in fields):
        return MalformedQuestion("the URL has no host: write https://HOST/PATH")
    if not any(name == "authorization" for name, _ in fields):
        fields.append(("authorization", STAND_INS[None]))
    kept = tuple(field for field in fields if field != ("authorization", ""))
    host = next((value for name, value in kept if name == "host" and value), authority)
    return Question(method, host, path if path.startswith("/") else f"/{path}", kept, raw)
