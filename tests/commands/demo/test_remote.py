"""``exchanger demo --gateway``: another gateway's page, what it passes on from a console, and what ends it before it is up."""

import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trustme

from exchanger.commands.demo.command import run_demo, show_remote
from exchanger.commands.demo.options import DemoOptions
from exchanger.commands.demo.servers import echo, serve_http
from exchanger.commands.scenarios.client import fetch
from exchanger.net.http.message import Request, Response
from exchanger.operations.console.access import ConsoleSettings
from tests.commands.demo.test_command import UP, Terminal
from tests.commands.demo.test_options import parsed
from tests.commands.scenarios.test_client import answering, server_context
from tests.operations.console.running import Peer, dead_port, opening, running

TOKEN = "canary-console-token"


@attrs.define(eq=False)
class Shown(Terminal):
    """A terminal that tells when the page is up, and where."""

    up: trio.Event = attrs.field(factory=trio.Event)

    def write(self, text: str, /) -> int:
        written = super().write(text)
        if UP in self.text:
            self.up.set()
        return written

    @property
    def port(self) -> int:
        return int(re.findall(r"^Console: http://127\.0\.0\.1:(\d+)  ", self.text, re.MULTILINE)[-1])


@asynccontextmanager
async def gateway() -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        yield f"http://127.0.0.1:{await nursery.start(serve_http, echo, '127.0.0.1', 0)}"
        nursery.cancel_scope.cancel()


async def failed(*arguments: str) -> tuple[int, str]:
    """Run it until it ends by itself; return the status, and what it said of errors."""
    err = Terminal()
    with trio.fail_after(60):
        status = await show_remote(parsed(*arguments), {}, Terminal(), err)
    return status, err.text


@asynccontextmanager
async def shown(*arguments: str) -> AsyncIterator[Shown]:
    """Show it while open, and end it by a signal; that has to be a success."""
    out, err, statuses = Shown(), Terminal(), []

    async def run() -> None:
        statuses.append(await show_remote(parsed(*arguments), {}, out, err))
        out.up.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        with trio.fail_after(60):
            await out.up.wait()
        assert (statuses, err.text) == ([], "")
        yield out
        os.kill(os.getpid(), signal.SIGINT)
    assert (statuses, err.text) == ([0], "")


async def get(port: int, path: str) -> Response:
    return await fetch(port, Request("GET", path, (("Host", "localhost"),)), timeout=30)


async def test_the_page_runs_scenarios_and_says_what_is_not_known() -> None:
    async with gateway() as url, shown("--gateway", url) as out:
        assert url in out.text
        assert "not known" in out.text
        assert b'"edit":false' in (await get(out.port, "/api/about")).body
        assert (await get(out.port, "/lab/policy")).body == b'{"files":[]}'
        for path in ("/api/policy", "/api/explain?method=GET&host=h&path=/"):
            answer = await get(out.port, path)
            assert (answer.status, b"--console" in answer.body) == (503, True)
        run = Request("POST", "/lab/run", (("Host", "localhost"), ("Content-Type", "application/json")), b'{"name": "unmatched"}')
        assert b'"ok":true' in (await fetch(out.port, run, timeout=30)).body


async def test_token_of_the_remote_console_never_reaches_the_page(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    async with running(ConsoleSettings(port=0, token_file=file)) as behind, gateway() as url:
        console = ("--console", f"http://127.0.0.1:{behind.port}")
        status, said = await failed("--gateway", url, *console)
        assert (status, "needs a token: --console-token-file" in said) == (1, True)
        (tmp_path / "wrong").write_text("another-token")
        status, said = await failed("--gateway", url, *console, "--console-token-file", str(tmp_path / "wrong"))
        assert (status, "does not accept the token" in said) == (1, True)
        async with shown("--gateway", url, *console, "--console-token-file", str(file)) as out:
            assert (await get(out.port, "/api/policy")).status == 200
            async with await trio.open_tcp_stream("127.0.0.1", out.port) as stream:
                peer = Peer(stream)
                await peer.send(opening())
                assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
            assert TOKEN not in out.text


async def test_what_cannot_be_used_ends_it_with_a_reason() -> None:
    with dead_port() as closed:
        nobody = f"http://127.0.0.1:{closed}"
        reason = f"exchanger demo: the gateway at {nobody} cannot be used: no answer: Connection refused\n"
        assert await failed("--gateway", nobody) == (1, reason)
        async with gateway() as url:
            status, said = await failed("--gateway", url, "--console", nobody)
            assert (status, f"the console at {nobody} cannot be reached" in said) == (1, True)
            status, said = await failed("--gateway", url, "--console", url)
            assert (status, "is not an exchanger console" in said) == (1, True)
            port = url.rpartition(":")[2]
            status, said = await failed("--gateway", url, "--console-port", port)
            assert (status, f"port {port} on 127.0.0.1 cannot be used" in said) == (1, True)
            status, said = await failed("--gateway", url, "--token-file", "/nowhere")
            assert (status, said) == (2, "exchanger demo: --token-file /nowhere: No such file or directory\n")


async def test_signal_during_the_start_gives_the_status_of_the_shell() -> None:
    async with answering(None) as port:
        out, err = Terminal("gateway …", signal.SIGTERM), Terminal()
        with trio.fail_after(60):
            assert await show_remote(parsed("--gateway", f"http://127.0.0.1:{port}"), {}, out, err) == 143
        assert err.text == ""


async def test_a_console_behind_tls_is_asked_for_answers_and_its_stream(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = server_context(authority, "localhost")

    async def copy(source: trio.abc.Stream, sink: trio.abc.Stream, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(65_536):
                await sink.send_all(data)
        scope.cancel()

    async with running() as behind, gateway() as url, trio.open_nursery() as nursery:

        async def terminate(stream: trio.SocketStream) -> None:
            async with stream, await trio.open_tcp_stream("127.0.0.1", behind.port) as console, trio.open_nursery() as both:
                secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
                both.start_soon(copy, secured, console, both.cancel_scope)
                both.start_soon(copy, console, secured, both.cancel_scope)

        listeners = await nursery.start(partial(trio.serve_tcp, terminate, 0, host="127.0.0.1"))
        console = f"https://localhost:{listeners[0].socket.getsockname()[1]}"
        status, said = await failed("--gateway", url, "--console", console)
        assert (status, "certificate is not accepted" in said) == (1, True)
        async with shown("--gateway", url, "--console", console, "--ca-file", str(tmp_path / "ca.pem")) as out:
            assert (await get(out.port, "/api/policy")).status == 200
            async with await trio.open_tcp_stream("127.0.0.1", out.port) as stream:
                peer = Peer(stream)
                await peer.send(opening())
                assert (await peer.head()).startswith(b"HTTP/1.1 101 ")
                assert (await peer.message("hello"))["items"] == []
        nursery.cancel_scope.cancel()


async def test_certificates_are_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with answering(ok, server_context(authority, "localhost")) as port:
        url = ("--gateway", f"https://localhost:{port}", "--resolve", "127.0.0.1")
        status, said = await failed(*url)
        assert (status, "the certificate of the server is refused: " in said) == (1, True)
        async with shown(*url, "--ca-file", str(tmp_path / "ca.pem")):
            pass


async def test_a_token_that_leaves_this_machine_in_the_clear_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    options = parsed("--gateway", "http://gateway.invalid", "--token-env", "OWN")
    assert await show_remote(options, {"OWN": "canary-own-token"}, out, Terminal()) == 1
    assert "your token is sent without TLS" in out.text
    assert "canary-own-token" not in out.text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--console", "http://h"), "--console requires --gateway"),
        (("--gateway", "http://h", "--mode", "ext_proc"), "--mode applies to the demo's own gateway"),
        (("--gateway", "http://h", "--console-token-file", "f"), "--console-token-file requires --console"),
        (("--gateway", "http://h", "--console", "http://h", "--console-token-file", "f"), "only over https, or to this machine"),
        (("--gateway", "http://h", "--ca-file", "f"), "--ca-file is for a gateway or a console with https"),
        (("--gateway", "http://h", "--file", "f", "--scenarios", "reference"), "are mutually exclusive"),
        (("--gateway", "http://h", "--token-file", "f", "--token-env", "E"), "are mutually exclusive"),
    ],
)
def test_options_that_do_not_go_together(arguments: tuple[str, ...], problem: str) -> None:
    (found,) = parsed(*arguments).problems()
    assert problem in found


async def test_checks_are_those_of_the_other_command(capsys: pytest.CaptureFixture[str]) -> None:
    async with gateway() as url:
        assert await run_demo(attrs.evolve(parsed("--gateway", url), check=True)) == 1  # everything passes unchanged
    assert f"Gateway: {url}" in capsys.readouterr().out


def test_urls_with_credentials_are_refused_without_repeating_them(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--gateway", "--console"):
        with pytest.raises(SystemExit):
            parsed(flag, "https://user:canary-secret@gateway.example.com")
    assert "canary-secret" not in capsys.readouterr().err
    assert parsed() == DemoOptions()
