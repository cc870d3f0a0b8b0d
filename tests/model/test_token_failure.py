from collections.abc import Callable

import pytest

from exchanger.model.errors import Diagnostic
from exchanger.model.token import ErrorKind, ExchangeFailure
from exchanger.model.token_failure import inactive_subject, subject_refusal, transport_failure


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


@pytest.mark.parametrize(("refused", "code"), [(subject_refusal, "TXE-4001"), (inactive_subject, "TXE-4003")])
def test_a_refused_subject_token_gets_401_and_its_code(refused: Callable[[str], ExchangeFailure], code: str) -> None:
    failure = refused("the token's reason")
    assert (failure.status, failure.diagnostic.value, failure.detail) == (401, code, "the token's reason")
    assert failure.body == f'{{"error":"invalid_token","error_description":"request failed ({code})"}}'
