"""Requests to an API server that answers, does not, or answers nonsense."""

import socket
from collections.abc import Callable

import attrs
import pytest
import trio
import trio.lowlevel

from exchanger.sources.kube.api.access import Access, close_kept
from exchanger.sources.kube.api.connection import ConnectionBounds
from exchanger.sources.kube.api.transport import MAX_BODY_BYTES
from exchanger.sources.kube.list_watch import ApiFailure, FailureKind
from tests.sources.kube.leftovers import nothing_left, open_sockets
from tests.sources.kube.scripted_server import (
    FAST,
    Received,
    Script,
    Server,
    access_to,
    answer,
    connected,
    keeps_saying,
    repeats,
    says,
    serving,
)

SILENT = attrs.evolve(FAST, read=0.2)


def status(code: int, message: str = "", **more: object) -> dict[str, object]:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message, **more}


async def failure_of(script: Script, bounds: ConnectionBounds = FAST) -> ApiFailure:
    """Return how one request to such a server fails."""
    async with connected(script, bounds) as connection:
        found = await connection.get("/")
    assert isinstance(found, ApiFailure)
    return found


async def test_an_answer_is_its_json_object() -> None:
    async with serving(repeats(answer({"kind": "Namespace"}))) as server:
        connection = server.connection()
        assert await connection.get("/api/v1/namespaces/team", (("limit", "1"), ("labelSelector", "a in (b,c)"))) == {"kind": "Namespace"}
        assert isinstance(await connection.send("POST", "/api/v1/namespaces/team/events", {"reason": "InvalidPolicy"}), dict)
        first, second = server.requests
        assert first.target == "/api/v1/namespaces/team?limit=1&labelSelector=a+in+%28b%2Cc%29"
        assert first.headers["authorization"] == "Bearer token"
        assert first.headers["accept"] == "application/json"
        assert first.headers["accept-encoding"] == "identity"  # what is bounded is what arrives
        assert (second.body, second.headers["content-type"]) == (b'{"reason":"InvalidPolicy"}', "application/json")
        assert (server.connections, connection.requests) == (1, 2)


async def test_kept_connections_may_be_closed_at_any_time() -> None:
    sockets = open_sockets()
    async with connected(repeats(answer({}))) as connection:
        pools = connection.credentials.present()[0].pools
        answers: list[object] = []

        async def ask() -> None:
            for _ in range(25):
                answers.append(await connection.get("/"))  # noqa: PERF401 - one after the other

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask)
            while len(answers) < 200:
                close_kept(pools)
                await trio.lowlevel.checkpoint()
        assert answers == [{}] * 200
    await nothing_left(sockets)


@pytest.mark.parametrize(
    ("line", "body", "kind"),
    [
        ("400 Bad Request", status(400), FailureKind.UNSUPPORTED),
        ("401 Unauthorized", status(401), FailureKind.UNAUTHORIZED),
        ("403 Forbidden", status(403), FailureKind.FORBIDDEN),
        ("404 Not Found", status(404), FailureKind.NOT_FOUND),
        ("409 Conflict", status(409), FailureKind.UNSUPPORTED),
        ("410 Gone", status(410), FailureKind.GONE),
        ("422 Unprocessable Entity", status(422), FailureKind.UNSUPPORTED),
        ("429 Too Many Requests", status(429), FailureKind.TOO_MANY_REQUESTS),
        ("500 Internal Server Error", status(500), FailureKind.SERVER_ERROR),
        ("503 Service Unavailable", b"<html>busy</html>", FailureKind.SERVER_ERROR),
        ("504 Gateway Timeout", status(504, "Timeout: Too large resource version: 9, current: 4"), FailureKind.GONE),
        ("504 Gateway Timeout", status(504, "request timed out"), FailureKind.SERVER_ERROR),
        ("302 Found", b"", FailureKind.SERVER_ERROR),
        ("401 Unauthorized", b"\xff\xfe", FailureKind.UNAUTHORIZED),
    ],
)
async def test_a_status_has_its_meaning(line: str, body: object, kind: FailureKind) -> None:
    failure = await failure_of(says(answer(body, line, Location="http://127.0.0.1:1/")))
    assert (failure.kind, failure.status) == (kind, int(line[:3]))
    assert "<html" not in failure.message


async def test_the_servers_sentence_is_kept_as_one_short_line_without_the_token() -> None:
    sentence = 'configmaps is forbidden: User "x" cannot list resource "configmaps" in API group "" at the cluster scope'
    failure = await failure_of(says(answer(status(403, f"{sentence}\n{'!' * 900}"), "403 Forbidden")))
    assert failure.message.startswith(f"{sentence} !")
    assert len(failure.message) == 200
    quoting = await failure_of(says(answer(status(403, "your header was Bearer token"), "403 Forbidden")))
    assert (quoting.kind, quoting.message) == (FailureKind.FORBIDDEN, "")


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [("7", {}, 7.0), ("7", {"retryAfterSeconds": 9}, 7.0), ("x", {"retryAfterSeconds": 9}, 9.0), ("-1", {}, None), ("99999", {}, 300.0)],
)
async def test_retry_after_is_read_in_seconds(header: str, details: dict[str, object], seconds: float | None) -> None:
    failure = await failure_of(says(answer(status(429, details=details), "429 Too Many Requests", Retry_After=header)))
    assert failure.retry_after == seconds


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"", FailureKind.UNREACHABLE),
        (b"SSH-2.0-OpenSSH\r\n", FailureKind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", FailureKind.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", FailureKind.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", FailureKind.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200, FailureKind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 70000, FailureKind.MALFORMED),
        (answer(b"not JSON"), FailureKind.MALFORMED),
        (answer(b"[]"), FailureKind.MALFORMED),
        (answer(b"\xff{}"), FailureKind.MALFORMED),
        (answer(b'{"a":' * 2000), FailureKind.MALFORMED),
    ],
)
async def test_an_unreadable_answer_is_a_failure(said: bytes, kind: FailureKind) -> None:
    assert (await failure_of(says(said))).kind is kind


def without_end(piece: bytes, pause: float = 0.0) -> Script:
    async def script(_: Received, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(piece)
            await trio.sleep(pause)

    return script


async def test_an_endless_answer_is_refused() -> None:
    expected = ApiFailure(FailureKind.MALFORMED, message=f"an answer of more than {MAX_BODY_BYTES} bytes")
    assert await failure_of(without_end(b" " * 65536)) == expected


@pytest.mark.parametrize(
    ("script", "bounds"),
    [
        (keeps_saying(b""), SILENT),
        (keeps_saying(b"HTTP/1.1 200 OK\r\n"), SILENT),
        (keeps_saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), SILENT),
        (without_end(b" ", 0.02), attrs.evolve(FAST, call=0.3)),
    ],
    ids=["no head", "half a head", "half a body", "dripping"],
)
async def test_silence_and_dripping_are_timeouts(script: Script, bounds: ConnectionBounds) -> None:
    assert (await failure_of(script, bounds)).kind is FailureKind.TIMEOUT


async def test_a_refused_connection_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        connection = Server(says(), port=unused.getsockname()[1]).connection()
        assert await connection.get("/") == ApiFailure(FailureKind.UNREACHABLE, message="the connection was refused")


async def _guarded(request: Received, stream: trio.abc.Stream) -> None:
    good = request.headers["authorization"] == "Bearer new"
    await stream.send_all(answer({}) if good else answer(status(401, "Unauthorized"), "401 Unauthorized"))


def _loader(server: Server, token: str, loaded: list[str]) -> Callable[[], Access]:
    def load() -> Access:
        loaded.append(token)
        return access_to(server.url, lambda: token)

    return load


async def test_a_refused_token_that_stays_is_not_sent_twice() -> None:
    async with serving(_guarded) as server:
        loaded: list[str] = []
        connection = server.connection(token=lambda: "old", load=_loader(server, "old", loaded))
        for _ in range(3):
            assert await connection.get("/") == ApiFailure(FailureKind.UNAUTHORIZED, 401, "Unauthorized")
        assert len(server.requests) == 3
        assert loaded == ["old"]  # and not for each refusal


async def test_requests_that_are_refused_together_read_the_token_once() -> None:
    async with serving(_guarded) as server:
        loaded: list[str] = []
        connection = server.connection(token=lambda: "old", load=_loader(server, "new", loaded))
        answers: list[object] = []

        async def ask() -> None:
            answers.append(await connection.get("/"))

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask)
        assert (answers, loaded) == ([{}] * 6, ["new"])
