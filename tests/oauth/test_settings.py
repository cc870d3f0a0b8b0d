import math

import pytest

from exchanger.decision.token_exchange import TokenResponseRules
from exchanger.oauth.settings import TokenClientSettings


def test_defaults_are_the_contracts() -> None:
    settings = TokenClientSettings()
    assert settings.request_timeout == 0.75
    assert settings.dial_timeout == 3.0
    assert settings.tls_handshake_timeout == 3.0
    assert settings.response_header_timeout == 0.5
    assert settings.idle_connection_timeout == 90.0
    assert settings.max_idle_connections == 100
    assert settings.max_idle_connections_per_host == 10
    assert settings.connection_reuse is True
    assert settings.allow_http is False
    assert settings.rules == TokenResponseRules()


@pytest.mark.parametrize("name", ["request", "dial", "tls_handshake", "response_header", "idle_connection"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_every_wait_is_bounded(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}_timeout"):
        TokenClientSettings(**{f"{name}_timeout": value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["max_idle_connections", "max_idle_connections_per_host"])
def test_fewer_than_none_cannot_be_kept(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        TokenClientSettings(**{name: -1})  # type: ignore[arg-type]
