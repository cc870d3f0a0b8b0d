"""The demo's policy files: read, written, put back, and watched until they are in force. Only the files that the demo came with."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, final

import attrs
import orjson
import trio

from exchanger.console.proxy import ConsoleProxy
from exchanger.http.message import Request
from exchanger.util.regular_file import open_regular

# Bytes of UTF-8 of a file; a ConfigMap holds no more (https://kubernetes.io/docs/concepts/configuration/configmap/).
MAX_TEXT: Final = 1_048_576
# Seconds to wait until a file is in force: the service looks at its folder within one, and the machine may be busy. A file that changes no
# policy, or cannot be read, makes no new version at all.
EFFECT_S: Final = 2.0
# Seconds between two requests, each with a small answer; a change is usually in force after a tenth of a second.
_POLL_S: Final = 0.02

# Returns the number of the version in force, ``None`` if it is unknown.
Revision = Callable[[], Awaitable[int | None]]

_OK: Final = 200


@final
@attrs.frozen
class NotSaved:
    """Why a file was not written, for its editor."""

    reason: str


@final
@attrs.frozen
class ChangedElsewhere:
    """The file was not written: it is no longer the version that was edited."""


@final
@attrs.frozen
class PolicyFiles:
    """``originals`` are the files that the demo came with, by name; no other file in ``folder`` is read or written."""

    folder: Path
    originals: Mapping[str, str] = attrs.field(repr=False)

    def __contains__(self, name: str) -> bool:
        return name in self.originals

    def texts(self) -> dict[str, str]:
        """Return the current files, "" for one that is gone or cannot be read."""
        return {name: self._text(name) for name in sorted(self.originals)}

    def save(self, name: str, text: str, version: str = "") -> NotSaved | ChangedElsewhere | None:
        """Write ``text`` next to the file and rename it, so that nobody reads half a document.

        With a ``version``, nothing is written if another page or an editor has changed the file since.

        Raises:
            KeyError: there is no such file
        """
        if name not in self.originals:
            raise KeyError(name)
        if version and version != version_of(self._text(name)):
            return ChangedElsewhere()
        data = encoded(text)
        if isinstance(data, NotSaved):
            return data
        file = self.folder / name
        written = file.with_name(f".{name}.saved")  # hidden: the service does not read it
        try:
            written.write_bytes(data)
            written.replace(file)
        except OSError as error:
            return NotSaved(f"the file cannot be written: {error.strerror}")
        return None

    def reset(self, name: str) -> str | NotSaved:
        """Put the file back, and return its text.

        Raises:
            KeyError: there is no such file.
        """
        text = self.originals[name]
        saved = self.save(name, text)
        return saved if isinstance(saved, NotSaved) else text

    def _text(self, name: str) -> str:
        try:
            with open_regular(self.folder / name) as file:
                return file.read(MAX_TEXT).decode("utf-8", "replace")
        except OSError:
            return ""


def version_of(text: str) -> str:
    """Return the version of a file with this text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def encoded(text: str) -> bytes | NotSaved:
    """Return ``text`` as the bytes of a file, or why that is impossible."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return NotSaved("the text has characters that no file can hold")
    return data if len(data) <= MAX_TEXT else NotSaved(f"the text is longer than {MAX_TEXT} bytes")


def revision_of(console: ConsoleProxy) -> Revision:
    """Return a function that asks the service's ``console``, which numbers the versions of the policy that it decides by."""

    async def revision() -> int | None:
        response = await console.forward(Request("GET", "/api/policy"))
        try:
            found = orjson.loads(response.body) if response.status == _OK else None
        except orjson.JSONDecodeError:
            return None
        number = found.get("revision") if isinstance(found, dict) else None
        return number if isinstance(number, int) else None

    return revision


async def in_force(before: int | None, revision: Revision) -> bool:
    """Return whether a version after ``before`` is in force, as soon as it is, or after ``EFFECT_S`` if there is none."""
    if before is None:
        return False
    with trio.move_on_after(EFFECT_S):
        while True:
            now = await revision()
            if now is not None and now != before:
                return True
            await trio.sleep(_POLL_S)
    return False
