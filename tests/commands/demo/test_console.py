"""The demo's console: the page and the lab here, what the service knows from the service, and nobody else's page."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import trio

from exchanger.commands.demo.console import MAX_BODY, fault_log, make_console
from exchanger.commands.playground.policy_files import MAX_TEXT
from exchanger.net.http.message import Request as Asked
from exchanger.net.http.message import Response
from exchanger.operations.console.message import json_response
from tests.operations.console.records import record
from tests.operations.console.running import PAGE, Answer, Peer, Running, opening, request, running

TEXT = "a\n" * (MAX_TEXT // 2)  # two bytes of JSON for each end of a line


@attrs.frozen
class Front:
    """The demo's console, the service's console behind it, and its log of faults."""

    port: int
    behind: Running
    log: Path

    async def ask(self, data: bytes) -> Answer:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            peer = Peer(stream)
            await peer.send(data)
            return await peer.answer()


@contextlib.asynccontextmanager
async def front(folder: Path) -> AsyncIterator[Front]:
    async def length(asked: Asked) -> Response:
        await trio.lowlevel.checkpoint()
        return json_response({"bytes": len(asked.body)})

    async def fault(_asked: Asked) -> Response:
        await trio.lowlevel.checkpoint()
        raise ExceptionGroup("s3cret", [RuntimeError("s3cret"), KeyError("s3cret")])

    log = folder / "console.log"
    async with running(show_tokens=True) as behind:
        lab = {("POST", "/lab/length"): length, ("GET", "/lab/fault"): fault}
        async with trio.open_nursery() as nursery:
            yield Front(await nursery.start(make_console(0, behind.port, lab, fault_log(log), PAGE).run), behind, log)
            nursery.cancel_scope.cancel()


async def test_it_serves_the_page_and_passes_on_what_the_service_knows(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        about = (await at.ask(request("GET", "/api/about"))).json
        assert (about["mode"], about["lab"], about["shows_tokens"], about["token_required"]) == ("demo", True, True, False)
        assert (await at.ask(request("GET", "/"))).body == b"<!doctype html>"
        assert (await at.ask(request("GET", "/api/policy"))).json["ready"] is False
        assert (await at.ask(request("GET", "/api/explain?method=GET&host=h&path=/"))).json["verdict"]["kind"] == "unhealthy"
        assert (await at.ask(request("GET", "/api/policy/document?namespace=a&name=b"))).status == 404


async def test_the_stream_is_the_service_s_own(tmp_path: Path) -> None:
    async with front(tmp_path) as at, await trio.open_tcp_stream("127.0.0.1", at.port) as stream:
        peer = Peer(stream)
        await peer.send(opening())
        assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
        assert (await peer.message("hello"))["items"] == []
        at.behind.console.feed.decided(record())
        assert len((await peer.message("decisions"))["items"]) == 1


async def test_the_lab_takes_bodies_as_large_as_a_file(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        assert (await at.ask(request("POST", "/lab/length", body=json.dumps(TEXT).encode()))).json == {"bytes": len(json.dumps(TEXT))}
        assert (await at.ask(request("POST", "/lab/length", body=b"x" * (MAX_BODY + 1)))).status == 413


async def test_other_pages_are_refused(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        assert (await at.ask(request("POST", "/lab/length", "Origin: http://evil.example", body=b"{}"))).status == 403
        assert (await at.ask(request("POST", "/lab/length", "Sec-Fetch-Site: cross-site", body=b"{}"))).status == 403
        assert (await at.ask(request("POST", "/lab/length", body=b"{}", host="rebound.example"))).status == 421
        form = b"POST /lab/length HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"
        assert (await at.ask(form)).status == 415


async def test_a_fault_is_logged_with_its_place_and_without_its_values(tmp_path: Path) -> None:
    async with front(tmp_path) as at:
        assert (await at.ask(request("GET", "/lab/fault"))).status == 500
        log = at.log.read_text()
    assert [line for line in log.splitlines() if not line.startswith("  ")] == ["RuntimeError", "KeyError"]
    assert "s3cret" not in log
    fault_log(tmp_path / "absent" / "console.log")(RuntimeError())  # a log that cannot be written is not another fault
