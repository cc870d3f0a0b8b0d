"""``exchanger health``: its options, and what it reports of our own server and of others."""

import argparse
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from exchanger.authz.envoy.health import HealthBoard, HealthService
from exchanger.commands.arguments import WrongArgumentsError
from exchanger.commands.health import command
from exchanger.commands.health.command import run_health
from exchanger.commands.health.options import HealthOptions, add_arguments, options_of
from exchanger.model.secret import Secret
from exchanger.net.grpc.client import CallAnswered, CallBroken, CallRefused, Reply
from exchanger.net.grpc.routes import Route, routes_of
from exchanger.net.grpc.status import StatusCode
from tests.net.certificates import encrypted
from tests.net.grpc.authority import Site
from tests.net.grpc.serving import serving

SERVICE = "envoy.service.auth.v3.Authorization"


def parsed(*arguments: str, **variables: str) -> HealthOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_of(parser.parse_args(arguments), variables)


def options(*arguments: str) -> HealthOptions:
    return parsed("--timeout", "30s", *arguments)


ALL = ("--address", "[::1]:1", "--service", "a.B", "--timeout", "500ms", "--tls", "--ca-file", "ca", "--server-name", "n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), HealthOptions(("127.0.0.1", 3001), "", 2.0)),
        (ALL, HealthOptions(("::1", 1), "a.B", 0.5, tls=True, ca_file=Path("ca"), server_name="n")),
        (("--address", ":3001"), HealthOptions(("127.0.0.1", 3001), "", 2.0)),
    ],
    ids=["none", "all", "no host"],
)
def test_each_option_is_read_and_has_a_default(arguments: tuple[str, ...], expected: HealthOptions) -> None:
    assert parsed(*arguments) == expected


TLS = {"GRPC_TLS_CERT_FILE": "cert", "GRPC_TLS_KEY_FILE": "key"}
PINNED = HealthOptions(("127.0.0.1", 3000), tls=True, pinned=Path("cert"))


@pytest.mark.parametrize(
    ("arguments", "variables", "expected"),
    [
        ((), {"GRPC_PORT": "4001"}, HealthOptions(("127.0.0.1", 4001))),
        ((), {"GRPC_HOST": "0.0.0.0"}, HealthOptions(("127.0.0.1", 3001))),
        ((), {"GRPC_HOST": "::"}, HealthOptions(("::1", 3001))),
        ((), {"GRPC_HOST": "10.0.0.7"}, HealthOptions(("10.0.0.7", 3001))),
        (("--address", "127.0.0.1:5"), {"GRPC_PORT": "4001"}, HealthOptions(("127.0.0.1", 5))),
        ((), TLS, HealthOptions(("127.0.0.1", 3001))),
        (("--tls",), TLS, PINNED),
        ((), {**TLS, "GRPC_PLAINTEXT_ENABLED": "false"}, PINNED),
        ((), {**TLS, "GRPC_PLAINTEXT_ENABLED": "no", "GRPC_TLS_PORT": "8"}, attrs.evolve(PINNED, address=("127.0.0.1", 8))),
        (("--ca-file", "ca"), TLS, attrs.evolve(PINNED, ca_file=Path("ca"), pinned=None)),
        (
            ("--cert-file", "own"),
            {**TLS, "GRPC_PLAINTEXT_ENABLED": "false", "GRPC_TLS_CLIENT_CA_FILE": "ca"},
            attrs.evolve(PINNED, cert_file=Path("own")),
        ),
    ],
)
def test_without_an_address_the_service_of_the_same_environment_is_asked(
    arguments: tuple[str, ...], variables: dict[str, str], expected: HealthOptions
) -> None:
    assert parsed(*arguments, **variables) == expected


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"GRPC_PORT": "70000"}, "GRPC_PORT must be a port, 0 to 65535, not 70000"),
        ({**TLS, "GRPC_PLAINTEXT_ENABLED": "false", "GRPC_TLS_CLIENT_CA_FILE": "ca"}, "--cert-file and --key-file are required"),
    ],
)
def test_an_environment_that_does_not_say_what_to_ask_is_told(variables: dict[str, str], said: str) -> None:
    with pytest.raises(WrongArgumentsError, match=said):
        parsed(**variables)
    assert parsed("--address", "127.0.0.1:1", **variables).address == ("127.0.0.1", 1)


@pytest.mark.parametrize("option", ["--ca-file", "--cert-file", "--key-file", "--server-name"])
def test_an_option_of_tls_means_tls(option: str) -> None:
    assert parsed(option, "a").tls


@pytest.mark.parametrize(
    "arguments", [("--address", "3001"), ("--timeout", "soon"), ("--timeout", "0"), ("--timeout",), ("surplus",), ("--no-such",)]
)
def test_a_wrong_option_is_status_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err


def health(board: HealthBoard) -> dict[bytes, Route]:
    return dict(routes_of(HealthService(board, frozenset({SERVICE})).service))


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_the_status_of_the_service_is_printed(service: str, capsys: pytest.CaptureFixture[str]) -> None:
    board = HealthBoard()
    async with serving(health(board)) as served:
        asked = options("--address", f"127.0.0.1:{served.port}", "--service", service)
        assert await run_health(asked) == 1
        assert capsys.readouterr() == ("NOT_SERVING\n", "")
        board.set_ready()
        assert await run_health(asked) == 0
        assert capsys.readouterr() == ("SERVING\n", "")


async def test_an_unknown_service_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(health(HealthBoard())) as served:
        assert await run_health(options("--address", f"127.0.0.1:{served.port}", "--service", "other")) == 1
        out, err = capsys.readouterr()
        assert out == "SERVICE_UNKNOWN\n"
        assert err == f"exchanger health: 127.0.0.1:{served.port}: the server does not know this service\n"


async def test_a_refused_connection_is_reported_in_the_words_of_the_system(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:  # bound, and not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert await run_health(options("--address", f"127.0.0.1:{port}")) == 1
    assert capsys.readouterr() == ("", f"exchanger health: 127.0.0.1:{port}: no connection: Connection refused\n")


@asynccontextmanager
async def listening(answer: bytes | None) -> AsyncIterator[int]:
    """A server that sends ``answer`` to whoever connects, and closes; ``None``: says nothing."""

    async def answering(stream: trio.SocketStream) -> None:
        async with stream:
            if answer is None:
                await trio.sleep_forever()
            await stream.receive_some(1)
            await stream.send_all(answer or b"")

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answering, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("tls", [(), ("--tls",)])
async def test_silence_ends_at_the_timeout(tls: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    async with listening(None) as port:
        with trio.fail_after(15):
            assert await run_health(options("--address", f"127.0.0.1:{port}", *tls, "--timeout", "50ms")) == 1
    assert "no answer within 0.05 s" in capsys.readouterr().err


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
@pytest.mark.parametrize("tls", [(), ("--tls",)])
async def test_another_protocol_is_one_line(answer: bytes, tls: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    async with listening(answer) as port:
        assert await run_health(options("--address", f"127.0.0.1:{port}", *tls)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def ready() -> dict[bytes, Route]:
    board = HealthBoard()
    board.set_ready()
    return health(board)


class TestTls:
    async def test_with_the_authority_and_the_name(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site.at(tmp_path)
        async with serving(ready(), tls=site.files.settings()) as served:
            address = ("--address", f"127.0.0.1:{served.tls_port}", "--ca-file", str(site.files.client_ca))
            assert await run_health(options(*address)) == 0
            assert await run_health(options(*address, "--server-name", "localhost")) == 0
            assert await run_health(options(*address, "--server-name", "localhost.")) == 0
            assert capsys.readouterr().err == ""
            assert await run_health(options(*address, "--server-name", "other.example")) == 1
            assert "the certificate of the server is refused: Hostname mismatch" in capsys.readouterr().err
            assert await run_health(options(*address[:2], "--tls")) == 1
            assert "the certificate of the server is refused: unable to get local issuer certificate" in capsys.readouterr().err

    async def test_the_own_certificate_is_enough_and_no_other_one(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in "ab":
            (tmp_path / name).mkdir()
        site, other = Site.at(tmp_path / "a"), Site.at(tmp_path / "b")
        async with serving(ready(), tls=site.files.settings()) as served:
            tls = {"GRPC_PLAINTEXT_ENABLED": "false", "GRPC_TLS_PORT": str(served.tls_port), "GRPC_TLS_KEY_FILE": "unused"}
            assert await run_health(parsed("--timeout", "30s", **tls, GRPC_TLS_CERT_FILE=str(site.files.cert))) == 0
            assert capsys.readouterr() == ("SERVING\n", "")
            assert await run_health(parsed("--timeout", "30s", **tls, GRPC_TLS_CERT_FILE=str(other.files.cert))) == 1
            assert "the certificate of the server is refused" in capsys.readouterr().err
            assert await run_health(parsed("--timeout", "30s", **tls, GRPC_TLS_CERT_FILE=str(tmp_path / "missing"))) == 2
            assert "GRPC_TLS_CERT_FILE" in capsys.readouterr().err

    async def test_a_server_that_wants_a_certificate_gets_ours(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site.at(tmp_path)
        (tmp_path / "own.pem").write_bytes(site.authority.issue_cert("probe.example").private_key_and_cert_chain_pem.bytes())
        async with serving(ready(), tls=site.files.settings(mutual=True)) as served:
            address = ("--address", f"127.0.0.1:{served.tls_port}", "--ca-file", str(site.files.client_ca))
            assert await run_health(options(*address)) == 1
            assert "TLS" in capsys.readouterr().err
            assert await run_health(options(*address, "--cert-file", str(tmp_path / "own.pem"))) == 0

    async def test_a_key_with_a_password_is_an_unusable_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site.at(tmp_path)
        site.files.key.write_text(encrypted(Secret(site.files.key.read_text())).reveal())
        files = ("--cert-file", str(site.files.cert), "--key-file", str(site.files.key))
        assert await run_health(options("--address", "127.0.0.1:1", *files)) == 2
        reason = f"--cert-file, --key-file: the key in {site.files.key} is encrypted; it must not have a password"
        assert capsys.readouterr().err == f"exchanger health: {reason}\n"

    def test_keys_of_sessions_are_not_written_down(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        assert not command.tls_context(options("--tls")).keylog_filename

    async def test_a_web_server_is_reported_as_no_grpc(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        site = Site.at(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(site.files.cert, site.files.key)

        async def silent(stream: trio.SSLStream[trio.SocketStream]) -> None:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.receive_some()

        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
            nursery.start_soon(trio.serve_listeners, silent, [trio.SSLListener(listener, context, https_compatible=True)])
            assert await run_health(options("--address", f"127.0.0.1:{port}", "--ca-file", str(site.files.client_ca))) == 1
            nursery.cancel_scope.cancel()
        assert capsys.readouterr().err.endswith(": no h2 in ALPN: TLS, but no gRPC\n")

    @pytest.mark.parametrize(
        "arguments",
        [("--ca-file", "missing"), ("--ca-file", "junk"), ("--cert-file", "missing"), ("--cert-file", "junk"), ("--key-file", "junk")],
    )
    async def test_a_file_that_cannot_be_used_is_status_2(
        self, arguments: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "junk").write_text("canary")
        assert await run_health(options("--address", "127.0.0.1:1", arguments[0], str(tmp_path / arguments[1]))) == 2
        err = capsys.readouterr().err
        assert arguments[0] in err
        assert err.count("\n") == 1
        assert "canary" not in err


@pytest.mark.parametrize(
    ("reply", "word", "reason"),
    [
        (CallAnswered(b"\x08\x01"), "SERVING", ""),
        (CallAnswered(b""), "UNKNOWN", ""),
        (CallAnswered(b"\x08\x63"), "", "the response is not a health status"),
        (CallAnswered(b"\xff"), "", "the response is not a health status"),
        (CallRefused(StatusCode.UNIMPLEMENTED, "unknown method"), "", "UNIMPLEMENTED: unknown method"),
        (CallRefused(StatusCode.UNAVAILABLE, ""), "", "UNAVAILABLE"),
        (CallRefused(StatusCode.UNAVAILABLE, "a\x1b[31m"), "", "UNAVAILABLE: a\N{REPLACEMENT CHARACTER}[31m"),
        (CallBroken("why"), "", "why"),
    ],
)
def test_each_reply_has_its_word_or_its_reason(reply: Reply, word: str, reason: str) -> None:
    assert command.status_of(reply) == (word, reason)
