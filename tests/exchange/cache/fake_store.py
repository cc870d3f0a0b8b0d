"""A store in memory, which keeps time by Trio's clock and fails as it is told to."""

import base64
import hashlib
import math
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import final

import attrs
import trio

from exchanger.exchange.cache.settings import SharedSettings, StoreAddress
from exchanger.exchange.cache.store import StoreFailure, Write
from exchanger.model.secret import Secret
from exchanger.net.stream import Dial

SERVER = StoreAddress(False, "store.example.com", 6379)


def key_line(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "\n"


def shared_settings(folder: Path, *keys: str, namespace: str = "exchanger") -> SharedSettings:
    file = folder / "keys"
    file.write_text("".join(map(key_line, keys or ("one",))))
    return SharedSettings(SERVER, file, namespace)


@final
@attrs.define(eq=False)
class Server:
    """What all connections have in common. ``delay``: seconds until it answers."""

    values: dict[bytes, tuple[bytes, float]] = attrs.field(factory=dict)
    delay: float = 0.0
    refuses: str = ""
    full: bool = False
    opened: int = 0
    reads: int = 0
    writes: list[Write] = attrs.field(factory=list)
    removed: list[Write] = attrs.field(factory=list)
    connections: list["Connection"] = attrs.field(factory=list)

    async def open(
        self, nursery: trio.Nursery, _connect: Dial, settings: SharedSettings, password: Secret | None, tls: ssl.SSLContext | None
    ) -> "Connection | StoreFailure":
        self.opened += 1
        await trio.sleep(0.001)
        if self.refuses:
            return StoreFailure(self.refuses)
        connection = Connection(self)
        self.connections.append(connection)
        return connection

    def kill(self) -> None:
        for connection in self.connections:
            connection.closed.set()
        self.connections.clear()


@final
@attrs.define(eq=False)
class Connection:
    """One of a replica's."""

    server: Server
    closed: trio.Event = attrs.field(factory=trio.Event)
    in_step: bool = True

    async def read(self, keys: Sequence[bytes], max_bytes: int) -> list[tuple[bytes, int]] | StoreFailure:
        self.server.reads += 1
        await trio.sleep(self.server.delay)
        if self.closed.is_set():
            return StoreFailure("cannot be reached")
        now = trio.current_time()
        found = []
        for key in keys:
            value, until = self.server.values.get(key, (b"", -math.inf))
            left = until - now
            found.append((value[: max_bytes + 1], int(left * 1000)) if left > 0 else (b"", -2))
        return found

    async def write(self, writes: Sequence[Write]) -> StoreFailure | None:
        await trio.sleep(self.server.delay)
        if self.closed.is_set():
            return StoreFailure("cannot be reached")
        for write in writes:
            self.server.writes.append(write)
            if write.value is None:
                if write.key in self.server.values and write.only in {None, self.server.values[write.key][0]}:
                    del self.server.values[write.key]
                    self.server.removed.append(write)
            elif not self.server.full:
                assert write.ttl_ms > 0
                self.server.values[write.key] = (write.value, trio.current_time() + write.ttl_ms / 1000)
        return StoreFailure("is full") if self.server.full else None
