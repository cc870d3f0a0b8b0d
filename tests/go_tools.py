"""Where the programs are that ``.ci/go_tools.py`` builds."""

import importlib.util
from pathlib import Path
from typing import Final

import pytest

BUILDER: Final = Path(__file__).resolve().parent.parent / ".ci" / "go_tools.py"


def find_tool(name: str) -> Path:
    """Return the path of a built tool, ``grpcurl`` or ``h2spec``; skip the test when it was not built."""
    spec = importlib.util.spec_from_file_location("go_tools", BUILDER)
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    path = builder.path_of(name)
    assert isinstance(path, Path)
    if not path.exists():
        pytest.skip(f"{name} is not built: run python .ci/go_tools.py, which needs Go or installs it")
    return path
