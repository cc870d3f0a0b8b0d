"""A store of the token cache that says what it likes, without end: the service takes no memory for it, and answers all the same."""

import contextlib
import itertools
import socket
import time
from pathlib import Path
from typing import Final

import pytest

from tests.attack.process import DOCUMENT, resident_mib, spawned
from tests.e2e.service import serving
from tests.exchange.cache.fake_store import key_line
from tests.ports import free_port

ATTACK_S: Final = 6.0
# What is read of a flood is 64 KiB; importing the store's client and what the service does beside take some.
MAX_GROWTH_MIB: Final = 32
HELLO: Final = b"%3\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n"
FLOODS: Final = (b"*1\r\n", b">2\r\n+a\r\n+b\r\n", b"%1\r\n", b"$2147483647\r\n" + b"x" * 1000, b"$0\r\n\r\n:-2\r\n")


def flood(port: int) -> None:
    """Greet each connection, answer no look-up on it or two, and then send without end."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        for data, answers in itertools.cycle(itertools.product(FLOODS, (0, 2))):
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(HELLO)
                for _ in range(answers):
                    connection.recv(65536)
                    connection.sendall(b"$0\r\n\r\n:-2\r\n")
                while True:
                    connection.sendall(data * (65536 // len(data) + 1))


@pytest.mark.slow
def test_a_store_that_sends_without_end_takes_neither_memory_nor_time(tmp_path: Path) -> None:
    port = free_port()
    keys = tmp_path / "keys"
    keys.write_text(key_line("one"))
    store = {"TOKEN_CACHE_URL": f"redis://127.0.0.1:{port}", "TOKEN_CACHE_KEY_FILE": str(keys)}
    with serving(tmp_path, DOCUMENT, **store) as service:
        assert service.check("/admin").denied_response.status.code == 403
        before = resident_mib(service.process.pid)
        with spawned(flood, port):
            end = time.monotonic() + ATTACK_S
            while time.monotonic() < end:
                assert service.check("/admin").denied_response.status.code == 403
                time.sleep(0.05)
        assert resident_mib(service.process.pid) - before < MAX_GROWTH_MIB
        assert service.process.poll() is None
