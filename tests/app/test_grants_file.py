"""The grants file while the service runs: which versions come into force, and what the log says of them."""

from pathlib import Path

import trio
from trio.testing import MockClock

from exchanger.app.grants_file import GrantsFile, GrantsSettings
from exchanger.policy.grants.allowance import Grants
from tests.lines import Lines
from tests.waiting import at_once

ONE = "version: v1\ngrants:\n  - {namespaces: [team], hosts: [api.example.com]}\n"
TWO = f"{ONE}  - {{namespaces: [other], hosts: [other.example.com]}}\n"


async def test_a_valid_version_comes_into_force_and_a_bad_one_changes_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    path, lines, used = tmp_path / "grants.yaml", Lines(), list[Grants]()
    path.write_text(ONE)
    settings = GrantsSettings(path, enforced=False).loaded()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(GrantsFile(settings, path, used.append, at_once, lines.logger).run)
        await trio.sleep(5)
        assert (used, lines.events) == ([], [])  # the version that the service has started with
        path.write_text("grants: [")
        await trio.sleep(5)
        ((event, reason),) = lines.taken()
        assert (used, event, reason.startswith("is invalid: ")) == ([], "rejected", True)
        path.write_text(TWO)
        await trio.sleep(5)
        assert [len(grants.grants) for grants in used] == [2]
        assert lines.taken() == [("loaded", "2", "0", "report")]
        path.unlink()
        await trio.sleep(5)
        assert lines.taken() == [("rejected", "cannot be read: No such file or directory")]
        assert len(used) == 1
        nursery.cancel_scope.cancel()
