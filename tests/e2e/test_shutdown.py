"""How the service ends while a call waits for a token endpoint that never answers: at the end of the grace period."""

import json
import signal
import socket
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.e2e.collector import wait_until
from tests.e2e.service import DOCUMENT, STOP_S, Service, serving

LONG = "60s"
# Seconds for a process to end at once, on a machine with much else to do; it takes about 0.1, and the other ends are after a minute.
AT_ONCE_S = 20.0


@contextmanager
def waiting(folder: Path, grace: str, **variables: str) -> Generator[tuple[Service, Future[CheckResponse]]]:
    """A service whose token endpoint accepts and says nothing, and a call to it that waits for that."""
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as pool:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/token"
        (folder / "issuers.yaml").write_text(
            f'issuers:\n  - {{name: primary, tokenEndpoint: "{endpoint}", clientID: client, clientSecret: secret}}\n'
        )
        with serving(
            folder,
            DOCUMENT,
            SHUTDOWN_GRACE_PERIOD=grace,
            TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true",
            TOKEN_ENDPOINT_REQUEST_TIMEOUT=LONG,
            TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT=LONG,
            **variables,
        ) as running:
            asked = pool.submit(running.check, "/orders", authorization="Bearer t")
            silent.settimeout(STOP_S)
            with silent.accept()[0]:  # a signal that overtook the call would find a service with nothing to do
                yield running, asked


def code_of(asked: Future[CheckResponse]) -> grpc.StatusCode:
    error = asked.exception(STOP_S)
    assert isinstance(error, grpc.RpcError)
    code: grpc.StatusCode = error.code()
    return code


@pytest.mark.full
def test_the_grace_period_is_the_end(tmp_path: Path) -> None:
    with waiting(tmp_path, "1500ms") as (running, asked):
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(STOP_S) == 0
        assert 1.5 <= time.monotonic() - started < 1.5 + AT_ONCE_S
        assert code_of(asked) is grpc.StatusCode.UNAVAILABLE
        assert "shutting down" in str(asked.exception())


def test_a_drain_that_the_grace_period_cuts_loses_no_line(tmp_path: Path) -> None:
    others, audit = 39, tmp_path / "audit"
    with (
        waiting(tmp_path, "1500ms", AUDIT_LOG=str(audit), AUDIT_IDENTITIES="plain", METRICS_ENABLED="true") as (running, asked),
        ThreadPoolExecutor(others) as pool,
    ):
        rest = [pool.submit(running.check, "/orders", authorization=f"Bearer {number}") for number in range(others)]
        wait_until(lambda: running.metric("ext_authz_check_in_flight") == others + 1)
        assert running.stop() == 0
        assert {code_of(one) for one in (asked, *rest)} == {grpc.StatusCode.UNAVAILABLE}
        lines = [json.loads(line) for line in running.lines().splitlines()]
    (cut,) = [line for line in lines if line["event"] == "service.drain_cut_short"]
    assert (cut["reason"], cut["requests"], cut["level"]) == ("the grace period is over", others + 1, "warning")
    assert not [line for line in lines if line["event"] == "audit.lines_lost"]
    refusals = [json.loads(line) for line in audit.read_text().splitlines()]
    assert sum(line.get("count", 1) for line in refusals) == others + 1
