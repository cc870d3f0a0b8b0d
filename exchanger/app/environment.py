"""Reads typed environment variables and collects every problem instead of stopping at the first.

An unset, empty or blank variable has its default. An unreadable value is a problem, never a silent default. A variable that is set without
effect becomes a note: an unknown name that resembles one of ours, or one of ours with an empty value.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar, final

import attrs

from exchanger.app.variable_names import ADDRESS_OF_A_SERVICE, Notes, empty_variables, unknown_variables
from exchanger.util.duration import parse_duration
from exchanger.util.shown import measured

T = TypeVar("T")

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})

_INTEGER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_MAX_PORT: Final = 65535


def parse_boolean(text: str) -> bool:
    """Return the truth value of 1/true/yes/on or 0/false/no/off, in any case.

    Raises:
        ValueError: for anything else
    """
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError("must be one of 1, true, yes, on, 0, false, no, off")


def _positive_duration(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise ValueError("must be positive")
    return seconds


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("must be a whole number of 0 or more")
    return int(text)


def _count(text: str) -> int:
    if not _INTEGER.fullmatch(text) or int(text) == 0:
        raise ValueError("must be a whole number of 1 or more")
    return int(text)


def _port(text: str) -> int:
    port = _integer(text)
    if port > _MAX_PORT:
        raise ValueError(f"must be a port, 0 to {_MAX_PORT}")
    return port


@final
@attrs.define(eq=False)
class Environment:
    """Reads variables and collects their problems.

    No problem repeats a value, unless it is a short number: a secret may be in the wrong variable. Its length often shows what happened.

    It records every name it reads, and so knows which variables are not read. Read a variable even if it has no effect.
    """

    _variables: Mapping[str, str] = attrs.field(repr=False)
    _problems: list[str] = attrs.field(factory=list, init=False)
    _asked: set[str] = attrs.field(factory=set, init=False)
    _notes: list[tuple[str, str]] = attrs.field(factory=list, init=False)

    @property
    def asked(self) -> frozenset[str]:
        """The names read so far, set or not."""
        return frozenset(self._asked)

    def notes(self) -> Notes:
        """Return the variables that are set without effect, known and unknown ones, each with the reason."""
        return (*self._notes, *empty_variables(self._variables, self._asked), *self.unknown())

    def unknown(self) -> Notes:
        """Return the variables that resemble ours but were never read."""
        return unknown_variables(self._variables, self._asked)

    def problems(self) -> tuple[str, ...]:
        """Return the problems found so far, one line each."""
        return tuple(self._problems)

    def problem(self, text: str) -> None:
        """Add a problem that involves several variables."""
        self._problems.append(text)

    def text(self, name: str, default: str = "") -> str:
        """Return the trimmed text, or ``default``."""
        self._asked.add(name)
        return self._variables.get(name, "").strip() or default

    def read(self, name: str, parse: Callable[[str], T], default: T, *, with_length: bool = False) -> T:
        """Return ``parse(text)``; if it raises ``ValueError``, record the problem and return ``default``.

        ``with_length``: the problem says how long the value is.
        """
        text = self.text(name)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            shown = text if _INTEGER.fullmatch(text) else measured(text)
            self.problem(f"{name} {error}, not {shown}" if with_length else f"{name} {error}")
            return default

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return a truth value."""
        return self.read(name, parse_boolean, default, with_length=True)

    def duration(self, name: str, default: float) -> float:
        """Return a positive number of seconds."""
        return self.read(name, _positive_duration, default, with_length=True)

    def integer(self, name: str, default: int) -> int:
        """Return a non-negative integer."""
        return self.read(name, _integer, default, with_length=True)

    def count(self, name: str, default: int) -> int:
        """Return a positive integer."""
        return self.read(name, _count, default)

    def port(self, name: str, default: int) -> int:
        """Return a TCP port; 0 lets the system choose. The address that Kubernetes sets for a Service of the same name is ignored."""
        text = self.text(name)
        if ADDRESS_OF_A_SERVICE.fullmatch(text):
            service = name.removesuffix("_PORT").lower().replace("_", "-")
            hint = "set the port, or enableServiceLinks: false in the pod"
            self._notes.append((name, f"Kubernetes set it for the Service {service!r}, so it is ignored; {hint}"))
            return default
        return self.read(name, _port, default, with_length=True)

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return one of ``choices``, in lower case."""

        def parse(text: str) -> str:
            if text.lower() not in choices:
                raise ValueError(f"must be one of {', '.join(choices)}")
            return text.lower()

        return self.read(name, parse, default, with_length=True)

    def path(self, name: str) -> Path | None:
        """Return a path, or ``None``."""
        text = self.text(name)
        return Path(text) if text else None
