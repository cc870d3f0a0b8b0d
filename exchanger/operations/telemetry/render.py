"""Fields to the bytes of a log line: JSON for machines, text for people, the same fields in both."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, final

import attrs
import orjson
import structlog

from exchanger.net.network import SYSTEM
from exchanger.util.text import printable

Render = Callable[[Mapping[str, object]], bytes]

# Characters of one field; longer ones do not belong in a log line.
TEXT_LIMIT: Final = 2048
# Characters of a traceback; the end is kept, which names the error.
EXCEPTION_LIMIT: Final = 16 * 1024

# Up to here every reader of JSON keeps an integer exact (RFC 8259 section 6, https://www.rfc-editor.org/rfc/rfc8259#section-6).
_EXACT: Final = 2**53


@final
@attrs.define(eq=False)
class Stamp:
    """The time in the form of RFC 3339 (https://www.rfc-editor.org/rfc/rfc3339), in UTC, with milliseconds.

    Keeps the text of the current millisecond, in which a busy service writes some 30 lines.
    """

    _clock: Callable[[], float] = SYSTEM.wall
    _millisecond: int = attrs.field(default=-1, init=False)
    _text: str = attrs.field(default="", init=False)

    def __call__(self) -> str:
        """Return the present time, such as ``2026-01-31T12:00:00.123Z``."""
        millisecond = round(self._clock() * 1_000_000) // 1000
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._text = datetime.fromtimestamp(millisecond / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return self._text


def render_json(fields: Mapping[str, object]) -> bytes:
    """Return ``fields`` as one JSON object; a value that JSON cannot express becomes a bounded text."""
    try:
        return orjson.dumps(fields, default=_as_text)
    except TypeError:  # a key that is not text, a lone surrogate, an integer beyond 64 bits
        return orjson.dumps({printable(str(key), TEXT_LIMIT): _as_json(value) for key, value in fields.items()})


def console_renderer(*, colors: bool) -> Render:
    """Return a renderer for people: one line an event, a traceback below it. ``colors`` is for terminals."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        sort_keys=False,
        # The default one would show local variables, and with them tokens.
        exception_formatter=structlog.dev.plain_traceback,
    )

    def render(fields: Mapping[str, object]) -> bytes:
        shown = {printable(key, TEXT_LIMIT): _shown(key, value) for key, value in fields.items()}
        return renderer(None, "", shown).encode("utf-8", "backslashreplace")

    return render


def bounded(_logger: object, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Structlog processor: cut texts that are too long for a line."""
    for key, value in fields.items():
        if isinstance(value, str) and len(value) > TEXT_LIMIT:
            fields[key] = f"…{value[-EXCEPTION_LIMIT:]}" if key == "exception" else f"{value[:TEXT_LIMIT]}…"
    return fields


def _shown(key: str, value: object) -> object:
    if isinstance(value, int | float):
        return value
    if key == "exception":
        return "\n".join(printable(line, TEXT_LIMIT) for line in str(value).splitlines())
    return _as_text(value)


def _as_json(value: object) -> str | int | float:
    return value if isinstance(value, float) or (isinstance(value, int) and abs(value) <= _EXACT) else _as_text(value)


def _as_text(value: object) -> str:
    return printable(str(value), TEXT_LIMIT)
