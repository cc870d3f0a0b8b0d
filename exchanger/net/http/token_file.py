"""The token that callers of a server must show, in a file. It follows the file.

Must not know: who needs the token, or how callers show it.
"""

import re
from pathlib import Path
from typing import Final, NoReturn, final

import attrs
import structlog
import trio

from exchanger.model.errors import ExchangerError
from exchanger.model.secret import Secret
from exchanger.net.network import SYSTEM, RunSync
from exchanger.util.follow_file import HANGS, FileFollower
from exchanger.util.regular_file import UnusableFile, read_regular

# Characters: 48 bits in base64. Finding them takes a million years at the eight guesses a second that the console lets through, and
# thousands of years at the thousand a second that the authorization port can answer.
MIN_LENGTH: Final = 8

# Of the file: far more than a token has, and a header with it still fits.
MAX_BYTES: Final = 4096

_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)


class TokenFileError(ExchangerError):
    """The service cannot start with this token file. The message says why and never quotes the file."""


def read_token(path: Path) -> Secret | UnusableFile:
    """Return the only word in the file."""
    data = read_regular(path, MAX_BYTES)
    if isinstance(data, UnusableFile):
        return data
    text = data.decode("ascii", "replace").strip()
    if len(data) > MAX_BYTES or len(text) < MIN_LENGTH:
        return UnusableFile(f"must hold a token of at least {MIN_LENGTH} and at most {MAX_BYTES} characters")
    if not _TOKEN.fullmatch(text):
        return UnusableFile("must hold one token of visible ASCII characters, without blanks")
    return Secret(text)


def check_token_file(path: Path) -> str | None:
    """Return why the file cannot be used, or ``None``."""
    found = read_token(path)
    return found.reason if isinstance(found, UnusableFile) else None


@final
@attrs.define(eq=False)
class TokenFile:
    """Holds the active token. ``variable`` names the file to operators; ``event`` is the log event of one that cannot be used."""

    _path: Path
    _variable: str
    _event: str
    _run_sync: RunSync = SYSTEM.run_sync
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    _token: Secret | None = attrs.field(default=None, init=False)
    _replaced: trio.Event = attrs.field(factory=trio.Event, init=False)
    _reported: str = attrs.field(default="", init=False)
    _file: FileFollower[Secret | UnusableFile] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._file = FileFollower(lambda: read_token(self._path), UnusableFile(HANGS), self._run_sync)

    @property
    def token(self) -> Secret:
        """The active token, once ``start`` has returned."""
        if self._token is None:
            raise TokenFileError(f"{self._variable} has not been read yet")
        return self._token

    @property
    def replaced(self) -> trio.Event:
        """Set when another token replaces the present one."""
        return self._replaced

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The variable that names the file, if the file cannot be used as it is now."""
        return (self._variable,) if self._reported else ()

    async def start(self) -> None:
        """Read the file for the first time.

        Raises:
            TokenFileError: it holds no token.
        """
        self._check(await self._file.look())
        if self._token is None:
            raise TokenFileError(f"{self._variable} {self._reported}")

    async def run(self) -> NoReturn:
        """Follow the file until cancelled. While it holds no token, the last one stays active."""
        await self._file.run_settled(self._check)

    def _check(self, found: Secret | UnusableFile) -> None:
        if isinstance(found, UnusableFile):
            self._reported = found.reason
            self._log.error(self._event, reason=found.reason, text="the previous token stays active")
            return
        self._reported = ""
        if found != self._token:
            self._token = found
            self._replaced.set()
            self._replaced = trio.Event()
