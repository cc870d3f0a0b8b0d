"""A file and Secrets in memory, a log, and an issuer source between them."""

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final, final

import attrs
import trio
from rpds import HashTrieMap

from exchanger.exchange.issuers.profile_model import Plan, Rejected
from exchanger.exchange.issuers.profiles import read_plan
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.secrets import PollingSecrets, SecretData, SecretFault, SecretName, SecretProblem
from exchanger.exchange.issuers.source import IssuerSettings, IssuerSource
from exchanger.exchange.issuers.value_sources import CONTENT
from exchanger.model.issuer import Issuer
from exchanger.model.secret import Secret
from tests.credentials import client_secret
from tests.lines import Lines

RULES = ProfileRules(namespace="home", with_secrets=True)
OAUTH = SecretName("home", "oauth")
MISSING = SecretProblem(SecretFault.MISSING, "there is no such Secret")
FORBIDDEN = SecretProblem(SecretFault.FORBIDDEN, "needs get on secrets/oauth in home")


# Good profiles with every field that there is.
PROFILES: Final[list[dict[str, Any]]] = [
    {
        "name": "primary",
        "tokenEndpoint": "https://issuer.example.com/token",
        "bearerRealm": "realm",
        "tokenEndpointAuthMethod": "client_secret_post",
        "clientIDSecretRef": {"name": "oauth", "namespace": "team", "key": "id"},
        "clientSecretSecretRef": {"name": "oauth", "key": "secret"},
        "proxy": "https://proxy.example.com",
        "tokenEndpointProtocol": "http2",
        "cache": {"maxTTL": "5m", "maxEntries": 100, "evictRejected": True},
        "limits": {"maxInFlight": 64, "breaker": True},
        "caFile": "/no-such-folder/ca.pem",
        "requestedTokenType": "urn:x:y",
        "actorToken": {"file": "/no-such-folder/actor", "type": "urn:x:y"},
        "parameters": {"a": "b"},
        "subjectToken": {
            "from": [{"header": "x-token"}],
            "issuers": ["https://a.example"],
            "audiences": ["a"],
            "jwksURI": "https://a.example/k",
            "type": "urn:ietf:params:oauth:token-type:id_token",
            "maxActors": 2,
            "introspection": {"endpoint": "https://a.example/introspect", "when": "always", "cacheTTL": "5s"},
        },
        "issuedToken": {
            "issuer": "https://issuer.example.com",
            "audience": ["a"],
            "subject": {"claim": "oid"},
            "actor": "same",
            "scope": "requested",
            "scopeAlso": ["openid"],
            "maxLifetime": "15m",
            "signature": True,
            "jwksURI": "https://issuer.example.com/keys",
            "opaque": "pass",
        },
        "errors": "strict",
    },
    {
        "name": "second",
        "discovery": "https://issuer.example.com",
        "clientID": "c",
        "clientAssertion": {"keyFile": "/no-such-folder/key", "algorithm": "ES256", "keyID": "k", "audience": "a"},
        "grantType": "jwt-bearer",
        "assertion": {
            "from": "third",
            "requestedTokenType": "urn:ietf:params:oauth:token-type:jwt",
            "audience": "https://a.example",
            "reuse": True,
        },
    },
    {
        "name": "third",
        "discovery": "https://issuer.example.com",
        "clientID": "c",
        "clientAssertion": {"keySecretRef": {"name": "keys", "key": "pem"}, "algorithm": "ES256"},
        "actorToken": {"clientCredentials": {"scope": "s"}},
    },
    {"name": "fourth", "discovery": "https://a.example", "clientAssertionFile": {"path": "/no-such-folder/svid", "type": "jwt-spiffe"}},
    {
        "name": "fifth",
        "discovery": "https://a.example",
        "clientID": "c",
        "clientCertificate": {"certFile": "/no-such-folder/cert", "keyFile": "/no-such-folder/cert-key"},
    },
    {"name": "file", "discovery": "https://a.example", "clientID": "c", "clientSecretFile": "/no-such-folder/secret"},
    {
        "name": "sixth",
        "discovery": "https://a.example",
        "clientID": "c",
        "clientSecret": "s",
        "issuedToken": {"subject": "same"},
    },
]


def places(value: object = PROFILES, at: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    """Yield the way to each value in ``value``."""
    if at:
        yield at
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*at, key))


def plan_of(text: str, rules: ProfileRules = RULES) -> Plan | Rejected:
    return read_plan(text.encode("utf-8", "surrogatepass"), "issuers.yaml", rules)


def good_plan(text: str, rules: ProfileRules = RULES) -> Plan:
    plan = plan_of(text, rules)
    assert isinstance(plan, Plan), plan
    return plan


def inline(name: str = "primary", client_id: str = "id", client_secret: str = "canary-inline", host: str = "a.example") -> str:
    return f'  - {{name: {name}, tokenEndpoint: "https://{host}/t", clientID: "{client_id}", clientSecret: "{client_secret}"}}\n'


def referring(name: str = "primary", secret: str = "oauth", host: str = "a.example") -> str:
    keys = ", ".join(f"{field}SecretRef: {{name: {secret}, key: {key}}}" for field, key in (("clientID", "id"), ("clientSecret", "secret")))
    return f'  - {{name: {name}, tokenEndpoint: "https://{host}/t", {keys}}}\n'


def profiles(*entries: str) -> str:
    return "issuers:\n" + "".join(entries) if entries else "issuers: []\n"


def data(version: int, keys: tuple[str, ...] = ("id", "secret"), undecodable: tuple[str, ...] = ()) -> SecretData:
    """A Secret whose values tell their version."""
    values = {"id": Secret(f"id-{version}"), "secret": Secret(f"canary-{version}")}
    return SecretData(str(version), HashTrieMap({key: values[key] for key in keys}), frozenset(undecodable))


def jwt(claims: object) -> str:
    """An unsigned token, as files with assertions hold it."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


def file(content: str) -> SecretData:
    """What a file holds."""
    return SecretData(hashlib.sha256(content.encode()).hexdigest(), HashTrieMap({CONTENT: Secret(content)}))


def pairs(issuers: "HashTrieMap[str, Issuer]") -> dict[str, tuple[str, str]]:
    return {name: (issuer.credentials.client_id, client_secret(issuer.credentials).reveal()) for name, issuer in issuers.items()}


@final
@attrs.define(eq=False)
class MemoryFile:
    """Stands for a ``ProfilesFile``: what ``text`` says, once for each time that it changes."""

    text: str = attrs.field(default="", repr=False)
    _seen: str = attrs.field(default="", init=False, repr=False)

    async def look(self) -> Plan | Rejected | None:
        await trio.lowlevel.checkpoint()
        if self.text == self._seen:
            return None
        self._seen = self.text
        return plan_of(self.text)


@final
@attrs.define(eq=False)
class MemorySecrets:
    """Secrets that can be read by name."""

    known: dict[SecretName, SecretData | SecretProblem] = attrs.field(factory=dict)
    reads: list[tuple[float, SecretName]] = attrs.field(factory=list)
    hangs: bool = False

    async def read(self, secret: SecretName, /) -> SecretData | SecretProblem:
        self.reads.append((trio.current_time(), secret))
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        return self.known.get(secret, MISSING)


@final
@attrs.define(eq=False)
class World:
    """A source with what it follows. ``started()`` tells whether it said so; ``sets`` are those that were handed over."""

    file: MemoryFile = attrs.field(factory=MemoryFile)
    secrets: MemorySecrets = attrs.field(factory=MemorySecrets)
    poll: float = 1.0
    log: Lines = attrs.field(factory=Lines)
    sets: list["HashTrieMap[str, Issuer]"] = attrs.field(factory=list)
    _started: bool = attrs.field(default=False, init=False)
    polling: PollingSecrets = attrs.field(init=False)
    source: IssuerSource = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.polling = PollingSecrets(self.secrets.read, Random(1))
        self.source = IssuerSource(
            IssuerSettings(rules=RULES, poll=self.poll), self.polling, self.sets.append, self.file.look, self.log.logger
        )

    def started(self) -> bool:
        return self._started

    @property
    def active(self) -> dict[str, tuple[str, str]]:
        return pairs(self.sets[-1])

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run)
            yield
            nursery.cancel_scope.cancel()

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._start)
            self._started = True

    async def _start(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.source.run(task_status=task_status)


def world(text: str, secrets: Mapping[SecretName, SecretData | SecretProblem] | None = None, *, poll: float = 1.0) -> World:
    return World(MemoryFile(text), MemorySecrets(dict(secrets or {})), poll)
