"""POLICY_GRANTS_FILE: what each namespace may do, which changes with the file.

A version applies when two reads in a row find it, and only if all of it is valid: an invalid one removes nothing that is active.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, final

import attrs
import structlog
import trio

from exchanger.net.network import SYSTEM, RunSync
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.grants.reader import read_grants, told
from exchanger.policy.limits import NamespaceLimits
from exchanger.util.follow_file import HANGS, POLL_S, FileFollower
from exchanger.util.regular_file import UnusableFile, read_text

# A mounted ConfigMap holds no more (https://kubernetes.io/docs/concepts/configuration/configmap/#motivation).
MAX_BYTES: Final = 1024 * 1024


@final
@attrs.frozen
class GrantsSettings:
    """POLICY_GRANTS_FILE (``None``: none), POLICY_GRANTS_MODE, the limits of a namespace, and whether labels of Namespaces are known.

    ``grants`` is the content of the file at startup.
    """

    path: Path | None = None
    enforced: bool = True
    has_labels: bool = True
    limits: NamespaceLimits = attrs.field(default=NamespaceLimits())
    grants: Grants = attrs.field()

    @grants.default
    def _without_a_file(self) -> Grants:
        return NO_GRANTS if self.limits == NO_GRANTS.limits else attrs.evolve(NO_GRANTS, limits=self.limits)

    def loaded(self) -> "GrantsSettings":
        """Return the settings with the content of the file. Blocks while it is read.

        Raises:
            ValueError: the file is missing or unusable; the message says why, after its name
        """
        if self.path is None:
            return self
        text = read_text(self.path, MAX_BYTES)
        found = text if isinstance(text, UnusableFile) else self.understood(text)
        if isinstance(found, UnusableFile):
            raise ValueError(found.reason)  # noqa: TRY004 - of the file's content
        return attrs.evolve(self, grants=found)

    def understood(self, text: str) -> Grants | UnusableFile:
        """Return what ``text`` grants, or why it cannot be used."""
        if not text.strip():
            return UnusableFile("is empty; to grant nothing, write grants: []")
        found = read_grants(text, has_labels=self.has_labels, enforced=self.enforced)
        if isinstance(found, Grants):
            return attrs.evolve(found, limits=self.limits)
        return UnusableFile(f"is invalid: {'; '.join(told(found))}")


@final
@attrs.define(eq=False)
class GrantsFile:
    """Passes each new version of the file at ``path`` to ``use``. ``rejected``: the file as it is now cannot be used."""

    _settings: GrantsSettings
    _path: Path
    _use: Callable[[Grants], None] = attrs.field(repr=False)
    _run_sync: RunSync = SYSTEM.run_sync
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    rejected: bool = attrs.field(default=False, init=False)

    async def run(self) -> NoReturn:
        """Follow the file until cancelled."""
        read = functools.partial(read_text, self._path, MAX_BYTES)
        file: FileFollower[str | UnusableFile] = FileFollower(read, UnusableFile(HANGS), self._run_sync)
        first = True
        while True:
            found = await file.look_settled()
            if isinstance(found, str):  # some tenths of a second for a large file
                found_grants = await self._run_sync(self._settings.understood, found, abandon_on_cancel=True)
                self._check(found_grants, first=first)
            elif found is not None:
                self._check(found, first=first)
            first = first and found is None
            await trio.sleep(POLL_S)

    def _check(self, found: Grants | UnusableFile, *, first: bool) -> None:
        self.rejected = isinstance(found, UnusableFile)
        if isinstance(found, UnusableFile):
            self._log.error("grants.rejected", reason=found.reason, text="the previous version stays active")
        elif not (first and _is_same(found, self._settings.grants)):
            self._use(found)
            log_grants(self._log, found)


def log_grants(log: structlog.stdlib.BoundLogger, grants: Grants) -> None:
    """Log which grants are active from now on."""
    mode = "enforce" if grants.enforced else "report"
    log.info("grants.loaded", grants=len(grants.grants), baseline=len(grants.baseline), mode=mode)


def _is_same(left: Grants, right: Grants) -> bool:
    return (left.grants, left.baseline) == (right.grants, right.baseline)
