"""A real control plane on loopback, etcd and kube-apiserver without any node, and all that can befall one. Blocking code.

Tests that have tasks running call it through ``trio.to_thread.run_sync``. Without a controller manager there are no default service
accounts, and a deleted namespace is gone because ``Admin.delete_namespace`` does what that manager would do.
"""

import base64
import contextlib
import signal
import ssl
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import attrs
import httpx
import trustme

from tests.ports import free_port
from tests.sources.kube.admin import Admin
from tests.sources.kube.kubeconfig import inline, write_kubeconfig
from tests.sources.kube.processes import Child, Leash, ProcessError, wait_until
from tests.tools import where

# Seconds until etcd answers; it takes one.
ETCD_START_S: Final = 30.0
# Seconds until the API server is ready; it takes three on an idle machine, and ten times that on a busy one.
READY_S: Final = 120.0
# Seconds for one answer of either.
ASK_S: Final = 20.0
# Operations that etcd takes in one transaction.
TRANSACTION: Final = 128
# For etcd, which is asked without TLS; this one reads no certificates.
NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ADMIN_TOKEN: Final = "admin-token-of-the-lab"
# The user ``tester`` in the group ``testers``: no rights, until a test binds roles to them.
TESTER_TOKEN: Final = "tester-token-of-the-lab"


@attrs.frozen
class Programs:
    """Where the programs are."""

    etcd: Path
    apiserver: Path


def find_programs() -> Programs | None:
    """Return the built programs, ``None`` when they are not all there."""
    etcd, apiserver = where("etcd"), where("kube-apiserver")
    return Programs(etcd, apiserver) if etcd and apiserver else None


@attrs.define(eq=False)
class ControlPlane:
    """One etcd and one API server. ``folder`` is empty at the start; ``flags`` are more flags for kube-apiserver."""

    programs: Programs
    folder: Path
    flags: tuple[str, ...] = ()
    _leash: Leash = attrs.field(factory=Leash, init=False)
    _etcd: Child = attrs.field(init=False)
    _apiserver: Child = attrs.field(init=False)
    _port: int = attrs.field(default=0, init=False)
    _etcd_port: int = attrs.field(default=0, init=False)
    _peer_port: int = attrs.field(default=0, init=False)
    _admin: Admin | None = attrs.field(default=None, init=False)
    # What the server has made for itself, by etcd's keys.
    _own: frozenset[str] = attrs.field(default=frozenset(), init=False)

    def __attrs_post_init__(self) -> None:
        self._etcd = Child(self.programs.etcd, self.folder / "etcd.log", self._leash)
        self._apiserver = Child(self.programs.apiserver, self.folder / "kube-apiserver.log", self._leash)
        _write_keys(self.folder)

    @property
    def url(self) -> str:
        """The API server's address; it stays the same over restarts."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The API server's port on 127.0.0.1."""
        return self._port

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that signed the API server's."""
        return self.folder / "ca.crt"

    @property
    def admin(self) -> Admin:
        """Requests in the name of somebody who may do everything."""
        assert self._admin is not None, "start it first"
        return self._admin

    def start(self) -> None:
        """Start both, on ports that are free."""
        for attempt in range(3):  # somebody else may take a port between its choice and its use
            self._port, self._etcd_port, self._peer_port = (free_port() for _ in range(3))
            try:
                self.start_etcd()
                self.start_apiserver()
                break
            except ProcessError:
                self._apiserver.end(signal.SIGKILL)
                self._etcd.end(signal.SIGKILL)
                if attempt == 2:
                    raise
        context = ssl.create_default_context(cafile=str(self.ca_file))
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        self._admin = Admin(httpx.Client(base_url=self.url, verify=context, headers=headers, timeout=ASK_S, trust_env=False))
        wait_until(lambda: self.admin.exists("/api/v1/namespaces/default"), self._apiserver, READY_S)
        self._own = frozenset(self._keys())

    def tidy(self) -> None:
        """Forget every object that was made since the start, and have the server run if it does not."""
        if not self._etcd.running() or not self._apiserver.running() or not self.is_ready():
            self._apiserver.end(signal.SIGKILL)
            self._etcd.end(signal.SIGKILL)
            self.start_etcd()
            self.start_apiserver()
        # Without a controller manager, a Namespace would leave its objects behind; the API server hears of these changes from etcd.
        made = [base64.b64encode(key.encode()).decode() for key in self._keys() - self._own]
        for start in range(0, len(made), TRANSACTION):
            self._ask_etcd("txn", {"success": [{"requestDeleteRange": {"key": key}} for key in made[start : start + TRANSACTION]]})

    def close(self) -> None:
        """End both, whatever state they are in."""
        try:
            if self._admin is not None:
                self._admin.client.close()
            self._apiserver.end(signal.SIGKILL)
            self._etcd.end(signal.SIGKILL)
        finally:
            self._leash.close()

    # -- the API server

    def start_apiserver(self) -> None:
        """Start the API server on the port it had, and wait until it is ready."""
        self._apiserver.start((*self._apiserver_flags(), *self.flags))
        wait_until(self.is_ready, self._apiserver, READY_S)

    def kill_apiserver(self) -> None:
        """End the API server as a crash does."""
        self._apiserver.end(signal.SIGKILL)

    def restart_apiserver(self) -> None:
        """End it as an orderly restart does, and start it."""
        self._apiserver.end()
        self.start_apiserver()

    def is_ready(self) -> bool:
        """Return whether the API server says so itself."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            return httpx.get(f"{self.url}/readyz", verify=context, timeout=2, trust_env=False).is_success
        except httpx.TransportError:
            return False

    # -- etcd

    def start_etcd(self) -> None:
        """Start etcd on the port it had and wait until it answers."""
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        flags = {
            "name": "lab",
            "data-dir": str(self._data),
            "log-level": "warn",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"lab={peer}",
        }
        self._etcd.start(("--unsafe-no-fsync", *(f"--{name}={value}" for name, value in flags.items())))
        wait_until(self._etcd_answers, self._etcd, ETCD_START_S)

    def compact(self) -> None:
        """Forget all history before now. The API server's own cache still knows it, until that is restarted or runs without one."""
        revision = self._ask_etcd("range", {"key": "AA==", "limit": "1"})["header"]["revision"]
        self._ask_etcd("compaction", {"revision": revision, "physical": True})

    @property
    def _data(self) -> Path:
        return self.folder / "etcd"

    def _etcd_answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._etcd_port}/health", timeout=2, trust_env=False, verify=NO_TLS).is_success
        except httpx.TransportError:
            return False

    def _keys(self) -> set[str]:
        """Return etcd's keys, which are the paths of objects."""
        found = self._ask_etcd("range", {"key": "AA==", "range_end": "AA==", "keys_only": True})["kvs"]
        return {base64.b64decode(entry["key"]).decode() for entry in found}

    def _ask_etcd(self, call: str, body: dict[str, object]) -> Any:
        # etcd's JSON gateway: https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
        answer = httpx.post(f"http://127.0.0.1:{self._etcd_port}/v3/kv/{call}", json=body, timeout=ASK_S, trust_env=False, verify=NO_TLS)
        answer.raise_for_status()
        return answer.json()

    def _apiserver_flags(self) -> tuple[str, ...]:
        keys = self.folder
        flags = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd_port}",
            "etcd-compaction-interval": "0",  # tests compact when they mean to
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": str(self._port),
            "endpoint-reconciler-type": "none",  # it would refuse a loopback address
            "cert-dir": str(keys),
            "tls-cert-file": str(keys / "server.crt"),
            "tls-private-key-file": str(keys / "server.key"),
            "client-ca-file": str(self.ca_file),
            "token-auth-file": str(keys / "tokens.csv"),
            "authorization-mode": "RBAC",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": str(keys / "server.key"),
            "service-account-signing-key-file": str(keys / "server.key"),
            "service-cluster-ip-range": "10.0.0.0/24",
            "disable-admission-plugins": "ServiceAccount",  # there is no controller that would make default ones
            "shutdown-watch-termination-grace-period": "1s",
        }
        return tuple(f"--{name}={value}" for name, value in flags.items())

    # -- kubeconfig files

    def kubeconfig(self, name: str, *, token: str = TESTER_TOKEN, port: int = 0) -> Path:
        """Write a kubeconfig file whose user has a bearer token, and return its path. ``port``: of something before the API server."""
        return self._write_kubeconfig(name, {"token": token}, port)

    def kubeconfig_of_admin_certificate(self, name: str) -> Path:
        """Write a kubeconfig file whose user may do everything and has a client certificate."""
        certificate, key = (inline((self.folder / f"admin.{end}").read_bytes()) for end in ("crt", "key"))
        return self._write_kubeconfig(name, {"client-certificate-data": certificate, "client-key-data": key})

    def _write_kubeconfig(self, name: str, user: dict[str, str], port: int = 0) -> Path:
        authority = {"certificate-authority-data": inline(self.ca_file.read_bytes())}
        return write_kubeconfig(self.folder / name, f"https://127.0.0.1:{port or self.port}", user, **authority)


def _write_keys(folder: Path) -> None:
    """Write certificates, the key of service accounts, and the file of static tokens (read when the API server starts)."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    server = authority.issue_cert("127.0.0.1", "localhost", "kubernetes.default.svc")
    # https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates
    admin = authority.issue_cert("admin.invalid", common_name="admin", organization_name="system:masters")
    for name, certificate in (("server", server), ("admin", admin)):
        certificate.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
        certificate.private_key_pem.write_to_path(folder / f"{name}.key")
    (folder / "tokens.csv").write_text(f"{ADMIN_TOKEN},admin,1,system:masters\n{TESTER_TOKEN},tester,2,testers\n")


@contextlib.contextmanager
def running(folder: Path, *flags: str, programs: Programs) -> Generator[ControlPlane]:
    """Run a control plane until the block ends."""
    plane = ControlPlane(programs, folder, flags)
    try:
        plane.start()
        yield plane
    finally:
        plane.close()
