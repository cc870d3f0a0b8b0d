import contextlib
import json
import re
from pathlib import Path

import pytest
import trio
import trio.testing

from exchanger.net.http.message import Response
from exchanger.net.http.token_file import MAX_BYTES
from exchanger.operations.console import access
from exchanger.operations.console.access import ConsoleAccess, ConsoleSettings
from exchanger.operations.console.page.assets import load_page, page_of
from exchanger.operations.console.server import LIMITS, ConsoleServerSettings, Server
from exchanger.operations.console.websocket import Handshake
from tests.operations.console.records import CANARY
from tests.operations.console.running import CLOSE, PAGE, TEXT, frame, opening, request, running
from tests.waiting import until

TOKEN = "a-token-of-some-length"


async def test_the_page_is_served_from_memory_with_its_protection() -> None:
    async with running() as console:
        answer = await console.get("/")
        script = await console.get("/assets/app.js")

    assert (answer.status, answer.body) == (200, b"<!doctype html>")
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.header("content-security-policy")
    assert "frame-ancestors 'none'" in answer.header("content-security-policy")
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("referrer-policy") == "no-referrer"
    assert answer.header("cross-origin-opener-policy") == "same-origin"
    assert answer.header("cross-origin-resource-policy") == "same-origin"
    assert script.header("content-type") == "text/javascript; charset=utf-8"


def test_page_has_one_small_font() -> None:
    page = load_page()
    fonts = [asset for path, asset in page.items() if path.startswith("/assets/font/")]
    assert [(font.media_type, len(font.content) < 60_000) for font in fonts] == [("font/woff2", True)]


async def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    async with running() as console:
        for known in ('"2"', 'W/"2"', '"1", "2"'):
            answer = await console.get("/assets/app.js", f"If-None-Match: {known}")
            assert (answer.status, answer.body, answer.header("etag")) == (304, b"", '"2"')
        assert (await console.get("/assets/app.js", 'If-None-Match: "3"')).status == 200


UNKNOWN = (
    *("/nothing", "//", "/index.html", "/assets/", "/assets/index.html", "/assets/app.js/"),
    *("/assets/../server.py", "/assets/%2e%2e/server.py"),
)


@pytest.mark.parametrize("target", UNKNOWN)
async def test_unknown_paths_are_not_found(target: str) -> None:
    async with running() as console:
        answer = await console.get(target)

    assert answer.status == 404
    assert answer.json == {"error": "there is nothing here"}
    assert "'none'" in answer.header("content-security-policy")
    assert answer.header("cache-control") == "no-store"


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("DELETE", "/", "GET, HEAD"),
        ("POST", "/api/policy", "GET, HEAD"),
        ("GET", "/session", "DELETE, POST"),
        ("PUT", "/assets/app.js", "GET, HEAD"),
    ],
)
async def test_an_unsupported_method_is_refused_with_those_that_are_supported(method: str, target: str, allowed: str) -> None:
    async with running() as console:
        answer = await console.ask(request(method, target))

    assert (answer.status, answer.header("allow")) == (405, allowed)


async def test_a_connection_serves_many_requests_also_refused_ones() -> None:
    async with running() as console, console.peer() as peer:
        for target, host, status in (
            ("/", "localhost", 200),
            ("/", "evil.example", 421),
            ("/none", "localhost", 404),
            ("/", "localhost", 200),
        ):
            await peer.send(request("GET", target, host=host))
            assert (await peer.answer()).status == status


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * LIMITS.head_lines, 431),
        (request("POST", "/session", "Content-Type: application/json", f"Content-Length: {10 * LIMITS.body_bytes}"), 413),
        (request("POST", "/session", "Content-Type: application/json", "Transfer-Encoding: chunked"), 411),
        (request("POST", "/session", "Content-Type: application/json", "Content-Length: 5", "Transfer-Encoding: chunked"), 411),
        (request("POST", "/session", "Content-Type: text/plain", "Content-Length: 100"), 415),
    ],
)
async def test_malformed_or_too_large_requests_are_answered_in_words(data: bytes, status: int) -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(data)
        answer = await peer.answer()
        assert answer.status == status
        assert "error" in answer.json
        assert "'none'" in answer.header("content-security-policy")


@pytest.mark.parametrize(
    "data",
    [
        opening()[:-2] + b"Content-Length: 6\r\n\r\n" + frame(CLOSE),
        opening()[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + frame(CLOSE),
        opening() + frame(TEXT, b"early"),
        opening().replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["body", "chunked body", "frames before the handshake", "HTTP/1.0"],
)
async def test_websocket_with_a_body_or_early_frames_is_refused(data: bytes) -> None:
    async with running() as console, console.peer() as peer:
        await peer.send(data)
        assert (await peer.answer()).status in {400, 411}
        await peer.stream.send_eof()
        assert b" 101 " not in await peer.rest()


async def test_a_foreign_name_is_misdirected_also_for_the_stream() -> None:
    async with running() as console:
        for data in (request("GET", "/", host="evil.example"), opening(host="evil.example"), opening(host="localhost.evil.example:80")):
            answer = await console.ask(data)
            assert answer.status == 421
            assert "evil" not in answer.body.decode()
    async with running(ConsoleSettings(port=0, hosts=frozenset({"console.example.com"}))) as console:
        assert (await console.ask(request("GET", "/", host="console.example.com:8443"))).status == 200


@pytest.mark.parametrize(
    "header", ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"]
)
async def test_another_site_opens_no_stream_and_reads_nothing(header: str) -> None:
    async with running() as console:
        assert (await console.ask(opening(header))).status == 403
        assert (await console.get("/api/policy", header)).status == 403
        assert (await console.ask(request("POST", "/session", header, body=b"{}"))).status == 403


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return path


async def test_without_the_token_only_the_page_is_open(token_file: Path) -> None:
    async with running(ConsoleSettings(port=0, token_file=token_file)) as console:
        for target in ("/api/policy", "/api/policy/document?namespace=a&name=b", "/api/explain", "/stream", "/lab/scenarios", "/nothing"):
            answer = await console.get(target)
            assert answer.status == 401, target
        assert (await console.ask(opening())).status == 401
        assert (await console.get("/")).status == 200
        assert (await console.get("/assets/app.js")).status == 200
        about = (await console.get("/api/about")).json
        assert about["token_required"] is True
        assert about["version"] is None


async def test_with_the_token_or_a_session_everything_is(token_file: Path) -> None:
    async with running(ConsoleSettings(port=0, token_file=token_file)) as console:
        login = await console.ask(request("POST", "/session", body=json.dumps({"token": TOKEN}).encode()))
        assert login.status == 204
        cookie = "Cookie: " + login.header("set-cookie").partition(";")[0]
        for header in (cookie, f"Authorization: Bearer {TOKEN}"):
            assert (await console.get("/api/policy", header)).status == 200
            assert (await console.get("/api/about", header)).json["version"] == "1.2.3"
            async with console.watching(header) as peer:
                assert (await peer.message())["type"] == "hello"


async def test_the_longest_token_can_sign_in(tmp_path: Path) -> None:
    token = '"' * MAX_BYTES
    (tmp_path / "token").write_text(token)
    async with running(ConsoleSettings(port=0, token_file=tmp_path / "token")) as console:
        assert (await console.ask(request("POST", "/session", body=json.dumps({"token": token}).encode()))).status == 204


async def test_replaced_token_ends_sessions_and_streams(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "FAILURE_S", 0.01)
    async with running(ConsoleSettings(port=0, token_file=token_file)) as console:
        assert (await console.get("/api/policy", f"Authorization: Bearer {TOKEN}x")).status == 401
        assert (await console.ask(opening("Cookie: exchanger_console=0"))).status == 401
        assert (await console.get("/api/about", f"Authorization: Bearer {TOKEN}x")).json["version"] is None
        async with console.watching(f"Authorization: Bearer {TOKEN}") as peer:
            await trio.Path(token_file).write_text("another-token-of-length")
            assert await peer.closing() == 1008
        assert (await console.get("/api/policy", f"Authorization: Bearer {TOKEN}")).status == 401
        assert (await console.get("/api/policy", "Authorization: Bearer another-token-of-length")).status == 200


async def test_a_watching_client_does_not_give_place() -> None:
    async with running() as console, console.watching() as watching, contextlib.AsyncExitStack() as stack:
        for _ in range(3 * LIMITS.connections):
            await stack.enter_async_context(console.peer())
        await until(lambda: console.console.server.http.slots.displaced > LIMITS.connections)
        assert (await watching.message("totals"))["subscribers"] == 1
        assert (await watching.message("totals"))["subscribers"] == 1


async def test_a_fault_on_a_stream_is_reported_and_ends_nothing_else() -> None:
    faults: list[BaseException] = []

    async def upgrade(_handshake: Handshake, _stream: trio.abc.Stream) -> Response | None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError(CANARY)

    server = Server(ConsoleServerSettings("127.0.0.1", 0), ConsoleAccess(), PAGE, {}, upgrade, faults.append)
    for data, answer in ((opening(), b""), (request("GET", "/"), b"HTTP/1.1 200 ")):
        client, served = trio.testing.memory_stream_pair()
        async with served:
            await client.send_all(data)
            await client.send_eof()
            await server.http.serve(served)
        assert (await client.receive_some()).startswith(answer)
    assert len(faults) == 1


def test_the_files_of_a_folder_are_served_at_their_places(tmp_path: Path) -> None:
    (tmp_path / "style").mkdir()
    for name in ("index.html", "app.js", "style/base.css", "notes.txt", ".hidden"):
        (tmp_path / name).write_text(name)
    page = page_of(tmp_path)

    assert {path: asset.content for path, asset in page.items()} == {
        "/": b"index.html",
        "/assets/app.js": b"app.js",
        "/assets/style/base.css": b"style/base.css",
    }
    assert len({asset.tag for asset in page.values()}) == 3
    assert page_of(tmp_path / "none") == {}


def test_the_packaged_page_has_all_files_that_it_refers_to() -> None:
    page = load_page()
    index = page["/"].content.decode()
    asked = {f"/{path}" for path in re.findall(r'(?:src|href)="/?(assets/[^"]+)"', index)}

    assert asked
    assert asked <= page.keys()
