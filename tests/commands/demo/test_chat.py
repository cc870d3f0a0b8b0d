"""The demo's second issuer, which takes assertions of the first one; and tokens about which the first one is asked."""

import base64
import json
from typing import Final
from urllib.parse import quote_plus, urlencode

import attrs
import pytest

from exchanger.commands.demo.token_endpoint import chat
from exchanger.commands.demo.token_endpoint.chat import CHAT_ISSUER, GRANT_TYPE, ChatTokenEndpoint
from exchanger.commands.demo.token_endpoint.fake import CLIENT_SECRET, ID_JAG_TYP, ISSUER, KEY, TOKEN_LIFETIME
from exchanger.commands.demo.token_endpoint.rules import ID_JAG_TYPE, INTROSPECTION_PATH, TOKEN_PATH, UNKNOWN_USER_SCOPE
from exchanger.commands.scenarios.answer import Exchanged, Reached, RequestedTarget, exchanged_by_demo
from exchanger.commands.scenarios.tokens import CHAT_CLIENT_ID, CLIENT_ID, OPAQUE_TOKEN, REVOKED_TOKEN, encode, sign
from exchanger.formats.jwt.unverified import claims_of, object_of
from exchanger.net.http.message import Request, Response
from tests.commands.demo.test_token_endpoint import NOW, SUBJECT, basic, endpoint, error_of, token_request

API: Final = "https://chat.example.com/api"
GOOD: Final = {"iss": ISSUER, "sub": "alice", "aud": [CHAT_ISSUER], "client_id": CHAT_CLIENT_ID, "exp": NOW + 1, "jti": "1"}
AUTHORIZATION: Final = "Basic " + base64.b64encode(f"{CHAT_CLIENT_ID}:{quote_plus(CLIENT_SECRET)}".encode()).decode()


@attrs.frozen
class Chat:
    """The second issuer, at ``NOW``."""

    endpoint: ChatTokenEndpoint = attrs.field(factory=lambda: ChatTokenEndpoint(clock=lambda: NOW))

    async def ask(self, assertion: str, *, grant: str = GRANT_TYPE, authorization: str = AUTHORIZATION) -> Response:
        form = urlencode({"grant_type": grant, "assertion": assertion}).encode()
        return await self.endpoint.answer(Request("POST", TOKEN_PATH, (("authorization", authorization),), form))


async def first_leg(*fields: tuple[str, str]) -> Response:
    return await endpoint().answer(token_request(("requested_token_type", ID_JAG_TYPE), ("audience", CHAT_ISSUER), *fields))


async def test_assertion_of_the_first_issuer_buys_a_token_of_the_second() -> None:
    issued = json.loads((await first_leg(("scope", "chat:read"), ("resource", API))).body)
    assertion = issued.pop("access_token")
    assert issued == {"issued_token_type": ID_JAG_TYPE, "token_type": "N_A", "expires_in": TOKEN_LIFETIME}
    assert object_of(assertion.partition(".")[0]) == {"alg": "HS256", "typ": ID_JAG_TYP}
    at_chat = Chat()
    answer = json.loads((await at_chat.ask(assertion)).body)
    token = answer["access_token"]
    claims = claims_of(token) or {}
    assert (answer["token_type"], claims["iss"], claims["sub"], claims["exp"]) == ("Bearer", CHAT_ISSUER, "alice", NOW + TOKEN_LIFETIME)
    assert exchanged_by_demo(token, SUBJECT) == Exchanged(RequestedTarget("chat:read", (), (API,)))
    assert exchanged_by_demo(token, "another") is Reached.WITH_OTHER
    assert error_of(await at_chat.ask(assertion)) == (400, "invalid_grant")


@pytest.mark.parametrize(
    "assertion",
    [
        *(
            sign({**GOOD, **wrong}, ID_JAG_TYP, KEY)
            for wrong in (
                *({"iss": "https://other.example.com"}, {"aud": ["https://other.example.com"]}, {"client_id": CLIENT_ID}),
                *({"exp": NOW}, {"exp": "soon"}, {"jti": 1}, {"scope": UNKNOWN_USER_SCOPE}),
            )
        ),
        *(sign(GOOD, "JWT", KEY), sign(GOOD, ID_JAG_TYP, b"another"), encode({**GOOD}), "", "a.b.c"),
    ],
    ids=[
        *("issuer", "audience", "client", "expired", "text as time", "number as jti", "user"),
        *("type", "key", "unsigned", "empty", "garbage"),
    ],
)
async def test_any_other_assertion_is_refused(assertion: str) -> None:
    assert error_of(await Chat().ask(assertion)) == (400, "invalid_grant")


async def test_other_requests_are_refused() -> None:
    at_chat, good = Chat(), sign(GOOD, ID_JAG_TYP, KEY)
    assert error_of(await at_chat.ask(good, grant="client_credentials")) == (400, "unsupported_grant_type")
    assert error_of(await at_chat.ask(good, authorization=basic())) == (401, "invalid_client")
    for method, path, status in (("GET", TOKEN_PATH, 405), ("POST", "/other", 404)):
        assert (await at_chat.endpoint.answer(Request(method, path))).status == status
    assert (await at_chat.ask(good)).status == 200


async def test_the_oldest_assertion_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_SEEN", 2)
    at_chat = Chat()
    asked = [(await at_chat.ask(sign({**GOOD, "jti": jti}, ID_JAG_TYP, KEY))).status for jti in ("a", "b", "c", "c", "b", "a")]
    assert asked == [200, 200, 200, 400, 400, 200]


@pytest.mark.parametrize(("scope", "error"), [("chat:board", "access_denied"), ("chat:admin", "insufficient_user_authentication")])
async def test_the_first_issuer_refuses_some_assertions(scope: str, error: str) -> None:
    assert error_of(await first_leg(("scope", scope))) == (400, error)


async def introspected(token: str, authorization: str = "") -> tuple[int, dict[str, object]]:
    headers = (("authorization", authorization or basic()),)
    response = await endpoint().answer(Request("POST", INTROSPECTION_PATH, headers, urlencode({"token": token}).encode()))
    return response.status, json.loads(response.body)


async def test_only_the_opaque_token_is_active() -> None:
    """A JWT is not among the tokens that the endpoint knows, which need not be asked about."""
    status, said = await introspected(OPAQUE_TOKEN)
    assert (status, said["active"], said["sub"]) == (200, True, "alice")
    for token in (REVOKED_TOKEN, "unknown", SUBJECT):
        assert await introspected(token) == (200, {"active": False})
    status, said = await introspected(OPAQUE_TOKEN, basic(client_secret="wrong"))
    assert (status, said["error"]) == (401, "invalid_client")


async def test_opaque_token_is_exchanged_unless_it_is_revoked() -> None:
    issued = json.loads((await endpoint().answer(token_request(("scope", "read:mail"), subject_token=OPAQUE_TOKEN))).body)
    assert exchanged_by_demo(issued["access_token"], OPAQUE_TOKEN) == Exchanged(RequestedTarget("read:mail"))
    assert error_of(await endpoint().answer(token_request(subject_token=REVOKED_TOKEN))) == (400, "invalid_request")
