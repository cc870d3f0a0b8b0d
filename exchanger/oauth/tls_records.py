"""The stream below TLS: it follows the boundaries of TLS records and can be read without waiting.

Between exchanges a peer may send session tickets and key updates (RFC 8446 section 4.6, https://www.rfc-editor.org/rfc/rfc8446#section-4.6),
which answer nobody, while a single byte of data might. Only TLS can tell them apart, so whatever has arrived goes through it, without
waiting for more. Knows nothing of HTTP.
"""

from typing import Final, final

import attrs
import trio

# Bytes a read, and of a look between exchanges: a ticket has a few hundred, and 64 KiB at most.
_READ_BYTES: Final = 16 * 1024

# Type, version and length, the latter in the last two (RFC 8446 section 5.1, https://www.rfc-editor.org/rfc/rfc8446#section-5.1).
_HEADER_BYTES: Final = 5


class _NothingToReadError(Exception):
    """What had arrived was read."""


@final
@attrs.define(eq=False)
class Records(trio.abc.Stream):
    """The transport of an ``SSLStream``, over ``plain``."""

    plain: trio.abc.Stream
    _header: bytes = attrs.field(default=b"", init=False)
    _missing: int = attrs.field(default=0, init=False)
    _reads: int | None = attrs.field(default=None, init=False)  # that may still be made in a look; None outside

    async def is_only_tls(self, stream: "trio.SSLStream[Records]") -> bool:
        """Consume what has arrived for ``stream``, which is above this one; return whether all of it was for TLS itself.

        Half a record does not count, as the other half decides what it is. Neither does an end.
        """
        self._reads = 1
        try:
            await stream.receive_some(1)
        except _NothingToReadError:
            return not self._header and not self._missing and not is_readable(self.plain)
        except trio.BrokenResourceError:
            return False
        finally:
            self._reads = None
        return False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As every stream; while ``is_only_tls`` looks, once at most and only what is there."""
        if self._reads is not None:
            if not self._reads or not is_readable(self.plain):
                raise _NothingToReadError
            self._reads -= 1
        data = await self.plain.receive_some(_READ_BYTES if max_bytes is None else max_bytes)
        self._follow(data)
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As every stream."""
        await self.plain.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As every stream."""
        await self.plain.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """As every stream."""
        await self.plain.aclose()

    def _follow(self, data: bytes | bytearray) -> None:
        at = 0
        while at < len(data):
            if self._missing:
                step = min(self._missing, len(data) - at)
                self._missing -= step
                at += step
                continue
            taken = data[at : at + _HEADER_BYTES - len(self._header)]
            self._header += taken
            at += len(taken)
            if len(self._header) == _HEADER_BYTES:
                self._missing, self._header = int.from_bytes(self._header[3:], "big"), b""


def is_readable(plain: trio.abc.Stream) -> bool:
    """Return whether ``plain`` has bytes or an end of file that were not read. Only sockets can be looked at."""
    return isinstance(plain, trio.SocketStream) and plain.socket.is_readable()


def has_pending(records: Records, stream: "trio.SSLStream[Records]") -> bool:
    """Return whether bytes or an end of file have come for ``stream`` that it did not hand on, in whatever layer they wait.

    Bytes that TLS has taken in but not decrypted show only in a private attribute of Trio's stream; without it the answer is yes, and
    ``Records.is_only_tls`` has the last word.
    """
    incoming = getattr(stream, "_incoming", None)
    return incoming is None or bool(incoming.pending) or stream.pending() > 0 or is_readable(records.plain)
