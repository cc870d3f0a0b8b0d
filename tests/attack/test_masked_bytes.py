"""Paths with bytes that are not UTF-8, which Envoy masks with ``!`` and some servers drop: a deny must hold behind a real Envoy.

Envoy lets such bytes through over HTTP/2, and refuses them itself over HTTP/1.1. Bottle drops them, so that it serves ``/adm\\xffin`` as
``/admin``. With ``normalize_path`` Envoy writes them as escapes.
"""

import json
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import bottle  # type: ignore[import-untyped]
import ngh2
import pytest

from exchanger.commands.demo.envoy import FilterMode, bootstrap, envoy_command, find_envoy
from tests.e2e.gateway import patient_gateways
from tests.e2e.service import Service, serving
from tests.e2e.wsgi import wsgi_upstream
from tests.ports import free_port

pytestmark = [pytest.mark.envoy]

DOCUMENT: Final = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /admin}
    action: deny
  - match: {host: api.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: primary, scope: read}
"""
HOST: Final = b"api.example.com"
TOKEN: Final = b"Bearer original"
# The issuer is nowhere to be found, so that an exchange ends with this status.
EXCHANGED: Final = 500
READY_S: Final = 30.0
ANSWER_S: Final = 10.0

# Spellings of ``/admin`` to a server that drops bytes, and neighbours of such.
DROPPED: Final = (
    b"/adm\xffin /\xff\xfea\x80dm\xffin /admin\xff /admin\xff/users /\xffadmin/ /adm\xffin?x=1 /adm\xffin?x=\xff /adm!\xffin /adm\xff!in "
    b"/adm\xc3in /adm\xe2\x82in /adm\xf0\x9f\x98in /admin\xc3 "  # beginnings of characters
    b"/\xed\xa0\x80admin /\xf4\x90\x80\x80admin "  # half of a surrogate pair, and beyond Unicode
    b"/adm\xff%69n /x/..%ff/admin /adm%ffin /adm%FF%fein /adm%c3in "
    b"/\xc0\xaf\x61dmin /\xc1\xa1\x61dmin /%c1%a1\x61dmin"  # overlong forms of a slash and of an "a"
).split()


@attrs.frozen
class Upstream:
    """A Bottle application; ``served`` has the name of the handler and the credentials of each request that reached it."""

    port: int
    served: list[tuple[str, str]]


@contextmanager
def bottle_upstream() -> Generator[Upstream]:
    app, served = bottle.Bottle(), []

    def serve(name: str) -> str:
        served.append((name, bottle.request.get_header("Authorization", "")))
        return name

    app.route("/admin", callback=lambda: serve("admin"))
    app.route("/admin/<rest:path>", callback=lambda rest: serve("admin"))
    app.route("/<rest:path>", callback=lambda rest: serve("other"))
    with wsgi_upstream(app) as port:
        yield Upstream(port, served)


@contextmanager
def gateway(folder: Path, service: int, upstream: int, mode: FilterMode, more: dict[str, Any], *, normalised: bool) -> Generator[int]:
    """Run an Envoy whose filter has ``more`` settings than the demo's; yield its port."""
    port = free_port()
    with patient_gateways():
        config: Any = bootstrap(listen=port, service=service, upstream=upstream, mode=mode)
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"][0]["typed_config"].update(more)
    if not normalised:
        for name in ("normalize_path", "merge_slashes", "path_with_escaped_slashes_action"):
            del manager[name]
    path = folder / f"{port}.json"
    path.write_text(json.dumps(config))
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(envoy_command(find_envoy(), path), stdout=log, stderr=log)
        try:
            _until_ready(port)
            yield port
        finally:
            process.terminate()
            process.wait(READY_S)


def _until_ready(port: int) -> None:
    deadline = time.monotonic() + READY_S
    while (found := ask(port, b"/orders")) != EXCHANGED:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def ask(port: int, path: bytes, method: bytes = b"GET", host: bytes = HOST, *more: tuple[bytes, bytes]) -> int | None:
    """Ask over HTTP/2 in clear; return the status, ``None`` where the gateway ends stream or connection without one."""
    http = ngh2.Connection(ngh2.Role.CLIENT)
    http.initiate_connection()
    fields = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", host), (b"authorization", TOKEN), *more]
    http.send_request(fields, end_stream=True)
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_S) as connection:
            while True:
                connection.sendall(http.data_to_send())
                if not (data := connection.recv(65536)):
                    return None
                http.receive_data(data)
                for event in http.events():
                    match event:
                        case ngh2.ResponseReceived(headers=headers):
                            return int(dict(headers)[b":status"])
                        case ngh2.StreamReset() | ngh2.ConnectionClosed():
                            return None
    except ConnectionError:
        return None


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    with serving(tmp_path_factory.mktemp("service"), DOCUMENT) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="module")
def upstream() -> Generator[Upstream]:
    with bottle_upstream() as running:
        yield running


EACH_GATEWAY: Final = pytest.mark.parametrize(
    ("mode", "more"),
    [
        (FilterMode.EXT_AUTHZ, {"encode_raw_headers": False}),
        (FilterMode.EXT_AUTHZ, {"encode_raw_headers": True}),
        (FilterMode.EXT_PROC, {}),
        (FilterMode.EXT_PROC, {"request_attributes": ["request.path", "request.host", "request.method", "request.query"]}),
    ],
    ids=["ext_authz", "ext_authz_raw_headers", "ext_proc", "ext_proc_attributes"],
)


@pytest.mark.parametrize("normalised", [False, True], ids=["as_it_came", "normalised"])
@EACH_GATEWAY
def test_no_spelling_with_bytes_that_are_dropped_reaches_what_is_denied(
    service: Service, upstream: Upstream, tmp_path: Path, mode: FilterMode, more: dict[str, Any], normalised: bool
) -> None:
    with gateway(tmp_path, service.port, upstream.port, mode, more, normalised=normalised) as port:
        upstream.served.clear()
        answers = {path: ask(port, path) for path in DROPPED}
        assert ask(port, b"/admin") == 403
        assert ask(port, b"/public/hi!") == 200  # an exclamation mark is an innocent character
        assert ask(port, b"/orders") == ask(port, b"/orders/hi!") == EXCHANGED
    assert [served for served in upstream.served if served[0] == "admin"] == []
    assert set(answers.values()) <= {400, 403, 500}, answers


def test_the_upstream_serves_them(upstream: Upstream) -> None:
    """That the test above can fail: without a gateway Bottle takes them for what is denied."""
    upstream.served.clear()
    for path in (b"/adm\xffin", b"/adm%ffin", b"/admin\xff", b"/adm\xc3in"):
        with socket.create_connection(("127.0.0.1", upstream.port), ANSWER_S) as connection:
            connection.sendall(b"GET " + path + b" HTTP/1.0\r\nAuthorization: " + TOKEN + b"\r\n\r\n")
            while connection.recv(65536):
                pass
    assert upstream.served == [("admin", TOKEN.decode())] * 4
