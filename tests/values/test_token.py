import attrs
import pytest

from exchanger.errors import Diagnostic
from exchanger.values.entry import TokenTarget
from exchanger.values.issuer import AuthMethod, Credentials, Issuer
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenRequest
from exchanger.values.trace import TraceContext

ISSUER = Issuer(
    "primary", "https://issuer.example/token", "issuer.example", AuthMethod.CLIENT_SECRET_BASIC, Credentials("id", Secret("s3cr3t"))
)
REQUEST = TokenRequest(ISSUER, Secret("subject-t0ken"), TokenTarget("primary", scope="s"), "grant", "type")


def test_whose_trace_a_request_carries_makes_no_difference() -> None:
    traced = attrs.evolve(REQUEST, trace=TraceContext("00-1-2-01"))
    assert traced == REQUEST
    assert hash(traced) == hash(REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        attrs.evolve(REQUEST, subject_token=Secret("another")),
        attrs.evolve(REQUEST, target=TokenTarget("primary", scope="t")),
        attrs.evolve(REQUEST, target=TokenTarget("primary", resources=("s",))),
        attrs.evolve(REQUEST, target=TokenTarget("primary", audiences=("s",))),
        attrs.evolve(REQUEST, grant_type="other"),
        attrs.evolve(REQUEST, subject_token_type="other"),
        attrs.evolve(REQUEST, issuer=attrs.evolve(ISSUER, name="other")),
        attrs.evolve(REQUEST, issuer=attrs.evolve(ISSUER, credentials=Credentials("id", Secret("s3cr3t"), generation=1))),
    ],
)
def test_everything_else_does(other: TokenRequest) -> None:
    assert other != REQUEST


def test_no_token_secret_or_body_is_shown() -> None:
    failure = ExchangeFailure(Diagnostic.OAUTH_ERROR, ErrorKind.HTTP_STATUS, 400, '{"error":"b0dy"}')
    shown = f"{REQUEST} {ExchangedToken(Secret('access-t0ken'))} {failure}"
    for hidden in ("subject-t0ken", "access-t0ken", "s3cr3t", "b0dy"):
        assert hidden not in shown
