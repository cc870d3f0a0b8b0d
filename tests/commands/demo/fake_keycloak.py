"""A stand-in for Keycloak: what the demo asks of one, over HTTP, with the realm of ``realm.json``."""

import base64
import json
from typing import Final
from urllib.parse import parse_qs, unquote

import attrs

from exchanger.commands.demo.keycloak.realm import demo_realm
from exchanger.net.http.message import Request, Response
from tests.commands.demo.signed import NOW, SIGNER, Signer, claims

REALM: Final = demo_realm()
ADMIN_PASSWORD: Final = "of-the-lab"
JSON: Final = (("Content-Type", "application/json"),)


def answer(value: object, status: int = 200) -> Response:
    return Response(status, JSON, json.dumps(value).encode())


@attrs.define(eq=False)
class FakeKeycloak:
    """``issuer`` is what it is called. ``requests`` are those that came."""

    issuer: str = ""
    prefix: str = ""
    has_realm: bool = True
    signer: Signer = SIGNER
    exchanges: bool = True
    refusal: str = "unauthorized_client"
    creates: bool = True
    requests: list[Request] = attrs.field(factory=list)

    async def handle(self, request: Request) -> Response:
        self.requests.append(request)
        realm = f"{self.prefix}/realms/{REALM.name}"
        path = request.target
        if path == f"{self.prefix}/realms/master/protocol/openid-connect/token":
            return self._admin_token(request)
        if path == f"{self.prefix}/admin/realms":
            return self._create(request)
        if not self.has_realm or not path.startswith(realm):
            return answer({"error": "Realm does not exist"}, 404)
        match path.removeprefix(realm):
            case "/.well-known/openid-configuration":
                return answer({"issuer": self.issuer})
            case "/protocol/openid-connect/certs":
                return Response(200, JSON, self.signer.jwks())
            case "/protocol/openid-connect/token":
                return self._token(request)
            case _:
                return answer({}, 404)

    def _admin_token(self, request: Request) -> Response:
        form = parse_qs(request.body.decode())
        if form["password"] != [ADMIN_PASSWORD]:
            return answer({"error": "invalid_grant", "error_description": f"not {form['password']}"}, 401)
        return answer({"access_token": "admin-token", "expires_in": 60})

    def _create(self, request: Request) -> Response:
        if request.value("authorization") != "Bearer admin-token":
            return answer({}, 401)
        if not self.creates:
            return answer({"error": "forbidden"}, 403)
        if self.has_realm:
            return answer({"errorMessage": "Conflict"}, 409)
        self.has_realm = json.loads(request.body)["realm"] == REALM.name
        return Response(201)

    def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form["grant_type"] == "password":
            if (form["username"], form["password"]) != (REALM.user, REALM.password):
                return answer({"error": "invalid_grant"}, 401)
            lifetime = 1 if form["client_id"] == "app-brief" else 300
            return answer({"access_token": self.signer.sign(claims(exp=NOW + lifetime, azp=form["client_id"])), "expires_in": lifetime})
        credentials = base64.b64decode(request.value("authorization").removeprefix("Basic ")).decode()
        if tuple(map(unquote, credentials.split(":"))) != (REALM.client_id, REALM.client_secret) or not self.exchanges:
            return answer({"error": self.refusal, "error_description": form["subject_token"]}, 401)
        return answer({"access_token": self.signer.sign(claims()), "expires_in": 300})
