"""Text for a terminal: progress while something starts, and lines of results."""

from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from exchanger.commands.tables import Screen
from exchanger.commands.terminal import OutputError

_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ERASE: Final = "\r\x1b[K"  # to the start of the line, and clear it (ECMA-48 EL)


class TextOutput(Protocol):
    """The part of a text stream that is needed for writing."""

    def write(self, text: str, /) -> int:
        """Take ``text``."""

    def flush(self) -> None:
        """Flush what was written."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""


@attrs.define(eq=False)
class Progress:
    """Steps as they happen: a line that moves on a terminal, whole lines anywhere else.

    Each method raises ``OutputError`` if the output is gone: a closed pipe or terminal.
    """

    _out: TextOutput
    _step: str = ""
    _frame: int = 0

    def screen(self, variables: Mapping[str, str]) -> Screen | None:
        """Return the terminal, ``None`` if it does not show colours; ``variables`` may say so."""
        return Screen.on(self._out, variables)

    def begin(self, step: str) -> None:
        """Say that ``step`` begins."""
        self._step = step
        if self._out.isatty():
            self.tick()
        else:
            self._write(f"{step} …\n")

    def tick(self) -> None:
        """Show that the step is still running; nothing if lines cannot be overwritten."""
        if self._step and self._out.isatty():
            self._frame = (self._frame + 1) % len(_FRAMES)
            self._write(f"{_ERASE}{_FRAMES[self._frame]} {self._step} …")

    def done(self, result: str) -> None:
        """Say how the step ended."""
        erase = _ERASE if self._out.isatty() else ""
        self._write(f"{erase}{self._step}: {result}\n")
        self._step = ""

    def say(self, text: str) -> None:
        """Write ``text`` on separate lines, ending an unfinished step's line."""
        if self._step and self._out.isatty():
            self._write("\n")
        self._step = ""
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError as error:
            raise OutputError(f"the output cannot be written: {error.strerror}") from error
