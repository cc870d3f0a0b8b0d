"""Two replicas with one store: what one learns, the other finds, the token endpoint hears of it once, and nobody else learns anything."""

import json
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from tests.e2e.collector import recording
from tests.e2e.service import DOCUMENT, Service, get, serving
from tests.exchange.cache.fake_store import key_line
from tests.exchange.cache.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.redis

PATIENCE_S = 60.0
ANSWER = {
    "access_token": "canary-exchanged",
    "token_type": "Bearer",
    "expires_in": 3600,
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


@pytest.fixture
def folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="rs-") as path:  # pytest's own are too long for a socket
        yield Path(path)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def exchanged(service: Service, subject: str) -> str:
    answer: CheckResponse = service.check("/orders/1", authorization=f"Bearer {subject}")
    (header,) = [one.header for one in answer.ok_response.headers if one.header.key.lower() == "authorization"]
    return header.raw_value.decode() or header.value


def replica(root: Path, server: RedisServer, endpoint: str, keys: Path) -> AbstractContextManager[Service]:
    root.mkdir()
    profile = f'{{name: primary, tokenEndpoint: "{endpoint}/token", clientID: client, clientSecret: canary-client-secret'
    (root / "issuers.yaml").write_text(f"issuers: [{profile}, cache: {{maxTTL: 5m, maxEntries: 1000}}}}]")
    return serving(
        root,
        DOCUMENT,
        TOKEN_CACHE_URL=f"redis://127.0.0.1:{server.port}",
        TOKEN_CACHE_KEY_FILE=str(keys),
        TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true",
        TOKEN_ENDPOINT_REQUEST_TIMEOUT="30s",
        TOKEN_ENDPOINT_RESPONSE_HEADER_TIMEOUT="30s",
        METRICS_ENABLED="true",
        LOG_DECISIONS="all",
    )


def test_what_one_replica_learns_the_other_finds_and_an_outage_is_no_error(folder: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(key_line("one"))
    with (
        redis_server(folder) as server,
        recording(lambda _got: (200, "application/json", json.dumps(ANSWER).encode())) as endpoint,
        replica(tmp_path / "one", server, endpoint.url, keys) as one,
        replica(tmp_path / "other", server, endpoint.url, keys) as other,
    ):
        until(lambda: all("token_cache.store_ready" in service.lines() for service in (one, other)))
        assert exchanged(one, "canary-subject") == "Bearer canary-exchanged"
        until(lambda: server.ask("DBSIZE") == 1)
        assert [exchanged(service, "canary-subject") for service in (one, other, other)] == ["Bearer canary-exchanged"] * 3
        # A busy machine may make the one look-up time out, so that the other replica asks too.
        asked = len(endpoint.requests)
        assert asked <= 2
        server.ask("SAVE")
        assert b"canary" not in (folder / "dump.rdb").read_bytes()
        server.kill()
        for number in range(10):
            assert exchanged(other, f"canary-{number}") == "Bearer canary-exchanged"
        assert exchanged(one, "canary-subject") == "Bearer canary-exchanged"
        until(lambda: "token_cache.store_lost" in other.lines())
        assert len(endpoint.requests) == asked + 10
        scraped = get(f"http://127.0.0.1:{other.metrics_port}/metrics").decode()
        assert 'ext_authz_token_cache_requests_total{endpoint_host="127.0.0.1",level="memory",result="hit"} 1.0' in scraped
        assert "canary" not in scraped + one.lines() + other.lines()
