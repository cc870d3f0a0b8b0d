"""The audit log with a real file, real threads and real time: nothing here depends on how long anything takes."""

import json
import os
from pathlib import Path
from typing import Any

import trio

from exchanger.authz.audit.file import AuditFile
from exchanger.authz.audit.log import AuditLog
from exchanger.authz.audit.settings import AuditSettings
from exchanger.net.network import SYSTEM
from exchanger.net.reactor import Reactor
from exchanger.operations.telemetry.render import Stamp
from tests.authz.audit.outputs import KEY, granted, refused
from tests.waiting import until


def written_below(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.iterdir()) for line in file.read_bytes().splitlines()]


async def test_an_audit_file_moved_again_and_again_has_every_line_once(tmp_path: Path) -> None:
    path, told = tmp_path / "audit.log", [0]
    log = AuditLog(AuditSettings(path, True, keys=(KEY,)), AuditFile(path), Reactor(SYSTEM), Stamp(), SYSTEM)

    def count(written: bool) -> None:
        assert written
        told[0] += 1

    rounds, rows = 20, 50
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        await until(path.exists)
        for number in range(rounds):
            for _ in range(rows):
                assert log.write(granted(), 1e9, count) is not None
            log.decided(refused())
            await until(lambda: told[0] == rows * (number + 1))  # noqa: B023 - awaited
            path.rename(tmp_path / f"audit.log.{number}")
            await until(path.exists)  # within a second, without a line
        nursery.cancel_scope.cancel()
    lines = written_below(tmp_path)
    events = [line["event"] for line in lines]
    assert events.count("exchange.granted") == rounds * rows
    assert sum(line.get("count", 1) for line in lines if line["event"] == "exchange.denied") == rounds


async def test_a_pipe_whose_reader_dies_refuses_until_there_is_another(tmp_path: Path) -> None:
    path, told = tmp_path / "pipe", list[bool]()
    os.mkfifo(path)
    log = AuditLog(AuditSettings(path, True, keys=(KEY,)), AuditFile(path), Reactor(SYSTEM), Stamp(), SYSTEM)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        await until(lambda: log.is_broken)
        assert log.write(granted(), 1e9, told.append) is None
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        await until(lambda: not log.is_broken)
        assert log.write(granted(), 1e9, told.append) is not None
        await until(lambda: told == [True])
        assert json.loads(os.read(reader, 65_536))["event"] == "exchange.granted"
        os.close(reader)
        log.write(granted(), 1e9, told.append)
        await until(lambda: told == [True, False])
        nursery.cancel_scope.cancel()
