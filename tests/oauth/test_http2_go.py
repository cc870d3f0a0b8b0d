"""HTTP/2 to a token endpoint by Go's net/http, over TLS: a server that shares no code with our client."""

import random
import subprocess
from collections.abc import Generator
from pathlib import Path

import attrs
import pytest
import trio

from exchanger.decision.token_exchange import MAX_RESPONSE_BYTES, TooLarge
from exchanger.oauth.transport.http2_response import Answered, Lost
from tests.oauth.certificates import write_certificate
from tests.oauth.http2_session import LIMIT_S, Session, session
from tests.processes import pause
from tests.tools import find_tool

pytestmark = pytest.mark.go


@attrs.define(eq=False)
class Endpoint:
    port: int
    ca_file: str
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
        yield Endpoint(port, str(certificate / "ca.pem"), process)
        process.kill()


async def test_answers(endpoint: Endpoint) -> None:
    async with session("127.0.0.1", endpoint.port, endpoint.ca_file) as used:
        for number in range(50):
            answer = (await used.answer("/token", b"request-%d" % number)).answer
            assert (answer.status, answer.body) == (200, b"request-%d" % number)
        assert (await used.answer("/token", b"")).answer.body == b""
        assert (await used.answer("/hints", b"hinted")).answer.body == b"hinted"
        assert (await used.answer("/trailers", b"trailed")).answer.body == b"trailed"
        redirected = (await used.answer("/redirect")).answer
        assert (redirected.status, redirected.body) == (307, b"")
        assert (await used.answer("/unknown")).answer.status == 404
        assert not used.client.draining


async def test_many_at_once_in_any_order(endpoint: Endpoint) -> None:
    chance = random.Random(7)
    async with session("127.0.0.1", endpoint.port, endpoint.ca_file) as used:
        bodies = {}
        for number in range(300):
            await used.until(lambda: used.client.room > 0)
            body = b"request-%d." % number * chance.choice([1, 10, 1000])
            bodies[await used.request(f"/token?wait={chance.randrange(30)}ms", body)] = body
        await used.until(lambda: len(used.ends) == 300)
        assert all(isinstance(end, Answered) and end.answer.body == bodies[stream] for stream, end in used.ends.items())
        assert used.client.room == 100


async def test_large_answers(endpoint: Endpoint) -> None:
    async with session("127.0.0.1", endpoint.port, endpoint.ca_file) as used:
        assert (await used.answer(f"/large?bytes={MAX_RESPONSE_BYTES}")).answer.body == bytes(MAX_RESPONSE_BYTES)
        assert (await used.answer(f"/large?bytes={10 * MAX_RESPONSE_BYTES}")).answer.body is TooLarge.TOO_LARGE
        assert (await used.answer("/token", b"still usable")).answer.body == b"still usable"


async def test_an_answer_before_the_request_was_read(endpoint: Endpoint) -> None:
    async with session("127.0.0.1", endpoint.port, endpoint.ca_file) as used:
        # Go opens its windows for a megabyte, a frame for each 16 KiB, and resets what it does not read: twenty of these are about as many
        # frames as a connection may have without answers.
        for _ in range(10):
            answer = (await used.answer("/early", b"x" * 1_500_000)).answer
            assert (answer.status, answer.challenges, answer.retry_after, answer.body) == (401, ('Basic realm="issuer"',), "7", b"early")
        assert (await used.answer("/token", b"still usable")).answer.body == b"still usable"


async def test_what_breaks_off(endpoint: Endpoint) -> None:
    async with session("127.0.0.1", endpoint.port, endpoint.ca_file) as used:
        assert (await used.answer("/half")).answer.body is None
        end = await used.end_of(await used.request("/nothing", b"x"))
        assert isinstance(end, Lost)
        assert not end.safe
        assert (await used.answer("/token", b"still usable")).answer.body == b"still usable"


async def test_cancelled_requests_leave_nothing(endpoint: Endpoint) -> None:
    async with session("127.0.0.1", endpoint.port, endpoint.ca_file) as used:
        streams: list[int] = []
        for _ in range(30):
            streams = [await used.request("/token?wait=20s", b"gone") for _ in range(20)]
            for stream in streams:
                used.client.cancel(stream)
            await used.flush()
        assert (await used.answer("/token", b"still usable")).answer.body == b"still usable"
        assert (list(used.ends), used.client.room) == ([streams[-1] + 2], 100)


async def finished(used: Session) -> None:
    await used.until(lambda: used.client.closed)


async def test_a_graceful_end(endpoint: Endpoint) -> None:
    async with session("127.0.0.1", endpoint.port, endpoint.ca_file) as used:
        assert (await used.answer("/token", b"before")).answer.body == b"before"
        streams = [await used.request("/token?wait=300ms", b"under way") for _ in range(10)]
        await trio.sleep(0.05)
        endpoint.shut_down()
        await used.until(lambda: used.client.draining)
        assert used.client.room == 0
        for stream in streams:
            end = await used.end_of(stream)
            assert isinstance(end, Answered)
            assert end.answer.body == b"under way"
        await finished(used)
        assert used.client.failure == ""


async def test_an_end_without_notice(endpoint: Endpoint) -> None:
    async with session("127.0.0.1", endpoint.port, endpoint.ca_file) as used:
        stream = await used.request("/token?wait=10s", b"x")
        endpoint.process.kill()
        assert await used.end_of(stream) == Lost(stream, seen=False, safe=False)
        await finished(used)
        assert used.client.failure == "the connection ended"


async def test_a_peer_that_is_stopped_is_found_out(endpoint: Endpoint) -> None:
    async with session("127.0.0.1", endpoint.port, endpoint.ca_file, patience=0.5) as used:
        assert (await used.answer("/token", b"before")).answer.body == b"before"
        pause(endpoint.process)
        stream = await used.request("/token", b"x")
        with trio.fail_after(LIMIT_S):
            while not used.client.closed:
                await trio.sleep(max(0.0, used.client.next_due - trio.current_time()))
                used.client.tick(trio.current_time())
                await used.flush()
        assert used.ends[stream] == Lost(stream, seen=False, safe=False)
        assert used.client.failure == "the token endpoint does not answer any more"
