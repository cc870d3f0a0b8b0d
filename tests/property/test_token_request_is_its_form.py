"""Law: a token request reads back from its form, and its headers are header values.

RFC 8693 section 2.1: "The client makes a token exchange request to the token endpoint with an extension grant type using the HTTP POST
method. The [...] parameters are included in the HTTP request entity-body using the "application/x-www-form-urlencoded" format with a
character encoding of UTF-8".
"""

import base64
import re
from urllib.parse import parse_qsl, unquote_plus, urlencode

from hypothesis import given

from exchanger.decision.token_exchange import EncodedRequest, encode_request
from exchanger.values.issuer import AuthMethod
from exchanger.values.token import TokenRequest
from tests.credentials import client_secret
from tests.property.strategies_oauth import token_requests

FIELD_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")


def fields_of(request: TokenRequest) -> list[tuple[str, str]]:
    credentials = request.issuer.credentials
    post = request.issuer.auth_method is AuthMethod.CLIENT_SECRET_POST
    return [
        ("grant_type", request.grant_type),
        ("subject_token", request.subject_token.reveal()),
        ("subject_token_type", request.subject_token_type),
        ("scope", request.target.scope),
        *(("resource", resource) for resource in request.target.resources),
        *(("audience", audience) for audience in request.target.audiences),
        *((("client_id", credentials.client_id), ("client_secret", client_secret(credentials).reveal())) if post else ()),
    ]


@given(token_requests)
def test_the_form_reads_back(request: TokenRequest) -> None:
    encoded = encode_request(request)
    assert isinstance(encoded, EncodedRequest)
    assert parse_qsl(encoded.body.decode("ascii"), keep_blank_values=True, strict_parsing=True) == fields_of(request)
    assert encoded.body.decode("ascii") == urlencode(fields_of(request))


@given(token_requests)
def test_every_header_is_a_field_value(request: TokenRequest) -> None:
    encoded = encode_request(request)
    assert isinstance(encoded, EncodedRequest)
    assert all(FIELD_VALUE.fullmatch(value) for _, value in encoded.headers)
    assert len({name for name, _ in encoded.headers}) == len(encoded.headers)


@given(token_requests)
def test_basic_credentials_read_back(request: TokenRequest) -> None:
    encoded = encode_request(request)
    assert isinstance(encoded, EncodedRequest)
    authorization = dict(encoded.headers).get("Authorization")
    if request.issuer.auth_method is AuthMethod.CLIENT_SECRET_POST:
        assert authorization is None
        return
    assert authorization is not None
    pair = base64.b64decode(authorization.removeprefix("Basic ")).decode("ascii").split(":")
    credentials = request.issuer.credentials
    assert [unquote_plus(part) for part in pair] == [credentials.client_id, client_secret(credentials).reveal()]
