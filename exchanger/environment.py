"""Typed reading of environment variables: every problem is noted, none stops the reading of the next.

A variable that is unset, empty or blank has its default. What cannot be read is a problem, never a silent default. What is set and does
nothing is a note: a name that nobody asked for and that looks like one of ours, and a name that is ours and has no text.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar, final

import attrs

from exchanger.values.likeness import closest
from exchanger.values.notice import Notice
from exchanger.values.text import printable

T = TypeVar("T")

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})

# Go's time.ParseDuration (https://pkg.go.dev/time#ParseDuration), which the variables' values are written for.
_UNIT_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION: Final = re.compile(rf"\+?({_DURATION_PART.pattern})+", re.ASCII)
_MAX_DURATION_TEXT: Final = 32
_DURATION_END: Final = 2.0**63 / 1e9
"""Seconds; nanoseconds have 64 bits in Go."""
_INTEGER: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_MAX_PORT: Final = 65535

PREFIXES: Final = ("TOKEN_EXCHANGE_", "TOKEN_ENDPOINT_", "POLICY_", "GRPC_", "METRICS_", "CONSOLE_", "CONFIGMAP_")
"""What a name begins with that is meant for this service. LOG_, OTEL_ and KUBE_ are a whole platform's: only their near misses are told."""
MAX_UNKNOWN: Final = 20
"""Unknown names that are told one by one."""
NAME_LIMIT: Final = 128
"""Characters of a name that are told."""
_ALIKE: Final = 0.75
"""How much a name must have in common with one of ours, in difflib's measure, for us to guess it where a word of it is missing."""

# What Kubernetes sets in every pod for each Service of its namespace, so that one called ``grpc`` or ``metrics`` looks like us
# (https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables).
_OF_A_SERVICE: Final = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII)
# What gRPC's own libraries read, and platforms set for every program (https://github.com/grpc/grpc/blob/master/doc/environment_variables.md).
_OF_GRPC: Final = re.compile(
    r"GRPC_(GO_\w+|XDS_\w+|EXPERIMENTAL_\w+|EXPERIMENTS|DEFAULT_SSL_ROOTS_FILE_PATH|SSL_CIPHER_SUITES|VERBOSITY|STACKTRACE_MINLOGLEVEL|TRACE"
    r"|TRACE_FUZZER|DNS_RESOLVER|POLL_STRATEGY|ENABLE_FORK_SUPPORT|PROXY_EXP|ARES_QUERY_TIMEOUT|CFSTREAM|PYTHON_\w+)",
    re.ASCII,
)
_ADDRESS_OF_A_SERVICE: Final = re.compile(r"(tcp|udp|sctp)://.*", re.DOTALL)

Notes = tuple[tuple[str, str], ...]
"""Variables that have no effect, each with the reason."""


def parse_duration(text: str) -> float:
    """Return the seconds of a non-negative Go duration string such as ``750ms`` or ``1m30s``.

    Raises:
        ValueError: if it is none, or longer than Go can count (292 years).
    """
    if text == "0":
        return 0.0
    if len(text) > _MAX_DURATION_TEXT or not _DURATION.fullmatch(text):
        raise ValueError("must be a duration such as 750ms or 1m30s")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds >= _DURATION_END:
        raise ValueError("must be a duration of less than 292 years")
    return seconds


def parse_boolean(text: str) -> bool:
    """Return the truth value of 1/true/yes/on or 0/false/no/off, in any case.

    Raises:
        ValueError: for anything else.
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
        raise ValueError("must be a whole number, not negative")
    return int(text)


def _port(text: str) -> int:
    port = _integer(text)
    if port > _MAX_PORT:
        raise ValueError(f"must be a port, 0 to {_MAX_PORT}")
    return port


def variable_notices(variables: Mapping[str, str], known: AbstractSet[str]) -> tuple[Notice, ...]:
    """Return what of ``variables`` is set and does nothing, for those who read no other variables."""
    return as_notices((*_empty(variables, known), *unknown_variables(variables, known)))


def as_notices(notes: Notes) -> tuple[Notice, ...]:
    """Return notes on variables as notices."""
    return tuple(Notice(f"variable {name}", f"has no effect: {text}", "see the configuration reference") for name, text in notes)


def _empty(variables: Mapping[str, str], known: AbstractSet[str]) -> Notes:
    blank = sorted(name for name in known if name in variables and not variables[name].strip())
    return tuple((name, "it is empty, which counts as not set") for name in blank)


def unknown_variables(variables: Mapping[str, str], known: AbstractSet[str]) -> Notes:
    """Return the names among ``variables`` that are not ``known`` and look as if they were meant for this service; values are not told.

    A name is meant for it that begins as ours do, or that is nearly ``known``. Names that Kubernetes makes of Services are not.
    """
    ordered = sorted(known)
    found: list[tuple[str, str]] = []
    more = 0
    for name in sorted(variables.keys() - known):
        if _is_of_others(name, variables[name]):
            continue
        folded = name.strip().upper().replace("-", "_").replace(".", "_")
        meant = closest(folded, ordered)
        if meant is None and not folded.startswith(PREFIXES):
            continue
        if len(found) < MAX_UNKNOWN:
            meant = meant or _guess(folded[:NAME_LIMIT], ordered)
            hint = "" if meant is None else f"; did you mean {meant}?"
            found.append((printable(name, NAME_LIMIT), f"there is no such variable{hint}"))
        else:
            more += 1
    if more:
        found.append((f"{more} more", "there are no such variables"))
    return tuple(found)


def _guess(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that has all words of ``name`` and the fewest besides, or else one that is much alike."""
    words = set(name.split("_"))
    with_all = [candidate for candidate in known if words <= set(candidate.split("_"))]
    return min(with_all, key=len, default=None) or next(iter(get_close_matches(name, known, 1, _ALIKE)), None)


def _is_of_others(name: str, value: str) -> bool:
    if _OF_A_SERVICE.fullmatch(name) is not None or _OF_GRPC.fullmatch(name) is not None:
        return True
    return name.endswith("_PORT") and _ADDRESS_OF_A_SERVICE.fullmatch(value) is not None


@final
@attrs.define(eq=False)
class Environment:
    """Reads variables and collects what is wrong with them; values never appear in a problem, since some of them are secret.

    It remembers every name that it is asked for, so that whoever reads all variables knows which ones nobody reads. So ask for a variable
    even where it has no effect.
    """

    _variables: Mapping[str, str] = attrs.field(repr=False)
    _problems: list[str] = attrs.field(factory=list, init=False)
    _asked: set[str] = attrs.field(factory=set, init=False)
    _notes: list[tuple[str, str]] = attrs.field(factory=list, init=False)

    @property
    def asked(self) -> frozenset[str]:
        """The names that were asked for, whether they are set or not."""
        return frozenset(self._asked)

    def notes(self) -> Notes:
        """Return what is set and does nothing, of all that was asked for until now and of all that nobody asked for."""
        return (*self._notes, *_empty(self._variables, self._asked), *self.unknown())

    def unknown(self) -> Notes:
        """Return what is set, looks as if it were one of ours, and was not asked for."""
        return unknown_variables(self._variables, self._asked)

    def statistics(self) -> tuple[str, ...]:
        """Return the problems so far, a readable line each."""
        return tuple(self._problems)

    def problem(self, text: str) -> None:
        """Note something that only the reader of several variables can see."""
        self._problems.append(text)

    def text(self, name: str, default: str = "") -> str:
        """Return the trimmed text, or ``default``."""
        self._asked.add(name)
        return self._variables.get(name, "").strip() or default

    def read(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Return ``parse`` of the text; a ``ValueError`` of it is noted, and ``default`` stands in."""
        text = self.text(name)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.problem(f"{name} {error}")
            return default

    def boolean(self, name: str, *, default: bool) -> bool:
        """Return a truth value."""
        return self.read(name, parse_boolean, default)

    def duration(self, name: str, default: float) -> float:
        """Return seconds, more than none."""
        return self.read(name, _positive_duration, default)

    def integer(self, name: str, default: int) -> int:
        """Return a whole number, not negative."""
        return self.read(name, _integer, default)

    def port(self, name: str, default: int) -> int:
        """Return a TCP port; 0 lets the system choose. What Kubernetes sets for a Service of that name is nobody's wish."""
        text = self.text(name)
        if _ADDRESS_OF_A_SERVICE.fullmatch(text):
            service = name.removesuffix("_PORT").lower().replace("_", "-")
            hint = "set the port, or enableServiceLinks: false in the pod"
            self._notes.append((name, f"Kubernetes set it for the Service {service!r}, which counts as not set; {hint}"))
            return default
        return self.read(name, _port, default)

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """Return one of ``choices``, in lower case."""

        def parse(text: str) -> str:
            if text.lower() not in choices:
                raise ValueError(f"must be one of {', '.join(choices)}")
            return text.lower()

        return self.read(name, parse, default)

    def path(self, name: str) -> Path | None:
        """Return a path, or ``None``."""
        text = self.text(name)
        return Path(text) if text else None
