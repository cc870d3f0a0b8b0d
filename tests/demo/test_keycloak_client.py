"""What is asked of a Keycloak, and what is said when it does not answer as it should."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

import pytest
import trio

from exchanger.demo import DemoError
from exchanger.demo.keycloak.client import KeycloakClient
from exchanger.demo.keycloak.realm import KeycloakAddress, realm_document
from exchanger.demo.servers import serve_http
from exchanger.http.message import Request, Response
from tests.demo.fake_keycloak import ADMIN_PASSWORD, REALM, FakeKeycloak, answer


@asynccontextmanager
async def asking(keycloak: FakeKeycloak) -> AsyncIterator[KeycloakClient]:
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, keycloak.handle, "127.0.0.1", 0)
        yield KeycloakClient(KeycloakAddress(False, "127.0.0.1", port, keycloak.prefix), REALM)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_the_realm_says_who_it_is_and_gives_keys_and_tokens(prefix: str) -> None:
    keycloak = FakeKeycloak(issuer="http://idp.example.com/realms/exchanger-demo", prefix=prefix)
    async with asking(keycloak) as client:
        assert await client.issuer() == keycloak.issuer
        assert set(await client.keys()) == {"rsa", "ec"}
        issued = await client.log_in()
        assert issued.lifetime == 300
        await client.exchange(issued.token)
        assert (await client.log_in("app-brief")).lifetime == 1
    assert {request.value("host") for request in keycloak.requests} == {f"127.0.0.1:{client.address.port}"}
    exchange = parse_qs(keycloak.requests[3].body.decode())
    assert exchange["subject_token"] == [issued.token]


async def test_a_realm_that_is_missing_is_created_by_the_administrator_and_one_that_is_there_stays() -> None:
    keycloak = FakeKeycloak(has_realm=False, issuer="x")
    async with asking(keycloak) as client:
        assert await client.issuer() is None
        await client.create_realm(ADMIN_PASSWORD)
        assert await client.issuer() == "x"
        assert keycloak.requests[2].body.decode() == realm_document()
        await client.create_realm(ADMIN_PASSWORD)


async def test_a_wrong_password_of_the_administrator_is_said_and_shown_nowhere() -> None:
    async with asking(FakeKeycloak(has_realm=False)) as client:
        with pytest.raises(
            DemoError, match=r"admin cannot log in to the realm master by client admin-cli \(status 401, invalid_grant\)"
        ) as told:
            await client.create_realm("wrong-password")
    assert "wrong-password" not in str(told.value)


async def test_an_administrator_who_may_not_create_realms_is_said_to_be_so() -> None:
    async with asking(FakeKeycloak(has_realm=False, creates=False)) as client:
        with pytest.raises(DemoError, match=r"does not create the realm exchanger-demo \(status 403\)"):
            await client.create_realm(ADMIN_PASSWORD)


@pytest.mark.parametrize(("refusal", "said"), [("unauthorized_client", ", unauthorized_client"), ("the-token", ""), ("\x1b[2J", "")])
async def test_a_refused_exchange_is_said_without_what_the_server_says_about_it(refusal: str, said: str) -> None:
    async with asking(FakeKeycloak(exchanges=False, refusal=refusal)) as client:
        with pytest.raises(DemoError) as told:
            await client.exchange("the-token")
    assert str(told.value) == f"the realm exchanger-demo does not exchange tokens (status 401{said})"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b"\xff",
        b'{"access_token": 1, "expires_in": 3}',
        b'{"access_token": "a"}',
        b'{"error": "\\u001b[2J", "error": 7}',
    ],
)
async def test_an_answer_that_is_no_token_response_is_said_to_be_none(body: bytes) -> None:
    async def handle(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(200, (), body)

    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, handle, "127.0.0.1", 0)
        client = KeycloakClient(KeycloakAddress(False, "127.0.0.1", port), REALM)
        with pytest.raises(DemoError, match=r"alice cannot log in to the realm exchanger-demo by client app \(status 200\)"):
            await client.log_in()
        with pytest.raises(DemoError, match="tells no key that can be used"):
            await client.keys()
        with pytest.raises(DemoError, match="is it a Keycloak"):
            await client.issuer()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("lifetime", "taken"), [(0, 1.0), (-5, 1.0), (10**400, 86_400.0)])
async def test_a_lifetime_is_taken_within_reason(lifetime: int, taken: float) -> None:
    async def handle(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return answer({"access_token": "a", "expires_in": lifetime})

    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, handle, "127.0.0.1", 0)
        assert (await KeycloakClient(KeycloakAddress(False, "127.0.0.1", port), REALM).log_in()).lifetime == taken
        nursery.cancel_scope.cancel()


async def test_a_keycloak_that_is_not_there_is_said_to_be_so() -> None:
    keycloak = FakeKeycloak()
    async with asking(keycloak) as client:
        port = client.address.port
    with pytest.raises(DemoError, match=f"Keycloak at http://127.0.0.1:{port}: no answer: connection refused"):
        await client.issuer()


def test_no_secret_is_in_a_repr() -> None:
    shown = repr(KeycloakClient(KeycloakAddress(False, "127.0.0.1", 8080), REALM))
    assert REALM.client_secret not in shown
    assert REALM.password not in shown
