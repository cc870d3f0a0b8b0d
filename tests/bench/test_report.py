"""What benchmarks found is shown as it was measured: ``bench/report.py``."""

import importlib.util
import json
import statistics
import sys
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILE = Path(__file__).resolve().parents[2] / "bench" / "report.py"


@cache
def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_report", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where attrs looks for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report() -> ModuleType:
    return load()


def compared(report: ModuleType, **servers: list[float]) -> Any:
    cells = {report.Case("allow", "1 × 20", name): {"cpu_us": figures} for name, figures in servers.items()}
    return report.comparison(cells, {"exchanger": 93.6}, {"Envoy": "1.40.0"}, {"rounds": 3})


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ([25.0], "25.0"),
        ([25.04, 24.96], "25.0"),
        ([24, 30, 25], "25.0 (24.0–30.0)"),
        ([0.4, 0.5, 1.25], "0.50 (0.40–1.25)"),
        ([99, 101], "100 (99–101)"),
    ],
)
def test_a_cell_has_the_median_and_the_spread(report: ModuleType, figures: list[float], text: str) -> None:
    assert report.shown(figures) == text


def test_comparison_has_a_column_per_server_and_names_unmeasured_servers(report: ModuleType) -> None:
    text = report.comparison_table(compared(report, **{"grpc-go": [20.0, 22.0, 21.0], "exchanger": [25.0]}))
    head, _, row, memory, *_ = text.splitlines()
    assert head == "| scenario | load | figure | no filter | grpc-go, static | exchanger |"
    assert row == "| allow | 1 × 20 | CPU µs | – | 21.0 (20.0–22.0) | 25.0 |"
    assert memory.endswith("| – | 94 |")
    assert text.rstrip().endswith("Envoy 1.40.0. 3 rounds. Not measured here: OPA, Go service.")


def test_requests_without_the_right_answer_are_named(report: ModuleType) -> None:
    wrong = {"exchanger": [0, 3], "OPA": [0, 0]}
    cells = {report.Case("allow", "500/s", name): {"p50_ms": [0.5, 0.5], "wrong": count} for name, count in wrong.items()}
    text = report.comparison_table(report.comparison(cells, {}, {}, {}))
    assert text.rstrip().endswith("Requests without the right answer: exchanger, allow, 500/s: 3.")


def test_what_envoy_takes_without_a_filter_stands_beside_each_server(report: ModuleType) -> None:
    figures = {"p50_ms": [0.4], "p99_ms": [1.5]}
    cells = {
        report.Case("no filter", "500/s", "no filter"): figures,
        report.Case("allow", "500/s", "exchanger"): {"p50_ms": [0.5], "p99_ms": [2]},
    }
    rows = report.comparison_table(report.comparison(cells, {}, {}, {})).splitlines()[2:4]
    assert rows == ["| allow | 500/s | p50 ms | 0.40 | 0.50 |", "| allow | 500/s | p99 ms | 1.50 | 2.00 |"]


def test_data_is_kept_as_it_was_measured_one_row_a_line(report: ModuleType) -> None:
    data = compared(report, exchanger=[1.5, 2.5], OPA=[3.0])
    text = report.as_json(data)
    assert json.loads(text) == data
    assert sum('"scenario"' in line for line in text.splitlines()) == 2


@given(st.lists(st.floats(0.01, 1e6), min_size=2), st.booleans())
def test_every_value_is_within_its_axis(values: list[float], log: bool) -> None:
    along, ticks = load().scale(min(values), max(values), log=log)
    assert all(-1e-9 <= along(value) <= 1 + 1e-9 for value in values)
    assert 2 <= len(ticks) <= 10
    assert along(ticks[0]) == pytest.approx(0)
    assert along(ticks[-1]) == pytest.approx(1)


def grown(entries: int, namespaces: int) -> dict[str, Any]:
    keys = ("start_s", "start_cpu_s", "memory_mib", "highest_mib", "hit_us", "miss_us", "edit_ms")
    return {"entries": entries, "namespaces": namespaces, **{key: [entries / 10 + 1.0, entries / 10 + 2.0] for key in keys}}


def test_the_plot_is_drawn_of_both_sweeps(report: ModuleType) -> None:
    data = {"rows": [grown(10, 1), grown(100, 1), grown(1000, 1), grown(1000, 10), grown(1000, 100)]}
    svg = ET.fromstring(report.growth_plot(data))
    texts = ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("ConfigMaps of one entry") == texts.count("namespaces, with 1,000 ConfigMaps") == len(report.PANELS)
    # Three points of each line above, and three below.
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}circle"))) == 6 * (3 + 3)


def test_the_table_of_growth_has_a_row_a_point(report: ModuleType) -> None:
    text = report.growth_table({**compared(report), "rows": [grown(10, 1), grown(1000, 10)]})
    assert text.splitlines()[3].startswith("| 1,000 | 10 | 102 (101–102) |")


def test_a_page_without_its_marks_is_an_error(report: ModuleType) -> None:
    with pytest.raises(ValueError, match="no marks of growth"):
        report.between("# Performance", "growth", "text")


# The page on sizes rounds what was measured. A cell may be off by this much of it.
ROUNDED = 0.3


def sized(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the page on sizes."""
    text = (FILE.parents[1] / "docs" / "how-to" / "size.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def numbers(cells: list[str]) -> list[float]:
    return [float(cell.split()[0].replace(",", "")) for cell in cells]


def test_sizes_by_requests_follow_from_what_was_measured(report: ModuleType) -> None:
    costs = {
        (row["scenario"], row["load"]): statistics.median(row["cpu_us"])
        for row in json.loads(report.COMPARISON.read_text())["rows"]
        if row["server"] == "exchanger"
    }
    busy, most = (numbers(row[1:]) for row in sized("By requests"))
    scenarios = ("allow, no policy", "exchange, cached token", "exchange")
    assert busy == pytest.approx([costs[scenario, "1000/s"] / 10 for scenario in scenarios], rel=ROUNDED)
    assert most == pytest.approx([1e6 / costs[scenario, "8 × 2"] for scenario in scenarios], rel=ROUNDED)


def test_sizes_by_policies_follow_from_what_was_measured(report: ModuleType) -> None:
    grown = {
        row["entries"]: [statistics.median(row[name]) for name in ("memory_mib", "start_s")]
        for row in json.loads(report.GROWTH.read_text())["rows"]
    }
    shown = {int(row[0].rpartition(" ")[2].replace(",", "")): numbers(row[1:]) for row in sized("By policies")}
    assert shown == {entries: pytest.approx(grown[entries], rel=ROUNDED) for entries in shown}
    assert len(shown) > 1
