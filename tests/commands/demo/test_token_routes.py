"""The fake token endpoint with the routes of a file: what a file may say, and what each kind of route answers."""

import json
from pathlib import Path

import pytest
import trio
import trio.testing

from exchanger.commands.demo.token_endpoint.fake import GRANT_TYPE
from exchanger.commands.demo.token_endpoint.routed import RoutedTokenEndpoint
from exchanger.commands.demo.token_endpoint.routes import RoutesError, TokenRoutes, load_routes, read_routes
from exchanger.commands.demo.token_endpoint.rules import ACCESS_TOKEN_TYPE, REFRESH_TOKEN_TYPE
from exchanger.commands.scenarios.answer import RequestedTarget
from exchanger.commands.scenarios.tokens import encode
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.http.message import Request, Response
from tests.commands.demo.test_token_endpoint import basic, token_request

ROUTES = """
routes:
  - {name: path, match: {path: /token/a}, response: {type: success}}
  - {name: scope, match: {scope: a b}, response: {type: oauth_error, error: e, errorDescription: d, wwwAuthenticate: Basic}}
  - {name: resource, match: {resource: https://r}, response: {type: json_error, error: e, status: 418}}
  - {name: both, match: {audience: x, resource: https://s}, response: {type: wrong_token_type, scenario: named}}
  - {name: audience, match: {audience: x}, response: {type: wrong_issued_token_type}}
  - {name: missing, match: {scope: missing}, response: {type: missing_access_token}}
  - {name: malformed, match: {scope: malformed}, response: {type: malformed}}
  - {name: slow, match: {scope: slow}, response: {type: delay, delayMilliseconds: 2500}}
  - {name: slower, match: {scope: slower}, response: {type: delay}}
"""


def endpoint(text: str = ROUTES) -> RoutedTokenEndpoint:
    routes = read_routes(text)
    assert isinstance(routes, TokenRoutes), routes
    return RoutedTokenEndpoint(routes)


async def ask(*fields: tuple[str, str], path: str = "/token/x", subject: str = "opaque", authorization: str = "") -> Response:
    credentials = authorization or basic("e2e-client", "e2e-secret")
    return await endpoint().answer(token_request(*fields, path=path, subject_token=subject, authorization=credentials))


@pytest.mark.parametrize(
    ("path", "target", "name"),
    [
        ("/token/a", RequestedTarget("a b"), "path"),
        ("/token/a/", RequestedTarget(" a b "), "scope"),
        ("/token/", RequestedTarget("a"), "default"),
        ("/token/", RequestedTarget("", ("https://q", "https://r")), "resource"),
        ("/token/", RequestedTarget("", ("https://s",), ("x",)), "both"),
        ("/token/", RequestedTarget("", (), ("y", " x ")), "audience"),
    ],
)
def test_the_first_route_answers_whose_parts_all_match(path: str, target: RequestedTarget, name: str) -> None:
    assert endpoint().routes.route_for(path, target).name == name


async def test_a_token_says_what_it_was_issued_for() -> None:
    issued = json.loads((await ask(("audience", "x"), ("audience", "y"), ("resource", "https://s"))).body)
    assert (issued["token_type"], issued["issued_token_type"]) == ("N_A", ACCESS_TOKEN_TYPE)
    assert claims_of(issued["access_token"]) == {
        "iss": "fake-token-endpoint",
        "scenario": "named",
        "sub": "opaque",
        "subject_token_type": ACCESS_TOKEN_TYPE,
        "grant_type": GRANT_TYPE,
        "client_id": "e2e-client",
        "resource": ["https://s"],
        "aud": ["x", "y"],
    }
    of_a_jwt = json.loads((await ask(path="/token/a", subject=encode({"sub": "alice"}))).body)["access_token"]
    assert (claims_of(of_a_jwt) or {})["sub"] == "alice"


@pytest.mark.parametrize(
    ("scope", "status", "body"),
    [
        ("a b", 400, {"error": "e", "error_description": "d"}),
        ("missing", 200, {"issued_token_type": ACCESS_TOKEN_TYPE, "token_type": "Bearer"}),
        ("other", 400, {"error": "invalid_request", "error_description": "unknown fake token scenario"}),
    ],
)
async def test_what_is_not_a_token(scope: str, status: int, body: object) -> None:
    response = await ask(("scope", scope))
    assert (response.status, json.loads(response.body)) == (status, body)
    assert response.values("www-authenticate") == (("Basic",) if scope == "a b" else ())


async def test_other_kinds_of_answers() -> None:
    assert (await ask(("scope", "malformed"))).body == b'{"access_token":'
    assert (await ask(("resource", "https://r"))).status == 418
    assert json.loads((await ask(("audience", "x"))).body)["issued_token_type"] == REFRESH_TOKEN_TYPE


@pytest.mark.parametrize(("scope", "seconds"), [("slow", 2.5), ("slower", 10.0)])
async def test_a_delay_is_as_long_as_the_file_says(scope: str, seconds: float, autojump_clock: trio.testing.MockClock) -> None:
    started = trio.current_time()
    assert (await ask(("scope", scope))).status == 200
    assert trio.current_time() - started == pytest.approx(seconds)


async def test_requests_that_are_none() -> None:
    assert (await endpoint().answer(Request("GET", "/healthz"))).status == 204
    assert (await endpoint().answer(Request("POST", "/other"))).status == 404
    assert b"POST required" in (await endpoint().answer(Request("GET", "/token/a"))).body
    assert b"form encoding" in (await endpoint().answer(Request("POST", "/token/a", (("content-type", "application/json"),)))).body
    refused = await ask(authorization=basic("e2e-client", "other"))
    assert (refused.status, refused.values("www-authenticate")) == (401, ('Basic realm="fake-token-endpoint"',))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("routes: []", "line 1: routes must be a list with at least one route"),
        (ROUTES.replace("name: scope", "name: path"), 'line 4: routes[1].name is already used by an earlier route: "path"'),
        (ROUTES.replace("{path: /token/a}", "{host: a}"), "line 3: routes[0].match must have at least one of path, scope"),
        (ROUTES.replace("type: success", "type: succes"), "line 3: routes[0].response.type must be one of success"),
        (ROUTES.replace("error: e,", "", 1), "line 4: routes[1].response.error is required for oauth_error"),
        (ROUTES.replace("418", "600"), "line 5: routes[2].response.status must be from 200 to 599"),
        (ROUTES.replace("2500", "-1"), "line 10: routes[7].response.delayMilliseconds must not be negative"),
        (ROUTES.replace("Basic}", '"a\\nb"}'), "line 4: routes[1].response.wwwAuthenticate cannot be the value of a header"),
        (f"{ROUTES}defaultResponse: {{type: oauth_error}}", "line 12: defaultResponse.error is required"),
        ("a: b: c", "line 1: the file is not YAML"),
    ],
)
def test_a_file_that_is_wrong_says_where(text: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(text)
    with pytest.raises(RoutesError) as refused:
        load_routes(file)
    assert str(refused.value).splitlines()[0].startswith(f"{file}: {problem}")


def test_the_default_response_is_an_oauth_error_if_it_names_no_type() -> None:
    routes = endpoint(f"{ROUTES}defaultResponse: {{error: other}}").routes
    assert getattr(routes.route_for("/token/", RequestedTarget()).behaviour, "error", "") == "other"
