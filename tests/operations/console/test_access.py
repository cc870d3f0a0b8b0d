import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from exchanger.model.secret import Secret
from exchanger.net.http.message import Request, Response
from exchanger.net.http.token_file import TokenFile
from exchanger.operations.console.access import FAILURE_S, MAX_FAILURES, ConsoleAccess, parse_hosts
from exchanger.operations.console.guard import COOKIE, session_of

T = TypeVar("T")

TOKEN = "a-token-of-some-length"


async def in_loop(sync_fn: Callable[..., T], /, *args: Any, **_options: Any) -> T:
    """Run a function without a thread, whose time a clock that jumps would not wait for."""
    await trio.lowlevel.checkpoint()
    return sync_fn(*args)


@pytest.fixture
async def access(tmp_path: Path) -> ConsoleAccess:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    file = TokenFile(path, "CONSOLE_TOKEN_FILE", "console.token_file_unusable", in_loop)
    await file.start()
    return ConsoleAccess(file)


def login(token: object, *headers: tuple[str, str]) -> Request:
    return Request("POST", "/session", headers=headers, body=json.dumps({"token": token}).encode())


def bearer(token: str) -> Request:
    return Request("GET", "/api/policy", headers=(("authorization", f"Bearer {token}"),))


def cookie(response: Response) -> str:
    return dict(response.headers)["Set-Cookie"]


@pytest.mark.parametrize(("origin", "more"), [("http://localhost:3003", []), ("https://console.example.com", ["Secure"])])
async def test_the_token_opens_a_session_that_admits_and_is_secure_behind_tls(access: ConsoleAccess, origin: str, more: list[str]) -> None:
    response = await access.open_session(login(TOKEN, ("origin", origin)))

    assert response.status == 204
    value, *attributes = cookie(response).split("; ")
    assert value == f"{COOKIE}={session_of(Secret(TOKEN))}"
    assert attributes == ["HttpOnly", "SameSite=Strict", "Path=/", *more]
    assert TOKEN not in value
    assert await access.admit(Request("GET", "/", headers=(("cookie", value),))) is None
    assert await access.admit(bearer(TOKEN)) is None


async def test_missing_credentials_are_refused_at_once_and_a_wrong_token_slowly(
    access: ConsoleAccess, autojump_clock: trio.testing.MockClock
) -> None:
    began = trio.current_time()
    for request, after in ((Request("GET", "/api/policy"), 0.0), (bearer("wrong"), FAILURE_S)):
        refused = await access.admit(request)
        assert refused is not None
        assert (refused.status, dict(refused.headers)["WWW-Authenticate"]) == (401, "Bearer")
        assert trio.current_time() - began == pytest.approx(after)
    assert (await access.open_session(login("wrong"))).status == 401
    with trio.move_on_after(FAILURE_S / 2):
        await access.open_session(login("wrong"))
    assert trio.current_time() - began == pytest.approx(2.5 * FAILURE_S)


async def test_nobody_guesses_faster_by_asking_at_the_same_time(access: ConsoleAccess, autojump_clock: trio.testing.MockClock) -> None:
    statuses: list[int] = []

    async def guess() -> None:
        response = await access.open_session(login("wrong"))
        statuses.append(response.status)

    with trio.move_on_after(FAILURE_S / 2):
        await guess()  # a client that leaves makes room
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_FAILURES):
            nursery.start_soon(guess)
        await trio.testing.wait_all_tasks_blocked()
        assert statuses == []
        # Not even the right one is told from a wrong one now; a session still is.
        assert (await access.open_session(login(TOKEN))).status == 429
        refused = await access.admit(bearer(TOKEN))
        assert refused is not None
        assert refused.status == 429
        assert await access.admit(Request("GET", "/", headers=(("cookie", f"{COOKIE}={session_of(Secret(TOKEN))}"),))) is None
    assert statuses == [401] * MAX_FAILURES
    assert (await access.open_session(login(TOKEN))).status == 204


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 5}', b"\xff", b"[" * 4000])
async def test_a_body_without_a_token_is_a_mistake(access: ConsoleAccess, body: bytes) -> None:
    assert (await access.open_session(Request("POST", "/session", body=body))).status == 400


async def test_a_session_is_forgotten(access: ConsoleAccess) -> None:
    response = await access.close_session(Request("DELETE", "/session"))

    assert response.status == 204
    assert cookie(response).startswith(f"{COOKIE}=; Max-Age=0; ")


async def test_without_a_token_everybody_is_admitted_and_there_are_no_sessions() -> None:
    access = ConsoleAccess()

    assert not access.required
    assert await access.admit(Request("GET", "/api/policy")) is None
    assert (await access.open_session(login(TOKEN))).status == 404
    assert not access.revoked.is_set()


def test_names_are_read_in_canonical_form() -> None:
    assert parse_hosts(" Console.Example.com., b.example:8443 ,,") == {"console.example.com", "b.example"}
    assert parse_hosts("") == frozenset()


@pytest.mark.parametrize(
    "text", ["http://console.example.com", "a b", "console.example.com/", "*.example.com", ",".join(f"h{n}" for n in range(65))]
)
def test_what_is_no_name_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="must be at most 64 host names") as caught:
        parse_hosts(text)
    assert text not in str(caught.value)
