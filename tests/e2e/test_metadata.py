"""A real Envoy's access log shows what the service says of each decision, by either filter, as the guide has it."""

import json
import re
import time
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from exchanger.commands.demo.envoy import FilterMode
from exchanger.commands.scenarios.client import fetch
from exchanger.net.http.message import Request
from tests.e2e.collector import recording, write_issuers
from tests.e2e.gateway import PATIENCE, READY_S, gateway_before, with_access_log
from tests.e2e.service import DOCUMENT, serving
from tests.e2e.test_demo import ROOT
from tests.tiers import mostly_full

pytestmark = pytest.mark.envoy

FORMAT: Final = {name: f"%DYNAMIC_METADATA(FILTER:{name})%" for name in ("policy", "decision", "issuer", "cache", "expires_at")}
LOGGED: Final = {"path": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%", "id": "%REQ(X-REQUEST-ID)%"}
ANSWER: Final = {"access_token": "canary-exchanged", "token_type": "Bearer", "expires_in": 3600}


def with_metadata_logged(config: dict[str, Any], mode: FilterMode, file: Path) -> None:
    name = f"envoy.filters.http.{mode.value}"
    form = {**LOGGED, **{key: value.replace("FILTER", name) for key, value in FORMAT.items()}}
    with_access_log(config, file, {"json_format": form})
    if mode is FilterMode.EXT_PROC:
        manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"][0]["typed_config"]["metadata_options"] = {"receiving_namespaces": {"untyped": [name]}}


@pytest.mark.parametrize("mode", mostly_full(FilterMode, [FilterMode.EXT_PROC]))
async def test_the_access_log_says_what_was_decided(mode: FilterMode, tmp_path: Path) -> None:
    answer = {**ANSWER, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
    log = tmp_path / "access.log"
    with recording(lambda _got: (200, "application/json", json.dumps(answer).encode())) as tokens:
        write_issuers(tmp_path, tokens.url)
        variables = {**PATIENCE, "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true"}
        began = time.time()
        with serving(tmp_path, DOCUMENT, LOG_DECISIONS="all", **variables) as service:
            async with gateway_before(service.port, tmp_path, mode, lambda config: with_metadata_logged(config, mode, log)) as envoy:
                for path, token in {"/open": "", "/admin": "", "/orders/401": "", "/orders/1": "Bearer canary-subject"}.items():
                    headers = (("Host", "api.example.com"), *((("Authorization", token),) if token else ()))
                    with trio.fail_after(READY_S):  # the machine may stall for longer than an exchange may take
                        while (await fetch(envoy, Request("GET", path, headers), timeout=10)).status >= 500:
                            pass
    text, decided = log.read_text(), service.lines()
    lines = {line["path"]: line for line in map(json.loads, text.splitlines())}
    found = {path: tuple(lines[path][name] for name in FORMAT) for path in lines if path != "/"}
    expires = found["/orders/1"][-1]
    policy = "team/policy"
    assert found == {
        "/open": (None, "allow_unmatched", None, "none", None),
        "/admin": (policy, "deny_explicit_policy", None, "none", None),
        "/orders/401": (policy, "deny_missing_bearer", "primary", "none", None),
        "/orders/1": (policy, "allow_exchange", "primary", "miss", expires),
    }
    assert began + 3599 <= expires <= time.time() + 3600
    assert "canary" not in text
    # One id leads from this log to the service's.
    ids = {line["path"]: line.get("request_id") for line in map(json.loads, decided.splitlines()) if line["event"] == "check.decided"}
    assert ids["/orders/1"] == lines["/orders/1"]["id"]


@pytest.mark.parametrize("mode", list(FilterMode))
def test_the_guide_shows_this(mode: FilterMode) -> None:
    guide = (ROOT / "docs/how-to/access-log.md").read_text()
    assert set(re.findall(rf"%DYNAMIC_METADATA\(envoy\.filters\.http\.{mode.value}:(\w+)\)%", guide)) == set(FORMAT)
