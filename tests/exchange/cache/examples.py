"""Issuers, requests, clocks and running replicas for tests of the token cache."""

import base64
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, final

import attrs
import trio

from exchanger.exchange.cache.token_cache import TokenCache
from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import AuthMethod, CachePolicy, Credentials, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ErrorKind, ExchangedToken, ExchangeFailure, TokenCall, TokenRequest
from exchanger.net.network import SYSTEM
from tests import waiting

HOST: Final = "issuer.example.com"
POLICY: Final = CachePolicy(max_ttl=300.0, max_entries=100)
TARGET: Final = TokenTarget("primary", scope="read", audiences=("orders",))
START: Final = 1_800_000_000.0
# Seconds in which everything here happens, on the slowest machine.
PATIENCE_S: Final = 120.0


@final
@attrs.define(eq=False)
class Clocks:
    """A steady and a wall clock that are set by hand."""

    steady: float = 1000.0
    wall: float = START

    def advance(self, seconds: float) -> None:
        self.steady += seconds
        self.wall += seconds


def issuer(name: str = "primary", *, secret: str = "s3cret", cache: CachePolicy | None = POLICY, **fields: Any) -> Issuer:
    made = Issuer(name, f"https://{HOST}/token", HOST, AuthMethod.CLIENT_SECRET_BASIC, Credentials("client", Secret(secret)), cache=cache)
    return attrs.evolve(made, **fields)


def request(
    subject: str = "subject", *, of: Issuer | None = None, target: TokenTarget = TARGET, grant: str = "g", kind: str = "t"
) -> TokenRequest:
    return TokenRequest(of or issuer(), Secret(subject), target, grant, kind)


def token(text: str = "issued", expires_in: int | None = 120, *, duration: float = 0.0, expires_at: int | None = None) -> ExchangedToken:
    return ExchangedToken(Secret(text), TokenCall(duration, 200), expires_in, Cache.MISS, expires_at)


def refusal(status: int = 400, oauth_error: str = "invalid_grant") -> ExchangeFailure:
    return ExchangeFailure(Diagnostic.OAUTH_ERROR, ErrorKind.HTTP_STATUS, 401, "{}", http_status=status, oauth_error=oauth_error)


def outage() -> ExchangeFailure:
    return ExchangeFailure(Diagnostic.REQUEST_FAILED, ErrorKind.TRANSPORT_ERROR, 500, "{}")


def cache(clocks: Clocks, *issuers: Issuer, **fields: Any) -> TokenCache:
    made = TokenCache(network=attrs.evolve(SYSTEM, steady=lambda: clocks.steady, wall=lambda: clocks.wall), **fields)
    made.use_issuers({one.name: one for one in issuers or (issuer(),)})
    return made


@asynccontextmanager
async def running(one: TokenCache, of: Issuer, *, wait: bool = True) -> AsyncGenerator[TokenCache]:
    """Run a replica for one issuer, and ``wait`` for its shared level."""
    one.use_issuers({of.name: of})
    async with trio.open_nursery() as nursery:
        await nursery.start(one.run)
        if wait:
            await until(lambda: one.asks_shared(request(of=of)))
        yield one
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], object]) -> None:
    await waiting.until(condition, PATIENCE_S)


async def found(one: TokenCache, asked: TokenRequest) -> str | None:
    """Return what a look-up in the shared level finds."""
    kept = await one.find_shared(asked)
    return None if kept is None else kept.token.access_token.reveal()


def jwt(claims: object, *, raw: bytes | None = None) -> str:
    body = json.dumps(claims).encode() if raw is None else raw
    return f"e30.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.c2ln"
