"""The service at a real Keycloak with https: each way in which a client authenticates, other grants, the gate, and strict errors."""

import json
import time
from collections.abc import Generator
from http import HTTPStatus
from pathlib import Path
from typing import Final

import jwt
import pytest
import trio
import trustme

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.client import fetch
from exchanger.net.http.message import Request
from tests.e2e.client_world import (
    ASKING,
    CACHE_TTL_S,
    CERTIFICATE,
    FEDERATED,
    KEY_CLIENTS,
    PATIENCE,
    SECRET,
    Answer,
    World,
    policy,
    read,
    running_world,
    trusted_by,
    until_more,
)
from tests.e2e.collector import wait_until
from tests.e2e.gateway import READY_S, gateway_before
from tests.e2e.realm import claims_of, key_set, new_key, pem_of
from tests.e2e.service import serving

pytestmark = [pytest.mark.full, pytest.mark.keycloak, pytest.mark.slow]

# Many times the seconds for which Keycloak's word counts: the machine may stall.
PATIENCE_S: Final = 20 * CACHE_TTL_S

FORWARDED: Final = "x-forwarded-access-token"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Generator[World]:
    with running_world(tmp_path_factory.mktemp("clients")) as running:
        yield running


# Who the client is.


@pytest.mark.parametrize("client", KEY_CLIENTS)
def test_a_client_signs_its_assertions(client: str, world: World) -> None:
    for _ in range(2):  # Keycloak takes no assertion twice
        claims = world.ask(client, world.realm.log_in()).claims
        assert (claims["azp"], claims["aud"]) == (client, "orders-api")


def test_a_rotated_key_never_fails_whichever_key_keycloak_knows(world: World) -> None:
    """The key is found by no id. Until Keycloak has the new one, it refuses the client, which tries the previous one."""
    client, new = "turns-key", new_key("ES256")
    with world.exchanging_all_the_time(client) as answers:
        world.rotated(client, lambda: world.write_key(client, new))
        until_more(answers)
        world.realm.change_client(client, **trusted_by("ES256", new, "k2"))
    assert world.ask(client, world.realm.log_in()).claims["azp"] == client


def test_a_new_key_with_its_own_id_replaces_the_old_without_failures(world: World) -> None:
    """Keycloak knows both for a while, and the profile names the new one."""
    client, new, old = "moves-key", new_key("ES256"), world.keys["moves-key"]

    def move() -> None:
        (world.folder / "moved.key").write_text(pem_of(new))
        assertion = {"keyFile": str(world.folder / "moved.key"), "algorithm": "ES256", "keyID": "k2"}
        world.profiles[client] = {**world.profiles[client], "clientAssertion": assertion}
        world.write_profiles()

    with world.exchanging_all_the_time(client) as answers:
        both = key_set({"k1": ("ES256", old), "k2": ("ES256", new)})
        world.realm.change_client(client, **{"jwks.string": both})
        world.rotated(client, move)
        until_more(answers)
        world.realm.change_client(client, **trusted_by("ES256", new, "k2"))
    assert world.ask(client, world.realm.log_in()).claims["azp"] == client


def test_a_rotated_secret_never_fails_whichever_secret_keycloak_knows(world: World) -> None:
    """Keycloak tells of a wrong secret by ``unauthorized_client`` and 401."""
    client = "turns-secret"

    def turn() -> None:
        world.profiles[client] = {**world.profiles[client], "clientSecret": "second-of-turns-secret"}
        world.write_profiles()

    with world.exchanging_all_the_time(client) as answers:
        world.rotated(client, turn)
        until_more(answers)
        (found,) = world.realm.ask("GET", f"/clients?clientId={client}")
        world.realm.ask("PUT", f"/clients/{found['id']}", {**found, "secret": "second-of-turns-secret"})
    assert world.ask(client, world.realm.log_in()).claims["azp"] == client


def test_a_rotated_certificate_never_fails_and_a_wrong_one_is_rejected(world: World) -> None:
    token = world.realm.log_in()
    assert world.ask(CERTIFICATE, token).claims["azp"] == CERTIFICATE
    with world.exchanging_all_the_time(CERTIFICATE) as answers:
        world.rotated(CERTIFICATE, lambda: world.write_certificate("second"))
        until_more(answers)
        world.realm.change_client(CERTIFICATE, **{"x509.subjectdn": "CN=second,.*"})

    # Twice, so that the one before is wrong, too.
    world.rotated(CERTIFICATE, lambda: world.write_certificate("third"))
    world.rotated(CERTIFICATE, lambda: world.write_certificate("fourth"))
    assert world.ask(CERTIFICATE, token).tells() == (502, "server_error", "")
    strangers = trustme.CA()
    world.rotated(CERTIFICATE, lambda: world.write_certificate("second", strangers))
    assert world.ask(CERTIFICATE, token).tells() == (503, "temporarily_unavailable", "")  # the handshake fails
    world.rotated(CERTIFICATE, lambda: world.write_certificate("second"))
    assert world.ask(CERTIFICATE, token).claims["azp"] == CERTIFICATE


def test_a_workloads_own_token_shows_who_the_client_is(world: World) -> None:
    """As Kubernetes makes them: the file's token is used until the next one is there, and names the client by itself."""
    for _ in range(2):
        assert world.ask(FEDERATED, world.realm.log_in()).claims["azp"] == FEDERATED
    refused = world.workloads.token("system:serviceaccount:gateway:another", world.realm.issuer)
    world.rotated(FEDERATED, lambda: (world.folder / "assertion").write_text(refused))
    assert world.ask(FEDERATED, world.realm.log_in()).claims["azp"] == FEDERATED  # by the one before, which is good still
    world.write_assertion()


# What is asked for.


@pytest.mark.parametrize("client", [KEY_CLIENTS[0], CERTIFICATE, SECRET])
def test_tokens_are_exchanged_for_an_audience_and_for_a_scope(client: str, world: World) -> None:
    token = world.realm.log_in()
    before = claims_of(token)
    by_audience, by_scope = world.ask(client, token).claims, world.ask(f"scoped/{client}", token).claims
    assert (by_audience["aud"], by_audience["sub"], "phone" in by_audience["scope"].split()) == ("orders-api", before["sub"], False)
    assert (by_scope["azp"], by_scope["sub"], "phone" in by_scope["scope"].split()) == (client, before["sub"], True)


def test_an_assertion_of_another_issuer_is_a_grant(world: World) -> None:
    """Keycloak knows the issuer as an identity provider, and the user by the subject there."""
    (user,) = world.realm.ask("GET", "/users?username=alice&exact=true")
    link = {"identityProvider": "logins", "userId": "alice-there", "userName": "alice"}
    world.realm.ask("POST", f"/users/{user['id']}/federated-identity/logins", link)
    logins = f"{world.workloads.url}/logins"
    token = world.workloads.token("alice-there", world.realm.issuer, iss=logins)
    for _ in range(2):
        claims = world.ask("scoped/jwt-bearer", token).claims
        assert (claims["iss"], claims["sub"], claims["azp"]) == (world.realm.issuer, user["id"], SECRET)
    nobody = world.workloads.token("nobody", world.realm.issuer, iss=logins)
    assert world.ask("scoped/jwt-bearer", nobody).tells()[:2] == (400, "invalid_grant")


# The caller's token.


def test_the_token_is_read_from_the_header_that_the_profile_names(world: World) -> None:
    token = world.realm.log_in()
    answer = read(world.service.check("/forwarded", x_forwarded_access_token=token))
    assert answer.claims["sub"] == claims_of(token)["sub"]
    assert {FORWARDED, FORWARDED.replace("-", "_")} <= set(answer.removed)
    assert world.ask("forwarded", token).status == 401


@pytest.mark.envoy
@pytest.mark.parametrize("mode", list(FilterMode))
async def test_the_upstream_gets_the_new_token_alone(mode: FilterMode, world: World, tmp_path: Path) -> None:
    token = await trio.to_thread.run_sync(world.realm.log_in)
    headers = (("Host", "api.example.com"), ("X-Forwarded-Access-Token", token), ("Authorization", "Basic b2YgdGhlIHByb3h5"))
    async with gateway_before(world.service.port, tmp_path, mode) as envoy:
        with trio.fail_after(READY_S):  # the machine may stall for longer than the gateway waits
            while (response := await fetch(envoy, Request("GET", "/forwarded", headers), timeout=30)).status >= 500:
                pass
    assert response.status == 200, response.body
    seen = json.loads(response.body)
    assert (seen["token_claims"]["azp"], seen["token_claims"]["aud"]) == (SECRET, "orders-api")
    assert FORWARDED not in {name.lower() for name in seen["headers"]}
    assert token.encode() not in response.body
    assert b"b2YgdGhlIHByb3h5" not in response.body


# The gate.


def test_the_gate_lets_good_tokens_pass_and_no_others(world: World) -> None:
    token, hour_ago = world.realm.log_in(), int(time.time()) - 3600
    assert world.ask("judged", token).claims["azp"] == SECRET
    assert world.ask("judged", world.realm.signed(token)).claims["azp"] == SECRET  # so the others are refused for what they say
    head, claims, signature = token.split(".")
    refused = {
        "another realm's": world.other.log_in(),
        "one that has ended": world.realm.signed(token, iat=hour_ago, exp=hour_ago + 300),
        "one for another audience": world.realm.log_in("app-elsewhere"),
        "one with another signature": f"{head}.{claims}.{signature[::-1]}",
        "one with another's signature": f"{head}.{claims}.{world.other.log_in().split('.')[2]}",
    }
    for which, bad in refused.items():
        answer = world.ask("judged", bad)
        assert answer.tells() == (401, "invalid_token", 'Bearer realm="orders", error="invalid_token"'), which
        assert "TXE-4001" in answer.body
    # One who is good enough for the gate alone is not good enough for Keycloak.
    assert world.ask("judged", world.realm.signed(token, sid="of-no-session")).status == 400


# Keycloak is asked about the caller's token.


@pytest.mark.parametrize("client", ASKING)
def test_keycloak_says_whether_a_token_is_active(client: str, world: World) -> None:
    """Each client proves to the introspection endpoint who it is as it does to the token endpoint."""
    token = world.realm.log_in()
    for _ in range(2):
        assert world.ask(f"asks-as-{client}", token).claims["azp"] == client
    for bad in (f"{token[:-4]}AAAA", world.other.log_in(), "opaque"):
        assert_inactive(world.ask(f"asks-as-{client}", bad))


def assert_inactive(answer: Answer) -> None:
    assert answer.tells()[:2] == (401, "invalid_token")
    assert "TXE-4003" in answer.body


def test_garbage_costs_keycloak_no_question_where_keys_check_first(world: World) -> None:
    answer = world.ask("asks", f"{world.realm.log_in()[:-4]}AAAA")
    assert (answer.status, "TXE-4001" in answer.body) == (401, True)
    assert_inactive(world.ask("asks", "opaque"))


@pytest.mark.parametrize("how", ["revoked", "logged out"])
def test_a_token_that_is_withdrawn_is_refused_within_the_time(how: str, world: World) -> None:
    """The keys would let it pass for as long as it lives, and the exchanged token is in the cache."""
    token = world.realm.log_in()
    assert world.ask("asks", token).claims["azp"] == SECRET
    before = time.monotonic()
    if how == "revoked":
        world.realm.revoke(token)
    else:
        world.realm.log_out()
    assert_inactive(world.ask("asks-each-time", token))
    while (answer := world.ask("asks", token)).status == HTTPStatus.OK:
        time.sleep(0.1)
        assert time.monotonic() < before + PATIENCE_S
    assert_inactive(answer)


# Strict errors.


def test_strict_errors_say_whose_fault_it_is(world: World) -> None:
    token = world.realm.log_in()
    assert world.ask("strict", token).claims["azp"] == SECRET
    assert world.ask("wrong-key", token).tells()[:2] == (400, "invalid_client")
    assert world.ask("strict-wrong-key", token).tells() == (502, "server_error", "")
    down = world.ask("strict-down", token)
    assert (down.status, down.headers.get("retry-after")) == (503, "1")
    misnamed = world.ask("misnamed", token)  # the realm's metadata, which have no slash at the end
    assert (misnamed.status, "TXE-1008" in misnamed.body, misnamed.headers.get("retry-after")) == (503, True, "1")
    assert "the metadata names another issuer" in world.service.lines()
    world.realm.log_out()
    assert world.ask("strict", token).tells() == (401, "invalid_token", 'Bearer realm="orders", error="invalid_token"')


# Keys of Keycloak's own. Last, for the realm signs differently from here on.

# The service, which fetches keys that it does not know again after a moment, and not after a minute.
SOON: Final = (
    "-c",
    """
from exchanger import cli
from exchanger.exchange import jwks_cache
jwks_cache.UNKNOWN_KEY_S = 0.0
raise SystemExit(cli.main(["serve"]))
""",
)


def test_a_token_by_the_realms_new_key_passes_at_once(world: World, tmp_path: Path) -> None:
    (tmp_path / "issuers.yaml").write_text(json.dumps({"issuers": [{"name": "refreshed", **world.profiles["refreshed"]}]}))
    with serving(tmp_path, policy(), None, SOON, **PATIENCE) as service:
        wait_until(lambda: "issuers.metadata_known" in service.lines(), service.lines)

        def ask(token: str) -> Answer:
            return read(service.check("/refreshed", authorization=f"Bearer {token}"))

        old = world.realm.log_in()
        assert ask(old).status == 200
        kid = world.realm.add_key("rsa-generated", 2000, keySize="2048", algorithm="RS256")
        new = world.realm.log_in()
        assert jwt.get_unverified_header(new)["kid"] == kid
        for token in (new, old, world.realm.log_in()):
            assert ask(token).claims["azp"] == SECRET
        wait_until(lambda: service.lines().count("issuers.keys_known") == 2, service.lines)  # at the start, and for the new one
