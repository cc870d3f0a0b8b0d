"""A realm of a Keycloak, made and changed by its administrator. Blocking code.

Source: https://www.keycloak.org/docs-api/latest/rest-api/index.html
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.e2e.keycloak import ADMIN_PASSWORD

TOKENS: Final = "protocol/openid-connect/token"
USER: Final = "alice"
PASSWORD: Final = "alice-of-the-realm"
KEYS: Final = "org.keycloak.keys.KeyProvider"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def new_key(algorithm: str) -> PrivateKey:
    """Return a key that signs by ``algorithm``."""
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return rsa.generate_private_key(65537, 2048)


def pem_of(key: PrivateKey) -> str:
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*forms).decode()


def key_set(keys: Mapping[str, tuple[str, PrivateKey]]) -> str:
    """Return the public keys (RFC 7517) of ``keys``: algorithms and private keys by key id."""
    return json.dumps({"keys": [{**_public(key), "kid": kid, "use": "sig", "alg": name} for kid, (name, key) in keys.items()]})


def _public(key: PrivateKey) -> dict[str, Any]:
    match key:
        case rsa.RSAPrivateKey():
            return RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case ec.EllipticCurvePrivateKey():
            return ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case _:
            return OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)


def for_audience(*clients: str) -> list[dict[str, Any]]:
    """Return mappers that put ``clients`` into the audience of access tokens."""
    config = {"access.token.claim": "true", "id.token.claim": "false", "introspection.token.claim": "true"}
    mapper = {"protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper"}
    return [{**mapper, "name": f"audience-{name}", "config": {**config, "included.client.audience": name}} for name in clients]


def exchanging(client_id: str, *targets: str, **more: Any) -> dict[str, Any]:
    """Return a client that may exchange tokens for ``targets``; ``more`` says how it authenticates."""
    attributes = {"standard.token.exchange.enabled": "true", **more.pop("attributes", {})}
    flows = {"standardFlowEnabled": False, "directAccessGrantsEnabled": False}
    return {
        "clientId": client_id,
        "publicClient": False,
        **flows,
        "protocolMappers": for_audience(*targets),
        "attributes": attributes,
        **more,
    }


def app(client_id: str, *audience: str) -> dict[str, Any]:
    """Return a public client by which users log in, whose tokens are for ``audience``."""
    flows = {"publicClient": True, "standardFlowEnabled": False, "directAccessGrantsEnabled": True}
    return {"clientId": client_id, **flows, "protocolMappers": for_audience(*audience)}


def target(client_id: str) -> dict[str, Any]:
    """Return a client that tokens can be for."""
    return {"clientId": client_id, "publicClient": True, "standardFlowEnabled": False}


@attrs.define(eq=False)
class Administrator:
    """Keycloak's administrator. ``client`` has its address as base, and trusts it."""

    client: httpx.Client

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the admin API; what is not a success fails the test."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": ADMIN_PASSWORD}
        token = self.client.post(f"/realms/master/{TOKENS}", data=form).json()["access_token"]
        answer = self.client.request(method, f"/admin/realms{path}", json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


@attrs.define(eq=False)
class Realm:
    """A realm with a user. Its first key is the test's own, so that tests can sign as it does."""

    administrator: Administrator
    name: str
    key: rsa.RSAPrivateKey

    @property
    def issuer(self) -> str:
        return f"{str(self.administrator.client.base_url).rstrip('/')}/realms/{self.name}"

    @property
    def token_endpoint(self) -> str:
        return f"{self.issuer}/{TOKENS}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return self.administrator.ask(method, f"/{self.name}{path}", body)

    def log_in(self, client: str = "app", scope: str = "") -> str:
        """Return a token that the user gets through ``client``."""
        form = {
            "grant_type": "password",
            "client_id": client,
            "username": USER,
            "password": PASSWORD,
            **({"scope": scope} if scope else {}),
        }
        answer = self.administrator.client.post(f"/realms/{self.name}/{TOKENS}", data=form)
        assert answer.is_success, answer.text
        token: str = answer.json()["access_token"]
        return token

    def log_out(self) -> None:
        """End all sessions of the user."""
        (user,) = self.ask("GET", f"/users?username={USER}&exact=true")
        self.ask("POST", f"/users/{user['id']}/logout")

    def revoke(self, token: str) -> None:
        """Revoke an access token of the client ``app`` (RFC 7009)."""
        answer = self.administrator.client.post(
            f"/realms/{self.name}/{TOKENS.removesuffix('token')}revoke",
            data={"client_id": "app", "token": token, "token_type_hint": "access_token"},
        )
        assert answer.is_success, answer.text

    def change_client(self, client_id: str, **attributes: str) -> None:
        """Change attributes of a client."""
        (found,) = self.ask("GET", f"/clients?clientId={client_id}")
        self.ask("PUT", f"/clients/{found['id']}", {**found, "attributes": {**found["attributes"], **attributes}})

    def add_key(self, provider: str, priority: int, **config: str) -> str:
        """Add a key, with which the realm signs if ``priority`` is the highest; return its id."""
        known = {key["kid"] for key in self.ask("GET", "/keys")["keys"]}
        members = {
            "enabled": ["true"],
            "active": ["true"],
            "priority": [str(priority)],
            **{name: [value] for name, value in config.items()},
        }
        component = {"name": f"{provider}-{priority}", "providerId": provider, "providerType": KEYS}
        self.ask("POST", "/components", {**component, "config": members})
        (kid,) = {key["kid"] for key in self.ask("GET", "/keys")["keys"]} - known
        assert isinstance(kid, str)
        return kid

    def signed(self, token: str, **claims: Any) -> str:
        """Return ``token`` with other claims, and signed by the realm's first key all the same."""
        header = jwt.get_unverified_header(token)
        return jwt.encode({**claims_of(token), **claims}, self.key, algorithm="RS256", headers={"kid": header["kid"], "typ": header["typ"]})


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims, of which nothing is verified."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def make_realm(administrator: Administrator, name: str, clients: Iterable[Mapping[str, Any]], **more: Any) -> Realm:
    """Create a realm with these clients and one user."""
    user = {
        "username": USER,
        "enabled": True,
        "email": "alice@example.com",
        "emailVerified": True,
        "firstName": "Alice",
        "lastName": "Example",
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }
    key = rsa.generate_private_key(65537, 2048)
    # Without keys in the document, it would make some, which takes Java a second.
    keys = [
        {"name": "own", "providerId": "rsa", "config": {"priority": ["1000"], "privateKey": [pem_of(key)], "algorithm": ["RS256"]}},
        {"name": "hmac", "providerId": "hmac-generated", "config": {"algorithm": ["HS512"]}},
        {"name": "aes", "providerId": "aes-generated", "config": {}},
    ]
    document = {"realm": name, "enabled": True, "sslRequired": "none", "users": [user], "clients": list(clients), **more}
    administrator.ask("POST", "", {**document, "components": {KEYS: keys}})
    return Realm(administrator, name, key)
