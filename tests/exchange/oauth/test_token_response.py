import json

import pytest

from exchanger.exchange.oauth.token_response import MAX_RESPONSE_MARKS, TokenResponseRules, decode_response, read_members
from exchanger.model.bearer import MAX_TOKEN_LENGTH
from exchanger.model.errors import Diagnostic
from exchanger.model.token import ACCESS_TOKEN_TYPE, ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome
from exchanger.net.answer import MAX_RESPONSE_BYTES, TooLarge

RULES = TokenResponseRules()
RECOGNISED = (
    *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),
    *("unsupported_grant_type", "invalid_scope", "invalid_target"),
)


def success(**members: object) -> bytes:
    whole = {"access_token": "issued-token", "token_type": "Bearer", "issued_token_type": ACCESS_TOKEN_TYPE} | members
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def failed(outcome: TokenOutcome) -> ExchangeFailure:
    assert isinstance(outcome, ExchangeFailure)
    return outcome


def decoded(status: int, body: bytes | TooLarge, rules: TokenResponseRules = RULES) -> ExchangeFailure:
    return failed(decode_response(status, (), body, rules))


MALFORMED: tuple[bytes | TooLarge, ...] = (
    *(b"", b"<html>", b'{"access_token":"issu', b"[]", b'"text"', b"1", b"true"),
    *(success() + b"x", success() + success(), b"\xef\xbb\xbf" + success(), success().decode().encode("utf-16")),
    success(note="\u00fc").replace(b"\\u00fc", b"\xfc"),
    success()[:-1] + b',"expires_in":NaN}',
    *(b'{"access_token":"a","access_token":"b","token_type":"Bearer"}', b'{"access_token":"a","nested":{"b":1,"b":2}}'),
    *(success(access_token=5), success(access_token=["issued-token"])),
    *(success(token_type=True), success(token_type={}), success(issued_token_type=1)),
    *(b"[" * 500_000, b'{"a":' * 200_000, b"x" * (MAX_RESPONSE_BYTES + 1)),
    *(success()[:-1] + b" " * MAX_RESPONSE_BYTES + b"}", TooLarge.TOO_LARGE),
)
WRONG_TYPES = ("urn:ietf:params:oauth:token-type:refresh_token", "", None, ...)
UNUSABLE = (
    *("a\r\nX-Evil: 1", "a\n", "a b", " a", "a,b", '"a"', "t\u00f6k", "a\\b", "a\x7f", "\u0661", "a\x00", "\ud800"),
    "a" * (MAX_TOKEN_LENGTH + 1),
    "a" * 100_000,
)


class TestSuccess:
    @pytest.mark.parametrize(
        ("name", "diagnostic"),
        [
            ("access_token", Diagnostic.MISSING_ACCESS_TOKEN),
            ("token_type", Diagnostic.NOT_BEARER),
            ("issued_token_type", Diagnostic.WRONG_ISSUED_TOKEN_TYPE),
        ],
    )
    def test_names_are_case_sensitive(self, name: str, diagnostic: Diagnostic) -> None:
        assert decoded(200, success().replace(f'"{name}"'.encode(), f'"{name.title()}"'.encode(), 1)).diagnostic is diagnostic

    @pytest.mark.parametrize(
        ("said", "seconds"),
        [
            *[("3600", 3600), ("0", 0), ("3599.9", 3599), ("36e2", 3600), (f'"{3600:020}"', 3600), ("1" + "0" * 10, 10**10)],
            *[(text, None) for text in ("-1", "null", "true", "[]", '""', '"1h"', '"-1"', '"³"', "1" + "0" * 11, f'"{3600:021}"', "1e400")],
        ],
    )
    def test_an_invalid_lifetime_is_ignored_and_the_token_is_accepted(self, said: str, seconds: int | None) -> None:
        outcome = decode_response(200, (), success()[:-1] + f',"expires_in":{said}}}'.encode(), RULES)
        assert isinstance(outcome, ExchangedToken)
        assert outcome.expires_in == seconds

    @pytest.mark.parametrize(
        ("code", "kind", "bodies"),
        [
            ("TXE-3001", ErrorKind.MALFORMED_SUCCESS_JSON, MALFORMED),
            (
                "TXE-3002",
                ErrorKind.MISSING_ACCESS_TOKEN,
                (b"null", b"{}", *(success(access_token=value) for value in ("", None, ...))),
            ),
            (
                "TXE-3003",
                ErrorKind.NON_BEARER_TOKEN_TYPE,
                [success(token_type=value) for value in ("N_A", "", " Bearer", "Bearer ", "DPoP", None, ...)],
            ),
            ("TXE-3004", ErrorKind.WRONG_ISSUED_TOKEN_TYPE, [success(issued_token_type=value) for value in WRONG_TYPES]),
            ("TXE-3005", ErrorKind.MISSING_ACCESS_TOKEN, [success(access_token=token) for token in UNUSABLE]),
        ],
        ids=["malformed", "no access token", "not bearer", "wrong issued token type", "unusable"],
    )
    def test_an_unusable_success(self, code: str, kind: ErrorKind, bodies: list[bytes | TooLarge]) -> None:
        body = f'{{"error":"invalid_request","error_description":"internal server error ({code})"}}'
        expected = ExchangeFailure(Diagnostic(code), kind, 500, body, http_status=200)
        for number, given in enumerate(bodies):
            assert (number, decoded(200, given)) == (number, expected)
            assert failed(decode_response(200, ["Basic"], given, RULES)).www_authenticate == ()

    def test_a_wrong_type_counts_even_where_the_value_is_not_required(self) -> None:
        failure = decoded(200, success(issued_token_type=1), TokenResponseRules(require_issued_token_type=False))
        assert failure.diagnostic is Diagnostic.MALFORMED_JSON

    def test_the_largest_body_and_a_million_digits_are_no_work(self) -> None:
        body = success()[:-1] + b',"expires_in":' + b"9" * 1_000_000
        body += b" " * (MAX_RESPONSE_BYTES - len(body) - 1) + b"}"
        assert len(body) == MAX_RESPONSE_BYTES
        assert isinstance(decode_response(200, (), body, RULES), ExchangedToken)


class TestErrors:
    @pytest.mark.parametrize("error", RECOGNISED)
    @pytest.mark.parametrize(
        ("status", "seen"), [(400, 400), (401, 401), (403, 500), (404, 500), (429, 500), (500, 500), (204, 500), (201, 500)]
    )
    def test_recognised(self, error: str, status: int, seen: int) -> None:
        body = json.dumps({"error": error, "error_description": 'hostile "text"\r\n<script>', "error_uri": "https://evil"}).encode()
        assert decoded(status, body) == ExchangeFailure(
            Diagnostic.OAUTH_ERROR,
            ErrorKind.HTTP_STATUS,
            seen,
            f'{{"error":"{error}","error_description":"request failed (TXE-2001)"}}',
            http_status=status,
        )

    @pytest.mark.parametrize("status", [400, 401, 403, 500])
    @pytest.mark.parametrize("error", [*RECOGNISED, "access_denied", "server_error", "temporarily_unavailable"])
    def test_operators_learn_a_registered_code_whatever_the_status(self, status: int, error: str) -> None:
        assert decoded(status, json.dumps({"error": error}).encode()).oauth_error == error

    @pytest.mark.parametrize("error", ["canary-token", "INVALID_GRANT", "invalid_grant ", "", None, 5, ["invalid_grant"]])
    def test_operators_learn_no_other_code(self, error: object) -> None:
        failure = decoded(400, json.dumps({"error": error, "error_description": "canary"}).encode())
        assert (failure.oauth_error, failure.detail) == ("", "the token endpoint returned status 400")

    @pytest.mark.parametrize(
        ("status", "seen", "error", "description", "code"),
        [
            (400, 400, "invalid_request", "request failed", "TXE-2002"),
            (401, 401, "invalid_client", "request failed", "TXE-2003"),
            (403, 500, "server_error", "internal server error", "TXE-2004"),
            *((status, 500, "server_error", "internal server error", "TXE-2005") for status in (404, 429, 503, 204)),
        ],
    )
    @pytest.mark.parametrize(
        "unrecognised",
        [
            *(b"", b"null", b"<html>", b"{}"),
            *(
                b'{"error":%b}' % error
                for error in (b'"server_error"', b'"INVALID_GRANT"', b'["invalid_grant"]', b'{"code":"invalid_grant"}')
            ),
            *(b'{"error":"invalid_grant","error":"invalid_scope"}', b'{"error":"invalid_grant"', b"[" * 500_000),
            *(b'{"error":"invalid_grant","error_description":%b}' % text for text in (b'"\xff"', b"5", b'{"text":"no"}')),
            b'{"error":"invalid_grant","padding":"' + b"x" * MAX_RESPONSE_BYTES + b'"}',
            TooLarge.TOO_LARGE,
        ],
        ids=range(16),
    )
    def test_unrecognised(self, status: int, seen: int, error: str, description: str, code: str, unrecognised: bytes | TooLarge) -> None:
        body = f'{{"error":"{error}","error_description":"{description} ({code})"}}'
        expected = ExchangeFailure(Diagnostic(code), ErrorKind.HTTP_STATUS, seen, body, http_status=status)
        for rules in (RULES, TokenResponseRules(error_passthrough=True)):
            assert decoded(status, unrecognised, rules) == expected

    @pytest.mark.parametrize(("status", "seen"), [(400, 400), (401, 401), (403, 500), (500, 500)])
    def test_passthrough_returns_a_recognised_body_as_it_came(self, status: int, seen: int) -> None:
        body = '{ "error_description":"bad scope ü", "error":"invalid_scope" }'
        failure = decoded(status, body.encode(), TokenResponseRules(error_passthrough=True))
        assert (failure.diagnostic, failure.status, failure.body) == (Diagnostic.OAUTH_ERROR, seen, body)


@pytest.mark.parametrize("part", [b"1", b"[]", b"{}", b'""'])
def test_a_body_of_very_many_parts_is_not_read(part: bytes) -> None:
    """Each takes time: as many as fit into the bytes would hold the event loop for a quarter of a second."""

    def body(count: int) -> bytes:
        return b'{"a":[' + b",".join([part] * count) + b"]}"

    assert read_members(body(MAX_RESPONSE_MARKS // 4)) is not None
    assert read_members(body(MAX_RESPONSE_MARKS + 2)) is None
