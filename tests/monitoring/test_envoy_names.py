"""Asks a real Envoy whether it has the series that the dashboard's row about the gateway reads, under these names and labels."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.envoy import FilterMode, bootstrap, envoy_command, find_envoy
from tests.monitoring.promql import read
from tests.monitoring.sources import dashboard_queries
from tests.ports import free_port

pytestmark = pytest.mark.envoy

READY_S: Final = 60.0
# What begins to exist with the first answer of a service; here there is none.
AFTER_AN_ANSWER: Final = {"envoy_cluster_ext_authz_ok", "envoy_cluster_ext_authz_denied", "envoy_cluster_upstream_rq_time_bucket"}
# Labels of the scrape, and the one that Istio gives the same thing.
NOT_ENVOYS: Final = {"job", "cluster_name"}


@contextmanager
def gateway(mode: FilterMode, folder: Path) -> Generator[str]:
    """Run the demo's Envoy without any service, and yield what its admin interface exports after one request."""
    try:
        binary = find_envoy()
    except DemoError as error:
        pytest.skip(str(error))
    listen, service, upstream, admin = (free_port() for _ in range(4))
    path = folder / f"{mode.value}.json"
    config = bootstrap(listen=listen, service=service, upstream=upstream, mode=mode)
    path.write_text(json.dumps({**config, "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}}}))
    with subprocess.Popen(envoy_command(binary, path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            status = fetch(f"http://127.0.0.1:{listen}/orders")[0]
            assert status >= 400, "a gateway that cannot ask refuses"
            yield fetch(f"http://127.0.0.1:{admin}/stats/prometheus")[1]
        finally:
            process.kill()


def fetch(url: str) -> tuple[int, str]:
    """Return status and body, as soon as somebody listens."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with opener.open(url, timeout=READY_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_the_gateways_row_reads_what_envoy_exports(tmp_path: Path) -> None:
    labels: dict[str, set[str]] = {}
    for mode in FilterMode:
        with gateway(mode, tmp_path) as text:
            for name, inside in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
                labels.setdefault(name, set()).update(re.findall(r'(\w+)="', inside))
    selectors = [
        selector for query in dashboard_queries() for selector in read(query.expression).selectors if selector.metric.startswith("envoy_")
    ]

    assert {selector.metric for selector in selectors} - AFTER_AN_ANSWER <= labels.keys()
    for selector in selectors:
        if selector.metric not in AFTER_AN_ANSWER:
            assert {label for label, _, _ in selector.matchers} - NOT_ENVOYS <= labels[selector.metric], selector.metric
    assert not AFTER_AN_ANSWER & labels.keys(), "these can be checked, too"
