import math
from typing import Final

import pytest

from exchanger.exchange.oauth.settings import TokenClientSettings
from exchanger.exchange.oauth.token_response import TokenResponseRules
from exchanger.net.dial import Origin
from exchanger.net.endpoint import Endpoint, EndpointProblem, read_endpoint


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://issuer.example.com/token", Origin(secure=True, host="issuer.example.com", port=443)),
        ("https://issuer.example.com:8443?tenant=@", Origin(secure=True, host="issuer.example.com", port=8443)),
        ("HTTP://Issuer.Example.COM/@tenant", Origin(secure=False, host="issuer.example.com", port=80)),
        ("http://[::1]:8080/token", Origin(secure=False, host="::1", port=8080)),
        ("http://b\u00fccher.example/token", Origin(secure=False, host="xn--bcher-kva.example", port=80)),
    ],
)
def test_an_endpoint_url_is_split_into_its_parts(text: str, origin: Origin) -> None:
    endpoint = read_endpoint(text, allow_http=True)
    assert isinstance(endpoint, Endpoint)
    assert endpoint.origin == origin
    assert endpoint.host == origin.host


HOST: Final = "issuer.example.com"
# By the reason why they are not.
NOT_USABLE: Final = {
    "is not a URL": [
        *(f"https://{HOST}{rest}" for rest in (":port/token", "/\ud800", "\r\n/token")),
        *("https://[::1/token", "https://\N{SNOWMAN}.example/token"),
    ],
    "must be an absolute https URL": ["", f"{HOST}/token", f"//{HOST}/token", "file:///etc/passwd", f"ftp://{HOST}/token"],
    "must use https (TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT is for tests)": [f"http://{HOST}/token"],
    "must not have user information": [f"https://{rest}/token" for rest in (f"user:password@{HOST}", f"@{HOST}", f"{HOST}\\@evil.example")],
    "must not have a fragment": [f"https://{HOST}/token#", f"https://{HOST}/token#fragment"],
    "has no usable host and port": [
        *("https:///token", "https:/token", "https://issuer example.com/token", "https://%69ssuer.example.com/token"),
        *(f"https://{HOST}:65536/token", f"https://{HOST}:0/token", "https://[fe80::1%25eth0]/token", "https://issuer..example.com/token"),
    ],
}


@pytest.mark.parametrize(("reason", "text"), [(reason, text) for reason, texts in NOT_USABLE.items() for text in texts])
def test_an_unusable_endpoint_url_is_rejected(text: str, reason: str) -> None:
    assert read_endpoint(text, allow_http=False) == EndpointProblem(reason)


@pytest.mark.parametrize("reuse", [True, False])
def test_a_get_is_a_whole_request_without_content(reuse: bool) -> None:
    endpoint = Endpoint(Origin(False, "issuer.example.com", 80), "issuer.example.com", "/jwks?a=b", reuse)
    get, post = endpoint.get_head((("Accept", "a/b"),)), endpoint.head((("Accept", "a/b"),))
    assert get is not None
    assert post is not None
    lines = ["/jwks?a=b HTTP/1.1", "Host: issuer.example.com", "Accept: a/b", *([] if reuse else ["Connection: close"]), "X: y"]
    assert get.http1_request((("X", "y"),), b"").decode() == "\r\n".join(["GET " + lines[0], *lines[1:], "", ""])
    assert post.http1_request((("X", "y"),), b"ok").decode() == "\r\n".join(["POST " + lines[0], *lines[1:], "Content-Length: 2", "", "ok"])
    assert endpoint.get_head((("Accept", "a\r\nX: y"),)) is None


def test_defaults_are_the_contracts() -> None:
    assert TokenClientSettings() == TokenClientSettings(
        request_timeout=0.75,
        dial_timeout=3.0,
        tls_handshake_timeout=3.0,
        response_header_timeout=0.5,
        idle_connection_timeout=90.0,
        max_idle_connections=100,
        max_idle_connections_per_host=10,
        connection_reuse=True,
        allow_http=False,
        rules=TokenResponseRules(),
    )


@pytest.mark.parametrize("name", ["request", "dial", "tls_handshake", "response_header", "idle_connection"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_every_wait_is_bounded(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}_timeout"):
        TokenClientSettings(**{f"{name}_timeout": value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["max_idle_connections", "max_idle_connections_per_host"])
def test_fewer_than_none_cannot_be_kept(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        TokenClientSettings(**{name: -1})  # type: ignore[arg-type]
