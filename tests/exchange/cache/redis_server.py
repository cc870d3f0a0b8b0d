"""A Redis or Valkey server of our own, and a plain way to ask it."""

import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, final

import attrs

from tests.ports import free_port
from tests.tools import find_tool

# Seconds for a server to start, and for an answer. It takes milliseconds.
PATIENCE_S: Final = 30.0


@final
@attrs.define(eq=False)
class RedisServer:
    """A server that can be killed and started again. With ``tls``, options are to say where its certificate is."""

    folder: Path
    options: tuple[str, ...] = ()
    tls: bool = False
    port: int = attrs.field(factory=free_port)
    password: str = ""
    _process: "subprocess.Popen[bytes] | None" = attrs.field(default=None, init=False)

    def start(self) -> None:
        listen = ("--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no") if self.tls else ("--port", str(self.port))
        socket_file = ("--unixsocket", str(self.folder / "s"))
        general = ("--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder), "--daemonize", "no", "--loglevel", "warning")
        self._process = subprocess.Popen(
            (find_tool("redis-server"), *listen, *socket_file, *general, *self.options), stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(OSError):
                if self.ask("PING") == b"PONG":
                    return
            assert time.monotonic() < deadline, "the server does not start"
            assert self._process.poll() is None
            time.sleep(0.01)

    def ask(self, *command: str | bytes) -> object:
        """Return the answer to a command, over the server's own socket in the file system."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(str(self.folder / "s"))
            with connection.makefile("rwb") as stream:
                answer: object = None
                for words in ((("AUTH", self.password),) if self.password else ()) + (command,):
                    parts = [word.encode() if isinstance(word, str) else word for word in words]
                    stream.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
                    stream.flush()
                    answer = _answer(stream)
                return answer

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None


def _answer(stream: object) -> object:
    line = stream.readline().rstrip(b"\r\n")  # type: ignore[attr-defined]
    kind, rest = line[:1], line[1:]
    match kind:
        case b"$":
            return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2]  # type: ignore[attr-defined]
        case b"*":
            return [_answer(stream) for _ in range(int(rest))]
        case b":":
            return int(rest)
        case b"-":
            raise AssertionError(rest)
        case _:
            return rest


@contextmanager
def redis_server(folder: Path, *options: str, tls: bool = False) -> Generator[RedisServer]:
    """Run a server. ``folder`` must have a short path, since a socket's is bounded."""
    server = RedisServer(folder, options, tls)
    server.start()
    try:
        yield server
    finally:
        server.kill()
