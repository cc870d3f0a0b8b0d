"""The webhook's process, with a cluster in memory: what it follows, what it says, and how it ends."""

import os
import re
import signal
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme

from exchanger.app.admission.process import AdmissionError, AdmissionProcess
from exchanger.app.admission.settings import read_admission_settings
from exchanger.net.http.server import HttpServer
from exchanger.operations.telemetry.log import logging_to_stdout
from tests.app.admission.reviews import BROKEN, DENY, body, config_map
from tests.ports import free_port
from tests.sources.kube.cluster import Cluster
from tests.waiting import until

LABELS = {"enabled": "true"}
ANSWER = re.compile(rb"HTTP/1.1 (\d+) .*Content-Length: (\d+)\r\n.*?\r\n(.*)", re.DOTALL)
SEEN_S = 30.0
POLL_S = 0.05
GRANTS = "{version: v1, grants: [{namespaceSelector: policy=enabled, hosts: ['*'], issuers: ['*'], scopes: ['*']}]}"
EXCHANGE = "version: v1\nentries: [{match: {host: a.example, pathPrefix: /}, action: exchange, exchange: {issuerRef: later, scope: s}}]"
ISSUERS = "issuers: [{{name: {}, tokenEndpoint: https://h/t, clientID: a, clientSecret: canary}}]"


class Lines:
    """Takes the log."""

    def __init__(self) -> None:
        self.text = self.problem = ""

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        self.text += data.decode()
        return 0

    async def until(self, event: str) -> None:
        """Wait for a line."""
        await until(lambda: event in self.text)


@attrs.define(eq=False)
class Scene:
    folder: Path
    authority: trustme.CA = attrs.field(factory=trustme.CA)
    cluster: Cluster = attrs.field(factory=Cluster)
    port: int = attrs.field(factory=free_port)

    def __attrs_post_init__(self) -> None:
        issued = self.authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(self.folder / "tls.crt")
        issued.private_key_pem.write_to_path(self.folder / "tls.key")

    def variables(self, **more: str) -> dict[str, str]:
        return {
            "ADMISSION_HOST": "127.0.0.1",
            "ADMISSION_PORT": str(self.port),
            "ADMISSION_TLS_CERT_FILE": str(self.folder / "tls.crt"),
            "ADMISSION_TLS_KEY_FILE": str(self.folder / "tls.key"),
            "CONFIGMAP_LABEL_SELECTOR": "enabled=true",
            "CONFIGMAP_NAMESPACE_SELECTOR": "policy=enabled",
            **more,
        }

    async def ask(self, path: str, content: bytes | None = None) -> tuple[int, str]:
        """Make one request over a new connection."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        head = f"Host: h\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(content or b'')}\r\n\r\n"
        request = f"{'GET' if content is None else 'POST'} {path} HTTP/1.1\r\n{head}".encode() + (content or b"")
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", self.port, ssl_context=context, https_compatible=True)
        async with stream:
            await stream.send_all(request)
            received = bytearray()
            while (found := ANSWER.fullmatch(received)) is None or len(found[3]) < int(found[2]):
                received += await stream.receive_some()
        return int(found[1]), found[3].decode()

    async def checked(self, document: str) -> str:
        status, content = await self.ask("/validate", body(config_map(document, LABELS)))
        assert status == 200
        return content

    async def until(self, holds: Callable[[str], bool], document: str) -> None:
        with trio.fail_after(SEEN_S):
            while not holds(await self.checked(document)):  # noqa: ASYNC110 - the webhook tells nobody
                await trio.sleep(0.02)


@asynccontextmanager
async def running(scene: Scene, monkeypatch: pytest.MonkeyPatch, **variables: str) -> AsyncGenerator[Lines]:
    """Run the process until SIGTERM ends it; its cluster is the scene's."""

    @asynccontextmanager
    async def connect(_origin: object, **_options: object) -> AsyncGenerator[object]:
        yield object()

    monkeypatch.setattr("exchanger.sources.kube.api.client.connect", connect)
    monkeypatch.setattr("exchanger.app.admission.process.PolicyListWatches", lambda _connection: scene.cluster)
    monkeypatch.setattr("exchanger.app.grants_file.POLL_S", POLL_S)
    settings, lines = read_admission_settings(scene.variables(**variables)), Lines()
    settings = attrs.evolve(settings, issuers=attrs.evolve(settings.issuers, poll=POLL_S))
    with logging_to_stdout(settings.log, lines) as logging:
        process = AdmissionProcess(settings, logging)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.run)
            await lines.until("service.listening")
            yield lines
            os.kill(os.getpid(), signal.SIGTERM)
    assert "service.stopped" in lines.text
    assert "canary" not in lines.text


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    found = Scene(tmp_path)
    found.cluster.put_namespace("team")
    return found


async def test_it_follows_cluster_issuers_and_grants(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    grants, issuers = scene.folder / "grants.yaml", scene.folder / "issuers.yaml"
    grants.write_text(GRANTS)
    issuers.write_text(ISSUERS.format("primary"))
    files = {"POLICY_GRANTS_FILE": str(grants), "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(issuers)}
    async with running(scene, monkeypatch, **files) as lines:
        await scene.until(lambda said: '"allowed":true' in said, DENY)
        assert '"allowed":false' in await scene.checked(BROKEN)
        scene.cluster.put_namespace("other")
        scene.cluster.put("other", "policy", DENY, LABELS)
        await scene.until(lambda said: "other/policy" not in said, EXCHANGE)
        assert '\\"later\\"' in await scene.checked(EXCHANGE)
        issuers.write_text("issuers: [")
        await lines.until("issuers.file_rejected")
        issuers.write_text(ISSUERS.format("later"))
        await scene.until(lambda said: "warnings" not in said, EXCHANGE)
        grants.write_text("{version: v1, grants: []}")
        await scene.until(lambda said: "POL-2001" in said, DENY)
        scene.cluster.delete_namespace("team")
        await scene.until(lambda said: "is not selected" in said, DENY)
    assert "admission.denied" in lines.text


async def test_before_the_cluster_is_known_it_lives_and_is_not_ready(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    names = scene.folder / "names"
    names.write_text("team")
    async with running(scene, monkeypatch, POLICY_NAMESPACES_FILE=str(names)) as lines:
        assert (await scene.ask("/healthz"))[0] == 200
        await lines.until("admission.ready")
        assert (await scene.ask("/readyz"))[0] == 200
        assert '"allowed":false' in await scene.checked(BROKEN)
        names.write_text("else")
        await scene.until(lambda said: "is not selected" in said, BROKEN)
    assert "config.no_issuer_profiles" in lines.text


async def test_a_second_signal_ends_the_drain(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(scene, monkeypatch, SHUTDOWN_GRACE_PERIOD="10m", ADMISSION_PROT="1") as lines:

        async def never(_server: HttpServer, _seconds: float) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(HttpServer, "drain", never)
        os.kill(os.getpid(), signal.SIGTERM)
        await lines.until("service.draining")
    assert "service.drain_cut_short" in lines.text
    assert "ADMISSION_PROT" in lines.text


async def test_a_port_that_is_taken_is_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    scene.port = listener.socket.getsockname()[1]
    async with listener:
        with pytest.RaisesGroup(pytest.RaisesExc(AdmissionError), flatten_subgroups=True, allow_unwrapped=True):
            async with running(scene, monkeypatch):
                raise AssertionError("it listens")


def test_what_the_cluster_is_not_known_for_is_none(scene: Scene) -> None:
    settings = read_admission_settings(scene.variables())
    with logging_to_stdout(settings.log, Lines()) as logging:
        process: Any = AdmissionProcess(settings, logging)
    assert (process.known, process.labels_of("team")) == (None, None)
