"""``exchanger audit``: reads an audit log, and shows the lines that were asked for."""

import argparse
import gzip
import os
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO, final

import attrs
import orjson

from exchanger.authz.audit.identities import AuditKey, key_id_of, plain, read_audit_keys
from exchanger.commands.arguments import WrongArgumentsError
from exchanger.commands.tables import Column, Screen, padded
from exchanger.net.network import SYSTEM
from exchanger.util.duration import parse_duration
from exchanger.util.regular_file import NotRegularError, UnusableFile, open_regular, unreadable
from exchanger.util.text import printable

_GZIP: Final = b"\x1f\x8b"  # RFC 1952 section 2.3.1
_FOUND: Final = 0
_PROBLEM: Final = 1
# Bytes of a line; those of the service have a few hundred, and at most 192 KiB.
MAX_LINE: Final = 1024 * 1024
# Bytes between two reports of progress on a terminal, which are a tenth of a second or two to read. Shorter files need none.
PROGRESS_BYTES: Final = 16 * 1024 * 1024
# Characters of a cell.
_CELL: Final = 512
_COLUMNS: Final = (
    Column("TIME", 24),
    Column("RESULT", 15),
    Column("SUBJECT", 41),
    Column("POLICY", 28),
    Column("FOR", 24),
    Column("REQUEST", 28),
    Column("ACTORS"),
)
# Keys under which lines have identities that were not looked for; a log of years has a few.
_MAX_KEYS: Final = 16
_is_date: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ].*)?", re.ASCII).fullmatch

Line = dict[str, Any]


@final
@attrs.frozen
class AuditQuery:
    """Which lines are shown: no earlier than ``since`` ("": any), about one of the ``identities``, of ``policy``, about the token ``jti``.

    Everything that is ``None`` is not asked for.
    """

    since: str = ""
    identities: frozenset[str] | None = None
    policy: str | None = None
    jti: str | None = None

    def wants(self, line: Line) -> bool:
        """Return whether ``line`` is to be shown, if it is about one of the identities."""
        if str(line.get("time", "")) < self.since:
            return False
        if self.policy is not None and line.get("policy") != self.policy:
            return False
        return self.jti is None or self.jti in (line.get("subject_jti"), line.get("issued_jti"))

    def is_about(self, line: Line) -> bool:
        """Return whether ``line`` is about one of the identities."""
        return self.identities is None or not self.identities.isdisjoint(_identities(line))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``exchanger audit``."""
    files = "audit logs, oldest first, also gzipped ones; - is standard input (default: AUDIT_LOG)"
    parser.add_argument("files", nargs="*", metavar="FILE", help=files)
    parser.add_argument("--since", type=_since, metavar="WHEN", help="only lines since 90m ago, or since 2026-01-31T12:00:00Z")
    parser.add_argument("--subject", metavar="NAME", help="only lines with this user, client or actor; keyed ones need the key")
    parser.add_argument("--policy", type=_policy, metavar="NAMESPACE/NAME", help="only lines about this ConfigMap")
    parser.add_argument("--jti", metavar="ID", help="only lines about the token with this id, the caller's or the issued one")
    parser.add_argument("--key-file", metavar="FILE", help="the keys of identities (default: AUDIT_KEY_FILE)")
    parser.add_argument("--json", action="store_true", help="print the lines as they are")


def run(namespace: argparse.Namespace) -> int:
    """Print the lines that were asked for, and return the exit status."""
    return audit(namespace, os.environ, sys.stdout, sys.stderr)


def audit(namespace: argparse.Namespace, variables: Mapping[str, str], out: TextIO, errors: TextIO) -> int:
    """Print the lines to ``out``, and what is wrong with the files to ``errors``."""
    files = namespace.files or _default_files(variables)
    query = AuditQuery(namespace.since or "", _identities_of(namespace, variables), namespace.policy, namespace.jti)
    show = _Shown(out, Screen.on(out, variables), as_json=namespace.json)
    status, keys = _FOUND, set[str | None]()
    for name in files:
        reader = _Reader(name, errors if errors.isatty() and not out.isatty() else None)
        try:
            for raw, line in reader.lines():
                if query.wants(line):
                    if query.is_about(line):
                        show.line(raw, line)
                    elif len(keys) < _MAX_KEYS:
                        keys.update(map(key_id_of, _identities(line)))
        except (OSError, EOFError, zlib.error) as error:
            why = "is not a regular file" if isinstance(error, NotRegularError) else _why(error)
            errors.write(f"exchanger audit: {printable(name)} {why}\n")
            status = _PROBLEM
        if reader.unreadable:
            errors.write(f"exchanger audit: {printable(name)} has {reader.unreadable} lines that cannot be read, such as torn ones\n")
            status = _PROBLEM
    if others := sorted(key for key in keys - set(map(key_id_of, query.identities or ())) if key):
        errors.write(f"exchanger audit: there are identities under keys that the key file does not have: {', '.join(others)}\n")
        status = _PROBLEM
    return status


def _why(error: OSError | EOFError | zlib.error) -> str:
    if isinstance(error, OSError):
        return unreadable(error)
    return f"cannot be read: {'it ends too early' if isinstance(error, EOFError) else 'it is damaged'}"


def _policy(text: str) -> str:
    if text.count("/") != 1 or text.startswith("/") or text.endswith("/"):
        raise argparse.ArgumentTypeError(f"{plain(text)!r} must be the namespace and name of a ConfigMap, such as team-a/orders")
    return text


def _since(text: str) -> str:
    """Return the time as lines have it, with which it is compared as text."""
    if not _is_date(text):
        try:
            seconds = parse_duration(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{plain(text)!r} is neither a time nor a duration, which {error}") from None
        when = datetime.fromtimestamp(max(SYSTEM.wall() - seconds, 0.0), UTC)
    else:
        try:
            when = datetime.fromisoformat(text)
            when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
        except (ValueError, OverflowError):
            raise argparse.ArgumentTypeError(f"{plain(text)!r} must be a time such as 2026-01-31T12:00:00Z") from None
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z"


def _default_files(variables: Mapping[str, str]) -> list[str]:
    path = variables.get("AUDIT_LOG", "").strip()
    if not path.startswith("/"):
        raise WrongArgumentsError("name a file, since AUDIT_LOG does not")
    return [path]


def _identities_of(namespace: argparse.Namespace, variables: Mapping[str, str]) -> frozenset[str] | None:
    """Return all forms in which lines may have the subject that is asked for."""
    if namespace.subject is None:
        return None
    path = namespace.key_file or variables.get("AUDIT_KEY_FILE", "").strip()
    keys: Sequence[AuditKey] = ()
    if path:
        found = read_audit_keys(Path(path))
        if isinstance(found, UnusableFile):
            raise WrongArgumentsError(found.reason)
        keys = found
    return frozenset((plain(namespace.subject), *(key.of_identity(namespace.subject) for key in keys)))


def _parties(line: Line) -> list[Line]:
    """Return subject and actors; lines are read as they are, and may be anybody's."""
    actors = line.get("actors")
    return [party for party in (line.get("subject"), *(actors if isinstance(actors, list) else ())) if isinstance(party, dict)]


def _identities(line: Line) -> set[str]:
    return {value for party in _parties(line) for name in ("sub", "client_id") if isinstance(value := party.get(name), str)}


@final
@attrs.define(eq=False)
class _Reader:
    """Reads one file line by line; ``unreadable`` counts those that are no lines of an audit log. ``progress``: a terminal to tell."""

    name: str
    progress: TextIO | None
    unreadable: int = 0
    _read: int = 0
    _told: int = 0

    def lines(self) -> Iterator[tuple[bytes, Line]]:
        """Yield each line as it is, and read."""
        if self.name == "-":
            yield from self._of(sys.stdin.buffer, 0)
            return
        with open_regular(Path(self.name)) as file:
            size = os.fstat(file.fileno()).st_size
            if file.read(2) == _GZIP:
                file.seek(0)
                with gzip.open(file) as unpacked:
                    yield from self._of(unpacked, 0)  # type: ignore[arg-type]  # it has readline, which is all that is used
            else:
                file.seek(0)
                yield from self._of(file, size)

    def _of(self, file: BinaryIO, size: int) -> Iterator[tuple[bytes, Line]]:
        try:
            while raw := file.readline(MAX_LINE):
                self._tell(len(raw), size)
                try:
                    line = orjson.loads(raw)
                except ValueError:
                    # The service's own log may be between the lines, and need not be JSON. The last line may be in the middle of its write.
                    self.unreadable += raw.startswith(b"{") and raw.endswith(b"\n")
                    continue
                if isinstance(line, dict) and str(line.get("event", "")).startswith("exchange."):
                    yield raw.rstrip(b"\n"), line
        finally:
            if self._told and self.progress is not None:
                self.progress.write("\r\x1b[K")

    def _tell(self, read: int, size: int) -> None:
        self._read += read
        if self.progress is not None and self._read - self._told >= PROGRESS_BYTES:
            self._told = self._read
            part = f"{100 * self._read // size} %" if size else f"{self._read // PROGRESS_BYTES * 16} MiB"
            self.progress.write(f"\rreading {printable(Path(self.name).name, 60)}: {part}\x1b[K")
            self.progress.flush()


@final
@attrs.define(eq=False)
class _Shown:
    """Prints lines: as they are, or as rows of a table."""

    out: TextIO
    screen: Screen | None
    as_json: bool
    _headed: bool = False

    def line(self, raw: bytes, line: Line) -> None:
        """Print a line."""
        if self.as_json:
            self.out.write(raw.decode("utf-8", "replace") + "\n")
            return
        if not self._headed:
            self._headed = True
            self._row([(column.head, "bold") for column in _COLUMNS])
        self._row(_cells(line))

    def _row(self, cells: Sequence[tuple[str, str]]) -> None:
        if self.screen is not None:
            self.out.write(self.screen.row(_COLUMNS, cells) + "\n")
            return
        texts = (padded(text, column.width) for (text, _), column in zip(cells, _COLUMNS, strict=True))
        self.out.write("  ".join(texts).rstrip() + "\n")


def _cells(line: Line) -> list[tuple[str, str]]:
    """Return the cells of a row, each with its style."""
    granted = line.get("event") == "exchange.granted"
    parties = _parties(line)
    subject = _who(parties[0]) if isinstance(line.get("subject"), dict) else f"{line['count']} refusals" if "count" in line else "-"
    actors = parties[1:] if isinstance(line.get("subject"), dict) else parties
    entry = "" if line.get("entry") is None else f"#{line['entry']}"
    asked = [*_texts(line.get("audience")), *_texts(line.get("resources"))] or [line.get("scope_requested")]
    cells = (
        (line.get("time"), ""),
        (f"granted {line.get('cache')}" if granted else f"refused {line.get('code') or line.get('reason')}", "green" if granted else "red"),
        (subject, "" if line.get("verified") != "none" else "dim"),
        (f"{line.get('policy') or line.get('namespace') or '-'}{entry}", ""),
        (" ".join(str(text) for text in asked if text), ""),
        (f"{line.get('method', '')} {line.get('host', '')}".strip(), ""),
        (" < ".join(map(_who, actors)), ""),
    )
    return [(printable(str(text), _CELL), style) for text, style in cells]


def _texts(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _who(party: Line) -> str:
    return str(party.get("sub") or party.get("client_id") or "-")
