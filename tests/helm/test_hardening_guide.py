"""The plain-Envoy guide's gateway and the hardening page's snippets, in a real Envoy between the service and an upstream."""

import json
import socket
import subprocess
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import yaml

from exchanger.commands.demo.envoy import bootstrap as demo_bootstrap
from exchanger.commands.demo.envoy import envoy_command, find_envoy
from tests.e2e.service import Service, serving
from tests.e2e.wsgi import wsgi_upstream
from tests.helm.guides import GUIDES, block, complaint, guide_config, manager
from tests.ports import free_port

pytestmark = [pytest.mark.envoy]

DOCUMENT: Final = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders/internal}
    action: deny
  - match: {host: api.example.com, pathPrefix: /mcp, headers: [{name: Mcp-Name, value: delete_order}]}
    action: deny
"""
HOST: Final = "api.example.com"
READY_S: Final = 30.0
ANSWER_S: Final = 10.0
PATHS: Final = {"normalize_path": True, "merge_slashes": True, "path_with_escaped_slashes_action": "REJECT_REQUEST"}
REFERENCE: Final = GUIDES.parents[1] / "reference" / "gateway.md"


def with_credentials_removed(config: dict[str, Any]) -> dict[str, Any]:
    manager(config)["http_filters"].insert(0, block("filter", "credentials"))
    manager(config)["route_config"] |= block("routes", "credentials")
    return config


@attrs.frozen
class Upstream:
    """``got`` has the WSGI environment of each request."""

    port: int
    got: list[dict[str, Any]]


@pytest.fixture(scope="module")
def upstream() -> Generator[Upstream]:
    got: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        got.append(environ)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    with wsgi_upstream(app) as port:
        yield Upstream(port, got)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    with serving(tmp_path_factory.mktemp("service"), DOCUMENT) as running:
        yield running
        assert running.stop() == 0


@contextmanager
def gateway(config: dict[str, Any], folder: Path, service: Service, upstream: Upstream) -> Generator[int]:
    """Run ``config`` with the addresses of here and time for a busy machine; yield its port."""
    port = free_port()
    listener = config["static_resources"]["listeners"][0]
    listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    for cluster in config["static_resources"]["clusters"]:
        target = service.port if cluster["name"] == "exchanger" else upstream.port
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": target}
        cluster["connect_timeout"] = "5s"
    for found in manager(config)["http_filters"]:
        asking = found["typed_config"]
        if "message_timeout" in asking:
            asking["message_timeout"] = "5s"
        elif "grpc_service" in asking:
            asking["grpc_service"]["timeout"] = "5s"
    path = folder / "envoy.json"
    path.write_text(json.dumps(config))
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(envoy_command(find_envoy(), path), stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + READY_S
            while ask(port, "/orders/internal/1") != 403:
                assert time.monotonic() < deadline, (folder / "envoy.log").read_text()
                time.sleep(0.05)
            upstream.got.clear()
            yield port
        finally:
            process.terminate()
            process.wait(READY_S)


def ask(port: int, path: str, host: str = HOST, **headers: str) -> int | None:
    """Ask by hand, since clients would not send every path and host; return the status, ``None`` without an answer."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{fields}\r\n".encode())
            head = connection.makefile("rb").readline().split()
            return int(head[1]) if head else None
    except ConnectionError:
        return None


each_mode = pytest.mark.parametrize("mode", ["ext_authz", "ext_proc"])


@each_mode
def test_the_guides_gateway_knows_its_hosts_and_no_others(mode: str, tmp_path: Path, service: Service, upstream: Upstream) -> None:
    with gateway(guide_config(mode), tmp_path, service, upstream) as port:
        for host in (HOST, f"{HOST}:8080", "API.example.com.", "api.EXAMPLE.com.:80"):
            assert ask(port, "/orders/internal/1", host) == 403, host
            assert ask(port, "/orders", host) == 200, host
        assert len(upstream.got) == 4
        for host in ("other.example.com", "127.0.0.1", f"{HOST}.evil.example"):
            assert ask(port, "/orders", host) == 404, host
        # ext_proc asks before Envoy looks for a route, so that the service refuses first.
        for host in ("", " "):
            assert ask(port, "/orders", host) == (404 if mode == "ext_authz" else 500), host
        for host in (f"{HOST},{HOST}", f"x@{HOST}"):
            assert ask(port, "/orders", host) == (404 if mode == "ext_authz" else 400), host
        assert len(upstream.got) == 4


@each_mode
def test_the_guides_gateway_gives_a_path_one_spelling(mode: str, tmp_path: Path, service: Service, upstream: Upstream) -> None:
    assert manager(guide_config(mode)).items() >= PATHS.items()
    with gateway(guide_config(mode), tmp_path, service, upstream) as port:
        for path in ("/x/../orders/internal/1", "//orders//internal/1", "/%6frders/internal/1"):
            assert ask(port, path) == 403, path
        assert ask(port, "/orders/x%2f..%2finternal") == ask(port, "/orders%5cinternal") == 400
        assert ask(port, "/a/./b//c") == 200
        assert [environ["PATH_INFO"] for environ in upstream.got] == ["/a/b/c"]


@each_mode
def test_other_credentials_do_not_reach_the_upstream(mode: str, tmp_path: Path, service: Service, upstream: Upstream) -> None:
    beside = {"Proxy_Authorization": "Basic eDp5", "Cookie": "session=1", "Authorization": "Bearer a"}
    queries = {
        "access_token=a": "",
        "access_token=a&page=2": "&page=2",
        "page=2&access_token=a&q=%2Fb+c%20d": "page=2&&q=%2Fb+c%20d",
        "access%5Ftoken=a": "",
        "%61%63cess_token=a;x=1": ";x=1",
        "Access_Token=a&access_token=b&access_token": "&&",
        "access_tokens=1&my_access_token=2&q=access_token": "access_tokens=1&my_access_token=2&q=access_token",
        "q=%ff%0d%0a": "q=%ff%0d%0a",
        "": "",
    }
    with gateway(with_credentials_removed(guide_config(mode)), tmp_path, service, upstream) as port:
        for query in queries:
            assert ask(port, f"/orders?{query}", **beside) == 200, query
        assert [environ["QUERY_STRING"] for environ in upstream.got] == list(queries.values())
        for environ in upstream.got:
            assert environ["HTTP_AUTHORIZATION"] == "Bearer a"
            assert not environ.keys() & {"HTTP_PROXY_AUTHORIZATION", "HTTP_COOKIE"}
        assert ask(port, "/orders/internal/1?access_token=a") == 403


def snippets_of_the_reference() -> list[dict[str, Any]]:
    return [yaml.safe_load(part.partition("```")[0]) for part in REFERENCE.read_text().split("```yaml\n")[1:]]


def test_the_list_of_the_reference_lets_policies_see_headers_and_bytes(tmp_path: Path, service: Service, upstream: Upstream) -> None:
    config = guide_config()
    (allowed,) = (snippet for snippet in snippets_of_the_reference() if "allowed_headers" in snippet)
    manager(config)["http_filters"][0]["typed_config"].update(allowed)
    with gateway(config, tmp_path, service, upstream) as port:
        assert ask(port, "/mcp", Mcp_Name="delete_order") == ask(port, "/mcp", mcp_name="=?base64?ZGVsZXRlX29yZGVy?=") == 403
        assert ask(port, "/mcp", Mcp_Name="list_orders") == ask(port, "/mcp") == 200
        for sibling in ("Mcp-Name: list_orders", "Mcp_Name: list_orders"):
            assert ask(port, "/mcp", Mcp_Name=f"delete_order\r\n{sibling}") == 400
        assert ask(port, "/orders!/internal") == 200  # a ! would be ambiguous without the bytes


def test_envoy_accepts_the_filters_of_the_reference(tmp_path: Path) -> None:
    snippets = snippets_of_the_reference()
    asking = [snippet for snippet in snippets if str(snippet.get("name", "")).startswith("envoy.filters.http.ext_")]
    assert [found["name"].rpartition(".")[2] for found in asking] == ["ext_authz", "ext_proc"]
    assert PATHS in snippets
    for found in asking:
        config: dict[str, Any] = json.loads(json.dumps(demo_bootstrap(listen=1, service=2, upstream=3)))
        manager(config)["http_filters"][0] = found
        manager(config).update(PATHS)
        assert complaint(config, tmp_path) == ""


def test_patch_for_the_istio_provider_adds_one_field(tmp_path: Path) -> None:
    (patch,) = block("manifests", "raw-headers")["spec"]["configPatches"]
    assert (patch["applyTo"], patch["patch"]["operation"]) == ("HTTP_FILTER", "MERGE")
    added = dict(patch["patch"]["value"]["typed_config"])
    config = guide_config()
    asking = manager(config)["http_filters"][0]
    assert patch["match"]["listener"]["filterChain"]["filter"]["subFilter"]["name"] == asking["name"]
    assert added.pop("@type") == asking["typed_config"]["@type"]
    assert added == {"encode_raw_headers": True}
    assert complaint(config, tmp_path) == ""
