"""The scripts in ``bench/`` whose figures the documentation has run, with numbers so small that the figures mean nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools import find_tool

ROOT = Path(__file__).resolve().parents[2]
# Seconds; a build of the peers and a dozen starts take a minute on an idle machine.
SCRIPT_S = 540.0


def run(folder: Path, script: str, *options: str) -> dict[str, Any]:
    """Run a script, and return the data that it writes."""
    out = folder / "data.json"
    command = (sys.executable, str(ROOT / "bench" / script), *options, "--out", str(out))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SCRIPT_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("| ")
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.h2load
def test_growth(tmp_path: Path) -> None:
    find_tool("h2load")
    data = run(
        tmp_path, "growth.py", "--times", "1", "--sizes", "10", "--namespaces", "2", "--spread", "20", "--calls", "100", "--edits", "2"
    )
    assert [(row["entries"], row["namespaces"]) for row in data["rows"]] == [(10, 1), (20, 2)]
    assert all(min(row["hit_us"] + row["miss_us"] + row["memory_mib"]) > 0 and len(row["edit_ms"]) == 2 for row in data["rows"])


@pytest.mark.slow
@pytest.mark.h2load
@pytest.mark.envoy
@pytest.mark.go
def test_compare(tmp_path: Path) -> None:
    find_tool("h2load")
    if shutil.which("go") is None:
        pytest.skip("Go is not installed: run python3 .ci/tools.py h2spec")
    small = ("--rounds", "1", "--calls", "50", "--shapes", "1x2", "--hosts", "20", "--seconds", "1", "--rates", "20")
    data = run(tmp_path, "compare.py", *small)
    servers = {(row["scenario"], row["server"]) for row in data["rows"] if row["load"] == "20/s"}
    assert {("no filter", "no filter"), ("exchange", "grpc-go"), ("exchange", "exchanger")} <= servers
    assert all(figure > 0 for row in data["rows"] for key in ("cpu_us", "p50_ms", "p99_ms") for figure in row.get(key, ()))
    assert set(data["memory_mib"]) >= {"grpc-go", "exchanger"}
