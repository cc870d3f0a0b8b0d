"""A secret that is withdrawn leaves memory with its profile: nothing that the pipeline holds has it any more."""

import json
import secrets
import socket
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from exchanger.model.issuer import (
    ActorCredentials,
    ActorToken,
    Assertion,
    AssertionType,
    AuthMethod,
    CachePolicy,
    CallLimits,
    Credentials,
    Grant,
    Issuer,
    SigningAlgorithm,
    SigningKey,
)
from exchanger.model.proxy import Proxy
from exchanger.model.secret import Secret
from exchanger.model.token import ExchangedToken, TokenRequest
from exchanger.net.concurrency import ConcurrencyLimit
from exchanger.net.dial import Origin
from exchanger.net.http2.client import Http2Client
from exchanger.net.links import Http2Link
from exchanger.net.pool import OriginPool
from exchanger.net.quarantine import ReuseQuarantine
from exchanger.net.tcp import SocketTransport
from tests.exchange.chains import refusing
from tests.exchange.oauth.fakes import exchange, response, token_request, world
from tests.exchange.oauth.published import OPENID, Site, discovered, metadata
from tests.formats.jwt.issuer import P256
from tests.reachable import holders

PLAIN: Final = token_request().issuer
OTHER: Final = {"other": attrs.evolve(PLAIN, name="other")}
# In every place where an issuer has a secret. Each is made of a text that the test has backwards, so that it is not found there.
KINDS: Final = ("post", "basic", "previous", "assertion", "signing key", "parameters", "actor token", "actor", "refused", "discovered")


def with_secret(kind: str, backwards: str) -> Issuer:
    secret = backwards[::-1]
    proof = Secret(secret)
    client = Credentials("client", proof)
    if kind == "discovered":
        return attrs.evolve(discovered(), credentials=client, cache=CachePolicy(300, 100))
    acting: dict[str, Any] = {"grant": Grant(actor=ActorCredentials("act")), "credentials": client}
    has: dict[str, dict[str, Any]] = {
        "post": {"auth_method": AuthMethod.CLIENT_SECRET_POST, "credentials": client},
        "basic": {"auth_method": AuthMethod.CLIENT_SECRET_BASIC, "credentials": client},
        "previous": {"credentials": Credentials("client", Secret("new"), 1), "previous": client},
        "assertion": {"credentials": Credentials("client", Assertion(proof, AssertionType.JWT_BEARER, "subject"))},
        "signing key": {"credentials": Credentials("client", SigningKey(proof, SigningAlgorithm.ES256))},
        "parameters": {"grant": Grant(parameters=(("key", secret),))},
        "actor token": {"grant": Grant(actor=ActorToken(proof, "urn:x:y", "subject"))},
        **dict.fromkeys(("actor", "refused"), acting),
    }
    return attrs.evolve(PLAIN, name="primary", cache=CachePolicy(300, 100), limits=CallLimits(4, breaker=True), **has[kind])


def backwards(kind: str) -> str:
    if kind == "signing key":
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        return P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()[::-1]
    return secrets.token_hex(24)


def found(kind: str, reversed_secret: str, *roots: object) -> list[str]:
    secret = reversed_secret[::-1]
    needles = [secret.splitlines()[1] if kind == "signing key" else secret]
    if kind == "basic":
        # Whatever stands before the colon has a length of its own, so the text is found behind it.
        needles.append(b64encode(f"client:{secret}".encode()).decode()[12:-4])
    return [way for needle in needles for way in holders(needle, *roots)]


def issuing(fields: Mapping[str, str]) -> bytes:
    if fields.get("client_secret") == "new" or fields.get("actor_token") == "revoked":
        return refusing("invalid_client", 401)
    kind = {"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
    return response(json.dumps({"access_token": "issued", "token_type": "Bearer", "expires_in": 300, **kind}).encode())


def asks(issuer: Issuer, subject: str = "subject") -> TokenRequest:
    return attrs.evolve(token_request(subject), issuer=issuer)


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_holds_it_after_its_profile(kind: str, autojump_clock: MockClock) -> None:
    text = backwards(kind)
    site = Site({OPENID: metadata()}, issuing)
    async with world(site.serve) as it:
        it.client.use_issuers({"primary": with_secret(kind, text), **OTHER})
        await trio.sleep(1)
        for subject in ("one", "two"):
            assert isinstance(await exchange(it.client, asks(with_secret(kind, text), subject)), ExchangedToken)
        assert found(kind, text, it.client)  # or the test would prove nothing
        it.client.use_issuers(OTHER)
        await trio.sleep(60)  # the time that its last call had is over by then
        assert found(kind, text, it.client) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_holds_it_after_an_exchange_that_outlived_its_profile(kind: str, autojump_clock: MockClock) -> None:
    text = backwards(kind)
    site = Site({OPENID: metadata()}, lambda _: b"")
    async with world(site.serve) as it:
        it.client.use_issuers({"primary": with_secret(kind, text), **OTHER})
        await trio.sleep(1)
        async with trio.open_nursery() as callers:
            callers.start_soon(exchange, it.client, asks(with_secret(kind, text)))
            await trio.testing.wait_all_tasks_blocked()
            it.client.use_issuers(OTHER)
        site.token = issuing
        await exchange(it.client, asks(with_secret(kind, text), "late"))
        await trio.sleep(60)
        assert found(kind, text, it.client) == []


async def test_nothing_holds_it_after_a_rotation_s_grace(autojump_clock: MockClock) -> None:
    """The profile stays, and with it the metadata that are fetched every few hours."""
    text = backwards("discovered")
    site = Site({OPENID: metadata()}, issuing)
    async with world(site.serve) as it:
        before = with_secret("discovered", text)
        after = attrs.evolve(before, credentials=Credentials("client", Secret("other"), 1), previous=before.credentials)
        for issuer in (before, after):
            it.client.use_issuers({"primary": issuer})
            await trio.sleep(1)
            assert isinstance(await exchange(it.client, asks(issuer)), ExchangedToken)
        it.client.use_issuers({"primary": attrs.evolve(after, previous=None)})
        del before, after, issuer
        await trio.lowlevel.checkpoint()
        assert found("discovered", text, it.client) == []


async def test_a_proxy_of_an_origin_that_wants_http1_leaves_memory(autojump_clock: MockClock) -> None:
    backwards = "terces-nwardhtiw"
    async with world() as it:
        pool = it.client.pool
        proxy = Proxy(False, "proxy.example.com", 3128, Secret("user:" + backwards[::-1]))
        host = OriginPool(pool, Origin(True, "issuer.example.com", 443, proxy), ReuseQuarantine(1.0), 1.0, ConcurrencyLimit(1))
        ours, theirs = socket.socketpair()
        http = Http2Client(trio.current_time() + 100, 1.0, limit=1)
        http.requires_http1 = True  # RST_STREAM with HTTP_1_1_REQUIRED
        link = Http2Link(SocketTransport(ours), host, it.client.reactor, http, trio.current_time())
        host.multiplexed.append(link)
        pool.open += 1
        link.close()
        theirs.close()
        del host, link, http, proxy
        assert pool.uses_http1
        it.client.use_issuers({})
        await trio.sleep(60)
        assert holders(backwards[::-1], it.client) == []
