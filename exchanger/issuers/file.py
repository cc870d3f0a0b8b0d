"""The profiles file, looked at again and again: what it says now, once it says so at two looks in a row.

It is compared by content: that sees every way of replacing it (a symlink swapped, as with a mounted ConfigMap, a file renamed over or
rewritten in place) on every file system. A version counts when the next look finds it unchanged, since half of a file that is being
written may well be a valid file with some of the profiles missing.

Must not know: Secrets, or what is done with the profiles.
"""

import hashlib
from pathlib import Path
from typing import Final, Protocol, final

import attrs
import trio

from exchanger.issuers.plan import EndpointCheck, Plan, ProfileRules, Rejected, plan_profiles
from exchanger.issuers.profiles import parse_profiles, read_bytes

_READ_S: Final = 10.0
"""Seconds for a look at the file: on a healthy file system it takes less than a millisecond, so this one hangs."""


class WatchedFile(Protocol):
    """Gives versions of a profiles file."""

    async def look(self) -> Plan | Rejected | None:
        """Return a version that counts and was not returned before, ``None`` when there is none."""


@final
@attrs.frozen
class _Version:
    digest: bytes = attrs.field(repr=False)
    content: Plan | Rejected


@final
@attrs.frozen
class ProfilesFileStatistics:
    """Looks at the file since the start."""

    looks: int


@final
@attrs.define(eq=False)
class ProfilesFile:
    """Implements ``WatchedFile`` for the file at ``_path``. The first version counts at once: there is nothing that it could spoil."""

    _path: Path
    _rules: ProfileRules
    _check_endpoint: EndpointCheck
    _seen: bytes = attrs.field(default=b"", init=False, repr=False)
    _unsettled: Plan | Rejected | None = attrs.field(default=None, init=False)
    _looks: int = attrs.field(default=0, init=False)
    # One thread at a time, and no more than one that hangs.
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1), init=False)

    async def look(self) -> Plan | Rejected | None:
        """See ``WatchedFile``."""
        found = await self._read()
        self._looks += 1
        if found is None:
            settled, self._unsettled = self._unsettled, None
            return settled
        first, self._seen = not self._seen, found.digest
        self._unsettled = None if first else found.content
        return found.content if first else None

    def statistics(self) -> ProfilesFileStatistics:
        """Return the count so far."""
        return ProfilesFileStatistics(self._looks)

    async def _read(self) -> _Version | None:
        """Return what the file says, ``None`` when that is what it said at the look before."""
        found: _Version | None = _stuck(self._path)
        with trio.move_on_after(_READ_S):
            # Abandoned when cancelled: a look only reads, and what it found is dropped.
            found = await trio.to_thread.run_sync(
                _version, self._path, self._seen, self._rules, self._check_endpoint, abandon_on_cancel=True, limiter=self._limiter
            )
        return None if found is None or found.digest == self._seen else found


def check_file(path: Path, rules: ProfileRules, check_endpoint: EndpointCheck) -> tuple[str, ...]:
    """Return everything that is wrong with the file at ``path`` by itself, a readable line each; blocks while it is read."""
    found = _version(path, b"", rules, check_endpoint)
    return found.content.problems if found is not None and isinstance(found.content, Rejected) else ()


def _version(path: Path, seen: bytes, rules: ProfileRules, check_endpoint: EndpointCheck) -> _Version | None:
    data = read_bytes(path)
    if isinstance(data, str):
        return _rejected(data)
    digest = hashlib.sha256(data).digest()
    if digest == seen:
        return None
    profiles, problems = parse_profiles(data, str(path))
    return _Version(digest, Rejected(problems) if problems else plan_profiles(profiles, rules, check_endpoint))


def _stuck(path: Path) -> _Version:
    return _rejected(f"{path} could not be read within {_READ_S:.0f} seconds")


def _rejected(problem: str) -> _Version:
    return _Version(hashlib.sha256(b"unreadable " + problem.encode("utf-8", "replace")).digest(), Rejected((problem,)))
