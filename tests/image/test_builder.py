"""``image/build.py``: what it makes of a machine's settings, and of machines that cannot build images."""

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.image.conftest import BUILDER, run_builder


@pytest.fixture
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image_builder", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_user_who_is_not_root_is_told_so(
    builder: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda program, **_: None if program == "sudo" else f"/usr/bin/{program}")
    assert builder.main([]) == 75
    assert builder.main(["--where"]) == 75
    assert "no image can be built here: images are built by root" in capsys.readouterr().err


def test_a_machine_without_apt_is_reported(
    builder: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_apt(*_arguments: object, **_options: object) -> None:
        raise FileNotFoundError("apt-get")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(subprocess, "run", no_apt)
    assert builder.main([]) == 75
    assert "there is no buildah and no debootstrap" in capsys.readouterr().err


def test_the_machines_registry_and_authority_are_lent(builder: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)  # and with it, none of the machine's files
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    authority = tmp_path / "authority.pem"
    authority.write_text("PEM")
    monkeypatch.setenv("PIP_INDEX_URL", "https://registry.example.com/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/somewhere/here")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    folder = tmp_path / "secrets"
    folder.mkdir()
    arguments = builder.pip_secrets(folder)
    lines = (folder / "pip.conf").read_text().splitlines()
    assert lines[0] == "[global]"
    assert "index-url = https://registry.example.com/simple" in lines
    assert "cert = /run/secrets/ca.pem" in lines
    assert not [line for line in lines if "find-links" in line or "/somewhere" in line]
    assert (folder / "ca.pem").read_text() == "PEM"
    assert [argument.partition(",")[0] for argument in arguments if argument != "--secret"] == ["id=ca.pem", "id=pip.conf"]


def test_an_image_is_named_by_what_it_is_made_from(builder: ModuleType, tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    builder.copy_sources(sources)
    assert not list(sources.rglob("__pycache__"))
    name = builder.digest_of(sources, "bookworm")
    assert name == builder.digest_of(sources, "bookworm")
    assert name != builder.digest_of(sources, "trixie")
    (sources / "exchanger" / "cli.py").write_text("pass")
    assert name != builder.digest_of(sources, "bookworm")


def test_docker_ignores_the_same_files_as_podman() -> None:
    """A working copy may hold credentials and gigabytes, none of which a build is to be sent."""
    ignored = (BUILDER.parents[1] / ".containerignore").read_bytes()
    assert (BUILDER.parents[1] / ".dockerignore").read_bytes() == ignored
    assert ignored.splitlines()[1] == b"*"  # all but what is named


@pytest.mark.image
@pytest.mark.slow
def test_a_second_build_has_the_same_layer_of_our_files(described: dict[str, Any]) -> None:
    done = run_builder("--twice")
    assert done.returncode == 0, done.stdout + done.stderr
    layers = json.loads(done.stdout)
    assert len(layers["first"]) == len(layers["second"]) == 3
    assert layers["first"][-1] == layers["second"][-1]
