"""Follows the profiles file, and the Secrets and files that it refers to, and publishes each new set of issuers as a whole.

An unusable version of the file, or a missing or unreadable Secret or file, removes nothing that is active.

Must not know: how Secrets are read, or what issuers are used for.
"""

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import final

import attrs
import structlog
import trio
from rpds import HashTrieMap

from exchanger.exchange.issuers import referenced_files
from exchanger.exchange.issuers.profile_model import Plan, Rejected
from exchanger.exchange.issuers.profiles_file import ProfilesFile
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.secrets import SecretData, SecretFollower, SecretProblem
from exchanger.exchange.issuers.state import IssuerSet, State
from exchanger.exchange.issuers.value_sources import FileSet, ValueSource
from exchanger.model.issuer import Issuer
from exchanger.net.network import SYSTEM, RunSync
from exchanger.util.follow_file import POLL_S

Look = Callable[[], Awaitable[Plan | Rejected | None]]


@final
@attrs.frozen
class IssuerSettings:
    """TOKEN_EXCHANGE_ISSUER_PROFILES_FILE (``None``: no issuers) and the defaults for profiles; ``poll`` is in seconds."""

    path: Path | None = None
    rules: ProfileRules = attrs.field(factory=ProfileRules)
    poll: float = POLL_S


@final
@attrs.define(eq=False)
class IssuerSource:
    """Runs from the start of the service to its end, and logs changes. No line has a value of the file or of a Secret.

    ``rejected``: the file as it is now cannot be used, so the version before it stays active. ``missing`` is the number of values
    in Secrets and files that the profiles refer to and that cannot be used.

    Args:
        settings: Where the file is, and how it is read.
        secrets: Follows Secrets; ``None`` only if ``settings.rules`` have none.
        sink: Takes each new set.
        look: Returns a version of the file that counts and was not returned last, otherwise ``None``; by default, it reads the file in
            ``settings``.
    """

    settings: IssuerSettings
    secrets: SecretFollower | None
    sink: "Callable[[HashTrieMap[str, Issuer]], None]"
    _look: Look | None = None
    _log: structlog.stdlib.BoundLogger = attrs.field(factory=structlog.get_logger)
    run_sync: RunSync = SYSTEM.run_sync
    state: State = attrs.field(factory=State, init=False)
    _ready: trio.Event = attrs.field(factory=trio.Event, init=False)
    followed: dict[ValueSource, trio.CancelScope] = attrs.field(factory=dict, init=False)
    rejected: bool = attrs.field(default=False, init=False)
    missing: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        if self.settings.rules.with_secrets and self.secrets is None:
            raise ValueError("references to Secrets need a reader")
        if self._look is None and self.settings.path is not None:
            self._look = ProfilesFile(self.settings.path, self.settings.rules, self.run_sync).look

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow everything until cancelled; ``started()`` after the first complete set, however long that takes.

        Without a file, that is an empty set, and there is nothing to follow.
        """
        if self._look is None:
            self.sink(HashTrieMap())
            task_status.started()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_file, self._look, nursery)
            await self._ready.wait()  # no limit on purpose: nothing is served before, and the caller may cancel it
            task_status.started()

    def previous_credentials_left(self, issuer: str) -> float | None:
        """Return for how many seconds the credentials before a rotation are still tried, ``None`` if ``issuer`` has none."""
        current = self.state.current
        until = None if current is None else current.retiring.get(issuer)
        return None if until is None else max(until - trio.current_time(), 0.0)

    async def _follow_file(self, look: Look, nursery: trio.Nursery) -> None:
        while True:
            found = await look()
            now = trio.current_time()
            if isinstance(found, Rejected):
                self._log.error("issuers.file_rejected", reason=found.summary, text="the previous version stays active")
                self.rejected = True
            elif found is not None:
                # A mistake was taken back: nothing changes.
                if self.rejected and found == self.state.plan and self.state.current is not None:
                    self._log.info("issuers.loaded", names=sorted(self.state.current.issuers))
                self.rejected = False
                self._advance(self.state.with_file(found, now), nursery)
            self._advance(self.state.without_retired(now), nursery)
            await trio.sleep(self.settings.poll)

    async def _follow_place(self, place: ValueSource, scope: trio.CancelScope, nursery: trio.Nursery) -> None:
        learn = functools.partial(self.learned, place, scope, nursery)
        with scope:
            if isinstance(place, FileSet):
                await referenced_files.follow(place, learn, self.run_sync)
            elif self.secrets is not None:  # there are references only if it is not None
                await self.secrets.follow(place, learn)

    def learned(self, place: ValueSource, scope: trio.CancelScope, nursery: trio.Nursery, found: SecretData | SecretProblem) -> None:
        """Take over what was found at ``place``, unless it is no longer followed in ``scope``."""
        if self.followed.get(place) is scope:  # else it was dropped a moment ago
            self._advance(self.state.with_place(place, found, trio.current_time()), nursery)

    def _advance(self, after: State, nursery: trio.Nursery) -> None:
        """Go on to ``after``, and report the differences."""
        before, self.state = self.state, after
        if after is before:
            return
        if after.current is not None:
            self._hand_over(before, after, after.current)
        issues = after.issues
        self.missing = len(issues)
        self._report_issues(before.issues, issues)
        for place in self.followed.keys() - after.places:
            self.followed.pop(place).cancel()
        for place in sorted(after.places - self.followed.keys(), key=str):
            scope = self.followed[place] = trio.CancelScope()
            nursery.start_soon(self._follow_place, place, scope, nursery)

    def _hand_over(self, before: State, after: State, current: IssuerSet) -> None:
        # The sets and not the maps in them, whose own ``!=`` overlooks a difference beside something equal (rpds-py 2026.9).
        if current != before.current:
            self.sink(current.issuers)
        if after.plan != before.plan:
            self._log.info("issuers.loaded", names=sorted(current.issuers))
        for name in () if before.current is None else current.rotated_since(before.current):
            self._log.info("issuers.rotated", name=name)
        self._ready.set()

    def _report_issues(self, before: "HashTrieMap[str, str]", after: "HashTrieMap[str, str]") -> None:
        for place, reason in sorted(after.items()):
            if before.get(place) != reason:
                self._log.error("issuers.secret_problem", reason=f"{place}: {reason}")
        for place in sorted(before):
            if place not in after:
                self._log.info("issuers.secret_recovered", place=place)
