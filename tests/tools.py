"""Where the programs are that ``.ci/tools.py`` provides."""

import importlib.util
import re
import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

PROVIDER: Final = Path(__file__).resolve().parents[1] / ".ci" / "tools.py"
# How a skip says which tools would help; ``what_tools_would_add`` reads it.
_HINT: Final = re.compile(r"run python3 \.ci/tools\.py ([a-z0-9-]+(?: [a-z0-9-]+)*)")


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


def duration(seconds: int) -> str:
    """Return a duration in words: seconds below a minute, else minutes."""
    return f"{seconds} s" if seconds < 60 else f"{round(seconds / 60)} min"


def what_tools_would_add(reasons: Iterable[str]) -> str | None:
    """Return one line about the tests that were skipped for these reasons; ``None`` if no tool would help any of them."""
    counts = Counter(found[1] for found in map(_HINT.search, reasons) if found)
    if not counts:
        return None
    seconds: dict[str, int] = provider().SECONDS
    parts = {names: sum(seconds[name] for name in names.split()) for names, _ in counts.most_common()}
    details = ", ".join(f"{names} {counts[names]:,} ({duration(took)})" for names, took in parts.items())
    tests = f"{counts.total():,} test{'s' if counts.total() > 1 else ''}"
    return f"python3 .ci/tools.py {' '.join(parts)} would add {tests}, in about {duration(sum(parts.values()))}: {details}"


def find_tool(name: str) -> Path:
    """Return where a tool is; skip the test when it is not there."""
    found = where(name)
    if found is None:
        pytest.skip(f"{name} is not installed: run python3 .ci/tools.py {name}")
    return found
