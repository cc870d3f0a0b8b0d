"""The demo's realm in a Keycloak: its address, its contents, and the service's issuer profile for it.

Source: https://www.keycloak.org/securing-apps/oidc-layers, for the addresses of a realm's endpoints.
"""

import importlib.resources
import json
from typing import Final, final
from urllib.parse import urlsplit

import attrs

from exchanger.net.http.names import is_loopback
from exchanger.util.address import format_address

# The issuer profile's name, as in ``policy.yaml``.
PROFILE: Final = "keycloak"
# The name of ``policy.yaml`` among the demo's policy files, which are named for their teams.
POLICY_FILE: Final = "green.yaml"
# The client that the user logs in with.
APP: Final = "app"
# The same with tokens that expire after a second.
APP_BRIEF: Final = "app-brief"
_PORTS: Final = {"http": 80, "https": 443}
_HERE: Final = importlib.resources.files("exchanger.commands.demo.keycloak")


@final
@attrs.frozen
class KeycloakAddress:
    """The address of a Keycloak: ``path`` is what its own addresses begin with, "" or such as ``/auth``."""

    secured: bool
    host: str
    port: int
    path: str = ""

    @property
    def scheme(self) -> str:
        """The URL's scheme."""
        return "https" if self.secured else "http"

    @property
    def authority(self) -> str:
        """Host and port, without the scheme's default port, which clients omit, too: Keycloak derives its issuer from it."""
        authority = format_address(self.host, self.port)
        return authority.removesuffix(f":{self.port}") if self.port == _PORTS[self.scheme] else authority

    @property
    def on_this_machine(self) -> bool:
        """Whether nothing that is sent there leaves this machine."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        """Return it as a URL."""
        return f"{self.scheme}://{self.authority}{self.path}"


@final
@attrs.frozen
class Realm:
    """What of the realm the demo uses. Its secrets are public and work nowhere else, but are hidden from repr like all secrets."""

    name: str
    user: str
    password: str = attrs.field(repr=False)
    client_id: str
    client_secret: str = attrs.field(repr=False)
    default_scopes: frozenset[str] = frozenset({"email", "profile"})  # what Keycloak gives to every client of a new realm, and tokens name

    def path(self, address: KeycloakAddress) -> str:
        """Return the common beginning of its endpoints' paths."""
        return f"{address.path}/realms/{self.name}"

    def issuer(self, address: KeycloakAddress) -> str:
        """Return its tokens' issuer, which is also the common beginning of its endpoints' URLs."""
        return f"{address}/realms/{self.name}"


def realm_document() -> str:
    """Return the realm as Keycloak imports it (JSON)."""
    return (_HERE / "realm.json").read_text("utf-8")


def demo_realm() -> Realm:
    """Return the realm in ``realm.json``."""
    document = json.loads(realm_document())
    (user,) = document["users"]
    (password,) = (credential["value"] for credential in user["credentials"])
    (exchanger,) = (client for client in document["clients"] if "standard.token.exchange.enabled" in client.get("attributes", {}))
    return Realm(document["realm"], user["username"], password, exchanger["clientId"], exchanger["secret"])


def issuer_profile(realm: Realm, address: KeycloakAddress) -> dict[str, str]:
    """Return the service's issuer profile for the realm."""
    return {
        "name": PROFILE,
        "tokenEndpoint": f"{realm.issuer(address)}/protocol/openid-connect/token",
        "bearerRealm": "exchanger-demo",
        "tokenEndpointAuthMethod": "client_secret_basic",
        "clientID": realm.client_id,
        "clientSecret": realm.client_secret,
    }


def policy_text() -> str:
    """Return the policy file of the team that uses the realm."""
    return (_HERE / "policy.yaml").read_text("utf-8")


def read_address(text: str) -> KeycloakAddress | None:
    """Read the address of a Keycloak, ``None`` if it is invalid: http or https, without credentials, query and fragment."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    usable = parts.scheme in _PORTS and host and port != 0 and text.isascii() and text.isprintable() and " " not in text
    if not usable or host is None or any(mark in text for mark in "@?#"):
        return None
    return KeycloakAddress(parts.scheme == "https", host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))
