"""A fake token endpoint that answers by the routes of a file. It accepts any subject token; its tokens look as in the Go project."""

from collections.abc import Mapping
from typing import Final, final
from urllib.parse import parse_qs

import attrs

from exchanger.commands.demo.token_endpoint.fake import MAX_FIELDS, ClientCredentials, client_of, json_answer, refusal, respond
from exchanger.commands.demo.token_endpoint.routes import TokenRoutes
from exchanger.commands.demo.token_endpoint.rules import Refuse
from exchanger.commands.scenarios.answer import RequestedTarget
from exchanger.commands.scenarios.tokens import encode
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.http.message import Request, Response

TOKEN_PATHS: Final = "/token/"
FORM: Final = "application/x-www-form-urlencoded"
ISSUER: Final = "fake-token-endpoint"
DEFAULT_CREDENTIALS: Final = ClientCredentials("e2e-client", "e2e-secret")

_BAD_CREDENTIALS: Final = Refuse("invalid_client", "client authentication failed", 401, f'Basic realm="{ISSUER}"')


@final
@attrs.frozen
class RoutedTokenEndpoint:
    """Answers token requests below ``/token/`` by its ``routes``, and probes at ``/healthz``."""

    routes: TokenRoutes
    credentials: ClientCredentials = DEFAULT_CREDENTIALS

    async def answer(self, request: Request) -> Response:
        """Answer one request; see ``http.message.Handler``."""
        path = request.path
        if path == "/healthz":
            return Response(204)
        if not f"{path}/".startswith(TOKEN_PATHS):
            return json_answer(404, {"error": "not_found"})
        if request.method != "POST":
            return refusal(Refuse("invalid_request", "POST required"))
        if not next(iter(request.values("content-type")), FORM).startswith(FORM):
            return refusal(Refuse("invalid_request", "form encoding required"))
        try:
            form = parse_qs(request.body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except ValueError:
            return refusal(Refuse("invalid_request", "invalid form"))
        client = client_of(request, form)
        if client != self.credentials:
            return refusal(_BAD_CREDENTIALS)
        route = self.routes.route_for(path, _target(form))
        return await respond(route.behaviour, lambda: encode(_claims(form, self.credentials.client_id, route.scenario)), lifetime=None)


def _target(form: Mapping[str, list[str]]) -> RequestedTarget:
    return RequestedTarget(_first(form, "scope"), _texts(form, "resource"), _texts(form, "audience"))


def _claims(form: Mapping[str, list[str]], client_id: str, scenario: str) -> dict[str, object]:
    target, subject_token = _target(form), _first(form, "subject_token")
    # An opaque token is its own subject. A JWT has one, and need not be written into another token.
    subject = (claims_of(subject_token) or {}).get("sub", subject_token)
    claims: dict[str, object] = {
        "iss": ISSUER,
        "scenario": scenario,
        "sub": subject or "missing-subject",
        "subject_token_type": _first(form, "subject_token_type"),
        "grant_type": _first(form, "grant_type"),
        "client_id": client_id,
    }
    several = {"resource": list(target.resources), "aud": list(target.audiences)}
    return claims | ({"scope": target.scope} if target.scope else {}) | {name: texts for name, texts in several.items() if texts}


def _first(form: Mapping[str, list[str]], name: str) -> str:
    return form.get(name, [""])[0].strip()


def _texts(form: Mapping[str, list[str]], name: str) -> tuple[str, ...]:
    return tuple(text.strip() for text in form.get(name, ()) if text.strip())
