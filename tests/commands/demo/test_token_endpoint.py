"""The fake token endpoint: what it issues, refuses, counts, and fails with."""

import base64
import hashlib
import json
from urllib.parse import quote_plus, urlencode

import pytest
import trio
import trio.testing

from exchanger.commands.demo.token_endpoint import fake
from exchanger.commands.demo.token_endpoint.fake import CLIENT_SECRET, GRANT_TYPE, TOKEN_LIFETIME, TokenEndpoint
from exchanger.commands.demo.token_endpoint.rules import (
    ACCESS_TOKEN_TYPE,
    MALFORMED_PATH,
    REFRESH_TOKEN_TYPE,
    RULES,
    SHARED_ANSWER,
    SLOW_ANSWER,
    SLOW_PATH,
    TOKEN_PATH,
    behaviour_for,
)
from exchanger.commands.scenarios.answer import RequestedTarget
from exchanger.commands.scenarios.tokens import CLIENT_ID, encode
from exchanger.formats.jwt.unverified import claims_of
from exchanger.net.http.message import Request, Response

NOW = 1_700_000_000
SUBJECT = encode({"sub": "alice", "exp": NOW + 60})
Fields = list[tuple[str, str]]


def endpoint() -> TokenEndpoint:
    return TokenEndpoint(clock=lambda: NOW)


def basic(client_id: str = CLIENT_ID, client_secret: str = CLIENT_SECRET) -> str:
    return "Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode()).decode()


def token_request(*fields: tuple[str, str], path: str = TOKEN_PATH, subject_token: str = SUBJECT, authorization: str = "") -> Request:
    form: Fields = [("grant_type", GRANT_TYPE), ("subject_token", subject_token), ("subject_token_type", ACCESS_TOKEN_TYPE), *fields]
    return Request("POST", path, (("authorization", authorization or basic()),), urlencode(form).encode())


def error_of(response: Response) -> tuple[int, str]:
    return response.status, json.loads(response.body)["error"]


async def test_the_issued_token_shows_what_was_exchanged() -> None:
    response = await endpoint().answer(
        token_request(("scope", "read:orders"), ("resource", "https://a/"), ("audience", "x"), ("audience", "y"))
    )
    issued = json.loads(response.body)
    claims = claims_of(issued.pop("access_token"))
    assert issued == {"issued_token_type": ACCESS_TOKEN_TYPE, "token_type": "Bearer", "expires_in": TOKEN_LIFETIME}
    assert claims is not None
    assert claims.pop("jti")
    assert claims == {
        "iss": "https://issuer.example.com",
        "sub": "alice",
        "aud": ["x", "y"],
        "scope": "read:orders",
        "resource": ["https://a/"],
        "azp": CLIENT_ID,
        "act": {"sub": CLIENT_ID},
        "iat": NOW,
        "exp": NOW + TOKEN_LIFETIME,
        "subject_token_sha256": hashlib.sha256(SUBJECT.encode()).hexdigest()[:16],
    }
    assert response.status == 200
    assert response.values("cache-control") == ("no-store",)


WRONG_CREDENTIALS = [
    *(basic(client_secret="wrong"), basic(client_id="wrong"), "Basic %%%", "Basic w6k=", "Bearer abc", "Basic"),
    "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()[:-4],
]


async def test_credentials_come_in_the_header_or_in_the_body_and_only_once() -> None:
    form = {"grant_type": GRANT_TYPE, "subject_token": SUBJECT, "scope": "a"}
    in_body = urlencode({**form, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}).encode()
    assert (await endpoint().answer(Request("POST", TOKEN_PATH, (), in_body))).status == 200
    refused = [
        *(token_request(("scope", "a"), authorization=wrong) for wrong in WRONG_CREDENTIALS),
        token_request(("scope", "a"), ("client_secret", CLIENT_SECRET)),
        Request("POST", TOKEN_PATH, (), urlencode(form).encode()),
    ]
    for request in refused:
        response = await endpoint().answer(request)
        assert error_of(response) == (401, "invalid_client")
        assert response.values("www-authenticate") == ('Basic realm="demo-issuer"',)


@pytest.mark.parametrize(
    "request_",
    [
        *(
            token_request(("scope", "a"), subject_token=subject_token)
            for subject_token in (
                *(encode({"sub": "alice", **times}) for times in ({"exp": NOW}, {"exp": "soon"}, {})),
                *(encode({**user, "exp": NOW + 60}) for user in ({}, {"sub": 7})),
                *("garbage", ""),
            )
        ),
        *(Request("POST", TOKEN_PATH, (), body) for body in (b"\xff", b"a", b"&".join([b"a=b"] * (fake.MAX_FIELDS + 1)))),
    ],
    ids=[*("expired", "text as time", "no time", "nobody", "number as user", "garbage", "empty"), *("bytes", "no form", "too many fields")],
)
async def test_a_useless_subject_token_or_body_is_an_invalid_request(request_: Request) -> None:
    assert error_of(await endpoint().answer(request_)) == (400, "invalid_request")


async def test_other_requests_are_refused() -> None:
    for method, target, status in (("GET", TOKEN_PATH, 405), ("POST", "/other", 404), ("GET", "/", 404)):
        assert (await endpoint().answer(Request(method, target))).status == status
    form = urlencode({"grant_type": "client_credentials", "scope": "a"}).encode()
    response = await endpoint().answer(Request("POST", TOKEN_PATH, (("authorization", basic()),), form))
    assert error_of(response) == (400, "unsupported_grant_type")


@pytest.mark.parametrize(
    ("field", "status", "expected"),
    [
        (("scope", "openid read:archive"), 400, {"error": "invalid_grant"}),
        (("resource", "https://nowhere.example.com/"), 400, {"error": "invalid_target"}),
        (("audience", "payroll-api"), 403, {"error": "access_denied"}),
        (("audience", "closed-api"), 503, {"status": "maintenance"}),
        (("audience", "forgetful-api"), 200, {"access_token": None}),
        (("audience", "not-bearer-api"), 200, {"token_type": "N_A"}),
        (("audience", "refresh-api"), 200, {"issued_token_type": REFRESH_TOKEN_TYPE}),
    ],
)
async def test_refusals_and_odd_answers_by_target(field: tuple[str, str], status: int, expected: dict[str, object]) -> None:
    response = await endpoint().answer(token_request(field))
    body = json.loads(response.body)
    assert (response.status, {name: body.get(name) for name in expected}) == (status, expected)


async def test_malformed_json_by_path() -> None:
    response = await endpoint().answer(token_request(("scope", "a"), path=MALFORMED_PATH))
    assert response.status == 200
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(response.body)


@pytest.mark.parametrize(("path", "scope", "delay"), [(SLOW_PATH, "a", SLOW_ANSWER), (TOKEN_PATH, "read:digest", SHARED_ANSWER)])
async def test_slow_answers(path: str, scope: str, delay: float, autojump_clock: trio.testing.MockClock) -> None:
    assert (await endpoint().answer(token_request(("scope", scope), path=path))).status == 200
    assert trio.current_time() == delay


async def test_requests_are_counted_by_subject_and_target_and_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "MAX_COUNTED", 3)
    asked, bob = endpoint(), encode({"sub": "bob", "exp": NOW + 60})
    issued = [
        (await asked.answer(token_request(("scope", scope), subject_token=subject_token))).body
        for scope, subject_token in (("oldest", SUBJECT), ("a", SUBJECT), ("a", SUBJECT), ("b", SUBJECT), ("a", bob))
    ]
    assert len(set(issued)) == len(issued), "no two tokens are the same"
    response = await asked.answer(Request("GET", "/stats?x"))
    assert [(count["subject"], count["target"]["scope"], count["requests"]) for count in json.loads(response.body)] == [
        ("alice", "a", 2),
        ("alice", "b", 1),
        ("bob", "a", 1),
    ]
    assert SUBJECT.encode() not in response.body


def test_every_rule_applies_to_its_own_path_and_target() -> None:
    for rule in RULES:
        target = RequestedTarget(rule.scope or "", (rule.resource,) if rule.resource else (), (rule.audience,) if rule.audience else ())
        assert behaviour_for(rule.path or TOKEN_PATH, target) is rule.behaviour
