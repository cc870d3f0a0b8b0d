import pytest

from exchanger.model.errors import Diagnostic
from exchanger.model.token import ErrorKind, ExchangeFailure
from exchanger.model.token_failure import transport_failure


class TestTransportFailure:
    @pytest.mark.parametrize(
        ("diagnostic", "kind", "message"),
        [
            (Diagnostic.INVALID_TOKEN_ENDPOINT, ErrorKind.INVALID_TOKEN_ENDPOINT, "invalid token endpoint (TXE-1001)"),
            (Diagnostic.CREATE_REQUEST, ErrorKind.CREATE_REQUEST, "failed to create token exchange request (TXE-1002)"),
            (Diagnostic.REQUEST_FAILED, ErrorKind.TIMEOUT, "token exchange request failed (TXE-1003)"),
            (Diagnostic.READ_RESPONSE, ErrorKind.READ_RESPONSE, "failed to read token exchange response (TXE-1004)"),
            (Diagnostic.UNKNOWN_ISSUER, ErrorKind.UNKNOWN_ISSUER_PROFILE, "unknown issuer profile (TXE-1005)"),
            (Diagnostic.BREAKER_OPEN, ErrorKind.BREAKER_OPEN, "token endpoint is temporarily not called (TXE-1006)"),
            (Diagnostic.OVERLOADED, ErrorKind.OVERLOADED, "too many token exchanges in progress (TXE-1007)"),
        ],
    )
    def test_texts(self, diagnostic: Diagnostic, kind: ErrorKind, message: str) -> None:
        body = f'{{"error":"server_error","message":"{message}"}}'
        assert transport_failure(kind, diagnostic) == ExchangeFailure(diagnostic, kind, 500, body)

    def test_keeps_the_status_of_a_response_that_broke_off(self) -> None:
        assert transport_failure(ErrorKind.READ_RESPONSE, Diagnostic.READ_RESPONSE, 200).http_status == 200
