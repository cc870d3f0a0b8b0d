"""Where the programs are that ``.ci/tools.py`` provides."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

PROVIDER: Final = Path(__file__).resolve().parents[1] / ".ci" / "tools.py"


@cache
def provider() -> ModuleType:
    """Return the module that provides the tools."""
    spec = importlib.util.spec_from_file_location("ci_tools", PROVIDER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def where(name: str) -> Path | None:
    """Return where a tool is, ``None`` when it is not there."""
    found = provider().where(name)
    assert found is None or isinstance(found, Path)
    return found


def find_tool(name: str) -> Path:
    """Return where a tool is; skip the test when it is not there."""
    found = where(name)
    if found is None:
        pytest.skip(f"{name} is not installed: run python3 .ci/tools.py {name}")
    return found
