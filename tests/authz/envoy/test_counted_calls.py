"""What one call costs may not grow unnoticed. Where it has to: ``python -m tests.authz.envoy.counted_calls --record``, and say why."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.authz.envoy.counted_calls import PYTHON, RECORDED

# By how much a figure may be more than the recorded one.
_MARGIN: Final = 0.03
_KNOWN: Final = json.loads(RECORDED.read_text())


def counted() -> dict[str, dict[str, int]]:
    # In a process of its own, since others leave things in memory. A tracer of coverage would be in the way of that which counts.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.authz.envoy.counted_calls"], cwd=root, env=environment, check=True, capture_output=True
    )
    found: dict[str, dict[str, int]] = json.loads(ran.stdout)
    return found


def test_no_call_costs_more_than_recorded() -> None:
    # Each version of Python has instructions of its own. Without recorded figures, they are at least the same in two processes.
    before, found = _KNOWN.get(PYTHON) or counted(), counted()
    grown = {
        f"{case}: {unit}": (now, was)
        for case, figures in before.items()
        for unit, was in figures.items()
        if (now := found[case][unit]) > was * (1 + _MARGIN)
    }
    assert not grown, f"more than {_MARGIN:.0%} over the recorded figures: {grown}"
    assert found.keys() == before.keys()
