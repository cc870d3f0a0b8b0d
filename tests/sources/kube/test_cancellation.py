"""A cancelled request: the task leaves at once, its thread and its socket are gone soon after, wherever the thread was blocked."""

import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Final

import attrs
import pytest
import trio

from exchanger.sources.kube.api.connection import ApiConnection
from tests.sources.kube.leftovers import nothing_left, open_sockets, working_threads
from tests.sources.kube.scripted_server import FAST, WATCH_HEAD, chunk, config_maps, connection_to, event, listening

# Seconds in which a cancelled block must have been left; it takes some milliseconds, and a thread that nobody wakes 20 s.
LEAVE_S: Final = 1.0
# Seconds after which the thread is blocked where it should be; when it is not there yet, another place is tested, which must pass too.
SETTLE_S: Final = 0.15
# No bound of these ends a thread while a test looks.
PATIENT: Final = attrs.evolve(FAST, connect=60)
PLACES: Final = ("connecting", "shaking hands", "waiting for the head", "waiting for the body", "waiting for the next event")


@contextlib.contextmanager
def crowded() -> Generator[int]:
    """Listen without accepting anybody, until further connections are kept waiting by the kernel."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


@contextlib.asynccontextmanager
async def place(name: str) -> AsyncGenerator[str]:
    """Give the address of a server with which a request is blocked at the place of that name."""
    if name == "connecting":
        with crowded() as port:
            yield f"http://127.0.0.1:{port}"
        return
    said = {"waiting for the body": WATCH_HEAD, "waiting for the next event": WATCH_HEAD + chunk(event("ADDED"))}.get(name, b"")

    async def handler(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(said)
            async for _ in stream:  # until the other side leaves
                pass

    async with listening(handler) as port:
        yield f"{'https' if name == 'shaking hands' else 'http'}://127.0.0.1:{port}"


async def get(connection: ApiConnection) -> None:
    await connection.get("/")


async def watch(connection: ApiConnection) -> None:
    async with config_maps(connection).watch(resource_version="1", timeout=300) as events:
        async for _ in events:
            pass


async def watch_without_looking(connection: ApiConnection) -> None:
    async with config_maps(connection).watch(resource_version="1", timeout=300):
        await trio.sleep_forever()


async def begun() -> None:
    """Wait until a thread works, and then until it is blocked."""
    with trio.fail_after(30):
        while not working_threads():  # noqa: ASYNC110 - threads tell nobody that they begin
            await trio.sleep(0.005)
    await trio.sleep(SETTLE_S)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("request_of", [get, watch, watch_without_looking])
async def test_a_cancelled_request_leaves_nothing(name: str, request_of: Callable[[ApiConnection], Awaitable[None]]) -> None:
    before = open_sockets()
    took: list[float] = []
    async with place(name) as url:
        sockets = open_sockets()
        for _ in range(3):
            connection = connection_to(url, PATIENT)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(request_of, connection)
                    await begun()
                    cancelled_at = trio.current_time()
                    scope.cancel()
            took.append(trio.current_time() - cancelled_at)
            connection.credentials.close()
            await nothing_left(sockets)
    assert min(took) < LEAVE_S  # the machine may have been busy, but not each time
    await nothing_left(before)


@pytest.mark.parametrize("after", [0.0, 0.0005, 0.001, 0.002, 0.004, 0.008])
async def test_a_request_may_be_cancelled_at_any_moment(after: float) -> None:
    before = open_sockets()
    async with place("waiting for the next event") as url:
        connection = connection_to(url, PATIENT)
        for request_of in (get, watch, watch_without_looking) * 3:
            with trio.move_on_after(after):
                await request_of(connection)
        connection.credentials.close()
    await nothing_left(before)


async def test_threads_are_bounded() -> None:
    async with place("waiting for the head") as url, trio.open_nursery() as nursery:
        connection = connection_to(url, PATIENT)
        for _ in range(20):
            nursery.start_soon(get, connection)
        with trio.fail_after(10):
            while len(working_threads()) < 8:  # noqa: ASYNC110 - threads tell nobody that they begin
                await trio.sleep(0.005)
        await trio.sleep(SETTLE_S)
        assert connection.threads == len(working_threads()) == 8
        nursery.cancel_scope.cancel()
    with trio.fail_after(10):
        while connection.threads:  # noqa: ASYNC110 - threads tell nobody that they end
            await trio.sleep(0.001)
