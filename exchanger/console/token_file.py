"""The token of CONSOLE_TOKEN_FILE, which follows its file: whoever replaces it ends every session.

The file is compared by content, every second, as that sees every way of replacing it. Must not know: who is asked for the token.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

import attrs
import trio

from exchanger.errors import ExchangerError
from exchanger.util.regular_file import NotRegularError, open_regular
from exchanger.values.secret import Secret

MIN_LENGTH: Final = 8
"""Characters: 48 bits where they are base64, which nobody guesses at eight a second, the rate that is let through."""
MAX_BYTES: Final = 4096
"""Of the file: far more than a token has, and a header with it still fits."""
POLL_S: Final = 1.0
"""Seconds between two looks; a look takes a fraction of a millisecond."""
READ_S: Final = 10.0
"""Seconds for a look: a file system that takes longer hangs."""

_NO_FILE: Final = "must be a file, and neither a folder nor a pipe"
_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)


class TokenFileError(ExchangerError):
    """The token file cannot be used at the start; the message says why and never what is in it."""


@final
@attrs.frozen
class Unusable:
    """Why there is no token in the file, for operators."""

    reason: str


@final
@attrs.frozen
class TokenFileStatistics:
    """Versions of the token that came into force, the first one included, and looks that found none that can be used."""

    loaded: int
    failed: int


def read_token(path: Path) -> Secret | Unusable:
    """Return the token in the file: its only word."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except NotRegularError:
        return Unusable(_NO_FILE)
    except OSError as error:
        return Unusable(f"cannot be read: {error.strerror or 'for an unknown reason'}")
    text = data.decode("ascii", "replace").strip()
    if len(data) > MAX_BYTES or len(text) < MIN_LENGTH:
        return Unusable(f"must hold a token of at least {MIN_LENGTH} and at most {MAX_BYTES} characters")
    if not _TOKEN.fullmatch(text):
        return Unusable("must hold one token of visible ASCII characters, without blanks")
    return Secret(text)


def check_token_file(path: Path) -> str | None:
    """Return what keeps the file from being used, ``None`` when nothing does."""
    found = read_token(path)
    return found.reason if isinstance(found, Unusable) else None


@final
@attrs.define(eq=False)
class TokenFile:
    """Holds the token in force. ``on_unusable`` is told when a file that was in order no longer is; it must neither block nor raise."""

    _path: Path
    _on_unusable: Callable[[str], None] = attrs.field(repr=False)
    _token: Secret | None = attrs.field(default=None, init=False)
    _replaced: trio.Event = attrs.field(factory=trio.Event, init=False)
    _said: str = attrs.field(default="", init=False)
    _loaded: int = attrs.field(default=0, init=False)
    _failed: int = attrs.field(default=0, init=False)
    # One thread at a time, and no more than one that hangs.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    @property
    def token(self) -> Secret:
        """The token in force, once ``start`` has returned."""
        if self._token is None:
            raise TokenFileError("the console's token has not been read yet")
        return self._token

    @property
    def replaced(self) -> trio.Event:
        """Set when ``token`` is no longer the one that it is now."""
        return self._replaced

    async def start(self) -> None:
        """Read the file for the first time.

        Raises:
            TokenFileError: there is no token in it.
        """
        self._judge(await self._look())
        if self._token is None:
            raise TokenFileError(f"CONSOLE_TOKEN_FILE {self._said}")

    async def run(self) -> None:
        """Follow the file until cancelled; while there is no token in it, the one before stays in force."""
        while True:
            await trio.sleep(POLL_S)
            self._judge(await self._look())

    def statistics(self) -> TokenFileStatistics:
        """Tell what was read."""
        return TokenFileStatistics(self._loaded, self._failed)

    async def _look(self) -> Secret | Unusable:
        with trio.move_on_after(READ_S):
            return await trio.to_thread.run_sync(read_token, self._path, abandon_on_cancel=True, limiter=self._limiter)
        return Unusable(f"could not be read within {READ_S:.0f} seconds")

    def _judge(self, found: Secret | Unusable) -> None:
        if isinstance(found, Unusable):
            self._failed += 1
            if found.reason != self._said:
                self._said = found.reason
                self._on_unusable(found.reason)
            return
        self._said = ""
        if found != self._token:
            self._token = found
            self._loaded += 1
            self._replaced.set()
            self._replaced = trio.Event()
