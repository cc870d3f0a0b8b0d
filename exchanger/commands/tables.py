"""Tables on a terminal: aligned by the width of characters, in colours, and with long texts below themselves.

rich lays them out if it is installed, which it is not in the production image. Anything but a terminal with colours gets plain text, which
the callers write themselves.

Must not know: what the tables are about.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, final
from unicodedata import combining, east_asian_width

import attrs

if TYPE_CHECKING:
    from rich.console import Console

# Terminals without colours (terminfo's names), or without a name.
_PLAIN: Final = frozenset({"", "dumb", "unknown"})
_LAST: Final = 32  # columns of a terminal that a table's last one should have, if it has a head
_NARROW: Final = 12  # that others keep
_BETWEEN: Final = 2  # columns of a terminal between two of a table


class OutputStream(Protocol):
    """Where text goes."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""


def cells(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes: characters of East Asian scripts take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in {"W", "F"} else 1 for char in text)


def padded(text: str, width: int) -> str:
    """Return ``text`` with blanks after it, up to ``width`` columns of a terminal."""
    return text + " " * (width - cells(text))


@final
@attrs.frozen
class Column:
    """A column of a table. The last one of a table takes the rest of the line, whatever its ``width``."""

    head: str
    width: int = 0
    right: bool = False


@final
@attrs.frozen(eq=False)
class Screen:
    """A terminal with colours. Styles are those of rich, such as ``bold red``; everything is returned as text, without a line break."""

    _console: "Console" = attrs.field(repr=False)

    @classmethod
    def on(cls, out: OutputStream, variables: Mapping[str, str]) -> "Screen | None":
        """Return the screen of ``out``; ``None`` if it is not a terminal, wants no colours (https://no-color.org), or rich is missing."""
        if not out.isatty() or variables.get("NO_COLOR") or variables.get("TERM", "") in _PLAIN:
            return None
        try:
            from rich.console import Console
        except ImportError:
            return None
        return cls(Console(force_terminal=True, color_system="standard", highlight=False, markup=False, emoji=False))

    def head(self, columns: Sequence[Column]) -> str:
        """Return the heads of ``columns``."""
        return self.row(columns, [(column.head, "bold") for column in columns])

    def row(self, columns: Sequence[Column], texts: Sequence[tuple[str, str]]) -> str:
        """Return one row: a text and its style for each of ``columns``."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, _BETWEEN, 0, 0), expand=True)
        for column, width in zip(columns[:-1], self._widths(columns), strict=True):
            table.add_column(width=width, justify="right" if column.right else "left", overflow="fold")
        table.add_column(ratio=1, overflow="fold")
        table.add_row(*(Text(text, style) for text, style in texts))
        return self._text(table)

    def note(self, text: str, style: str = "", indentation: int = 0) -> str:
        """Return ``text`` as lines with ``indentation``."""
        from rich.padding import Padding
        from rich.text import Text

        return self._text(Padding(Text(text, style), (0, 0, 0, indentation)))

    def _widths(self, columns: Sequence[Column]) -> list[int]:
        """Return the widths of all columns but the last: the widest ones are narrowed until there is room for it."""
        widths = [column.width for column in columns[:-1]]
        room = self._console.width - _BETWEEN * len(widths) - (_LAST if columns[-1].head else 0)
        while sum(widths) > room and max(widths) > _NARROW:
            widths[widths.index(max(widths))] -= 1
        return widths

    def _text(self, what: object) -> str:
        with self._console.capture() as captured:
            self._console.print(what)
        return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))
