"""``.ci/pythons.py`` tests each supported Python that is at hand, and says which are not."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from tests.test_supported_pythons import SUPPORTED

SCRIPT: Final = Path(__file__).resolve().parent.parent / ".ci" / "pythons.py"
HERE: Final = ".".join(map(str, sys.version_info[:2]))


@pytest.fixture
def pythons(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("pythons", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_supported_versions_are_the_classifiers(pythons: ModuleType) -> None:
    assert pythons.supported() == SUPPORTED


def test_a_program_counts_by_the_version_that_it_has(pythons: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.99"  # as pyenv leaves them for versions that are not switched on
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setattr(pythons, "candidates", lambda _: iter((shim, tmp_path / "none", Path(sys.executable))))
    assert pythons.python_of(HERE) == ((), Path(sys.executable))


def test_a_version_that_is_not_at_hand_is_named(
    pythons: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pythons, "candidates", lambda _: iter(()))
    assert pythons.test("3.99")
    assert capsys.readouterr().out.startswith("not at hand: 3.99 (")


def test_each_room_that_other_pythons_run_has_tests(pythons: ModuleType) -> None:
    assert [room for room in pythons.ROOMS if not (SCRIPT.parent.parent / "tests" / room).is_dir()] == []
