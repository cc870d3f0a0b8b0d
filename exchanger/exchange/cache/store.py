"""The only user of the store's client: one connection to a Redis or Valkey server, without a pool.

The client's own pool loses a place for each attempt that is cancelled while it connects, and it retries; both are wrong for look-ups that
give up after milliseconds. A single connection carries any number of commands at a time, and a cancelled one only leaves an unused reply.
If replies ever got out of step, no value would open under another one's name.

No text of the client or the server leaves this module: it may quote a command, and so a password.
"""

import ssl
from collections.abc import Sequence
from typing import Any, Final, Self, final

import attrs
import trio
from anyio import BrokenResourceError, EndOfStream
from anyio.abc import ByteStream
from coredis.connection import BaseConnection, TCPLocation
from coredis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError, WrongTypeError
from coredis.typing import ResponseType

from exchanger.exchange.cache.replies import Replies, reply_to
from exchanger.exchange.cache.settings import SharedSettings
from exchanger.model.secret import Secret
from exchanger.net.stream import Dial, open_stream

# Removes a key while it has this value, and not a longer one. Scripts are atomic
# (https://redis.io/docs/latest/develop/programmability/eval-intro/), and no command of Redis before 8.4 compares. GETRANGE, since GET would
# read somebody's 500 MB whole.
_REMOVE_IF: Final = b"return redis.call('GETRANGE', KEYS[1], 0, #ARGV[1]) == ARGV[1] and redis.call('UNLINK', KEYS[1]) or 0"
# Seconds for name resolution, TCP, TLS and authentication. Nothing waits for it.
CONNECT_S: Final = 5.0


@final
@attrs.frozen
class StoreFailure:
    """The store failed. ``reason`` is in our own words, which follow "the store"."""

    reason: str


@final
@attrs.frozen
class Write:
    """A value to store under a key for ``ttl_ms`` milliseconds, or, without a value, a key to remove.

    With ``only``, it is removed only while it has that value.
    """

    key: bytes
    value: bytes | None = attrs.field(default=None, repr=False)
    ttl_ms: int = 0
    only: bytes | None = attrs.field(default=None, repr=False, kw_only=True)


@final
@attrs.define(eq=False)
class _Transport(ByteStream):
    """A connection for the client. It passes on only replies to commands in progress: the client's buffers are unbounded."""

    _stream: trio.abc.Stream
    replies: Replies = attrs.field(factory=Replies, init=False)

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while not (replies := self.replies.take()):
            # While no command is in progress, there is nothing to read but the end, or the first byte of something unsolicited.
            data = await self._receive_some(max_bytes if self.replies.expected else 1)
            if not data:
                raise EndOfStream
            self.replies.add(data)
        return replies

    async def _receive_some(self, max_bytes: int) -> bytes:
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise BrokenResourceError from None

    async def send(self, item: bytes) -> None:
        try:
            await self._stream.send_all(item)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise BrokenResourceError from None

    async def send_eof(self) -> None:
        """Do nothing: the client never half-closes."""

    async def aclose(self) -> None:
        """Close at once: there is nothing to say goodbye for."""
        await trio.aclose_forcefully(self._stream)


class _Connection(BaseConnection):
    """The client's connection over a stream that is open already."""

    def __init__(self, transport: _Transport, settings: SharedSettings, password: Secret | None) -> None:
        super().__init__(
            TCPLocation(settings.address.host, settings.address.port),
            username=settings.username or None,
            password=None if password is None else password.reveal(),
            db=settings.address.database,
        )
        self._transport = transport

    async def _connect(self) -> ByteStream:
        return self._transport

    def create_request(self, command: bytes, *args: Any, **options: Any) -> Any:
        """Send the commands, including those of the greeting."""
        # GETRANGE has a key, and the positions of the first and of the last byte.
        self._transport.replies.expect(reply_to(command, args[2] + 1 if command == b"GETRANGE" else 0))
        return super().create_request(command, *args, **options)

    def describe(self) -> str:
        return "store"


@final
@attrs.define(eq=False)
class StoreConnection:
    """An open connection. ``closed`` is set when it is lost."""

    closed: trio.Event
    _connection: BaseConnection = attrs.field(repr=False)

    @classmethod
    async def open(
        cls, nursery: trio.Nursery, connect: Dial, settings: SharedSettings, password: Secret | None, tls: ssl.SSLContext | None
    ) -> Self | StoreFailure:
        """Dial and authenticate, within ``CONNECT_S``. The connection lives in ``nursery``; cancel that to close it."""
        with trio.move_on_after(CONNECT_S):
            try:
                stream = await open_stream(connect, settings.address.host, settings.address.port, tls)
            except OSError:
                return StoreFailure("cannot be reached")
            except trio.BrokenResourceError as error:
                untrusted = isinstance(error.__cause__, ssl.SSLCertVerificationError)
                return StoreFailure("has a certificate that is not trusted" if untrusted else "does not speak TLS as it should")
            store = cls(trio.Event(), _Connection(_Transport(stream), settings, password))
            return store if (failure := await nursery.start(store._run)) is None else failure
        return StoreFailure(f"could not be reached within {CONNECT_S:.0f} seconds")

    async def _run(self, *, task_status: trio.TaskStatus[StoreFailure | None] = trio.TASK_STATUS_IGNORED) -> None:
        status = _Status(task_status)
        try:
            await self._connection.run(task_status=status)
        except Exception as error:  # noqa: BLE001 - see _why
            if not status.begun:
                task_status.started(StoreFailure(_why(error)))
        finally:
            self.closed.set()

    @property
    def in_step(self) -> bool:
        """Whether the connection is open and holds no unexpected answer."""
        return self._connection.reusable

    async def read(self, keys: Sequence[bytes], max_bytes: int) -> list[tuple[bytes, int]] | StoreFailure:
        """Return, for each key, its value, cut after one more than ``max_bytes``, and its remaining time in milliseconds.

        The value is empty if there is none; the time is negative if there is no limit.
        """
        try:
            asked = [
                (
                    self._connection.create_request(b"GETRANGE", key, 0, max_bytes),
                    self._connection.create_request(b"PTTL", key),
                )
                for key in keys
            ]
            return [(_as_bytes(await _unless_of_another_type(value)), _as_int(await left)) for value, left in asked]
        except Exception as error:  # noqa: BLE001 - see _why
            return StoreFailure(_why(error))

    async def write(self, writes: Sequence[Write]) -> StoreFailure | None:
        """Make the changes, in order."""
        try:
            asked = [self._connection.create_request(*_command(write)) for write in writes]
            failure: StoreFailure | None = None
            for one in asked:
                try:
                    await one
                except ResponseError as error:
                    failure = StoreFailure(_why(error))
        except Exception as error:  # noqa: BLE001 - see _why
            return StoreFailure(_why(error))
        return failure


@final
@attrs.define(eq=False)
class _Status:
    """Reports that the connection is open, once, as a task status requires."""

    _status: trio.TaskStatus[StoreFailure | None]
    begun: bool = attrs.field(default=False, init=False)

    def started(self, value: None = None) -> None:
        self.begun = True
        self._status.started(value)


def _command(write: Write) -> tuple[Any, ...]:
    if write.value is not None:
        return b"SET", write.key, write.value, b"PX", write.ttl_ms
    if write.only is not None:
        return b"EVAL", _REMOVE_IF, 1, write.key, write.only
    return b"UNLINK", write.key


async def _unless_of_another_type(request: object) -> ResponseType:
    """Return the answer; nothing where another type is stored under the key."""
    try:
        return await request  # type: ignore[misc, no-any-return]  # the client's request, which is not exported
    except WrongTypeError:
        return b""


def _as_bytes(answer: ResponseType) -> bytes:
    return answer if isinstance(answer, bytes) else b""


def _as_int(answer: ResponseType) -> int:
    return answer if isinstance(answer, int) else -1


def _why(error: Exception) -> str:
    """Return the meaning of an exception of the client, in our own words.

    It may be any: whatever the client's parser raises on bytes that are not a reply reaches each waiting command. The bytes come from
    another program, and a cache must not end this one.
    """
    if isinstance(error, AuthenticationError):
        return "refuses the user or password"
    if isinstance(error, AuthorizationError):
        return "does not allow this user the commands GETRANGE, PTTL, SET, UNLINK and EVAL on the deployment's keys"
    if isinstance(error, ResponseError):
        return "is full" if str(error).startswith(("OOM", "command not allowed when used memory")) else "answers with an error"
    return "cannot be reached" if isinstance(error, RedisError) else "does not speak the Redis protocol"
