import base64
from urllib.parse import parse_qsl

import attrs
import pytest

from exchanger.exchange.oauth.token_request import EncodedRequest, encode_introspection, encode_request
from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ActorCredentials, AuthMethod, Credentials, Grant, Issuer
from exchanger.model.secret import Secret
from exchanger.model.token import ACCESS_TOKEN_TYPE, ErrorKind, IntrospectionRequest, TokenRequest
from exchanger.model.token_failure import transport_failure
from exchanger.model.trace import NO_TRACE, TraceContext

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"


def token_request(
    *,
    auth_method: AuthMethod = AuthMethod.CLIENT_SECRET_BASIC,
    client_id: str = "client",
    client_secret: str = "s3cr3t",
    subject_token: str = "subject-token",
    target: TokenTarget | None = None,
    trace: TraceContext = NO_TRACE,
) -> TokenRequest:
    issuer = Issuer(
        "primary", "https://issuer.example.com/token", "issuer.example.com", auth_method, Credentials(client_id, Secret(client_secret))
    )
    return TokenRequest(issuer, Secret(subject_token), target or TokenTarget("primary", "read:orders"), GRANT, ACCESS_TOKEN_TYPE, trace)


def encoded(request: TokenRequest) -> EncodedRequest:
    result = encode_request(request)
    assert isinstance(result, EncodedRequest)
    return result


def form(request: TokenRequest) -> list[tuple[str, str]]:
    return parse_qsl(encoded(request).body.decode("ascii"), keep_blank_values=True, strict_parsing=True)


def test_an_exchange_is_not_asked_for_without_its_actor() -> None:
    request = token_request()
    acted = attrs.evolve(request, issuer=attrs.evolve(request.issuer, grant=Grant(actor=ActorCredentials())))
    assert encode_request(acted) == transport_failure(ErrorKind.NO_ACTOR_TOKEN, Diagnostic.NO_ACTOR_TOKEN)


class TestEncode:
    def test_without_scope_the_field_is_left_out(self) -> None:
        request = token_request(target=TokenTarget("primary", audiences=("one",)))
        assert [name for name, _ in form(request)] == ["grant_type", "subject_token", "subject_token_type", "audience"]

    @pytest.mark.parametrize(
        ("client_id", "client_secret", "pair"),
        [
            ("a:b c", "p%&+\u00fc", b"a%3Ab+c:p%25%26%2B%C3%BC"),
            # As Go and Python encode forms. Browsers and Java do the opposite; whoever decodes them takes either.
            ("a*b", "c~d-e_f.g", b"a%2Ab:c~d-e_f.g"),
        ],
    )
    def test_basic_encodes_both_parts_before_base64(self, client_id: str, client_secret: str, pair: bytes) -> None:
        headers = dict(encoded(token_request(client_id=client_id, client_secret=client_secret)).headers)
        scheme, _, value = headers["Authorization"].partition(" ")
        assert (scheme, base64.b64decode(value)) == ("Basic", pair)

    def test_the_headers_are_fixed_but_for_the_trace(self) -> None:
        trace = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1,other=2", "user=a; b=c")
        request = encoded(token_request(auth_method=AuthMethod.CLIENT_SECRET_POST, trace=trace))
        assert request.headers == (
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("User-Agent", "exchanger"),
        )
        assert request.trace == (
            ("traceparent", trace.traceparent),
            ("tracestate", trace.tracestate),
            ("baggage", trace.baggage),
        )

    @pytest.mark.parametrize("value", ["", "a\r\nX-Evil: 1", "a\x00", "ü", " a", "a ", "\x7f", "a" * 8193, "\N{SNOWMAN}", "\ud800"])
    def test_a_trace_value_that_is_no_header_value_is_dropped(self, value: str) -> None:
        names = [name for name, _ in encoded(token_request(trace=TraceContext(value, value, value))).trace]
        assert not {"traceparent", "tracestate", "baggage"} & set(names)

    def test_the_longest_trace_value_is_passed_on(self) -> None:
        assert ("baggage", "a" * 8192) in encoded(token_request(trace=TraceContext(baggage="a" * 8192))).trace

    @pytest.mark.parametrize("field", ["client_id", "client_secret", "subject_token"])
    def test_a_lone_surrogate_is_a_request_that_cannot_be_built(self, field: str) -> None:
        outcome = encode_request(token_request(**{field: "\ud800"}))  # type: ignore[arg-type]
        assert outcome == transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)

    def test_nothing_of_it_shows_in_repr(self) -> None:
        assert repr(encoded(token_request())) == "EncodedRequest()"


def test_a_question_about_a_token_has_the_client_s_assertion() -> None:
    asked = encode_introspection(
        IntrospectionRequest(token_request(auth_method=AuthMethod.CLIENT_SECRET_POST).issuer, Secret("a+b")), Secret("signed")
    )
    assert isinstance(asked, EncodedRequest)
    fields = parse_qsl(asked.body.decode("ascii"), strict_parsing=True)
    assert fields[:2] == [("token", "a+b"), ("token_type_hint", "access_token")]
    assert fields[-1] == ("client_assertion", "signed")


def test_a_token_that_no_form_can_carry_is_not_asked_about() -> None:
    asked = encode_introspection(IntrospectionRequest(token_request().issuer, Secret("\ud800")))
    assert asked == transport_failure(ErrorKind.CREATE_REQUEST, Diagnostic.CREATE_REQUEST)
