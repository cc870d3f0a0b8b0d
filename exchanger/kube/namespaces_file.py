"""POLICY_NAMESPACES_FILE: the names of the Namespaces to follow, which change with the file.

The file is compared by content, every second, as that sees every way of replacing it. A version counts when two looks in a row find it:
half of a file that is being written may well be a valid file that lacks names, and to take a name out withdraws its policies.

Must not know: what is done with the names.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, final

import attrs
import trio

from exchanger.kube.settings import is_namespace
from exchanger.util.regular_file import NotRegularError, open_regular

MAX_BYTES: Final = 1024 * 1024
"""Of the file, as much as a ConfigMap may have: comments may be long, names are not."""
MAX_NAMESPACES: Final = 900
"""Each has a watch, of which there are a thousand at most (``connection.MAX_WATCHES``), some of them for Secrets."""
POLL_S: Final = 1.0
"""Seconds between two looks; a look takes a fraction of a millisecond."""
READ_S: Final = 10.0
"""Seconds for a look: a file system that takes longer hangs."""


@final
@attrs.frozen
class Unusable:
    """Why there are no names in the file, for operators."""

    reason: str


class NamespacesObserver(Protocol):
    """Learns of versions of the file; must neither block nor raise."""

    def namespaces_loaded(self, names: tuple[str, ...], /) -> None:
        """These are followed from now on."""

    def namespaces_rejected(self, reason: str, /) -> None:
        """A version of the file cannot be used; told once for each reason. The names before are still followed."""


def read_namespaces(path: Path) -> tuple[str, ...] | Unusable:
    """Return the names in the file, at least one: separated by commas, blanks or lines; ``#`` begins a comment that ends with its line.

    Blocks while the file is read.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except NotRegularError:
        return Unusable("must be a file, and neither a folder nor a pipe")
    except OSError as error:
        return Unusable(f"cannot be read: {error.strerror or 'for an unknown reason'}")
    if len(data) > MAX_BYTES:
        return Unusable(f"must have at most {MAX_BYTES} bytes")
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return Unusable("must be text in UTF-8")
    names: list[str] = []
    for number, line in enumerate(lines, start=1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not all(map(is_namespace, words)):
            # The word is not quoted: somebody may have named another file, with secrets in it.
            return Unusable(f"must have names of Namespaces, and line {number} has something else")
        names += words
    if not names:
        return Unusable("must name at least one Namespace; without the variable, all that the selector selects are followed")
    if len(names) > MAX_NAMESPACES:
        return Unusable(f"must name at most {MAX_NAMESPACES} Namespaces")
    return tuple(names) if len(set(names)) == len(names) else Unusable("has a name twice")


@final
@attrs.frozen
class NamespacesFileStatistics:
    """Versions of the list that came into force after the first one, and looks that found none that can be used."""

    loaded: int
    failed: int


@final
@attrs.define(eq=False)
class NamespacesFile:
    """Hands each new list to ``use``. ``names`` is the list that is in force at the start."""

    _path: Path
    names: tuple[str, ...]
    _use: Callable[[tuple[str, ...]], None] = attrs.field(repr=False)
    _observer: NamespacesObserver = attrs.field(repr=False)
    _seen: tuple[str, ...] | Unusable | None = attrs.field(default=None, init=False)
    _said: str = attrs.field(default="", init=False)
    _loaded: int = attrs.field(default=0, init=False)
    _failed: int = attrs.field(default=0, init=False)
    # One thread at a time, and no more than one that hangs.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False, repr=False)

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            found = await self._look()
            settled, self._seen = found == self._seen, found
            if settled:
                self._judge(found)
            await trio.sleep(POLL_S)

    def statistics(self) -> NamespacesFileStatistics:
        """Tell what was read."""
        return NamespacesFileStatistics(self._loaded, self._failed)

    async def _look(self) -> tuple[str, ...] | Unusable:
        with trio.move_on_after(READ_S):
            return await trio.to_thread.run_sync(read_namespaces, self._path, abandon_on_cancel=True, limiter=self._limiter)
        return Unusable(f"could not be read within {READ_S:.0f} seconds")

    def _judge(self, found: tuple[str, ...] | Unusable) -> None:
        if isinstance(found, Unusable):
            self._failed += 1
            if found.reason != self._said:
                self._said = found.reason
                self._observer.namespaces_rejected(found.reason)
            return
        self._said = ""
        if frozenset(found) != frozenset(self.names):
            self.names = found
            self._loaded += 1
            self._use(found)
            self._observer.namespaces_loaded(found)
