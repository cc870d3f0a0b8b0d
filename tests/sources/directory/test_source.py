from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from exchanger.model.entry import DenyEntry
from exchanger.model.notice import Notices
from exchanger.model.policy_decision import PolicyDecision, Unhealthy
from exchanger.model.selector import parse_selector
from exchanger.net.network import SYSTEM
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.policy.selection import Change
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.directory.source import MAX_LINES, QUIET_S, RESTLESS_S, DirectorySettings, DirectorySource, FolderError
from tests.e2e.service import NAMESPACE, config_map
from tests.lines import logger_to

PATIENCE_S = 30.0
STEP_S = 0.1
DENY = "version: v1\nentries: [{match: {host: h, pathPrefix: /a}, action: deny}]"


@attrs.define(eq=False)
class Watcher:
    """Sink and observer; ``next`` waits for the next version."""

    changes: list[Change] = attrs.Factory(list)
    problems: list[str] = attrs.Factory(list)
    repaired: list[str] = attrs.Factory(list)
    sent: list[PolicySnapshot] = attrs.Factory(list)
    _arrived: trio.Event = attrs.Factory(trio.Event)

    def publish(self, snapshot: PolicySnapshot, /) -> None:
        self.sent.append(snapshot)
        self._wake()

    def published(self, change: Change) -> None:
        self.changes.append(change)
        self._wake()

    def logged(self, line: structlog.typing.EventDict) -> None:
        (self.problems if line["event"] == "policy.file_unreadable" else self.repaired).append(line["file"])
        self._wake()

    def _wake(self) -> None:
        self._arrived.set()
        self._arrived = trio.Event()

    async def until(self, holds: object) -> None:
        assert callable(holds)
        with trio.fail_after(PATIENCE_S):
            while not holds():
                await self._arrived.wait()

    def is_decided(self, kind: type[PolicyDecision], host: str = "h") -> bool:
        """Tell whether the newest version gives this kind of decision."""
        return isinstance(self.sent[-1].match(host, "/a", "GET"), kind)

    async def until_decided(self, kind: type[PolicyDecision]) -> None:
        await self.until(lambda: self.is_decided(kind))


def source(folder: Path, watcher: Watcher) -> DirectorySource:
    settings = DirectorySettings(
        folder,
        parse_selector("ext-authz-token-exchange.magneticflux.net/policy=enabled"),
        parse_selector("ext-authz-token-exchange.magneticflux.net/enabled=true"),
    )
    return DirectorySource(settings, frozenset(), watcher, on_published=watcher.published, log=logger_to(watcher.logged))


@asynccontextmanager
async def following(folder: Path) -> AsyncGenerator[Watcher]:
    watcher = Watcher()
    async with trio.open_nursery() as nursery:
        await nursery.start(source(folder, watcher).run)
        yield watcher
        nursery.cancel_scope.cancel()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "policy"
    _write(path, DENY)
    return path


async def test_the_first_version_is_complete_when_it_has_started(folder: Path) -> None:
    async with following(folder) as watcher:
        assert len(watcher.sent) == len(watcher.changes) == 1
        assert watcher.is_decided(DenyEntry)


@pytest.mark.parametrize("link", ["mount/..data", "current"], ids=["a mounted ConfigMap", "a folder that is a link"])
async def test_links_are_followed_to_where_they_lead(tmp_path: Path, link: str) -> None:
    followed = tmp_path / link
    followed.parent.mkdir(exist_ok=True)
    for version, document in (("..1", DENY), ("..2", "version: v2")):
        _write(followed.with_name(version), document)
    followed.symlink_to("..1")
    folder = followed
    if link != "current":
        folder = followed.parent
        for name in ("namespace.yaml", "policy.yaml"):
            (folder / name).symlink_to(f"..data/{name}")
    async with following(folder) as watcher:
        assert watcher.is_decided(DenyEntry)
        followed.with_name("..new").symlink_to("..2")
        followed.with_name("..new").replace(followed)
        await watcher.until_decided(Unhealthy)


async def test_a_folder_that_is_not_there_is_a_fault_at_the_start(tmp_path: Path) -> None:
    watcher = Watcher()
    with pytest.RaisesGroup(FolderError):
        async with trio.open_nursery() as nursery:
            await nursery.start(source(tmp_path / "nothing", watcher).run)
    assert not watcher.sent


async def test_a_change_without_notification_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(*_paths: object, **_options: object) -> object:
        raise RuntimeError("no watches left")

    monkeypatch.setattr("watchfiles.awatch", deaf)
    async with following(folder) as watcher:
        _replace(folder / "policy.yaml", config_map("version: v2"))
        await watcher.until_decided(Unhealthy)


async def at_once(work: Any, /, *args: Any, **_options: Any) -> Any:
    return work(*args)


async def often(_folder: Path, _end: trio.Event) -> AsyncGenerator[None]:
    while True:
        await trio.sleep(STEP_S)
        yield


@asynccontextmanager
async def following_by_the_clock(folder: Path) -> AsyncGenerator[Watcher]:
    watcher = Watcher()
    async with trio.open_nursery() as nursery:
        await nursery.start(attrs.evolve(source(folder, watcher), network=attrs.evolve(SYSTEM, run_sync=at_once), watch=often).run)
        yield watcher
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("gap", [STEP_S, QUIET_S - STEP_S])
@pytest.mark.parametrize("removed", ["", config_map("version: v1", name="other")], ids=["removed", "emptied"])
async def test_a_denial_that_a_checkout_moves_is_never_missing(folder: Path, gap: float, removed: str, autojump_clock: MockClock) -> None:
    async with following_by_the_clock(folder) as watcher:
        if removed:
            _replace(folder / "policy.yaml", removed)
        else:
            (folder / "policy.yaml").unlink()
        await trio.sleep(gap)
        _replace(folder / "later.yaml", config_map(DENY, name="later"))
        await trio.sleep(RESTLESS_S)

        assert len(watcher.sent) > 1
        assert all(isinstance(snapshot.match("h", "/a", "GET"), DenyEntry) for snapshot in watcher.sent)


async def test_an_edit_of_one_file_takes_effect_at_once(folder: Path, autojump_clock: MockClock) -> None:
    async with following_by_the_clock(folder) as watcher:
        _replace(folder / "policy.yaml", config_map("version: v1"))
        await trio.sleep(QUIET_S - STEP_S)

        assert not watcher.is_decided(DenyEntry)


async def test_a_withdrawal_takes_effect_although_the_folder_keeps_changing(folder: Path, autojump_clock: MockClock) -> None:
    async with following_by_the_clock(folder) as watcher:
        (folder / "policy.yaml").unlink()
        began = trio.current_time()
        while watcher.is_decided(DenyEntry):
            _replace(folder / "other.yaml", f"# {trio.current_time()}")
            await trio.sleep(STEP_S)

        assert QUIET_S < trio.current_time() - began <= RESTLESS_S + 4 * STEP_S


async def test_a_denial_stays_whose_file_comes_back_unreadable_elsewhere(folder: Path, autojump_clock: MockClock) -> None:
    async with following_by_the_clock(folder) as watcher:
        (folder / "policy.yaml").unlink()
        await trio.sleep(QUIET_S - STEP_S)
        _replace(folder / "moved.yaml", "kind: [")
        await trio.sleep(2 * RESTLESS_S)

        assert watcher.is_decided(DenyEntry)


async def test_files_that_all_become_unreadable_cause_a_bounded_number_of_log_lines(folder: Path, autojump_clock: MockClock) -> None:
    names = [folder / f"{number}.yaml" for number in range(MAX_LINES + 3)]
    async with following_by_the_clock(folder) as watcher:
        for text in ("kind: [", NAMESPACE):
            for name in names:
                name.write_text(text)
            await trio.sleep(RESTLESS_S)

        assert len(watcher.problems) == len(watcher.repaired) == MAX_LINES + 1


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.replace(path)


def _write(folder: Path, document: str) -> None:
    folder.mkdir()
    (folder / "namespace.yaml").write_text(NAMESPACE)
    (folder / "policy.yaml").write_text(config_map(document))


async def test_grants_that_give_nothing_are_noticed_until_they_change(folder: Path) -> None:
    watcher, told = Watcher(), list[Notices]()
    first, replaced = (
        Grants((NamespaceGrant(frozenset({"team"}), None, ("h", host)),))
        for host in ("{label:team}.example.com", "{namespace}.example.com")
    )
    followed = attrs.evolve(source(folder, watcher), grants=first, on_notices=told.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(followed.run)
        assert [notice.subject for notice in told[-1].listed] == ["Namespace team"]
        followed.use_grants(replaced)
        with trio.fail_after(PATIENCE_S):
            while told[-1].count:  # noqa: ASYNC110 - on_notices has no event
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
