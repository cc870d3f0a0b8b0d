"""The demo's policy files: read, checked while somebody edits, written and put back. Only the files that the demo came with.

Must not know: HTTP, or what a policy says.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.util.regular_file import open_regular

MAX_TEXT: Final = 1_048_576
"""Bytes of UTF-8 of a file; a ConfigMap holds no more (https://kubernetes.io/docs/concepts/configuration/configmap/)."""


@final
@attrs.frozen
class NotSaved:
    """Why a file was not written, in words for whoever edits it."""

    reason: str


@final
@attrs.frozen
class Changed:
    """The file was not written, since it is no longer the version that was edited."""


@final
@attrs.frozen
class PolicyFiles:
    """``originals`` are the files as the demo came with them, by name; no file of another name in ``folder`` is read or written."""

    folder: Path
    originals: Mapping[str, str] = attrs.field(repr=False)

    def __contains__(self, name: str) -> bool:
        return name in self.originals

    def texts(self) -> dict[str, str]:
        """Return the files as they are now, "" for one that was deleted by hand or cannot be read."""
        return {name: self._text(name) for name in sorted(self.originals)}

    def save(self, name: str, text: str, version: str = "") -> NotSaved | Changed | None:
        """Write ``text`` beside the file and rename it over: nobody reads half a document.

        With a ``version``, nothing is written when the file is another one now: another page or an editor has changed it.

        Raises:
            KeyError: there is no such file.
        """
        if name not in self.originals:
            raise KeyError(name)
        if version and version != version_of(self._text(name)):
            return Changed()
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
    """Return what tells a file's text from others."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def encoded(text: str) -> bytes | NotSaved:
    """Return ``text`` as the bytes of a file, or why it cannot be one."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return NotSaved("the text has characters that no file can hold")
    return data if len(data) <= MAX_TEXT else NotSaved(f"the text is longer than {MAX_TEXT} bytes")
