"""POLICY_NAMESPACES_FILE: the names of the Namespaces to follow, which change with the file.

A version counts when two reads in a row find it: half of a file that is being written may be a valid file that lacks names, and removing a
name removes its policies.

Must not know: what the names are used for.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, final

import attrs
import structlog

from exchanger.net.network import SYSTEM, RunSync
from exchanger.sources.kube.settings import is_namespace
from exchanger.util.follow_file import HANGS, FileFollower
from exchanger.util.regular_file import UnusableFile, read_text

# Bytes of the file, as many as a ConfigMap may have: comments may be long, names are not.
MAX_BYTES: Final = 1024 * 1024

# Each has a watch, of which there are a thousand at most (``connection.MAX_WATCHES``), some of them for Secrets.
MAX_NAMESPACES: Final = 900


def read_namespaces(path: Path) -> tuple[str, ...] | UnusableFile:
    """Return the names in the file, at least one: separated by commas, blanks or lines; ``#`` begins a comment until the end of the line.

    Blocks while the file is read.
    """
    text = read_text(path, MAX_BYTES)
    if isinstance(text, UnusableFile):
        return text
    names: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not all(map(is_namespace, words)):
            # The word is not quoted: somebody may have named another file, with secrets in it.
            return UnusableFile(f"must contain names of Namespaces; line {number} does not")
        names += words
    if not names:
        return UnusableFile("must name at least one Namespace; without the variable, all that the selector selects are followed")
    if len(names) > MAX_NAMESPACES:
        return UnusableFile(f"must name at most {MAX_NAMESPACES} Namespaces")
    return tuple(names) if len(set(names)) == len(names) else UnusableFile("has a name twice")


@final
@attrs.define(eq=False)
class NamespacesFile:
    """Passes each new list to ``use``. ``names`` is the list that is active. ``rejected``: the file as it is now cannot be used."""

    _path: Path
    names: tuple[str, ...]
    _use: Callable[[tuple[str, ...]], None] = attrs.field(repr=False)
    _run_sync: RunSync = SYSTEM.run_sync
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger, repr=False)
    _file: FileFollower[tuple[str, ...] | UnusableFile] = attrs.field(init=False)
    rejected: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._file = FileFollower(lambda: read_namespaces(self._path), UnusableFile(HANGS), self._run_sync)

    async def run(self) -> NoReturn:
        """Follow the file until cancelled."""
        await self._file.run_settled(self._check)

    def _check(self, found: tuple[str, ...] | UnusableFile) -> None:
        if isinstance(found, UnusableFile):
            self._log.error("policy.namespaces_rejected", reason=found.reason, text="the previous list of Namespaces stays in use")
            self.rejected = True
            return
        changed = frozenset(found) != frozenset(self.names)
        if changed:
            self.names = found
            self._use(found)
        if changed or self.rejected:
            self._log.info("policy.namespaces_loaded", namespaces=list(found))
        self.rejected = False
