"""Who may see what holds data: those who show the token, or a session made with it. Guessing is slow, and only a few guess at a time.

Must not know: routes, or what is shown.
"""

from typing import Final, final

import attrs
import orjson
import trio

from exchanger.console.guard import COOKIE, bearer_of, has_session, is_token, session_of
from exchanger.console.message import Request, Response, error, no_content
from exchanger.console.token_file import TokenFile

FAILURE_S: Final = 1.0
"""Seconds that a wrong token is answered after."""
MAX_FAILURES: Final = 8
"""Wrong tokens that wait for their answer; while there are as many, no token is looked at, so that no more are guessed a second."""

_ATTRIBUTES: Final = "HttpOnly; SameSite=Strict; Path=/"
_UNAUTHORISED: Final = error(401, "sign in with the console's token", ("WWW-Authenticate", "Bearer"))
_TOO_MANY: Final = error(429, "too many failed attempts to sign in; try again in a moment", ("Retry-After", "1"))
_NOT_NEEDED: Final = error(404, "this console has no token")
_NO_TOKEN: Final = error(400, 'the body must be {"token": "…"}')


@final
@attrs.frozen
class AccessStatistics:
    """Sessions made, and wrong tokens, since the start."""

    sessions: int
    failures: int


@final
@attrs.define(eq=False)
class Access:
    """Without a token file everybody who reaches the console may see everything; the settings allow that on loopback only."""

    _file: TokenFile | None = None
    _failing: int = attrs.field(default=0, init=False)
    _sessions: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)
    _never: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def required(self) -> bool:
        """Whether there is a token to show."""
        return self._file is not None

    @property
    def revoked(self) -> trio.Event:
        """Set when what gives access now no longer does."""
        return self._never if self._file is None else self._file.replaced

    async def admit(self, request: Request) -> Response | None:
        """Return what ``request`` is answered when it may not see data, ``None`` when it may."""
        if self._file is None or has_session(request, self._file.token):
            return None
        bearer = bearer_of(request)
        return await self._guess(bearer) if bearer else _UNAUTHORISED

    async def open_session(self, request: Request) -> Response:
        """Handle ``POST /session``."""
        if self._file is None:
            return _NOT_NEEDED
        text = _token_in(request.body)
        if text is None:
            return _NO_TOKEN
        refused = await self._guess(text)
        if refused is not None:
            return refused
        self._sessions += 1
        # Behind a proxy with TLS the page's origin says so, and then the cookie goes through nothing else.
        secure = "; Secure" if request.value("origin").startswith("https:") else ""
        return no_content(("Set-Cookie", f"{COOKIE}={session_of(self._file.token)}; {_ATTRIBUTES}{secure}"))

    async def close_session(self, _request: Request) -> Response:
        """Handle ``DELETE /session``: the browser forgets it. What ends all sessions is another token."""
        await trio.lowlevel.checkpoint()
        return no_content(("Set-Cookie", f"{COOKIE}=; Max-Age=0; {_ATTRIBUTES}"))

    def statistics(self) -> AccessStatistics:
        """Tell how many came in, and how many did not."""
        return AccessStatistics(self._sessions, self._failures)

    async def _guess(self, text: str) -> Response | None:
        """Return ``None`` when ``text`` is the token, and otherwise the answer, after a while."""
        if self._file is None or self._failing >= MAX_FAILURES:
            return _TOO_MANY
        if is_token(text, self._file.token):
            return None
        self._failures += 1
        self._failing += 1
        try:
            await trio.sleep(FAILURE_S)
        finally:
            self._failing -= 1
        return _UNAUTHORISED


def _token_in(body: bytes) -> str | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    token = value.get("token") if isinstance(value, dict) else None
    return token if isinstance(token, str) else None
