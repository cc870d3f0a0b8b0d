"""Access to data: for holders of the token, or of a session made with it. Guessing is slow, and only a few guesses are answered at a time.

Must not know: routes, or what is shown.
"""

from pathlib import Path
from typing import Final, final

import attrs
import orjson
import trio

from exchanger.model.authority import is_host, normalise_policy_host
from exchanger.net.http.message import Request, Response
from exchanger.net.http.token_file import TokenFile
from exchanger.operations.console.guard import COOKIE, bearer_of, has_session, is_token, session_of
from exchanger.operations.console.message import error, no_content

# Seconds until a wrong token is answered.
FAILURE_S: Final = 1.0
# Wrong tokens that wait for their answer. While there are that many, no token is checked: this limits guesses per second.
MAX_FAILURES: Final = 8
# Names that people reach a console by: a handful; more is a mistake.
_MAX_NAMES: Final = 64

_ATTRIBUTES: Final = "HttpOnly; SameSite=Strict; Path=/"
_UNAUTHORIZED: Final = error(401, "sign in with the console's token", ("WWW-Authenticate", "Bearer"))
_TOO_MANY: Final = error(429, "too many failed attempts to sign in; try again in a moment", ("Retry-After", "1"))
_NOT_NEEDED: Final = error(404, "this console has no token")
_NO_TOKEN: Final = error(400, 'the body must be {"token": "…"}')


@final
@attrs.frozen
class ConsoleSettings:
    """CONSOLE_ADDRESS, CONSOLE_TOKEN_FILE and CONSOLE_HOSTS. ``host`` "": all interfaces; ``port`` 0: any free one.

    ``hosts`` are further names that the console may be addressed by, in canonical form.
    """

    host: str = "127.0.0.1"
    port: int = 3003
    token_file: Path | None = None
    hosts: frozenset[str] = frozenset()


def parse_hosts(text: str) -> frozenset[str]:
    """Return the names of a comma-separated list, in canonical form.

    Raises:
        ValueError: one of them is not a host name; the message does not repeat it.
    """
    names = frozenset(normalise_policy_host(part) for part in text.split(",") if part.strip())
    if not all(is_host(name) for name in names) or len(names) > _MAX_NAMES:
        raise ValueError(f"must be at most {_MAX_NAMES} host names, separated by commas, without scheme or path")
    return names


@final
@attrs.define(eq=False)
class ConsoleAccess:
    """Without a token file, anyone who reaches the console may see everything. The settings allow that on loopback only."""

    _file: TokenFile | None = None
    _failing: int = attrs.field(default=0, init=False)
    _never: trio.Event = attrs.field(factory=trio.Event, init=False)

    @property
    def required(self) -> bool:
        """Whether a token is required."""
        return self._file is not None

    @property
    def revoked(self) -> trio.Event:
        """Set once the current token or session no longer gives access."""
        return self._never if self._file is None else self._file.replaced

    async def admit(self, request: Request) -> Response | None:
        """Return ``None`` if ``request`` may see data, and otherwise its response."""
        if self._file is None or has_session(request, self._file.token):
            return None
        bearer = bearer_of(request)
        return await self._guess(bearer) if bearer else _UNAUTHORIZED

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
        # Behind a proxy with TLS the page's origin is https, and the cookie then requires TLS.
        secure = "; Secure" if request.value("origin").startswith("https:") else ""
        return no_content(("Set-Cookie", f"{COOKIE}={session_of(self._file.token)}; {_ATTRIBUTES}{secure}"))

    async def close_session(self, _request: Request) -> Response:
        """Handle ``DELETE /session``: the browser forgets it. A new token ends all sessions."""
        await trio.lowlevel.checkpoint()
        return no_content(("Set-Cookie", f"{COOKIE}=; Max-Age=0; {_ATTRIBUTES}"))

    async def _guess(self, text: str) -> Response | None:
        """Return ``None`` if ``text`` is the token, and otherwise the response, after a while."""
        if self._file is None or self._failing >= MAX_FAILURES:
            return _TOO_MANY
        if is_token(text, self._file.token):
            return None
        self._failing += 1
        try:
            await trio.sleep(FAILURE_S)
        finally:
            self._failing -= 1
        return _UNAUTHORIZED


def _token_in(body: bytes) -> str | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    token = value.get("token") if isinstance(value, dict) else None
    return token if isinstance(token, str) else None
