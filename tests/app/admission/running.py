"""The webhook as its users run it: a child process beside a real API server, which is told of it by URL, since there is no pod network."""

import base64
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import trustme

from tests.ports import free_port
from tests.sources.kube.admin import POLICY_LABELS, Rule, until
from tests.sources.kube.control_plane import ControlPlane

STOP_S: Final = 30.0
ACCOUNT: Final = "exchanger-admission"
# Nothing else is needed, so nothing else is given in these tests.
RIGHTS: Final[tuple[Rule, ...]] = ({"apiGroups": [""], "resources": ["configmaps", "namespaces"], "verbs": ["list", "watch"]},)
CONFIGURATIONS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
CONFIGURATION: Final = "exchanger"
# The chart gives it this name, which authors see.
WEBHOOK: Final = "policies.ext-authz-token-exchange.magneticflux.net"
ISSUERS: Final = "issuers: [{name: primary, tokenEndpoint: https://issuer.invalid/token, clientID: id, clientSecret: canary-secret}]\n"


@attrs.define(eq=False)
class Running:
    """A running webhook, the authority of its certificate, and the cluster."""

    plane: ControlPlane
    folder: Path
    port: int
    authority: trustme.CA
    process: subprocess.Popen[bytes] = attrs.field(init=False)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        """Return a client that trusts the webhook's authority."""
        context = httpx.create_ssl_context(trust_env=False)
        context.load_verify_locations(cadata=self.authority.cert_pem.bytes().decode())
        return httpx.Client(base_url=self.url, verify=context, timeout=STOP_S, trust_env=False)

    def is_ready(self) -> bool:
        try:
            with self.client() as client:
                return client.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def renew(self) -> None:
        """Replace certificate and key, one after the other as careless tools do."""
        issued = self.authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(self.folder / "tls.crt")
        issued.private_key_pem.write_to_path(self.folder / "tls.key")

    def start(self, **variables: str) -> None:
        inherited = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
            if name in os.environ
        }
        environment = {
            **inherited,
            "ADMISSION_HOST": "127.0.0.1",
            "ADMISSION_PORT": str(self.port),
            "ADMISSION_TLS_CERT_FILE": str(self.folder / "tls.crt"),
            "ADMISSION_TLS_KEY_FILE": str(self.folder / "tls.key"),
            "KUBECONFIG": str(self.plane.folder / "admission"),
            "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(self.folder / "issuers.yaml"),
            **variables,
        }
        with (self.folder / "log").open("ab") as output:
            command = (sys.executable, "-m", "exchanger", "admission")
            self.process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def lines(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOP_S)

    # -- the cluster

    def client_config(self, path: str = "/validate") -> dict[str, str]:
        return {"url": f"{self.url}{path}", "caBundle": base64.b64encode(self.authority.cert_pem.bytes()).decode()}

    def configure(self, policy: str = "Fail", **changes: Any) -> None:
        """Tell the API server of the webhook."""
        webhook = {
            "name": WEBHOOK,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": policy,
            "timeoutSeconds": 10,
            "clientConfig": self.client_config(),
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"], "scope": "*"}
            ],
            "objectSelector": {"matchLabels": dict(POLICY_LABELS)},
            **changes,
        }
        admin, path = self.plane.admin, f"{CONFIGURATIONS}/{CONFIGURATION}"
        if admin.exists(path):
            admin.merge(path, {"webhooks": [webhook]})
        else:
            admin.put(CONFIGURATIONS, {"metadata": {"name": CONFIGURATION}, "webhooks": [webhook]})

    def apply(
        self, document: str | None, name: str = "policy", labels: Mapping[str, str] = POLICY_LABELS, team: str = "team", **query: str
    ) -> httpx.Response:
        """Create or replace a ConfigMap, and return the answer of the API server, whatever it is."""
        client, path = self.plane.admin.client, f"/api/v1/namespaces/{team}/configmaps"
        body = {"metadata": {"name": name, "labels": dict(labels)}, "data": {} if document is None else {"config.yaml": document}}
        answer = client.post(path, json=body, params=query)
        return client.put(f"{path}/{name}", json=body, params=query) if answer.status_code == httpx.codes.CONFLICT else answer

    def checks(self) -> bool:
        """Tell whether the API server asks: it learns of webhooks by a watch of its own."""
        answer = self.apply("broken", "probe", dryRun="All")
        return answer.status_code in {httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.FORBIDDEN}


def warnings(answer: httpx.Response) -> list[str]:
    """Return the warnings of an answer (RFC 7234 section 5.5: ``299 - "text"``)."""
    return [text.partition('"')[2].rstrip('"') for text in answer.headers.get_list("warning")]


@contextlib.contextmanager
def running(plane: ControlPlane, folder: Path, **variables: str) -> Generator[Running]:
    """Run a webhook until the block ends; the API server is told of it, and knows."""
    admin = plane.admin
    admin.put_namespace("team")
    admin.put_namespace("exchanger", {})
    plane.kubeconfig("admission", token=admin.put_service_account(ACCOUNT, RIGHTS, "exchanger"))
    (folder / "issuers.yaml").write_text(ISSUERS)
    found = Running(plane, folder, free_port(), trustme.CA())
    found.renew()
    found.start(**variables)
    try:
        until(found.is_ready, found.lines)
        found.configure()
        until(found.checks, found.lines)
        yield found
        if found.process.poll() is None:
            assert found.stop() == 0, found.lines()
        assert "canary" not in found.lines()
    finally:
        if found.process.poll() is None:
            found.stop(signal.SIGKILL)
        admin.delete(f"{CONFIGURATIONS}/{CONFIGURATION}")
        for name in ("team", "exchanger"):
            admin.delete_namespace(name)
