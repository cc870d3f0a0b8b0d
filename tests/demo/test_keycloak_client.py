"""What is asked of a Keycloak, and what is said when it does not answer as it should."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trio

from exchanger.demo import DemoError
from exchanger.demo.command import guide
from exchanger.demo.keycloak.client import KeycloakClient
from exchanger.demo.keycloak.realm import POLICY_FILE, PROFILE, KeycloakAddress, realm_document
from exchanger.demo.keycloak.tokens import keycloak_setup, open_realm
from exchanger.demo.servers import serve_http
from exchanger.demo.setup import DemoPorts
from exchanger.http.message import Handler, Request, Response
from exchanger.scenarios.tokens import Subject
from tests.demo.fake_keycloak import ADMIN_PASSWORD, REALM, FakeKeycloak, answer


@asynccontextmanager
async def asking(keycloak: FakeKeycloak | Handler) -> AsyncIterator[KeycloakClient]:
    handler, prefix = (keycloak.handle, keycloak.prefix) if isinstance(keycloak, FakeKeycloak) else (keycloak, "")
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, handler, "127.0.0.1", 0)
        yield KeycloakClient(KeycloakAddress(False, "127.0.0.1", port, prefix), REALM)
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


BODIES = [
    b"",
    b"null",
    b"{}",
    b"\xff",
    b'{"access_token": 1, "expires_in": 3}',
    b'{"access_token": "a"}',
    b'{"error": "\\u001b[2J", "error": 7}',
]


@pytest.mark.parametrize("body", BODIES)
async def test_an_answer_that_is_no_token_response_is_said_to_be_none(body: bytes) -> None:
    async def handle(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return Response(200, (), body)

    async with asking(handle) as client:
        with pytest.raises(DemoError, match=r"alice cannot log in to the realm exchanger-demo by client app \(status 200\)"):
            await client.log_in()
        with pytest.raises(DemoError, match="tells no key that can be used"):
            await client.keys()
        with pytest.raises(DemoError, match="is it a Keycloak"):
            await client.issuer()


@pytest.mark.parametrize(("lifetime", "taken"), [(0, 1.0), (-5, 1.0), (10**400, 86_400.0)])
async def test_a_lifetime_is_taken_within_reason(lifetime: int, taken: float) -> None:
    async def handle(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return answer({"access_token": "a", "expires_in": lifetime})

    async with asking(handle) as client:
        assert (await client.log_in()).lifetime == taken


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


async def test_a_missing_realm_without_an_administrator_is_said_with_what_can_be_done() -> None:
    keycloak = FakeKeycloak(has_realm=False)
    async with asking(keycloak) as client, trio.open_nursery() as nursery:
        with pytest.raises(DemoError, match=r"has no realm exchanger-demo: import .*realm.json, or .*--keycloak-admin-password-file"):
            await open_realm(nursery, client, None)
    assert len(keycloak.requests) == 1


async def test_a_realm_that_is_there_is_left_alone_even_with_an_administrator() -> None:
    keycloak = FakeKeycloak(issuer="x")
    async with asking(keycloak) as client, trio.open_nursery() as nursery:
        tokens = await open_realm(nursery, client, ADMIN_PASSWORD)
        assert tokens.issuer == "x"
        nursery.cancel_scope.cancel()
    assert not any("admin" in path or "master" in path for path in keycloak.paths())


async def test_a_missing_realm_is_created_and_played_on(tmp_path: Path) -> None:
    keycloak = FakeKeycloak(has_realm=False, issuer="http://idp.example.com/realms/exchanger-demo")
    async with asking(keycloak) as client, trio.open_nursery() as nursery:
        tokens = await open_realm(nursery, client, ADMIN_PASSWORD)
        setup = keycloak_setup(tokens, client.address)
        valid = tokens.token(Subject.VALID)
        nursery.cancel_scope.cancel()
    assert keycloak.has_realm
    (created,) = (request for request in keycloak.requests if request.target == "/admin/realms")
    assert created.body.decode() == realm_document()
    assert setup.issuer_names == {PROFILE}
    assert list(setup.policies) == [POLICY_FILE]
    assert setup.readiness.name == "keycloak-audience"
    assert setup.verify is not None

    site = DemoPorts(1, 2, 3, setup.token_port, 5, tmp_path, setup.subjects())
    target = setup.target(site)
    assert (target.gateway.port, target.policy, target.lenient, target.stats, target.fresh) == (1, tmp_path, False, None, None)
    assert target.subjects(Subject.VALID) == valid
    text = guide(site, {}, setup)
    names = ("TOKEN", "EXPIRED", "UNSIGNED", "TRUNCATED", "FOREIGN")
    assert all(f"export {name}=" in text for name in names)
    assert f"TOKEN=$(curl -s http://127.0.0.1:{client.address.port}/realms/exchanger-demo/protocol/openid-connect/token " in text
    assert "/stats" not in text, "Keycloak counts no tokens"
    for shown in (setup, target, site):
        assert valid not in repr(shown)
        assert REALM.client_secret not in repr(shown)
