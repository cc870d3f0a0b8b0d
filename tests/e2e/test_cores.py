"""Several processes behind one cluster, as docs/how-to/cores.md has it: a real Envoy, a real store, two processes."""

import json
import re
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import yaml

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.client import fetch
from exchanger.net.http.message import Request
from tests.e2e.collector import recording
from tests.e2e.gateway import PATIENCE, READY_S, gateway_before
from tests.e2e.service import DOCUMENT, Service, serving
from tests.exchange.cache.fake_store import key_line
from tests.exchange.cache.redis_server import redis_server

GUIDE: Final = (Path(__file__).resolve().parents[2] / "docs/how-to/cores.md").read_text()
# Requests in a row: that a cluster of two sends all of them to one is out of the question.
ASKED: Final = 60
TOKENS: Final = {
    "access_token": "canary-exchanged",
    "token_type": "Bearer",
    "expires_in": 3600,
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


def block(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found[1]


def variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.split() if re.match(r"[A-Z_]+=", line))


def cluster() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(block("cluster"))
    return found


def endpoints(of: dict[str, Any]) -> list[dict[str, Any]]:
    found = of["load_assignment"]["endpoints"][0]["lb_endpoints"]
    return [one["endpoint"]["address"]["socket_address"] for one in found]


def test_the_units_listen_where_the_cluster_asks() -> None:
    unit = variables(block("unit").replace("Environment=", " "))
    assert [one["port_value"] for one in endpoints(cluster())] == [int(unit["GRPC_PORT"].replace("%i", number)) for number in ("00", "01")]
    assert {one["address"] for one in endpoints(cluster())} == {variables(block("environment"))["GRPC_HOST"]}
    loops = re.findall(r"\{00\.\.(\d\d)\}", GUIDE)
    assert len(loops) == 2
    assert len(set(loops)) == 1
    assert f'--address "127.0.0.1:{unit["GRPC_PORT"].removesuffix("%i")}$i"' in GUIDE


@pytest.fixture
def folder() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="rs-") as path:  # pytest's own are too long for a socket
        yield Path(path)


def decided(service: Service) -> int:
    return sum(json.loads(line)["event"] == "check.decided" for line in service.lines().splitlines())


@pytest.mark.redis
@pytest.mark.envoy
async def test_both_processes_decide_and_one_exchange_serves_both(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(key_line("one"))
    documented = variables(block("environment"))
    with recording(lambda _got: (200, "application/json", json.dumps(TOKENS).encode())) as tokens, redis_server(folder) as store:
        cache = "cache: {maxTTL: 5m, maxEntries: 100}"
        profile = f'{{name: primary, tokenEndpoint: "{tokens.url}/token", clientID: client, clientSecret: secret, {cache}}}'
        here = {
            "TOKEN_CACHE_URL": f"redis://127.0.0.1:{store.port}/0",
            "TOKEN_CACHE_KEY_FILE": str(tmp_path / "keys"),
            "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
            "LOG_DECISIONS": "all",
            **PATIENCE,
        }
        elsewhere = {name: value for name, value in documented.items() if "/etc/" not in value}
        roots = [tmp_path / "one", tmp_path / "other"]
        for root in roots:
            root.mkdir()
            (root / "issuers.yaml").write_text(f"issuers: [{profile}]")
        with serving(roots[0], DOCUMENT, **elsewhere | here) as one, serving(roots[1], DOCUMENT, **elsewhere | here) as other:

            def balanced(config: dict[str, Any]) -> None:
                ours = cluster()
                for place, service in zip(endpoints(ours), (one, other), strict=True):
                    place["port_value"] = service.port
                config["static_resources"]["clusters"][0] = ours

            async with gateway_before(one.port, tmp_path, FilterMode.EXT_AUTHZ, balanced) as envoy:
                request = Request("GET", "/orders/1", (("Host", "api.example.com"), ("Authorization", "Bearer canary-subject")))

                async def statuses() -> set[int]:
                    return {(await fetch(envoy, request, timeout=READY_S)).status for _ in range(ASKED)}

                with trio.fail_after(READY_S):
                    while not decided(one) or not decided(other):
                        assert await statuses() == {200}
                # The first question may be asked of the second process before the store has the answer, or while it stalls.
                assert len(tokens.requests) <= 2
                asked = len(tokens.requests)
                stopped = await trio.to_thread.run_sync(one.stop)
                assert stopped == 0
                assert await statuses() == {200}
                assert len(tokens.requests) == asked
