"""The only user of the official client library: its configuration, TLS settings, authentication and connection pools, and nothing else.

Importing the library takes half a second, so this module is imported only if a cluster is used.

The library supports client certificates, ``token``, ``tokenFile``, ``exec`` plugins, basic authentication, the providers gcp and oidc,
``proxy-url`` and ``tls-server-name`` of a kubeconfig file. It writes keys and certificates inside the file to temporary files that only
this user can read, and removes them at exit; Python's TLS has no other way.
"""

import hashlib
import os
import re
import socket
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import urlsplit

import attrs
import trio
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, load_kube_config
from kubernetes.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_HOST_ENV_NAME,
    SERVICE_PORT_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)
from kubernetes.config.kube_config import KubeConfigMerger

from exchanger.model.secret import Secret
from exchanger.net.network import SYSTEM, Network
from exchanger.sources.kube.api.access import Access, ClusterCredentials, ClusterError, make_wakeable
from exchanger.sources.kube.api.connection import ApiConnection, ConnectionBounds
from exchanger.sources.kube.api.decoding import printable
from exchanger.util.shown import is_path, measured

__all__ = ["ClusterConfigSource", "ClusterError", "connect", "load_access"]

# Seconds to read the configuration: files take none, but a credential plugin may ask its user to log in.
CONFIGURATION_S: Final = 60.0
# Idle connections that are kept: more than there are threads for short requests.
KEPT_CONNECTIONS: Final = 16
# Seconds without a packet before the first probe, seconds between probes, and how many may go unanswered: a peer that vanished is noticed
# after 45 seconds. Some systems have other names for these, or none; the watch has its own guard too.
KEEPALIVE: Final = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
# The form of an Authorization header (RFC 9110 section 11.6.2, without parameters).
HEADER: Final = re.compile(r"[!-~]+ [!-~]+")
LOCAL_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# An operator with a read-only root file system needs to know of the library's temporary files.
NO_TEMPORARY_FOLDER: Final = (
    "its keys and certificates must be written to a temporary folder, and none is writable: mount one at /tmp, or name one in TMPDIR"
)


_DEFAULT: Final = "~/.kube/config"


@final
@attrs.frozen
class ClusterConfigSource:
    """The location of the configuration: the service account of a pod if there is one, otherwise a kubeconfig file.

    ``kubeconfig`` has the form of KUBECONFIG, paths separated by colons; "" means KUBECONFIG itself, or ``~/.kube/config``. ``context`` is
    one of its contexts, "" the current one. ``otherwise`` ends the sentence that there is neither: what to do without a cluster.
    """

    kubeconfig: str = ""
    context: str = ""
    environment: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ), repr=False)
    token_file: str = SERVICE_TOKEN_FILENAME
    ca_file: str = SERVICE_CERT_FILENAME
    otherwise: str = ""

    @property
    def in_cluster(self) -> bool:
        """Whether this is a pod with a service account."""
        named = all(self.environment.get(name) for name in (SERVICE_HOST_ENV_NAME, SERVICE_PORT_ENV_NAME))
        return named and Path(self.token_file).is_file()

    @property
    def paths(self) -> str:
        """The kubeconfig files."""
        return self.kubeconfig or self.environment.get("KUBECONFIG") or _DEFAULT

    @property
    def shown(self) -> str:
        """The kubeconfig files for messages. Somebody may have put the content of a file into KUBECONFIG, including tokens."""
        paths = (Path(path).expanduser() for path in self.paths.split(os.pathsep) if path)
        return printable(self.paths) if self.paths == _DEFAULT or all(map(is_path, paths)) else f"({measured(self.paths)})"


@asynccontextmanager
async def connect(
    origin: ClusterConfigSource | None = None, bounds: ConnectionBounds | None = None, network: Network = SYSTEM
) -> AsyncGenerator[ApiConnection]:
    """Connect to the API server of ``origin`` until the block ends; nothing is sent before the first request.

    Raises:
        ClusterError: there is no usable configuration.
    """
    where = ClusterConfigSource() if origin is None else origin
    with trio.move_on_after(CONFIGURATION_S) as scope:
        access = await network.run_sync(load_access, where, abandon_on_cancel=True, thread_name="kube configuration")
    if scope.cancelled_caught:
        raise ClusterError(f"the API server's configuration took more than {CONFIGURATION_S:.0f} seconds: a credential plugin hangs")
    credentials = ClusterCredentials(lambda: load_access(where), access, network.steady)
    try:
        yield ApiConnection(credentials, ConnectionBounds() if bounds is None else bounds, network.run_sync)
    finally:
        credentials.close()


def load_access(origin: ClusterConfigSource) -> Access:
    """Read the configuration; blocks, as it reads files and runs credential plugins.

    Raises:
        ClusterError: there is no usable one.
    """
    configuration = Configuration()
    # The library takes proxies from the environment, but only the configuration itself may name one for the API server.
    configuration.proxy = None
    configuration.no_proxy = None
    configuration.connection_pool_maxsize = KEPT_CONNECTIONS
    configuration.socket_options = _socket_options()
    if origin.in_cluster:
        names_credentials = True
        _load_in_cluster(configuration, origin)
        files = [origin.token_file]
    else:
        names_credentials, files = _load_kubeconfig(configuration, origin)
    _check_address(configuration)
    authorization = _Authorization(configuration)
    try:
        certificate = _content(configuration.cert_file)
        trust = _trust(configuration)
        pools = RESTClientObject(configuration).pool_manager
    except (OSError, ValueError) as error:
        raise ClusterError(f"a certificate or the proxy of the API server cannot be used: {type(error).__name__}") from None
    if authorization() is None and not certificate and (names_credentials or configuration.host.startswith("https:")):
        raise ClusterError(
            "the token of the pod's service account cannot be used"
            if origin.in_cluster
            else "the kubeconfig has no usable credentials for its user, or its credential plugin failed"
        )
    make_wakeable(pools)
    paths = tuple(Path(file).expanduser() for file in (*files, configuration.ssl_ca_cert, configuration.cert_file) if file)
    identity = hashlib.sha256(certificate).digest() if certificate else b""
    return Access(configuration.host.rstrip("/"), pools, authorization, identity, trust, paths)


def _trust(configuration: Configuration) -> bytes:
    """Return a value that is equal for configurations with the same server and trusted CAs.

    A file is compared by its content, since it is rewritten in place.
    """
    server = (configuration.host, configuration.proxy, configuration.tls_server_name, configuration.verify_ssl)
    return hashlib.sha256(repr((server, _content(configuration.ssl_ca_cert))).encode()).digest()


def _content(path: str | None) -> bytes:
    return Path(path).read_bytes() if path else b""


def _load_in_cluster(configuration: Configuration, origin: ClusterConfigSource) -> None:
    try:
        loader = InClusterConfigLoader(origin.token_file, origin.ca_file, environ=origin.environment)  # type: ignore[no-untyped-call]
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError) as error:
        reason = str(error) if isinstance(error, ConfigException) else type(error).__name__
        raise ClusterError(f"the pod's service account cannot be used: {printable(reason)}") from None


def _load_kubeconfig(configuration: Configuration, origin: ClusterConfigSource) -> tuple[bool, list[str]]:
    """Load the file; return whether its user has credentials, usable or not, and the files that it and its token are in."""
    paths = origin.paths
    if not any(_is_file(Path(path).expanduser()) for path in paths.split(os.pathsep) if path):
        raise ClusterError(f"there is neither a pod's service account nor a kubeconfig file at {origin.shown}{origin.otherwise}")
    try:
        # Never written back: renewed OpenID tokens stay in memory.
        load_kube_config(paths, origin.context or None, configuration, persist_config=False)  # type: ignore[no-untyped-call]
        user = _user(KubeConfigMerger(paths).config, origin.context)  # type: ignore[no-untyped-call]
        files = [path for path in paths.split(os.pathsep) if path]
        return bool(user), [*files, *(str(user[name]) for name in ("tokenFile",) if user.get(name))]
    except Exception as error:  # noqa: BLE001 - the library assumes the shape of a file, so anything may be raised
        raise ClusterError(f"the kubeconfig {origin.shown} cannot be used: {_reason(error)}") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a path: a file's content in place of its path
        return False


def _user(content: Any, context: str) -> Mapping[str, Any]:
    """Return what ``content``, of a kubeconfig file, has for the user of ``context``, "" being the current one."""
    name = content["contexts"].get_with_name(context or content["current-context"])["context"].safe_get("user")
    user = content["users"].get_with_name(name, safe=True) if name else None
    return (user.value.get("user") or {}) if user is not None else {}


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is None and not _can_write_temporary_files():
        return NO_TEMPORARY_FOLDER
    # The library's messages quote whole parts of the file, including tokens, in braces.
    quotable = isinstance(error, ConfigException) and "{" not in str(error)
    return printable(str(error)) if quotable else f"it is not a valid kubeconfig ({type(error).__name__})"


def _can_write_temporary_files() -> bool:
    """Try what the library does: without such a folder it raises ``FileNotFoundError`` without a name, in a full one another error."""
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"certificate")
            file.flush()
    except OSError:
        return False
    return True


def _check_address(configuration: Configuration) -> None:
    address, proxy = urlsplit(configuration.host), urlsplit(configuration.proxy or "http:")
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise ClusterError("the address of the API server is not an https:// address")
    if address.scheme == "http" and address.hostname not in LOCAL_HOSTS:
        raise ClusterError("the address of the API server is http://, which is only for this machine: tokens and policy need TLS")
    if proxy.scheme not in {"http", "https"}:
        raise ClusterError("the proxy of the API server is not an http:// or https:// address")


@final
@attrs.define(eq=False)
class _Authorization:
    """The library's Authorization header: it rereads a projected token each minute, and runs a plugin when its token expires."""

    configuration: Configuration = attrs.field(repr=False)
    _last: Secret | None = attrs.field(default=None, init=False)

    def __call__(self) -> Secret | None:
        try:
            value = self.configuration.auth_settings().get("BearerToken", {}).get("value")
        except Exception:  # noqa: BLE001 - plugins and providers raise anything, and a token file may be missing for a moment
            return self._last  # the last one may still be valid, and the server says when it is not
        text = " ".join(value.split()) if isinstance(value, str) else ""
        if HEADER.fullmatch(text):
            self._last = Secret(text)
        return self._last


def _socket_options() -> list[tuple[int, int, int]]:
    known = [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in KEEPALIVE if hasattr(socket, name)]
    return [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *known]
