"""Asks a Keycloak for tokens of its realm and for the realm's keys, and creates the realm.

Sources: RFC 6749 sections 4.3 and 5, RFC 8414 (https://www.rfc-editor.org/rfc/rfc8414), RFC 8693 section 2.1, and
https://www.keycloak.org/docs-api/latest/rest-api/index.html for the administrators' part.
"""

import base64
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final, final
from urllib.parse import quote, urlencode

import attrs

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.keycloak.realm import APP, KeycloakAddress, Realm, realm_document
from exchanger.commands.demo.keycloak.verification import Keys, read_keys
from exchanger.commands.demo.token_endpoint.rules import ACCESS_TOKEN_TYPE
from exchanger.commands.scenarios.client import NoAnswerError, fetch_from
from exchanger.net.http.message import Request, Response

# Seconds for one answer: creating the realm takes two, and a Keycloak that has just started needs a few.
TIMEOUT: Final = 20.0
# The administrator's name, as in Keycloak's guides and the demo's chart.
ADMIN: Final = "admin"
_FORM: Final = ("Content-Type", "application/x-www-form-urlencoded")
_JSON: Final = ("Content-Type", "application/json")
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ERRORS: Final = frozenset({"access_denied", "invalid_client", "invalid_grant", "invalid_request", "unauthorized_client"})
_SHORTEST: Final = 1.0  # seconds: the shortest lifetime of a token, so that new ones are not requested all the time


@final
@attrs.frozen
class Issued:
    """A token, and how many seconds it lives."""

    token: str = attrs.field(repr=False)
    lifetime: float


@final
@attrs.frozen
class KeycloakClient:
    """A Keycloak and the realm that is asked for in it; each method raises ``DemoError`` when there is no useful answer."""

    address: KeycloakAddress
    realm: Realm
    tls: ssl.SSLContext | None = attrs.field(default=None, eq=False)

    async def issuer(self) -> str | None:
        """Return the issuer that the realm's tokens name, ``None`` when there is no such realm."""
        response = await self._ask("GET", f"{self.realm.path(self.address)}/.well-known/openid-configuration")
        if response.status == 404:  # noqa: PLR2004 - not found
            return None
        issuer = _object(response).get("issuer")
        if response.status != 200 or not isinstance(issuer, str):  # noqa: PLR2004 - the only success
            raise DemoError(f"{self.address} does not say who its issuer is (status {response.status}): is it a Keycloak?")
        return issuer

    async def keys(self) -> Keys:
        """Return the keys by which the realm's tokens are verified."""
        response = await self._ask("GET", f"{self.realm.path(self.address)}/protocol/openid-connect/certs")
        keys = read_keys(response.body)
        if not keys:
            raise DemoError(f"the realm {self.realm.name} at {self.address} has no usable key (status {response.status})")
        return keys

    async def log_in(self, client: str = APP) -> Issued:
        """Return a token that the user gets through ``client``."""
        return await self._user_token(self.realm.name, client, self.realm.user, self.realm.password)

    async def exchange(self, token: str) -> None:
        """Have ``token`` exchanged as the service does it, and check that it can be."""
        form = {"grant_type": _EXCHANGE, "subject_token": token, "subject_token_type": ACCESS_TOKEN_TYPE}
        credentials = f"{quote(self.realm.client_id, safe='')}:{quote(self.realm.client_secret, safe='')}"  # RFC 6749 section 2.3.1
        basic = ("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode('ascii')}")
        _issued(await self._token_request(self.realm.name, form, basic), f"the realm {self.realm.name} does not exchange tokens")

    async def create_realm(self, admin_password: str) -> None:
        """Have the administrator import the realm; an existing one is not changed."""
        admin = await self._user_token("master", "admin-cli", ADMIN, admin_password)
        headers = (_JSON, ("Authorization", f"Bearer {admin.token}"))
        response = await self._ask("POST", f"{self.address.path}/admin/realms", headers, realm_document().encode())
        if response.status not in {201, 409}:  # created, and there already
            raise DemoError(f"{self.address} refused to create the realm {self.realm.name} (status {response.status})")

    async def _user_token(self, realm: str, client: str, user: str, password: str) -> Issued:
        form = {"grant_type": "password", "client_id": client, "username": user, "password": password}
        return _issued(await self._token_request(realm, form), f"{user} cannot log in to the realm {realm} by client {client}")

    async def _token_request(self, realm: str, form: Mapping[str, str], *headers: tuple[str, str]) -> Response:
        path = f"{self.address.path}/realms/{realm}/protocol/openid-connect/token"
        return await self._ask("POST", path, (_FORM, *headers), urlencode(form).encode())

    async def _ask(self, method: str, path: str, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> Response:
        request = Request(method, path, (("Host", self.address.authority), ("Accept", "application/json"), *headers), body)
        try:
            return await fetch_from(self.address.host, self.address.port, request, timeout=TIMEOUT, tls=self.tls)
        except NoAnswerError as error:
            raise DemoError(f"Keycloak at {self.address}: {error}") from None


def _issued(response: Response, otherwise: str) -> Issued:
    """Return the token in a token response; a refusal is reported by its error code, if that is a known one, and never by its text."""
    said = _object(response)
    token, lifetime = said.get("access_token"), said.get("expires_in")
    if response.status != 200 or not isinstance(token, str) or not isinstance(lifetime, int):  # noqa: PLR2004 - the only success
        error = said.get("error")
        reason = f", {error}" if isinstance(error, str) and error in _ERRORS else ""
        raise DemoError(f"{otherwise} (status {response.status}{reason})")
    return Issued(token, max(_SHORTEST, float(min(lifetime, 86_400))))


def _object(response: Response) -> dict[str, Any]:
    try:
        said = json.loads(response.body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
