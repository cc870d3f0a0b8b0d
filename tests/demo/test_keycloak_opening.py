"""A realm is opened, or it is said what is missing; and what the demo is told about it on its command line."""

import argparse
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from exchanger.demo import DemoError
from exchanger.demo.command import guide, run_demo
from exchanger.demo.keycloak.client import KeycloakClient
from exchanger.demo.keycloak.realm import POLICY_FILE, PROFILE, KeycloakAddress
from exchanger.demo.keycloak.tokens import keycloak_setup, open_realm
from exchanger.demo.options import DemoOptions, add_arguments, options_of
from exchanger.demo.servers import serve_http
from exchanger.demo.setup import DemoPorts
from exchanger.scenarios.tokens import Subject
from tests.demo.fake_keycloak import ADMIN_PASSWORD, REALM, FakeKeycloak

HERE = KeycloakAddress(False, "127.0.0.1", 8080)


def parsed(*arguments: str) -> DemoOptions:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_of(parser.parse_args(arguments))


@asynccontextmanager
async def asking(keycloak: FakeKeycloak) -> AsyncIterator[tuple[trio.Nursery, KeycloakClient]]:
    async with trio.open_nursery() as nursery:
        port: int = await nursery.start(serve_http, keycloak.handle, "127.0.0.1", 0)
        yield nursery, KeycloakClient(KeycloakAddress(False, "127.0.0.1", port), REALM)
        nursery.cancel_scope.cancel()


async def test_a_missing_realm_without_an_administrator_is_said_with_what_can_be_done() -> None:
    keycloak = FakeKeycloak(has_realm=False)
    async with asking(keycloak) as (nursery, client):
        with pytest.raises(DemoError, match=r"has no realm exchanger-demo: import .*realm.json, or .*--keycloak-admin-password-file"):
            await open_realm(nursery, client, None)
    assert len(keycloak.requests) == 1


async def test_a_realm_that_is_there_is_left_alone_even_with_an_administrator() -> None:
    keycloak = FakeKeycloak(issuer="x")
    async with asking(keycloak) as (nursery, client):
        tokens = await open_realm(nursery, client, ADMIN_PASSWORD)
        assert tokens.issuer == "x"
    assert not any("admin" in path or "master" in path for path in keycloak.paths())


async def test_a_missing_realm_is_created_and_played_on(tmp_path: Path) -> None:
    keycloak = FakeKeycloak(has_realm=False, issuer="http://idp.example.com/realms/exchanger-demo")
    async with asking(keycloak) as (nursery, client):
        tokens = await open_realm(nursery, client, ADMIN_PASSWORD)
        programme = keycloak_setup(tokens, client.address)
        valid = tokens.token(Subject.VALID)
    assert keycloak.has_realm
    assert programme.issuer_names == {PROFILE}
    assert list(programme.policies) == [POLICY_FILE]
    assert programme.readiness.name == "keycloak-audience"
    assert programme.verify is not None

    site = DemoPorts(1, 2, 3, programme.token_port, 5, tmp_path, programme.subjects())
    ground = programme.target(site)
    assert (ground.gateway.port, ground.policy, ground.lenient, ground.stats, ground.fresh) == (1, tmp_path, False, None, None)
    assert ground.subjects(Subject.VALID) == valid
    text = guide(site, {}, programme)
    names = ("TOKEN", "EXPIRED", "UNSIGNED", "TRUNCATED", "FOREIGN")
    assert all(f"export {name}=" in text for name in names)
    assert f"TOKEN=$(curl -s http://127.0.0.1:{client.address.port}/realms/exchanger-demo/protocol/openid-connect/token " in text
    assert "/stats" not in text, "Keycloak counts no tokens"
    for shown in (programme, ground, site):
        assert valid not in repr(shown)
        assert REALM.client_secret not in repr(shown)


def test_the_command_line_takes_an_address_and_a_file() -> None:
    assert parsed() == DemoOptions()
    options = parsed("--keycloak", "http://127.0.0.1:8080/", "--keycloak-admin-password-file", "/run/password")
    assert options == DemoOptions(keycloak=HERE, keycloak_admin_password_file=Path("/run/password"))
    assert options.problems() == ()


def test_an_address_that_is_none_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--keycloak", "http://admin:secret@127.0.0.1:8080")
    said = capsys.readouterr().err
    assert "must be a URL such as" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (None, "goes with --keycloak"),
        (KeycloakAddress(False, "idp.example.com", 80), "https alone"),
        (KeycloakAddress(True, "idp.example.com", 443), ""),
        (KeycloakAddress(False, "::1", 80), ""),
    ],
)
def test_the_administrators_password_needs_a_keycloak_and_a_safe_way_to_it(address: KeycloakAddress | None, problem: str) -> None:
    problems = DemoOptions(keycloak=address, keycloak_admin_password_file=Path(os.devnull)).problems()
    assert len(problems) == bool(problem)
    assert problem in "".join(problems)


async def test_options_that_do_not_go_together_are_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr("sys.stderr", err)
    assert await run_demo(DemoOptions(keycloak_admin_password_file=Path(os.devnull))) == 2
    assert err.getvalue() == "exchanger demo: --keycloak-admin-password-file goes with --keycloak\n"
