"""The demo's policy files: listed, read, written, made, put back, and watched until they are active. Nothing outside their folder."""

import hashlib
import os
import re
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, final

import attrs
import orjson
import trio

from exchanger.net.http.message import Request
from exchanger.operations.console.proxy import ConsoleProxy
from exchanger.util.regular_file import open_regular

# Bytes of UTF-8 of a file; a ConfigMap holds no more (https://kubernetes.io/docs/concepts/configuration/configmap/).
MAX_TEXT: Final = 1_048_576
# Files that are listed, and bytes of those that the demo did not come with: all of them are one answer, and are read with each check.
MAX_FILES: Final = 50
MAX_ADDED: Final = 4 * MAX_TEXT
# Entries of the folder that are looked at, a few microseconds each.
MAX_ENTRIES: Final = 2000
# Seconds to wait until a file is active: the service looks at its folder within one, and the machine may be busy. A file that changes no
# policy, or cannot be read, makes no new version at all.
EFFECT_S: Final = 2.0
# Seconds between two requests, each with a small answer; a change is usually active after a tenth of a second.
_POLL_S: Final = 0.02

# No separator, nothing hidden, and no other format than the editor's.
_is_name: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,94}\.ya?ml").fullmatch
_NO_NAME: Final = (
    "the name must begin with a letter or digit, end in .yaml or .yml, and have at most 100 letters, digits, dots, hyphens and underscores"
)
_FULL: Final = "the folder has as many policy files as can be edited here"
_NO_FOLDER: Final = "policy files cannot be edited here"

# Returns the number of the active version, ``None`` if it is unknown.
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
    """The file was not written: it is no longer the version that was edited, or is there where none was expected."""


@final
@attrs.frozen
class PolicyFiles:
    """The files in ``folder``; ``originals`` are those that the demo came with, by name. Links to other files are not followed.

    Without originals there is nothing to edit.
    """

    folder: Path
    originals: Mapping[str, str] = attrs.field(repr=False)

    def __contains__(self, name: str) -> bool:
        return name in self.originals or (_is_name(name) is not None and self._size(name) is not None)

    def texts(self) -> dict[str, str]:
        """Return the current files by name, "" for an original that is gone or cannot be read."""
        return {name: self._text(name) for name in sorted((*self.originals, *self._added()))}

    def create(self, name: str) -> str | NotSaved | ChangedElsewhere:
        """Make the file, whole or not at all, with a first policy of its own Namespace, and return its text."""
        if not self.originals:
            return NotSaved(_NO_FOLDER)
        if not _is_name(name):
            return NotSaved(_NO_NAME)
        text, sizes = first_policy(name), self._sizes()
        if len(self.originals) + len(sizes) >= MAX_FILES or sum(sizes.values()) + len(text) > MAX_ADDED:
            return NotSaved(_FULL)
        written = self._unread(name)
        try:
            written.write_text(text, "utf-8")
            os.link(written, self.folder / name)  # unlike a renamed file, it replaces none
        except FileExistsError:
            return ChangedElsewhere()
        except OSError as error:
            return NotSaved(f"the file cannot be written: {error.strerror}")
        finally:
            with suppress(OSError):
                written.unlink(missing_ok=True)
        return text

    def save(self, name: str, text: str, version: str = "") -> NotSaved | ChangedElsewhere | None:
        """Write ``text`` next to the file and rename it, so that nobody reads half a document.

        With a ``version``, nothing is written if another page or an editor has changed the file since.

        Raises:
            KeyError: there is no such file
        """
        if name not in self:
            raise KeyError(name)
        if version and version != version_of(self._text(name)):
            return ChangedElsewhere()
        data = encoded(text)
        if isinstance(data, NotSaved):
            return data
        written = self._unread(name)
        try:
            written.write_bytes(data)
            written.replace(self.folder / name)
        except OSError as error:
            return NotSaved(f"the file cannot be written: {error.strerror}")
        return None

    def reset(self, name: str) -> str | NotSaved | None:
        """Put the file back, and return its text; one that the demo did not come with is deleted, and ``None`` returned.

        Raises:
            KeyError: there is no such file.
        """
        if name not in self:
            raise KeyError(name)
        text = self.originals.get(name)
        if text is None:
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError as error:
                return NotSaved(f"the file cannot be deleted: {error.strerror}")
            return None
        saved = self.save(name, text)
        return saved if isinstance(saved, NotSaved) else text

    def _added(self) -> Iterator[str]:
        """Yield the names of files that the demo did not come with, as many as are listed."""
        room, left = MAX_ADDED, MAX_FILES - len(self.originals)
        for name, size in sorted(self._sizes().items()):
            if left > 0 and size <= room:
                room, left = room - size, left - 1
                yield name

    def _sizes(self) -> dict[str, int]:
        """Return the bytes of the files that the demo did not come with, by name."""
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in islice(entries, MAX_ENTRIES) if _is_name(entry.name)]
        except OSError:
            return {}
        sizes = {name: self._size(name) for name in names if name not in self.originals}
        return {name: size for name, size in sizes.items() if size is not None}

    def _size(self, name: str) -> int | None:
        """Return the bytes of a regular file, ``None`` if it is none, or has more than can be edited."""
        try:
            status = os.lstat(self.folder / name)
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_TEXT else None

    def _unread(self, name: str) -> Path:
        return self.folder / f".{name}.saved"  # hidden: the service does not read it

    def _text(self, name: str) -> str:
        try:
            with open_regular(self.folder / name) as file:
                return file.read(MAX_TEXT).decode("utf-8", "replace")
        except OSError:
            return ""


def first_policy(name: str) -> str:
    """Return the text of a new file: ``green.yaml`` is that of team-green, and denies requests to green.example.com."""
    stem = name.rpartition(".")[0].lower()
    label = re.sub(r"[^a-z0-9]+", "-", stem.removeprefix("team-") or stem).strip("-")[:50].strip("-") or "new"
    return f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: team-{label}
  labels:
    ext-authz-token-exchange.magneticflux.net/policy: enabled
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: "{label}"
  namespace: team-{label}
  labels:
    ext-authz-token-exchange.magneticflux.net/enabled: "true"
data:
  config.yaml: |
    version: v1
    entries:
      - match: {{host: {label}.example.com, pathPrefix: /}}
        action: deny
"""


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


async def becomes_active(before: int | None, revision: Revision) -> bool:
    """Return whether a version after ``before`` is active, as soon as it is, or after ``EFFECT_S`` if there is none."""
    if before is None:
        return False
    with trio.move_on_after(EFFECT_S):
        while True:
            now = await revision()
            if now is not None and now != before:
                return True
            await trio.sleep(_POLL_S)
    return False
