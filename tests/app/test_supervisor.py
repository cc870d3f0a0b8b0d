"""What the command line makes of faults: the process ends non-zero and says which part failed, and nothing that the part had in hand."""

import base64
import json
import os
import signal
import socket
from pathlib import Path
from typing import Final

import pytest
import structlog
import trio
import trio.testing
from cryptography import x509

from exchanger import cli
from exchanger.app.policy_sync import PolicySync, SyncState
from exchanger.app.settings import read_settings
from exchanger.app.supervisor import StartError, Supervisor
from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.model.notice import Notice, Notices
from exchanger.net.grpc.server import Addresses
from exchanger.operations.console.console import Console
from exchanger.operations.telemetry.log import logging_to_stdout
from exchanger.operations.telemetry.metrics_server import MetricsServer
from exchanger.operations.telemetry.otlp.exports import Exports
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.directory.source import DirectorySource
from tests.e2e.service import ISSUERS, NAMESPACE, config_map, environment
from tests.net.grpc.authority import Site
from tests.policy.examples import deny, snapshot_of
from tests.tiers import mostly_full
from tests.waiting import until

EXPIRY: Final = "ext_authz_tls_certificate_expiry_timestamp_seconds"
MANIFEST: Final = config_map("version: v1\nentries: [{match: {host: h, pathPrefix: /a}, action: deny}]")
ENTRY: Final = snapshot_of(deny("/"))
METRICS_OF_THE_SOURCE: Final = frozenset({"policy_source_connected", "policy_snapshot_age_seconds"})


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "namespace.yaml").write_text(NAMESPACE)
    (tmp_path / "issuers.yaml").write_text(ISSUERS)
    variables = environment(tmp_path, GRPC_PORT="0", METRICS_ENABLED="true", METRICS_PORT="0", METRICS_HOST="127.0.0.1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return folder


async def _broken(_self: object, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started()
    await trio.lowlevel.checkpoint()
    raise RuntimeError("canary-in-a-message")


@pytest.mark.parametrize("part", [DirectorySource, ExchangePipeline, MetricsServer, Exports, Console])
def test_a_fault_in_any_part_ends_the_process(
    part: type, configured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONSOLE_ADDRESS", "127.0.0.1:0")
    monkeypatch.setattr(part, "run", _broken)
    assert cli.main(["serve"]) == 1
    output = capfd.readouterr()
    assert "service.failed" in output.out
    assert "RuntimeError" in output.out
    assert "canary" not in output.out + output.err


def test_a_folder_that_vanishes_at_the_start_is_said_plainly(
    configured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "exchanger.sources.directory.source.scan", lambda _root, before, _wall: type(before)(problem="cannot be listed: gone")
    )
    assert cli.main(["serve"]) == 1
    assert "cannot be listed: gone" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("level", "announced"),
    [
        ("info", ("config.insecure_log_tokens", "config.http_token_endpoints", "config.without_effect")),
        ("error", ("BEARER TOKENS ARE WRITTEN TO THIS LOG",)),
    ],
)
def test_dangerous_switches_are_announced(
    configured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], level: str, announced: tuple[str, ...]
) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    monkeypatch.setenv("TOKEN_EXCHANGE_INSECURE_LOG_TOKENS", "true")
    monkeypatch.setenv("TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT", "true")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    monkeypatch.setattr(DirectorySource, "run", _broken)
    assert cli.main(["serve"]) == 1
    output = capfd.readouterr().out
    assert all(text in output for text in announced)


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (SyncState(None, False), {"policy_source_connected": 0.0}),
        (SyncState(0.0, True), {"policy_source_connected": 1.0, "policy_snapshot_age_seconds": 0.0}),
        (SyncState(12.5, False), {"policy_source_connected": 0.0, "policy_snapshot_age_seconds": 12.5}),
    ],
    ids=["nothing yet", "current", "cut off"],
)
def test_metrics_say_how_current_the_policy_is(
    known: SyncState, said: dict[str, float], configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PolicySync, "state", lambda _self: known)
    found: dict[str, float] = {}

    async def look(supervisor: Supervisor) -> None:
        await trio.lowlevel.checkpoint()
        for metric in supervisor.metrics.collect():
            found.update({sample.name: sample.value for sample in metric.samples if sample.name in METRICS_OF_THE_SOURCE})

    monkeypatch.setattr(Supervisor, "run", look)
    assert cli.main(["serve"]) == 0
    assert found == said


def test_metrics_say_what_keeps_old_profiles_active(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PolicySync, "profiles_rejected", property(lambda _self: True))
    monkeypatch.setattr(PolicySync, "issuer_values_missing", property(lambda _self: 2))
    found: dict[str, float] = {}

    async def look(supervisor: Supervisor) -> None:
        await trio.lowlevel.checkpoint()
        samples = [sample for metric in supervisor.metrics.collect() for sample in metric.samples]
        found.update({sample.name: sample.value for sample in samples if sample.name.startswith("ext_authz_issuer_")})

    monkeypatch.setattr(Supervisor, "run", look)
    assert cli.main(["serve"]) == 0
    assert found == {"ext_authz_issuer_profiles_rejected": 1.0, "ext_authz_issuer_values_missing": 2.0}


OF_FILES: Final = ("policy_unreadable_objects", "policy_source_connected")


@pytest.mark.parametrize(
    ("file", "broken", "named", "connected"),
    mostly_full(
        [
            ("policy/orders.yaml", "kind: ConfigMap\n\tmetadata: {}\n", "orders.yaml", 1.0),
            ("policy/orders.yaml", "", "orders.yaml", 1.0),
            ("policy", None, "POLICY_DIRECTORY", 0.0),
            ("grants.yaml", "grants: [", "POLICY_GRANTS_FILE", 1.0),
            ("audit-keys", "no key", "AUDIT_KEY_FILE", 1.0),
            ("console-token", "", "CONSOLE_TOKEN_FILE", 1.0),
            ("cache-keys", "no key", "TOKEN_CACHE_KEY_FILE", 1.0),
        ],
        [("grants.yaml", "grants: [", "POLICY_GRANTS_FILE", 1.0)],
    ),
    ids=["manifest", "emptied manifest", "folder", "grants", "audit key", "console token", "cache key"],
)
def test_a_file_that_becomes_invalid_is_counted_until_it_is_repaired(
    file: str, broken: str | None, named: str, connected: float, configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    texts = {
        "policy/orders.yaml": MANIFEST,
        "grants.yaml": "version: v1\ngrants: [{namespaces: [team], hosts: [h]}]",
        "audit-keys": key,
        "console-token": "console-token",
        "cache-keys": key,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for name, value in {
        "POLICY_GRANTS_FILE": tmp_path / "grants.yaml",
        "AUDIT_LOG": tmp_path / "audit.jsonl",
        "AUDIT_KEY_FILE": tmp_path / "audit-keys",
        "CONSOLE_ADDRESS": "127.0.0.1:0",
        "CONSOLE_TOKEN_FILE": tmp_path / "console-token",
        "TOKEN_CACHE_URL": "redis://127.0.0.1:1",
        "TOKEN_CACHE_KEY_FILE": tmp_path / "cache-keys",
    }.items():
        monkeypatch.setenv(name, str(value))
    path, elsewhere = tmp_path / file, tmp_path / "elsewhere"
    seen: list[tuple[float, tuple[str, ...], float]] = []

    def state(supervisor: Supervisor) -> tuple[float, tuple[str, ...], float]:
        samples = {sample.name: sample.value for metric in supervisor.metrics.collect() for sample in metric.samples}
        return samples[OF_FILES[0]], supervisor.freshness().objects, samples[OF_FILES[1]]

    run = Supervisor.run

    async def look(supervisor: Supervisor) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, supervisor)
            await until(lambda: supervisor.serving)
            seen.append(state(supervisor))
            path.rename(elsewhere) if broken is None else path.write_text(broken)
            await until(lambda: state(supervisor)[0] > 0)
            seen.append(state(supervisor))
            elsewhere.rename(path) if broken is None else path.write_text(texts[file])
            await until(lambda: state(supervisor)[0] == 0)
            seen.append(state(supervisor))
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Supervisor, "run", look)
    assert cli.main(["serve"]) == 0
    assert seen == [(0.0, (), 1.0), (1.0, (named,), connected), (0.0, (), 1.0)]


def test_metrics_count_variables_without_effect(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLICY_REQIRED", "true")
    monkeypatch.setenv("LOG_LEVEL", "")
    found: list[float] = []

    async def look(supervisor: Supervisor) -> None:
        await trio.lowlevel.checkpoint()
        samples = [sample for metric in supervisor.metrics.collect() for sample in metric.samples]
        found.extend(sample.value for sample in samples if sample.name == "ext_authz_config_without_effect")

    monkeypatch.setattr(Supervisor, "run", look)
    assert cli.main(["serve"]) == 0
    assert found == [2.0]


def test_metrics_say_when_the_certificate_in_use_expires(configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site.at(tmp_path)
    for name, value in (("PORT", 0), ("CERT_FILE", site.files.cert), ("KEY_FILE", site.files.key)):
        monkeypatch.setenv(f"GRPC_TLS_{name}", str(value))
    found: list[float | None] = []

    def expiry(supervisor: Supervisor) -> float | None:
        samples = [sample for metric in supervisor.metrics.collect() for sample in metric.samples if sample.name == EXPIRY]
        return samples[0].value if samples else None

    async def look(supervisor: Supervisor) -> None:
        found.append(expiry(supervisor))
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve, supervisor)
            found.append(expiry(supervisor))
            nursery.cancel_scope.cancel()

    async def _serve(supervisor: Supervisor, *, task_status: trio.TaskStatus[Addresses]) -> None:
        await supervisor.server.run(task_status=task_status)

    monkeypatch.setattr(Supervisor, "run", look)
    assert cli.main(["serve"]) == 0
    certificate = x509.load_pem_x509_certificate(site.files.cert.read_bytes())
    assert found == [None, certificate.not_valid_after_utc.timestamp()]


def test_an_interrupt_before_a_command_took_over_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    assert cli.main(["pre-stop-sleep", "1s"]) == 130


def test_console_tokens_are_announced_and_a_taken_console_port_is_explained(
    configured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("CONSOLE_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        settings = read_settings(os.environ)
        with logging_to_stdout(settings.log) as logging, pytest.RaisesGroup(StartError, flatten_subgroups=True):
            trio.run(Supervisor(settings, logging, console_shows_tokens=True).run)
        assert cli.main(["serve"]) == 1
    output = capfd.readouterr().out
    assert output.count("console.shows_tokens") == 1
    assert "CONSOLE_ADDRESS cannot be bound" in output


def test_a_required_policy_decides_whether_the_service_is_ready(
    configured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLICY_REQUIRED", "true")
    served: list[bool] = []

    async def look(supervisor: Supervisor) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.logging.writer.run)
            for version in (PolicySnapshot.EMPTY, PolicySnapshot.EMPTY, ENTRY, None, PolicySnapshot.EMPTY, ENTRY):
                if version is None:
                    supervisor.on_stale(True)
                else:
                    supervisor.policy.publish(version)
                served.append(supervisor.serving)
            supervisor.board.set_draining()
            for version in (PolicySnapshot.EMPTY, ENTRY):
                supervisor.policy.publish(version)
                served.append(supervisor.serving)
            nursery.cancel_scope.cancel()

    monkeypatch.setattr(Supervisor, "run", look)
    assert cli.main(["serve"]) == 0
    assert served == [False, False, True, False, False, True, False, False]
    output = capfd.readouterr().out
    assert (output.count('"policy.missing"'), output.count('"policy.restored"')) == (3, 3)


def test_the_console_shows_notices_of_variables_and_policy(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_EXCHANGE_DEFAULT_DENY_UNMACHED", "true")
    found: list[Notice] = []

    async def look(supervisor: Supervisor) -> None:
        await trio.lowlevel.checkpoint()
        supervisor.policy.notices = Notices((Notice("policy", "is missing", "write one"),))
        found.extend(notice for notices in supervisor.all_notices() for notice in notices.listed)

    monkeypatch.setattr(Supervisor, "run", look)
    assert cli.main(["serve"]) == 0
    assert [notice.subject for notice in found] == ["variable TOKEN_EXCHANGE_DEFAULT_DENY_UNMACHED", "policy"]


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (True, True), (False, False)])
def test_the_service_has_started_once_it_listens_and_has_a_policy(
    before: bool, after: bool, configured: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A policy comes ``before`` the listeners are there, or ``after`` that, or both, or none does."""

    async def run(sync: PolicySync) -> None:
        if before:
            sync.policy.publish(ENTRY)
        await trio.testing.wait_all_tasks_blocked()
        structlog.get_logger().info("policy.comes")
        if after:
            sync.policy.publish(ENTRY)
        os.kill(os.getpid(), signal.SIGTERM)
        await trio.sleep_forever()

    monkeypatch.setattr(PolicySync, "run", run)
    assert cli.main(["serve"]) == 0
    events = [line["event"] for line in map(json.loads, capfd.readouterr().out.splitlines())]
    told = [event for event in events if event in {"service.started", "policy.comes", "service.draining"}]
    listening = max(at for at, event in enumerate(events) if event == "service.listening")
    if before:
        assert told == ["service.started", "policy.comes", "service.draining"]
        assert events.index("service.started") > listening
    else:
        assert told == ["policy.comes", *(["service.started"] if after else []), "service.draining"]
