"""Against gRPC's own client: every kind of call, and the usual ways to fail."""

import json
import sys
from pathlib import Path
from typing import Final

import trio
from trio.testing import wait_all_tasks_blocked

from exchanger.net.grpc.routes import CallInfo, Immediate, ImmediateStream, Route, routes_of
from exchanger.net.grpc.status import GrpcError, StatusCode
from tests.net.grpc.authority import Site
from tests.net.grpc.later import Pending
from tests.net.grpc.peer import ECHO, echo
from tests.net.grpc.services import Texts
from tests.net.grpc.serving import serving

CLIENT = Path(__file__).with_name("grpcio_client.py")

# What the client sees, with or without TLS.
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
    "chat": ["echo a", "echo b"],
    "chat refused": ["NOT_FOUND", "nicht gefunden: 100 % ü"],
    "flood": 60_000,
    "after": "echo still here",
}


def say(message: bytes, call: CallInfo) -> bytes | Pending:
    if message == b"refuse":
        raise GrpcError(StatusCode.NOT_FOUND, "nicht gefunden: 100 % ü")
    if message == b"fail":
        raise ValueError("s3cret")
    return echo(message, call)


async def forever() -> bytes:
    await trio.sleep_forever()
    raise AssertionError


async def test_every_kind_of_call(site: Site, tmp_path: Path) -> None:
    table: dict[bytes, Route] = {
        **routes_of(Texts().service()),
        ECHO: Immediate(say),
        b"/test.Echo/Wait": Immediate(lambda _message, _call: Pending(forever)),
        b"/test.Echo/Chat": ImmediateStream(say),
    }
    own = site.authority.issue_cert("gateway.example")
    certificate, key = tmp_path / "own.crt", tmp_path / "own.key"
    certificate.write_bytes(own.cert_chain_pems[0].bytes())
    key.write_bytes(own.private_key_pem.bytes())
    async with serving(table, tls=site.files.settings(mutual=True)) as served:
        command = [sys.executable, CLIENT, served.port, served.tls_port, site.files.client_ca, certificate, key]
        with trio.fail_after(60):
            done = await trio.run_process(list(map(str, command)), capture_stdout=True)
        await wait_all_tasks_blocked()
        assert served.at_rest()
        assert [type(fault) for fault in served.faults] == [ValueError] * 2
    assert json.loads(done.stdout) == {"plaintext": EXPECTED, "mutual TLS": EXPECTED}
