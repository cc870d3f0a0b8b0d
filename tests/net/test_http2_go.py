"""HTTP/2 to a token endpoint by Go's net/http, over TLS: a server that shares no code with our client."""

import os
import random
import signal
import subprocess
from collections.abc import Generator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs
import pytest
import trio

from exchanger.net.answer import MAX_RESPONSE_BYTES, EndpointResponse, TooLarge
from exchanger.net.call import NoAnswer
from tests.net.certificates import write_certificate
from tests.net.http2_session import Session, ended, session
from tests.tools import find_tool

pytestmark = pytest.mark.go


@attrs.define(eq=False)
class Endpoint:
    port: int
    ca_pem: str
    process: "subprocess.Popen[bytes]"

    def shut_down(self) -> None:
        """Let it end gracefully: it answers what it has, and takes no more."""
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("endpoint")
    write_certificate(folder, "localhost")
    return folder


@pytest.fixture
def endpoint(certificate: Path) -> Generator[Endpoint]:
    command = (find_tool("http2-endpoint"), certificate / "cert.pem", certificate / "key.pem")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(b":")[2])
        yield Endpoint(port, (certificate / "ca.pem").read_text(), process)
        process.kill()


def using(endpoint: Endpoint) -> AbstractAsyncContextManager[Session]:
    return session("localhost", endpoint.port, endpoint.ca_pem)


async def test_go_server_answers_are_read_over_http2(endpoint: Endpoint) -> None:
    async with using(endpoint) as used:
        for number in range(50):
            answer = await used.answer("/token", b"request-%d" % number)
            assert (answer.status, answer.body) == (200, b"request-%d" % number)
        assert (await used.answer("/token", b"")).body == b""
        assert (await used.answer("/hints", b"hinted")).body == b"hinted"
        assert (await used.answer("/trailers", b"trailed")).body == b"trailed"
        redirected = await used.answer("/redirect")
        assert (redirected.status, redirected.body) == (307, b"")
        assert (await used.answer("/unknown")).status == 404
        assert used.dialled == 1


async def test_many_at_once_in_any_order(endpoint: Endpoint) -> None:
    chance = random.Random(7)
    asked = [(f"/token?wait={chance.randrange(30)}ms", b"request-%d." % number * chance.choice([1, 10, 1000])) for number in range(300)]
    async with using(endpoint) as used:
        found = await used.ask_all(*asked)
        assert [one.body for one in found if isinstance(one, EndpointResponse)] == [body for _, body in asked]
        assert used.connections.counts().busy == 0


async def test_large_answers_of_a_go_server_pass_the_windows(endpoint: Endpoint) -> None:
    async with using(endpoint) as used:
        assert (await used.answer(f"/large?bytes={MAX_RESPONSE_BYTES}")).body == bytes(MAX_RESPONSE_BYTES)
        assert (await used.answer(f"/large?bytes={10 * MAX_RESPONSE_BYTES}")).body is TooLarge.TOO_LARGE
        assert (await used.answer("/token", b"still usable")).body == b"still usable"
        assert used.dialled == 1


async def test_an_answer_before_the_request_was_read(endpoint: Endpoint) -> None:
    async with using(endpoint) as used:
        # Go opens its windows for a megabyte, a frame for each 16 KiB, and resets what it does not read: twenty of these are about as many
        # frames as a connection may have without answers.
        for _ in range(10):
            answer = await used.answer("/early", b"x" * 1_500_000)
            assert (answer.status, answer.challenges, answer.retry_after, answer.body) == (401, ('Basic realm="issuer"',), "7", b"early")
        assert (await used.answer("/token", b"still usable")).body == b"still usable"
        assert used.dialled == 1


async def test_an_answer_that_a_go_server_breaks_off_is_a_failure(endpoint: Endpoint) -> None:
    async with using(endpoint) as used:
        assert (await used.answer("/half")).body is None
        assert await used.ask("/nothing") == NoAnswer(timed_out=False, why="the token endpoint closed the connection without responding")
        assert (await used.answer("/token", b"still usable")).body == b"still usable"
        assert used.dialled == 1


async def test_cancelled_requests_leave_nothing(endpoint: Endpoint) -> None:
    async with using(endpoint) as used:
        await used.answer("/token", b"before")
        for _ in range(30):
            with trio.move_on_after(0.01):
                await used.ask_all(*[("/token?wait=20s", b"gone")] * 20)
        assert (await used.answer("/token", b"still usable")).body == b"still usable"
        assert used.dialled <= 2
        assert used.connections.counts().busy == 0


async def test_a_go_server_that_shuts_down_ends_its_connection_gracefully(endpoint: Endpoint) -> None:
    async with using(endpoint) as used, trio.open_nursery() as nursery:
        assert (await used.answer("/token", b"before")).body == b"before"

        async def shut_down() -> None:
            while used.connections.counts().busy < 10:  # noqa: ASYNC110 - what is waited for sets no event
                await trio.sleep(0.001)
            await used.answer("/token", b"behind them")  # so it has read all of them
            endpoint.shut_down()

        nursery.start_soon(shut_down)
        found = await used.ask_all(*[("/token?wait=300ms", b"under way")] * 10)
        assert [one.body for one in found if isinstance(one, EndpointResponse)] == [b"under way"] * 10
        await ended(used)
        assert isinstance(await used.ask("/token"), NoAnswer)


@pytest.mark.parametrize("how", ["killed", "stopped"])
async def test_a_go_server_that_is_killed_loses_its_requests(endpoint: Endpoint, how: str) -> None:
    async with using(endpoint) as used, trio.open_nursery() as nursery:
        assert (await used.answer("/token", b"before")).body == b"before"

        async def end() -> None:
            await trio.sleep(0.05)
            if how == "killed":
                endpoint.process.kill()
            else:
                endpoint.process.send_signal(signal.SIGSTOP)
                os.waitpid(endpoint.process.pid, os.WUNTRACED)  # noqa: ASYNC222 - at once; until then, one of its threads could still answer

        nursery.start_soon(end)
        lost = await used.ask("/token?wait=15s")
        # If the killed one was not heard of since, the request goes out once more; its sockets end one after the other.
        killed = {"connecting failed: Connection refused", "no TLS with the token endpoint: the connection ended", "the connection ended"}
        why = killed if how == "killed" else {"the token endpoint stopped responding"}
        assert isinstance(lost, NoAnswer)
        assert (lost.timed_out, lost.why in why) == (False, True)
        await ended(used)
