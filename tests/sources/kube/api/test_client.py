"""Which API server there is, and how to get in: a pod's service account, or a kubeconfig file."""

import errno
import json
import ssl
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from urllib3 import ProxyManager

from exchanger.model.errors import ExchangerError
from exchanger.sources.kube.api import client
from exchanger.sources.kube.api.access import Access
from exchanger.sources.kube.api.client import ClusterConfigSource, ClusterError, connect, load_access
from tests.sources.kube.kubeconfig import inline, origin_of, write_kubeconfig
from tests.sources.kube.leftovers import nothing_left, open_sockets
from tests.sources.kube.scripted_server import Received, answer, serving

CANARY = "canary-token"


@pytest.fixture
def authority_pem() -> bytes:
    return trustme.CA().cert_pem.bytes()


@pytest.fixture
def pod(tmp_path: Path, authority_pem: bytes) -> ClusterConfigSource:
    """What Kubernetes puts into a pod."""
    (tmp_path / "token").write_text(f"{CANARY}\n")
    (tmp_path / "ca.crt").write_bytes(authority_pem)
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    return ClusterConfigSource(environment=environment, token_file=str(tmp_path / "token"), ca_file=str(tmp_path / "ca.crt"))


def kubeconfig(folder: Path, user: object, server: str = "https://cluster.example:6443/prefix/", **cluster: object) -> ClusterConfigSource:
    """Write a kubeconfig file with one user and return where it is."""
    path = write_kubeconfig(folder / "kubeconfig", server, user, **cluster)
    return ClusterConfigSource(environment={"KUBECONFIG": str(path)}, token_file=str(folder / "no-token"))


def header(access: Access) -> str | None:
    authorization = access.authorization()
    return None if authorization is None else authorization.reveal()


def problem(origin: ClusterConfigSource) -> str:
    """Return the sentence that ``origin`` leads to."""
    with pytest.raises(ClusterError) as raised:
        load_access(origin)
    assert isinstance(raised.value, ExchangerError)
    assert CANARY not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return str(raised.value)


# In a pod


def test_a_pods_service_account(pod: ClusterConfigSource) -> None:
    access = load_access(pod)
    assert access.url == "https://[fd00::1]:443"
    assert header(access) == f"bearer {CANARY}"
    assert access.pools.connection_pool_kw["ca_certs"] == pod.ca_file
    assert access.pools.connection_pool_kw["cert_reqs"] is ssl.CERT_REQUIRED
    assert CANARY not in repr(access)


@pytest.mark.parametrize("missing", ["", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"])
def test_a_whole_pod_comes_before_a_kubeconfig(pod: ClusterConfigSource, tmp_path: Path, missing: str) -> None:
    environment = {name: text for name, text in pod.environment.items() if name != missing}
    other = kubeconfig(tmp_path, {"token": "other"})
    found = load_access(attrs.evolve(pod, environment={**environment, **other.environment}))
    assert found.url == ("https://cluster.example:6443/prefix" if missing else "https://[fd00::1]:443")


def test_a_projected_token_is_read_again_each_minute(pod: ClusterConfigSource, monkeypatch: pytest.MonkeyPatch) -> None:
    access = load_access(pod)
    Path(pod.token_file).write_text("rotated")
    assert header(access) == f"bearer {CANARY}"
    # The library reads the token again after a minute of its own clock.
    loader = access.authorization.configuration.refresh_api_key_hook.__closure__[0].cell_contents  # type: ignore[attr-defined]
    loader.token_expires_at -= timedelta(minutes=1)
    assert header(access) == "bearer rotated"
    Path(pod.token_file).unlink()
    loader.token_expires_at -= timedelta(minutes=1)
    assert header(access) == "bearer rotated"


@pytest.mark.parametrize("content", ["", " \n", "two words\n", "bad\x00byte", "é"])
def test_an_invalid_token_of_a_pod_is_a_problem(pod: ClusterConfigSource, content: str) -> None:
    Path(pod.token_file).write_text(content)
    assert "service account" in problem(pod)


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "missing"])
def test_a_pod_needs_the_clusters_certificate(pod: ClusterConfigSource, empty: bool) -> None:
    Path(pod.ca_file).unlink()
    if empty:
        Path(pod.ca_file).touch()
    assert "service account" in problem(pod)


async def test_a_refused_token_is_read_again_at_once(tmp_path: Path) -> None:
    async def script(request: Received, stream: trio.abc.Stream) -> None:
        good = request.headers["authorization"] == "Bearer rotated"
        await stream.send_all(answer({}) if good else answer({"kind": "Status"}, "401 Unauthorized"))

    (tmp_path / "token").write_text(f"{CANARY}\n")
    async with serving(script) as server, connect(kubeconfig(tmp_path, {"tokenFile": "token"}, server.url)) as connection:
        (tmp_path / "token").write_text("rotated\n")
        assert await connection.get("/") == {}
        assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {CANARY}", "Bearer rotated"]
        assert CANARY not in repr(connection)


@pytest.mark.parametrize("content", ["", "\n", None])
def test_a_token_file_must_not_be_empty_at_the_start(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    assert "kubeconfig" in problem(kubeconfig(tmp_path, {"tokenFile": "token"}, "http://127.0.0.1:8001"))


# Elsewhere


def test_a_client_certificate(tmp_path: Path, authority_pem: bytes) -> None:
    certificate = trustme.CA().issue_cert("someone.invalid", common_name="someone")
    data = {
        "client-certificate-data": inline(certificate.cert_chain_pems[0].bytes()),
        "client-key-data": inline(certificate.private_key_pem.bytes()),
    }
    authority = inline(authority_pem)
    access = load_access(kubeconfig(tmp_path, data, **{"certificate-authority-data": authority}))
    assert header(access) is None
    written = access.pools.connection_pool_kw
    assert Path(written["cert_file"]).read_bytes() == certificate.cert_chain_pems[0].bytes()
    assert Path(written["key_file"]).stat().st_mode & 0o077 == 0
    assert Path(written["ca_certs"]).read_bytes() == authority_pem
    assert access.identity != load_access(kubeconfig(tmp_path, {"token": CANARY})).identity


def _with_inline_authority(folder: Path, authority_pem: bytes) -> ClusterConfigSource:
    return kubeconfig(folder, {"token": CANARY}, **{"certificate-authority-data": inline(authority_pem)})


@pytest.mark.parametrize("full", [True, False], ids=["full", "read-only"])
def test_certificates_in_the_file_need_a_temporary_folder(
    tmp_path: Path, authority_pem: bytes, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if full:
        monkeypatch.setattr(tempfile, "mkstemp", fail)
        monkeypatch.setattr(tempfile, "NamedTemporaryFile", fail)
    else:  # the library's way to its files; a superuser's may be written to anywhere
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/nowhere"])
    origin = _with_inline_authority(tmp_path, authority_pem)
    assert problem(origin) == (
        f"the kubeconfig {origin.paths} cannot be used: its keys and certificates must be written to a temporary folder, and none is "
        f"writable: mount one at /tmp, or name one in TMPDIR"
    )
    assert header(load_access(kubeconfig(tmp_path, {"token": CANARY}))) == f"Bearer {CANARY}"
    assert "FileNotFoundError" in problem(kubeconfig(tmp_path, {"tokenFile": "missing"}))


def test_a_fault_of_the_system_that_is_not_about_temporary_files(
    tmp_path: Path, authority_pem: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(client, "load_kube_config", fail)
    assert "(OSError)" in problem(_with_inline_authority(tmp_path, authority_pem))


def _plugin(folder: Path, program: str) -> ClusterConfigSource:
    script = folder / "plugin.py"
    script.write_text(program)
    command = {"command": sys.executable, "args": [str(script)], "interactiveMode": "Never"}
    return kubeconfig(folder, {"exec": {"apiVersion": "client.authentication.k8s.io/v1", **command}})


def test_a_credential_plugin_gives_a_token(tmp_path: Path) -> None:
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": CANARY}}
    assert header(load_access(_plugin(tmp_path, f"print({json.dumps(json.dumps(credential))})"))) == f"Bearer {CANARY}"


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "print('no JSON')", "print('{}')"])
def test_a_credential_plugin_that_fails(tmp_path: Path, program: str, caplog: pytest.LogCaptureFixture) -> None:
    assert "its credential plugin failed" in problem(_plugin(tmp_path, program))


async def test_a_credential_plugin_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONFIGURATION_S", 0.05)
    with pytest.raises(ClusterError, match="a credential plugin hangs"):
        async with connect(_plugin(tmp_path, "import time; time.sleep(0.5)")):
            pytest.fail("there are no credentials to connect with")
    await nothing_left(open_sockets())  # the plugin ends by itself, and with it the thread that waits for it


def test_a_pod_or_a_kubeconfig_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "missing"
    assert problem(origin_of(path)) == f"there is neither a pod's service account nor a kubeconfig file at {path}"


@pytest.mark.parametrize("content", [CANARY, f"users: [{{name: u, user: {{token: {CANARY}}}}}]", f"{CANARY}\n" * 1000, f"/{CANARY}"])
def test_a_kubeconfig_in_place_of_its_path_is_not_repeated(content: str, tmp_path: Path) -> None:
    told = problem(ClusterConfigSource(environment={"KUBECONFIG": content}, token_file=str(tmp_path / "none")))
    assert CANARY not in told
    assert f"(a text of {len(content)} characters)" in told


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "5",
        "{",
        "\x00",
        "contexts: 5",
        f"{{current-context: one, contexts: [], users: [{{name: u, user: {{token: {CANARY}}}}}]}}",
        f"{{current-context: a, contexts: [{{name: a, context: {{user: {CANARY}}}}}]}}",
        f"{{current-context: a, contexts: [{{name: a, context: {{cluster: c, user: u}}, token: {CANARY}}}], clusters: [{{name: c}}]}}",
        f"{{clusters: [{{{CANARY}: c}}], contexts: [], users: []}}",
    ],
)
def test_an_invalid_kubeconfig_is_a_problem(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    assert "cannot be used" in problem(origin_of(path))


def test_proxies_of_the_environment_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert not isinstance(load_access(kubeconfig(tmp_path, {"token": CANARY})).pools, ProxyManager)
    named = load_access(kubeconfig(tmp_path, {"token": CANARY}, **{"proxy-url": "http://named.example:3128"})).pools
    assert isinstance(named, ProxyManager)
    assert named.proxy is not None
    assert named.proxy.host == "named.example"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({"server": server}, "the address of the API server is")
            for server in ("http://cluster.example", "http://10.0.0.1", "ftp://x", "https://", "cluster.example")
        ),
        ({"proxy-url": "socks5://named.example"}, "proxy"),
        ({"user": {"client-certificate": "missing.crt", "client-key": "missing.key"}}, "File does not exist"),
        ({"context": "missing-context"}, "missing-context"),
        ({"context": "nobody"}, "no usable credentials"),
        *(  # a local proxy needs neither TLS nor credentials
            ({"server": server, "user": {}}, "") for server in ("http://127.0.0.1:8001", "http://localhost:8001", "http://[::1]:8001")
        ),
        ({}, ""),
        ({"context": "lab"}, ""),
    ],
)
def test_a_kubeconfig_is_used_or_its_problem_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    changes = dict(changes)
    context = str(changes.pop("context", ""))
    user = changes.pop("user", {"token": CANARY})
    origin = attrs.evolve(kubeconfig(tmp_path, user, **changes), context=context)  # type: ignore[arg-type]
    if message:
        assert message in problem(origin)
    else:
        path = Path(origin.paths)
        before = path.read_bytes()
        access = load_access(origin)
        assert path.read_bytes() == before
        server = str(changes.get("server", "https://cluster.example:6443/prefix"))
        assert (access.url, header(access)) == (server, f"Bearer {CANARY}" if user else None)
