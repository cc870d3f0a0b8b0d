"""How the service ends while a call waits for a token endpoint that never answers: at the end of the grace period."""

import signal
import socket
import time
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.e2e.service import DOCUMENT, STOP_S, Service, serving

LONG = "60s"
# Seconds for a process to end at once, on a machine with much else to do; it takes about 0.1, and the other ends are after a minute.
AT_ONCE_S = 20.0


@contextmanager
def waiting(folder: Path, grace: str) -> Generator[tuple[Service, Future[CheckResponse]]]:
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


def test_the_grace_period_is_the_end(tmp_path: Path) -> None:
    with waiting(tmp_path, "1500ms") as (running, asked):
        started = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(STOP_S) == 0
        assert 1.5 <= time.monotonic() - started < 1.5 + AT_ONCE_S
        assert code_of(asked) is grpc.StatusCode.UNAVAILABLE
        assert "shutting down" in str(asked.exception())
