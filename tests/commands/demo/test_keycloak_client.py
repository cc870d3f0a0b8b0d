"""What the demo asks a Keycloak for, and how it reports an answer that it cannot use."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trio

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.command import guide
from exchanger.commands.demo.keycloak.client import KeycloakClient
from exchanger.commands.demo.keycloak.realm import POLICY_FILE, PROFILE, KeycloakAddress, realm_document
from exchanger.commands.demo.keycloak.tokens import keycloak_setup, open_realm
from exchanger.commands.demo.servers import serve_http
from exchanger.commands.demo.setup import DemoPorts
from exchanger.commands.scenarios.tokens import Subject
from exchanger.net.http.message import Handler, Request, Response
from tests.commands.demo.fake_keycloak import ADMIN_PASSWORD, REALM, FakeKeycloak, answer


@asynccontextmanager
async def asking(keycloak: FakeKeycloak | Handler) -> AsyncIterator[KeycloakClient]:
    handler, prefix = (keycloak.handle, keycloak.prefix) if isinstance(keycloak, FakeKeycloak) else (keycloak, "")
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, handler, "127.0.0.1", 0)
        yield KeycloakClient(KeycloakAddress(False, "127.0.0.1", port, prefix), REALM)
        nursery.cancel_scope.cancel()


def always(response: Response) -> Handler:
    async def handle(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return response

    return handle


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_the_realm_names_its_issuer_and_gives_keys_and_tokens(prefix: str) -> None:
    keycloak = FakeKeycloak(issuer="http://idp.example.com/realms/exchanger-demo", prefix=prefix)
    async with asking(keycloak) as client:
        assert await client.issuer() == keycloak.issuer
        assert set(await client.keys()) == {"rsa", "ec"}
        issued = await client.log_in()
        assert issued.lifetime == 300
        await client.exchange(issued.token)
        assert (await client.log_in("app-brief")).lifetime == 1
    assert {request.value("host") for request in keycloak.requests} == {f"127.0.0.1:{client.address.port}"}
    assert parse_qs(keycloak.requests[3].body.decode())["subject_token"] == [issued.token]


Ask = Callable[[KeycloakClient], Awaitable[object]]
REFUSED: dict[str, tuple[FakeKeycloak, Ask, str]] = {
    "password": (
        FakeKeycloak(has_realm=False),
        lambda client: client.create_realm("wrong-password"),
        "admin cannot log in to the realm master by client admin-cli (status 401, invalid_grant)",
    ),
    "rights": (
        FakeKeycloak(has_realm=False, creates=False),
        lambda client: client.create_realm(ADMIN_PASSWORD),
        "http://127.0.0.1:{port} refused to create the realm exchanger-demo (status 403)",
    ),
    **{
        name: (
            FakeKeycloak(exchanges=False, refusal=refusal),
            lambda client: client.exchange("the-token"),
            f"the realm exchanger-demo does not exchange tokens (status 401{said})",
        )
        for name, refusal, said in (
            ("known error", "unauthorized_client", ", unauthorized_client"),
            ("echo", "the-token", ""),
            ("control", "\x1b[2J", ""),
        )
    },
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_is_reported_by_status_and_known_error_alone(name: str) -> None:
    keycloak, ask, said = REFUSED[name]
    async with asking(keycloak) as client:
        with pytest.raises(DemoError) as raised:
            await ask(client)
        assert str(raised.value) == said.format(port=client.address.port)


BODIES = [
    *(b"", b"null", b"{}", b"\xff", b'{"access_token": 1, "expires_in": 3}', b'{"access_token": "a"}'),
    b'{"error": "\\u001b[2J", "error": 7}',
]


@pytest.mark.parametrize("body", BODIES)
async def test_an_answer_that_is_no_token_response_is_reported(body: bytes) -> None:
    async with asking(always(Response(200, (), body))) as client:
        with pytest.raises(DemoError, match=r"alice cannot log in to the realm exchanger-demo by client app \(status 200\)"):
            await client.log_in()
        with pytest.raises(DemoError, match="has no usable key"):
            await client.keys()
        with pytest.raises(DemoError, match="is it a Keycloak"):
            await client.issuer()


@pytest.mark.parametrize(("lifetime", "taken"), [(0, 1.0), (-5, 1.0), (10**400, 86_400.0)])
async def test_lifetimes_are_bounded(lifetime: int, taken: float) -> None:
    async with asking(always(answer({"access_token": "a", "expires_in": lifetime}))) as client:
        assert (await client.log_in()).lifetime == taken


async def test_an_unreachable_keycloak_is_named() -> None:
    async with asking(FakeKeycloak()) as client:
        assert not any(secret in repr(client) for secret in (REALM.client_secret, REALM.password))
    with pytest.raises(DemoError, match=f"Keycloak at http://127.0.0.1:{client.address.port}: no answer: Connection refused"):
        await client.issuer()


async def test_a_missing_realm_without_an_administrator_is_an_error_with_a_remedy() -> None:
    keycloak = FakeKeycloak(has_realm=False)
    async with asking(keycloak) as client, trio.open_nursery() as nursery:
        with pytest.raises(DemoError, match=r"has no realm exchanger-demo: import .*realm.json, or .*--keycloak-admin-password-file"):
            await open_realm(nursery, client, None)
    assert len(keycloak.requests) == 1


async def test_an_existing_realm_is_left_alone_even_with_an_administrator() -> None:
    keycloak = FakeKeycloak(issuer="x")
    async with asking(keycloak) as client, trio.open_nursery() as nursery:
        tokens = await open_realm(nursery, client, ADMIN_PASSWORD)
        assert tokens.issuer == "x"
        nursery.cancel_scope.cancel()
    assert not any("admin" in request.target or "master" in request.target for request in keycloak.requests)


async def test_a_missing_realm_is_created_and_used(tmp_path: Path) -> None:
    keycloak = FakeKeycloak(has_realm=False, issuer="http://idp.example.com/realms/exchanger-demo")
    async with asking(keycloak) as client, trio.open_nursery() as nursery:
        tokens = await open_realm(nursery, client, ADMIN_PASSWORD)
        setup = keycloak_setup(tokens, client.address)
        valid = tokens.token(Subject.VALID)
        nursery.cancel_scope.cancel()
    assert keycloak.has_realm
    (created,) = (request for request in keycloak.requests if request.target == "/admin/realms")
    assert created.body.decode() == realm_document()
    assert (setup.issuer_names, list(setup.policies), setup.readiness.name) == (frozenset({PROFILE}), [POLICY_FILE], "keycloak-audience")
    assert setup.verify is not None

    site = DemoPorts(1, 2, 3, setup.token_port, 5, tmp_path, setup.subjects())
    target = setup.target(site)
    assert (target.gateway.port, target.policy, target.lenient, target.stats, target.fresh) == (1, tmp_path, False, None, None)
    assert target.subjects(Subject.VALID) == valid
    text = guide(site, {}, setup)
    assert all(f"export {name}=" in text for name in ("TOKEN", "EXPIRED", "UNSIGNED", "TRUNCATED", "FOREIGN"))
    assert f"TOKEN=$(curl -s http://127.0.0.1:{client.address.port}/realms/exchanger-demo/protocol/openid-connect/token " in text
    assert "/stats" not in text, "Keycloak counts no tokens"
    for shown in (setup, target, site):
        assert valid not in repr(shown)
        assert REALM.client_secret not in repr(shown)
