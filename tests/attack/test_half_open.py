"""Half-open and slow connections by the thousand, to the ports that Prometheus and people ask: both get their page all the same."""

import contextlib
import socket
import time
from pathlib import Path

import pytest

from exchanger.console.server import LIMITS as CONSOLE
from exchanger.telemetry.metrics_server import LIMITS as METRICS
from tests.attack.half_open import attacking
from tests.attack.process import DOCUMENT, descriptors, resident_mib
from tests.e2e.collector import wait_until
from tests.e2e.service import serving
from tests.ports import free_port

ATTACK_S = 2.5
# Each costs one of the service's slots, which the attackers want too: a page that needs more is kept out.
MAX_ATTEMPTS = 50
HANG_S = 60.0
PAUSE_S = 0.2
# Sixty-four connections each with an answer that nobody takes, and what their sockets hold.
MAX_GROWTH_MIB = 96


def page(port: int, path: str) -> tuple[bytes, int]:
    """Return the answer to one request, and how often it was asked until there was one."""
    for attempt in range(1, MAX_ATTEMPTS + 1):
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), HANG_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            if answer := b"".join(iter(lambda: connection.recv(65536), b"")):
                return answer, attempt
        time.sleep(0.01)
    raise AssertionError(f"nothing after {MAX_ATTEMPTS} attempts")


@pytest.mark.slow
def test_half_open_connections_keep_neither_prometheus_nor_operators_out(tmp_path: Path) -> None:
    console = free_port()
    with serving(tmp_path, DOCUMENT, METRICS_ENABLED="true", CONSOLE_ADDRESS=f"127.0.0.1:{console}") as service:
        pid, asked = service.process.pid, ((service.metrics_port, "/metrics"), (console, "/"))
        for port, path in asked:
            assert page(port, path)[0].startswith(b"HTTP/1.1 200 ")
        rest, memory, most = descriptors(pid), resident_mib(pid), 0
        attempts: list[int] = []
        with attacking(service.metrics_port, console):
            wait_until(lambda: descriptors(pid) >= rest + METRICS.connections + CONSOLE.connections - 2)
            end = time.monotonic() + ATTACK_S
            while time.monotonic() < end:
                for port, path in asked:
                    answer, needed = page(port, path)
                    assert answer.startswith(b"HTTP/1.1 200 ")
                    attempts.append(needed)
                assert service.check("/admin").denied_response.status.code == 403
                most = max(most, descriptors(pid))
                time.sleep(PAUSE_S)
            grown = resident_mib(pid) - memory
        print(f"{len(attempts)} pages, at most {max(attempts)} attempts; {most - rest} descriptors and {grown:.1f} MiB more")
        assert most <= rest + METRICS.connections + CONSOLE.connections + 64  # and who has just been accepted, or is about to go
        assert grown < MAX_GROWTH_MIB
        wait_until(lambda: descriptors(pid) <= rest)
        assert service.stop() == 0
        assert '"level":"error"' not in service.lines()
