"""The service as its users start it: a child process, asked over gRPC by Google's own client."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import attrs
import grpc

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from exchanger._proto.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tests.authz.envoy.test_check_codec import check
from tests.e2e.collector import wait_until
from tests.ports import free_port

START_S: Final = 60.0
STOP_S: Final = 30.0
# Seconds for one answer, which takes some milliseconds.
CALL_S: Final = 30.0
# For a token endpoint that takes its time.
SLOW: Final = {f"TOKEN_ENDPOINT_{name}_TIMEOUT": "20s" for name in ("REQUEST", "DIAL", "TLS_HANDSHAKE", "RESPONSE_HEADER")}
SERVE: Final = ("-m", "exchanger", "serve")
NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {ext-authz-token-exchange.magneticflux.net/policy: enabled}}
"""
DOCUMENT = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: primary, scope: read:orders}
  - match: {host: api.example.com, pathPrefix: /admin}
    action: deny
"""
ISSUERS = """
issuers:
  - {name: primary, tokenEndpoint: "https://issuer.invalid/token", clientID: client, clientSecret: canary-client-secret}
"""


def config_map(document: str, name: str = "policy") -> str:
    """Return the manifest of a selected ConfigMap in the namespace ``team``."""
    body = "".join(f"    {line}\n" for line in document.strip().splitlines())
    labels = '{ext-authz-token-exchange.magneticflux.net/enabled: "true"}'
    metadata = f"metadata:\n  name: {name}\n  namespace: team\n  labels: {labels}\n"
    return f"apiVersion: v1\nkind: ConfigMap\n{metadata}data:\n  config.yaml: |\n{body}"


def get(url: str) -> bytes:
    """Return what is at ``url``, whatever proxy the environment names."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=CALL_S) as answer:
        content: bytes = answer.read()
        return content


@attrs.define(eq=False)
class Service:
    """A running service and its policy folder."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    log: Path
    channel: grpc.Channel
    metrics_port: int

    def call(self, path: str, message: bytes, timeout: float = CALL_S) -> bytes:
        """Make a unary call with serialised messages."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(path)
        return call(message, timeout=timeout)

    def check(self, path: str, host: str = "api.example.com", method: str = "GET", **headers: str) -> CheckResponse:
        """Ask as Envoy does."""
        fields = {":authority": host, ":path": path, **{name.replace("_", "-"): value for name, value in headers.items()}}
        message = check(fields, method=method, path=path, host=host)
        return CheckResponse.FromString(self.call("/envoy.service.auth.v3.Authorization/Check", message))

    def health(self) -> int:
        """Return the serving status."""
        answer = self.call("/grpc.health.v1.Health/Check", HealthCheckRequest().SerializeToString())
        return HealthCheckResponse.FromString(answer).status

    def metric(self, name: str) -> float | None:
        """Return a number of ``/metrics`` that has no labels, ``None`` when it is not there; the service needs ``METRICS_ENABLED``."""
        lines = get(f"http://127.0.0.1:{self.metrics_port}/metrics").decode().splitlines()
        values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")]
        return values[0] if values else None

    def stop(self) -> int:
        """End it as Kubernetes does and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def lines(self) -> str:
        """Return what was logged so far."""
        return self.log.read_text("utf-8")

    def line_about(self, path: str) -> dict[str, Any]:
        """Return the first line about a request for ``path``, as soon as it is written."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = (line for line in map(json.loads, self.lines().splitlines()) if line.get("path") == path)
            return bool(found)

        wait_until(is_there, self.lines)
        return found[0]


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return a service's environment, without anything of this process's that it would read."""
    inherited = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
        if name in os.environ
    }
    return {
        **inherited,
        "GRPC_HOST": "127.0.0.1",
        "POLICY_SOURCE": "directory",
        "POLICY_DIRECTORY": str(folder / "policy"),
        "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(folder / "issuers.yaml"),
        **variables,
    }


@contextlib.contextmanager
def serving(
    root: Path, document: str, descriptors: int | None = None, program: tuple[str, ...] = SERVE, /, **variables: str
) -> Generator[Service]:
    """Run a service with one policy document until the block ends; it must end by itself or by SIGTERM.

    ``descriptors``: how many files it may have open, half of them unless it asks for more. ``program``: Python's arguments.
    """
    with answering(root, document, descriptors, program, **variables) as service:
        _wait_until(service, HealthCheckResponse.SERVING)
        yield service


@contextlib.contextmanager
def answering(
    root: Path, document: str, descriptors: int | None = None, program: tuple[str, ...] = SERVE, /, **variables: str
) -> Generator[Service]:
    """Run a service as ``serving`` does, but begin as soon as it answers, whatever it has to say."""
    (root / "policy").mkdir()
    (root / "policy" / "namespace.yaml").write_text(NAMESPACE)
    (root / "policy" / "policy.yaml").write_text(config_map(document))
    issuers = root / "issuers.yaml"
    if not issuers.exists():
        issuers.write_text(ISSUERS)
    port, log = free_port(), root / "log"
    variables = {"METRICS_HOST": "127.0.0.1", "METRICS_PORT": str(free_port()), **variables}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *program],
            env=environment(root, GRPC_PORT=str(port), **variables),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    if descriptors is not None:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (descriptors // 2, descriptors))
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        service = Service(process, port, root / "policy", log, channel, int(variables["METRICS_PORT"]))
        try:
            _wait_until(service, HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING)
            yield service
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _wait_until(service: Service, *statuses: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert service.process.poll() is None, service.lines()
        with contextlib.suppress(grpc.RpcError):
            if service.health() in statuses:
                return
        time.sleep(0.05)
    raise AssertionError(service.lines())
