"""How a question states a request, and what each gateway gets as an answer, as written in the reference."""

import json

import attrs
import pytest

from exchanger.authz.decision.outcome import DecisionReason, Filter
from exchanger.model.issuer import SubjectRules
from tests.authz.decision.examples import PRIMARY, RULES
from tests.authz.envoy.exchangers import FakeExchanger
from tests.authz.envoy.test_authorization import Records
from tests.authz.http_authz.asking import Field, ask, message, port, question

DIALECTS = ("/envoy", "/forward-auth", "/auth-request")
BEARER = (b"Authorization", b"Bearer old")
MISSING = {"/envoy": 403, "/forward-auth": 500, "/auth-request": 403}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_exchange_hands_out_the_new_token(dialect: str) -> None:
    exchanger, records = FakeExchanger(), Records()
    answer = await ask(port(exchanger, records), question(dialect, b"/orders/1?x=y", BEARER))

    assert (answer.status, answer.values(b"authorization"), answer.body) == (200, [b"Bearer new"], b"")
    assert answer.values(b"cache-control") == [b"no-store"]
    (record,) = records.records
    assert (record.request.method, record.request.host, record.request.path) == ("GET", "api.example.com", "/orders/1?x=y")
    assert record.asked_by is Filter.HTTP


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("own", [(), (b"Basic  a:b",), (b"Bearer \xe9\xff",), (b"a", b"b")], ids=["none", "other", "bytes", "two"])
async def test_without_an_exchange_the_callers_own_header_returns_byte_for_byte(dialect: str, own: tuple[bytes, ...]) -> None:
    answer = await ask(port(), question(dialect, b"/public", *((b"Authorization", value) for value in own)))

    assert (answer.status, answer.values(b"authorization")) == (200, list(own))


@pytest.mark.parametrize(
    ("path", "fields", "real", "statuses"),
    [
        (b"/admin", (BEARER,), 403, (403, 403, 403)),
        (b"/orders", (), 401, (401, 401, 401)),
        (b"/broken", (BEARER,), 500, (403, 500, 403)),
        (b"/orders\xff", (BEARER,), 400, (400, 400, 403)),
    ],
    ids=["policy", "no token", "fault", "unreadable"],
)
async def test_a_denial_has_the_status_that_its_gateway_understands(
    path: bytes, fields: tuple[Field, ...], real: int, statuses: tuple[int, ...]
) -> None:
    for dialect, status in zip(DIALECTS, statuses, strict=True):
        if dialect == "/envoy" and not path.isascii():
            continue  # HTTP's own grammar refuses it first
        answer = await ask(port(), question(dialect, path, *fields))
        assert answer.status == status
        assert answer.values(b"x-exchanger-status") == ([str(real).encode()] if dialect != "/forward-auth" else [])
        assert answer.values(b"authorization") == []
        assert answer.values(b"content-type") == [b"application/json"]
        assert json.loads(answer.body)["error"]
        assert len(answer.values(b"www-authenticate")) == (real == 401)


def stated(dialect: str, **changed: bytes | tuple[bytes, ...] | None) -> bytes:
    """Return a question about a request that is allowed, with its statement ``changed``: another value, several, or none."""
    prefix = "X-Forwarded-" if dialect == "/forward-auth" else "X-Original-"
    fields: list[Field] = []
    values: dict[str, bytes | tuple[bytes, ...] | None] = {"Method": b"GET", "Host": b"other.example.com", "Uri": b"/public"}
    for name, value in (values | changed).items():
        given = () if value is None else value if isinstance(value, tuple) else (value,)
        fields += [((prefix + name).encode() if name in values else name.encode(), one) for one in given]
    return message(dialect.encode(), (b"Host", b"exchanger"), *fields)


@pytest.mark.parametrize("dialect", ["/forward-auth", "/auth-request"])
@pytest.mark.parametrize(
    "changed",
    [
        *({name: None} for name in ("Method", "Host", "Uri")),
        *({name: b""} for name in ("Method", "Host", "Uri")),
        {"Method": (b"GET", b"GET")},
        {"Host": (b"other.example.com", b"other.example.com")},
        {"Uri": (b"/public", b"/public")},
        {"Uri": (b"/public", b"/admin")},
        {"Uri": b"/public, /admin"},
        {"Uri": b"/a b"},
        {"Host": b"a b"},
        {"Host": b"a\xff.example.com"},
        {"Method": b"G T"},
        {"Method": b"CONNECT", "Uri": b"/a b"},
        {"Method": b"G\xc3\xa9T"},
    ],
    ids=str,
)
async def test_a_request_that_is_not_stated_once_and_readably_is_refused(dialect: str, changed: dict[str, bytes | None]) -> None:
    records = Records()
    service = port(records=records)
    assert (await ask(service, stated(dialect))).status == 200
    answer = await ask(service, stated(dialect, **changed))

    assert answer.status == MISSING[dialect]
    assert [record.outcome.reason for record in records.records][1:] == [DecisionReason.MISSING_HTTP_ATTRIBUTES]
    assert "missing HTTP request attributes" in json.loads(answer.body)["message"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_http_1_0_gets_the_same_decision_and_its_connection_ends(dialect: str) -> None:
    service = port()
    for path, status in ((b"/public", 200), (b"/orders", 200), (b"/admin", 403)):
        newer = question(dialect, path, BEARER)
        answer = await ask(service, newer.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n", 1))
        assert answer.status == status
        assert answer.values(b"connection") == [b"close"]
        expected = await ask(service, newer)
        assert (answer.status, answer.values(b"authorization")) == (expected.status, expected.values(b"authorization"))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("version", [b"0.9", b"1.2", b"2.0", b"3.0", b"1.1.1"])
async def test_other_versions_of_http_get_400(dialect: str, version: bytes) -> None:
    answer = await ask(port(), question(dialect, b"/public", BEARER).replace(b"HTTP/1.1\r\n", b"HTTP/%b\r\n" % version, 1))
    assert answer.status == 400


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_http_1_0_with_a_transfer_encoding_gets_400(dialect: str) -> None:
    chunked = question(dialect, b"/public", BEARER, (b"Transfer-Encoding", b"chunked"))
    answer = await ask(port(), chunked.replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n", 1) + b"0\r\n\r\n")
    assert answer.status == 400


@pytest.mark.parametrize("twin", ["X_Forwarded_Uri", "x-forwarded_uri", "X_Forwarded-Host", "X_FORWARDED_METHOD"])
async def test_a_twin_with_an_underscore_is_refused(twin: str) -> None:
    for dialect in ("/forward-auth", "/auth-request"):
        spelled = twin if dialect == "/forward-auth" else twin.lower().replace("forwarded", "original")
        assert (await ask(port(), stated(dialect, **{spelled: b"/public"}))).status == MISSING[dialect]


async def test_only_connect_needs_no_path() -> None:
    for dialect in ("/forward-auth", "/auth-request"):
        assert (await ask(port(), stated(dialect, Method=b"CONNECT", Uri=b""))).status == 200
    assert (await ask(port(), message(b"/envoy", (b"Host", b"other.example.com")))).status == 403
    assert (await ask(port(), b"GET /envoy/public HTTP/1.0\r\n\r\n")).status == 403  # of HTTP/1.1, a message without Host is none


@pytest.mark.parametrize(
    "uri", [b"/public#/../orders", b"/public%23", b"/orders#x", b"http://api.example.com/admin", b"http://other/admin"]
)
async def test_a_fragment_or_an_absolute_form_hides_nothing(uri: bytes) -> None:
    for dialect in ("/forward-auth", "/auth-request"):
        answer = await ask(port(), question(dialect, uri, BEARER))
        assert answer.status != 200 or uri == b"/public%23"


async def test_statements_for_other_gateways_are_not_read() -> None:
    forged: tuple[Field, ...] = (
        (b"X-Original-Uri", b"/public"),
        (b"X-Original-Method", b"GET"),
        (b"X-Original-Host", b"other.example.com"),
    )
    assert (await ask(port(), question("/forward-auth", b"/admin", BEARER, *forged))).status == 403
    forged = tuple((name.replace(b"Original", b"Forwarded"), value) for name, value in forged)
    for dialect in ("/auth-request", "/envoy"):
        assert (await ask(port(), question(dialect, b"/admin", BEARER, *forged))).status == 403


async def test_the_gateways_configuration_chooses_the_form() -> None:
    for target in (b"/", b"/forward-auth/", b"/Forward-Auth", b"/forward%2dauth", b"/auth-request/x", b"http://h/envoy/public", b"*"):
        method = b"OPTIONS" if target == b"*" else b"GET"
        assert (await ask(port(), message(target, (b"Host", b"h"), method=method))).status == 404
    with_query = question("/forward-auth", b"/admin", BEARER).replace(b"/forward-auth ", b"/forward-auth?x ")
    assert (await ask(port(), with_query)).status == 403


MOVED = attrs.evolve(PRIMARY, subject=SubjectRules(("x-user-token",)))


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_headers_that_held_the_token_are_named_where_the_gateway_removes_them(dialect: str) -> None:
    service = port()
    service.evaluator.rules = attrs.evolve(RULES, issuers=RULES.issuers.insert("primary", MOVED))
    answer = await ask(service, question(dialect, b"/orders", (b"X-User-Token", b"old")))

    assert (answer.status, answer.values(b"authorization")) == (200, [b"Bearer new"])
    removed = b",".join(answer.values(b"x-envoy-auth-headers-to-remove")).split(b",")
    assert (b"x-user-token" in removed) == (b"x_user_token" in removed) == (dialect == "/envoy")
    assert (await ask(service, question(dialect, b"/orders", (b"X-User-Token", b"old"), (b"X_User_Token", b"a")))).status in {400, 403}
