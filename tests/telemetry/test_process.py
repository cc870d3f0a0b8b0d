"""What the process tells about itself, held against what Python knows of it."""

import gc
import os
import resource
import time
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import ProcessCollector

from exchanger.telemetry import metrics_server
from exchanger.telemetry.metrics_server import process_metrics

NAMES: Final = {
    "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge",
    "process_virtual_memory_bytes": "gauge",
    "process_start_time_seconds": "gauge",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
}
"""Those that Prometheus' client libraries have in common, as far as there is something to measure here."""
TICK_S: Final = 0.02
"""Twice the resolution of processor times in /proc."""


def values() -> dict[str, float]:
    return {sample.name: sample.value for metric in process_metrics() for sample in metric.samples}


def test_names_and_types_are_those_that_all_client_libraries_have() -> None:
    assert {sample.name: metric.type for metric in process_metrics() for sample in metric.samples} == NAMES
    assert all(not sample.labels for metric in process_metrics() for sample in metric.samples)


def test_processor_time_is_that_of_this_process() -> None:
    before = time.process_time()
    found = values()["process_cpu_seconds_total"]

    assert before - TICK_S <= found <= time.process_time() + TICK_S


def test_open_files_are_counted() -> None:
    gc.collect()  # or files that other tests have forgotten are closed in between
    before = values()["process_open_fds"]
    ends = os.pipe()
    after = values()["process_open_fds"]
    for end in ends:
        os.close(end)

    assert after == before + 2
    assert values()["process_max_fds"] == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


STAT: Final = "1 (python) S " + " ".join(str(number) for number in range(1, 50))
LIMIT: Final = "Max open files            1024                 4096                 files\n"


@pytest.mark.parametrize(
    ("stat", "limits", "told"),
    [
        (STAT, LIMIT, 6),
        (STAT, LIMIT.replace("1024     ", "unlimited"), 0),
        (STAT, "", 0),
        ("1 (python) S", LIMIT, 0),
        ("", LIMIT, 0),
        (STAT, None, 4),
    ],
    ids=["all is well", "no limit", "no such line", "a short line", "nothing", "no such file"],
)
def test_a_proc_that_is_written_differently_is_no_fault(
    stat: str, limits: str | None, told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stat").write_text("cpu 1\nbtime 1700000000\n")
    (tmp_path / "self" / "fd").mkdir(parents=True)
    (tmp_path / "self" / "stat").write_text(stat)
    if limits is not None:
        (tmp_path / "self" / "limits").write_text(limits)
    monkeypatch.setattr(metrics_server, "_PROCESS", ProcessCollector(proc=str(tmp_path), registry=None))

    assert len(process_metrics()) == told


def test_without_proc_there_is_nothing_to_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "_PROCESS", ProcessCollector(proc=str(tmp_path), registry=None))

    assert process_metrics() == ()
