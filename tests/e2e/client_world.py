"""A Keycloak with https and clients of every kind, an issuer beside it, and a service with a profile for each client. Blocking code."""

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Generator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import trustme

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.e2e.collector import wait_until
from tests.e2e.keycloak import ServerTls, running_keycloak
from tests.e2e.own_issuer import OwnIssuer, own_issuer
from tests.e2e.realm import Administrator, PrivateKey, Realm, app, claims_of, exchanging, key_set, make_realm, new_key, pem_of, target
from tests.e2e.service import Service, serving
from tests.ports import free_port

HOST: Final = "127.0.0.1"
ALGORITHMS: Final = ("ES256", "RS256", "PS256", "EdDSA")
KEY_CLIENTS: Final = tuple(f"signs-{algorithm.lower()}" for algorithm in ALGORITHMS)
CERTIFICATE: Final = "has-certificate"
FEDERATED: Final = "is-workload"
SECRET: Final = "has-secret"
WORKLOAD: Final = "system:serviceaccount:gateway:exchanger"
CLIENTS: Final = (*KEY_CLIENTS, "turns-key", "moves-key", "turns-secret", CERTIFICATE, FEDERATED, SECRET, "wrong-key")
GATEWAY: Final = "gateway"
# Clients that ask about tokens, each with another proof. Keycloak says nothing of tokens that are not for the client.
ASKING: Final = (KEY_CLIENTS[0], CERTIFICATE, FEDERATED, SECRET)
# Seconds for which what Keycloak says of a token counts.
CACHE_TTL_S: Final = 3
# No exchange fails because the machine stalls.
PATIENCE: Final = {
    "TOKEN_ENDPOINT_REQUEST_TIMEOUT": "25s",
    "TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT": "25s",
    "TOKEN_ENDPOINT_DIAL_TIMEOUT": "25s",
    "TOKEN_ENDPOINT_TLS_HANDSHAKE_TIMEOUT": "25s",
}
# What has a path of its own at the service, whose issuer is named like it.
PROFILES: Final = (
    *CLIENTS,
    *("forwarded", "judged", "refreshed", "strict-wrong-key", "strict", "strict-down", "misnamed", "jwt-bearer"),
    *("asks", "asks-each-time", *(f"asks-as-{client}" for client in ASKING)),
)


def policy() -> str:
    """Return entries for all profiles: each exchanges for ``orders-api``, and below ``/scoped`` for a scope."""
    host = "host: api.example.com"
    entries = [
        line
        for name in PROFILES
        for line in (
            f"  - match: {{{host}, pathPrefix: /{name}}}",
            "    action: exchange",
            f"    exchange: {{issuerRef: {name}, audiences: [orders-api]}}",
            f"  - match: {{{host}, pathPrefix: /scoped/{name}}}",
            "    action: exchange",
            f"    exchange: {{issuerRef: {name}, scope: phone}}",
        )
    ]
    return "\n".join(("version: v1", "entries:", *entries))


@attrs.frozen
class Answer:
    """What a gateway is told."""

    status: int
    body: str
    headers: dict[str, str]
    removed: tuple[str, ...]

    @property
    def claims(self) -> dict[str, Any]:
        """Those of the token that the upstream gets."""
        assert self.status == 200, (self.status, self.body)
        return claims_of(self.headers["authorization"].removeprefix("Bearer "))

    def tells(self) -> tuple[int, str, str]:
        """Return the status, the error in the body, and the challenge."""
        return self.status, json.loads(self.body)["error"], self.headers.get("www-authenticate", "")


def read(response: CheckResponse) -> Answer:
    denied, passed = response.denied_response, response.ok_response
    named = response.WhichOneof("http_response") == "denied_response"
    options = denied.headers if named else passed.headers
    headers = {option.header.key.lower(): option.header.value for option in options}
    return Answer(denied.status.code if named else 200, denied.body, headers, tuple(passed.headers_to_remove))


@attrs.define(eq=False)
class World:
    """A Keycloak with two realms, another issuer, and a service with a profile for each client."""

    folder: Path
    realm: Realm
    other: Realm
    workloads: OwnIssuer
    authority: trustme.CA
    keys: dict[str, PrivateKey]
    profiles: dict[str, dict[str, Any]]
    service: Service = attrs.field(init=False)

    def ask(self, path: str, token: str, **headers: str) -> Answer:
        return read(self.service.check(f"/{path}", **{"authorization": f"Bearer {token}", **headers}))

    def write_key(self, client: str, key: PrivateKey) -> None:
        (self.folder / f"{client}.key").write_text(pem_of(key))

    def write_certificate(self, name: str, authority: trustme.CA | None = None) -> None:
        """Put a certificate for ``name`` into place: first the one file, then the other."""
        issued = (authority or self.authority).issue_cert("exchanger.example.com", common_name=name)
        (self.folder / "client.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        (self.folder / "client.key").write_bytes(issued.private_key_pem.bytes())

    def write_assertion(self, **claims: Any) -> None:
        token = self.workloads.token(WORKLOAD, self.realm.issuer, **claims)
        (self.folder / "assertion").write_text(token)

    def write_profiles(self) -> None:
        """Write the profiles as they are now. JSON is YAML."""
        text = json.dumps({"issuers": [{"name": name, **profile} for name, profile in self.profiles.items()]})
        (self.folder / "issuers.yaml").write_text(text)

    def rotated(self, client: str, change: Callable[[], object]) -> None:
        """Do ``change`` and wait until the service has new credentials of ``client``."""
        before = self.rotations(client)
        change()
        wait_until(lambda: self.rotations(client) > before, self.service.lines)

    def rotations(self, client: str) -> int:
        return sum("issuers.rotated" in line and f'"{client}"' in line for line in self.service.lines().splitlines())

    @contextlib.contextmanager
    def exchanging_all_the_time(self, client: str) -> Generator[list[Answer]]:
        """Exchange again and again meanwhile, also for a while before and after; every exchange has to succeed."""
        answers: list[Answer] = []
        enough = threading.Event()

        def go_on() -> None:
            while not enough.is_set():
                answers.append(self.ask(client, self.realm.log_in()))

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            until_more(answers)
            yield answers
            until_more(answers)
        finally:
            enough.set()
            thread.join()
        assert [answer.tells() for answer in answers if answer.status != HTTPStatus.OK] == []


def until_more(answers: list[Answer]) -> None:
    before = len(answers)
    wait_until(lambda: len(answers) >= before + 3)


def trusted_by(algorithm: str, key: PrivateKey, key_id: str) -> dict[str, str]:
    """Return the attributes of a client that signs with ``key``."""
    return {"use.jwks.string": "true", "jwks.string": key_set({key_id: (algorithm, key)})}


def clients(keys: dict[str, PrivateKey], key_ids: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield Keycloak's clients."""
    signs = {"clientAuthenticatorType": "client-jwt"}
    for client, algorithm in (*zip(KEY_CLIENTS, ALGORITHMS, strict=True), *((name, "ES256") for name in ("turns-key", "moves-key"))):
        attributes = trusted_by(algorithm, keys[client], key_ids[client])
        yield exchanging(client, "orders-api", **signs, attributes=attributes)
    yield exchanging("wrong-key", "orders-api", **signs, attributes=trusted_by("ES256", new_key("ES256"), "k1"))
    subject = {"x509.subjectdn": "CN=first,.*", "x509.allow.regex.pattern.comparison": "true"}
    yield exchanging(CERTIFICATE, "orders-api", clientAuthenticatorType="client-x509", attributes=subject)
    workload = {"jwt.credential.issuer": "workloads", "jwt.credential.sub": WORKLOAD}
    yield exchanging(FEDERATED, "orders-api", clientAuthenticatorType="federated-jwt", attributes=workload)
    grants = {"oauth2.jwt.authorization.grant.enabled": "true", "oauth2.jwt.authorization.grant.idp": "logins"}
    yield exchanging(SECRET, "orders-api", secret="of-has-secret", attributes=grants)
    yield exchanging("turns-secret", "orders-api", secret="first-of-turns-secret")
    yield app("app", *CLIENTS, GATEWAY)
    yield app("app-elsewhere", *CLIENTS)
    yield from (target("orders-api"), target(GATEWAY))


def identity_provider(alias: str, issuer: OwnIssuer, path: str = "", **config: str) -> dict[str, Any]:
    """Return an identity provider of which Keycloak uses the keys alone."""
    unused = {"clientId": "unused", "clientSecret": "unused", "authorizationUrl": issuer.url, "tokenUrl": issuer.url}
    keys = {"useJwksUrl": "true", "validateSignature": "true", "jwksUrl": issuer.keys_url}
    return {"alias": alias, "providerId": "oidc", "enabled": True, "config": {"issuer": f"{issuer.url}{path}", **keys, **unused, **config}}


def profiles(folder: Path, realm: str, workloads: OwnIssuer, key_ids: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return the service's profiles by name, for the realm with the issuer ``realm``."""
    common = {"discovery": realm, "caFile": str(folder / "ca.pem")}
    found: dict[str, dict[str, Any]] = {}

    def signs(client: str, algorithm: str) -> dict[str, Any]:
        key_id = {"keyID": key_ids[client]} if key_ids[client] else {}
        assertion = {"keyFile": str(folder / f"{client}.key"), "algorithm": algorithm, **key_id}
        return {**common, "clientID": client, "clientAssertion": assertion}

    for client, algorithm in zip(KEY_CLIENTS, ALGORITHMS, strict=True):
        found[client] = signs(client, algorithm)
    for client in ("turns-key", "moves-key", "wrong-key"):
        found[client] = signs(client, "ES256")
    found["strict-wrong-key"] = {**found["wrong-key"], "errors": "strict"}
    found["turns-secret"] = {**common, "clientID": "turns-secret", "clientSecret": "first-of-turns-secret"}
    files = {"certFile": str(folder / "client.pem"), "keyFile": str(folder / "client.key")}
    found[CERTIFICATE] = {**common, "clientID": CERTIFICATE, "clientCertificate": files, "errors": "strict"}
    found[FEDERATED] = {**common, "clientAssertionFile": {"path": str(folder / "assertion"), "type": "jwt-bearer"}}
    secret = {**common, "clientID": SECRET, "clientSecret": "of-has-secret"}
    found[SECRET] = secret
    found["forwarded"] = {**secret, "subjectToken": {"from": [{"header": "X-Forwarded-Access-Token"}]}}
    checked = {**secret, "bearerRealm": "orders", "subjectToken": {"issuers": [realm], "audiences": [GATEWAY]}}
    found["judged"] = found["refreshed"] = checked
    found["strict"] = {**secret, "bearerRealm": "orders", "errors": "strict"}
    closed = f"https://{HOST}:{free_port()}/token"
    found["misnamed"] = {**found["strict"], "discovery": f"{realm}/"}
    found["strict-down"] = {"tokenEndpoint": closed, "clientID": SECRET, "clientSecret": "of-has-secret", "errors": "strict"}
    asking = {"issuers": [realm], "audiences": [GATEWAY], "introspection": {"when": "always", "cacheTTL": f"{CACHE_TTL_S}s"}}
    found["asks"] = {**checked, "cache": {"maxTTL": "5m", "maxEntries": 100}, "subjectToken": asking}
    for client in ASKING:
        found[f"asks-as-{client}"] = {**found[client], "subjectToken": {"introspection": {"when": "always", "cacheTTL": "0s"}}}
    found["asks-each-time"] = found[f"asks-as-{SECRET}"]
    found["jwt-bearer"] = {**secret, "grantType": "jwt-bearer"}
    return found


@contextlib.contextmanager
def running_world(folder: Path) -> Generator[World]:
    """Run all of it, until the service has ended cleanly."""
    servers, authority = trustme.CA(), trustme.CA()
    servers.cert_pem.write_to_path(folder / "ca.pem")
    authority.cert_pem.write_to_path(folder / "clients.pem")
    certificate = servers.issue_cert(HOST)
    certificate.private_key_pem.write_to_path(folder / "server.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
    tls = ServerTls(folder / "server.pem", folder / "server.key", folder / "clients.pem")
    trust = ssl.create_default_context(cafile=folder / "ca.pem")
    keys = {client: new_key(algorithm) for client, algorithm in zip(KEY_CLIENTS, ALGORITHMS, strict=True)}
    keys |= {client: new_key("ES256") for client in ("turns-key", "moves-key", "wrong-key")}
    # Without an id, Keycloak tries the client's only key; with one, it looks for this key.
    key_ids = dict.fromkeys(keys, "k1") | {"turns-key": ""}
    with (
        own_issuer() as workloads,
        running_keycloak(folder, tls=tls) as keycloak,
        httpx.Client(base_url=str(keycloak.address), verify=trust, trust_env=False, timeout=60) as client,
    ):
        administrator = Administrator(client)
        providers = [
            # A file's assertion is used for all requests until the next one.
            identity_provider("workloads", workloads, supportsClientAssertions="true", supportsClientAssertionReuse="true"),
            identity_provider(
                "logins", workloads, "/logins", jwtAuthorizationGrantEnabled="true", jwtAuthorizationGrantAssertionReuseAllowed="true"
            ),
        ]
        realm = make_realm(administrator, "clients", clients(keys, key_ids), identityProviders=providers)
        other = make_realm(administrator, "other", [app("app", *CLIENTS, GATEWAY)])
        world = World(folder, realm, other, workloads, authority, keys, profiles(folder, realm.issuer, workloads, key_ids))
        for name, key in keys.items():
            world.write_key(name, key)
        world.write_certificate("first")
        world.write_assertion()
        world.write_profiles()
        with serving(folder, policy(), **PATIENCE) as world.service:
            expected = sum(profile.get("discovery") == realm.issuer for profile in world.profiles.values())
            wait_until(lambda: world.service.lines().count("issuers.metadata_known") >= expected, world.service.lines)
            yield world
            assert world.service.stop() == 0
            said = world.service.lines()
            for never in ("grpc.handler_failed", "of-has-secret", "of-turns-secret", "BEGIN", "eyJ"):
                assert never not in said
