"""Against gRPC's own client: every kind of call, and the usual ways to fail."""

import json
import sys
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.grpc.routes import CallInfo, Immediate, Pending, Route, routes_of
from exchanger.grpc.status import GrpcError, StatusCode
from tests.grpc.peer import ECHO, echo
from tests.grpc.services import Texts
from tests.grpc.serving import serving

CLIENT = Path(__file__).with_name("grpcio_client.py")

EXPECTED: Final[dict[str, object]] = {
    "unary": "echo hello",
    "empty": "echo ",
    "large": 4 * 1024 * 1024 + 5,
    "too large": ["RESOURCE_EXHAUSTED", "message larger than 4194304 bytes"],
    "compressed": ["UNIMPLEMENTED", "compressed messages are not supported"],
    "unknown": ["UNIMPLEMENTED", "unknown method"],
    "deadline": "['deadline_exceeded', 'deadline exceeded']",
    "many": sorted(f"echo {number}" for number in range(50)),
    "refused": ["NOT_FOUND", "nicht gefunden: 100 % ü"],
    "fault": ["INTERNAL", "internal error"],
    "split": ["\n\1a", "\n\1b", "\n\1c"],
    "join": "\n\3a b",
    "join early": "\n\1a",
    "echo": ["\n\1a", "\n\1b", "\n\1c"],
    "flood": 60_000,
    "after": "echo still here",
}
"""What the client prints, with or without TLS."""


def say(message: bytes, call: CallInfo) -> bytes | Pending:
    if message == b"refuse":
        raise GrpcError(StatusCode.NOT_FOUND, "nicht gefunden: 100 % ü")
    if message == b"fail":
        raise ValueError("s3cret")
    return echo(message, call)


async def forever() -> bytes:
    await trio.sleep_forever()
    raise AssertionError


@pytest.fixture
async def seen() -> dict[str, object]:
    routes: dict[bytes, Route] = {
        **routes_of(Texts().service()),
        ECHO: Immediate(say),
        b"/test.Echo/Wait": Immediate(lambda _message, _call: Pending(forever)),
    }
    async with serving(routes) as served:
        with trio.fail_after(60):
            done = await trio.run_process([sys.executable, str(CLIENT), str(served.port)], capture_stdout=True)
        await wait_all_tasks_blocked()
        assert served.at_rest()
        assert [type(fault) for fault in served.faults] == [ValueError]
    result: dict[str, object] = json.loads(done.stdout)
    return result


async def test_grpcio(seen: dict[str, object]) -> None:
    assert seen == EXPECTED
