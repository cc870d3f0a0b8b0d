"""The profiles file, followed: its current content, once two reads in a row found the same.

Must not know: Secrets, or what the profiles are used for.
"""

import hashlib
from pathlib import Path
from typing import final

import attrs
from rpds import HashTrieMap

from exchanger.exchange.issuers.profile_model import Plan, Rejected
from exchanger.exchange.issuers.profiles import read_bytes, read_plan
from exchanger.exchange.issuers.referenced_files import read_files
from exchanger.exchange.issuers.resolve import Found, resolve
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.value_sources import FileSet, ValueSource
from exchanger.net.network import SYSTEM, RunSync
from exchanger.util.follow_file import HANGS, FileFollower
from exchanger.util.shown import shown_file


@final
@attrs.frozen
class _FileVersion:
    digest: bytes = attrs.field(repr=False)
    content: Plan | Rejected = attrs.field(eq=False)


@final
@attrs.define(eq=False)
class ProfilesFile:
    """The profiles file at ``_path``. The first version applies at once: there is nothing that it could spoil."""

    _path: Path
    _rules: ProfileRules
    _run_sync: RunSync = SYSTEM.run_sync
    # The last content, so that it is parsed once. Only the worker thread uses it, of which there is one at a time.
    _last: _FileVersion | None = attrs.field(default=None, init=False)
    _file: FileFollower[_FileVersion] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._file = FileFollower(self._read, _rejected(f"{shown_file(self._path)} {HANGS}"), self._run_sync, first_at_once=True)

    async def look(self) -> Plan | Rejected | None:
        """Return a version that applies and is not the one returned last, else ``None``."""
        found = await self._file.look_settled()
        return None if found is None else found.content

    def _read(self) -> _FileVersion:
        self._last = _version(self._path, self._last, self._rules)
        return self._last


def check_file(path: Path, rules: ProfileRules) -> tuple[str, ...]:
    """Return all problems of the file at ``path`` by itself, a readable line each; blocks while it is read."""
    found = _version(path, None, rules).content
    return found.problems if isinstance(found, Rejected) else ()


def check_references(path: Path, rules: ProfileRules) -> tuple[str, ...]:
    """Return the problems of the files that a valid file at ``path`` refers to, a line each; blocks while they are read."""
    content = _version(path, None, rules).content
    if isinstance(content, Rejected):
        return ()
    found: dict[ValueSource, Found] = {place: read_files(place) for place in content.places if isinstance(place, FileSet)}
    return tuple(str(issue) for issue in resolve(content, HashTrieMap(found)).issues)


def _version(path: Path, last: _FileVersion | None, rules: ProfileRules) -> _FileVersion:
    data = read_bytes(path)
    if isinstance(data, str):
        return _rejected(data)
    digest = hashlib.sha256(data).digest()
    if last is not None and digest == last.digest:
        return last
    return _FileVersion(digest, read_plan(data, shown_file(path), rules))


def _rejected(problem: str) -> _FileVersion:
    return _FileVersion(hashlib.sha256(b"unreadable " + problem.encode("utf-8", "replace")).digest(), Rejected((problem,)))
