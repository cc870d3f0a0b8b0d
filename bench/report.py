"""What compare.py and growth.py found, as data, as tables in Markdown and as a plot; nothing is measured here.

Their data is kept beside the page that shows it, and ``.ci/generate.py performance`` renders it.
"""

import datetime as dt
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "explanation" / "performance.md"
COMPARISON: Final = PAGE.with_name("performance-comparison.json")
GROWTH: Final = PAGE.with_name("performance-growth.json")
PLOT: Final = ROOT / "docs" / "images" / "growth.svg"
NO_FILTER: Final = "no filter"
NOT_APPLICABLE: Final = "–"
# The columns of the table, and their titles.
SERVERS: Final[Mapping[str, str]] = {"grpc-go": "grpc-go, static", "exchanger": "exchanger", "OPA": "OPA", "Go service": "Go service"}
Data = Mapping[str, Any]


@attrs.frozen
class Case:
    """A scenario, how it was asked (connections × streams, or a rate), and a server."""

    scenario: str
    load: str
    server: str


# The machine and what is on it


def machine() -> dict[str, str]:
    """Return what figures depend on."""
    models = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "CPU": models[0] if models else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release().partition("-")[0],
    }


def own_versions() -> dict[str, str]:
    """Return the service's version and Python's, with how it was built, which makes a tenth to a third."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    git = ("git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD")
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "exchanger": f"commit {commit}" if commit else "unknown",
        "Python": f"{platform.python_version()}, built {'with' if optimised else 'without'} profile-guided optimisation",
    }


def _measured(versions: Mapping[str, str], method: Mapping[str, int]) -> dict[str, Any]:
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return {"measured": today, "machine": machine(), "versions": dict(versions), "method": dict(method)}


def comparison(
    cells: Mapping[Case, Mapping[str, Sequence[float]]], memory: Mapping[str, float], versions: Mapping[str, str], method: Mapping[str, int]
) -> Data:
    """Return what compare.py keeps: each figure of each round."""
    rows = [{"scenario": case.scenario, "load": case.load, "server": case.server, **found} for case, found in cells.items()]
    return {**_measured(versions, method), "memory_mib": {name: round(size, 1) for name, size in memory.items()}, "rows": rows}


def growth(points: Iterable[Data], versions: Mapping[str, str], method: Mapping[str, int]) -> Data:
    """Return what growth.py keeps."""
    return {**_measured(versions, method), "rows": list(points)}


def as_json(data: Data) -> str:
    """Return ``data`` with each row on a line, so that a difference shows what changed."""
    head = json.dumps({key: value for key, value in data.items() if key != "rows"}, indent=1, ensure_ascii=False)
    rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in data["rows"])
    return f'{head.removesuffix("}").rstrip()},\n "rows": [\n  {rows}\n ]\n}}\n'


def namespaces_for(entries: int) -> int:
    """Return how many namespaces that many ConfigMaps are spread over, where their number is what is looked at."""
    return max(1, entries // 100)


# Tables


def shown(figures: Sequence[float]) -> str:
    """Return the median, and lowest and highest where they differ from it, to three digits."""
    low, middle, high = min(figures), statistics.median(figures), max(figures)
    texts = [f"{one:.0f}" if high >= 100 else f"{one:.1f}" if high >= 10 else f"{one:.2f}" for one in (low, middle, high)]
    return texts[1] if texts[0] == texts[2] else f"{texts[1]} ({texts[0]}–{texts[2]})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def comparison_table(data: Data) -> str:
    """Return the table of compare.py, and what it was measured with."""
    cells = {Case(row["scenario"], row["load"], row["server"]): row for row in data["rows"]}
    servers = {name: title for name, title in SERVERS.items() if any(case.server == name for case in cells)}
    figures = {"CPU µs": "cpu_us", "p50 ms": "p50_ms", "p99 ms": "p99_ms"}
    rows: list[list[str]] = []
    for scenario, load in dict.fromkeys((case.scenario, case.load) for case in cells if case.server != NO_FILTER):
        asked = {name: cells.get(Case(scenario, load, name)) for name in servers}
        before = cells.get(Case(NO_FILTER, load, NO_FILTER))
        for title, key in figures.items():
            if not any(key in cell for cell in asked.values() if cell):
                continue
            row = [shown(cell[key]) if cell and key in cell else NOT_APPLICABLE for cell in asked.values()]
            rows.append([scenario, load, title, shown(before[key]) if before and key in before else NOT_APPLICABLE, *row])
    memory = [f"{data['memory_mib'][name]:.0f}" if name in data["memory_mib"] else NOT_APPLICABLE for name in servers]
    rows.append(["10,000 entries", "after all calls", "memory MiB", NOT_APPLICABLE, *memory])
    missing = [title for name, title in SERVERS.items() if name not in servers]
    wrong = [
        f"{row['server']}, {row['scenario']}, {row['load']}: {sum(row['wrong']):.0f}" for row in data["rows"] if sum(row.get("wrong", ()))
    ]
    failed = f" Requests without the right answer: {'; '.join(wrong)}." if wrong else ""
    left_out = f" Not measured here: {', '.join(missing)}." if missing else ""
    return f"{table(['scenario', 'load', 'figure', NO_FILTER, *servers.values()], rows)}\n{conditions(data)}{left_out}{failed}\n"


def conditions(data: Data) -> str:
    """Return a paragraph about machine, versions and method."""
    machine_text = f"{data['machine']['CPU']}, {data['machine']['cores']} cores, Linux {data['machine']['kernel']}"
    versions = "; ".join(f"{name} {version}" for name, version in data["versions"].items())
    method = ", ".join(f"{count:,} {name}" for name, count in data["method"].items())
    return f"Measured on {data['measured']} on {machine_text}. {versions}. {method}."


def growth_table(data: Data) -> str:
    """Return the table of growth.py."""
    columns = {
        "start, s": "start_s",
        "CPU of the start, s": "start_cpu_s",
        "memory, MiB": "memory_mib",
        "peak": "highest_mib",
        "CPU µs a decision, entry matches": "hit_us",
        "no entry matches": "miss_us",
        "edit takes effect, ms": "edit_ms",
    }
    rows = [[f"{row['entries']:,}", f"{row['namespaces']:,}", *(shown(row[key]) for key in columns.values())] for row in data["rows"]]
    return f"{table(['ConfigMaps of one entry', 'namespaces', *columns], rows)}\n{conditions(data)}\n"


# The plot

WIDTH: Final = 230
HEIGHT: Final = 170
MARGIN: Final = 46
COLOURS: Final = ("#0b6bcb", "#c2410c")
PANELS: Final[Sequence[tuple[str, Mapping[str, str], bool]]] = (
    ("CPU µs a decision", {"an entry decides": "hit_us", "no entry matches": "miss_us"}, False),
    ("memory, MiB", {"peak": "highest_mib"}, True),
    ("start, s", {"until it serves": "start_s", "of it CPU": "start_cpu_s"}, True),
    ("edit takes effect, ms", {"median": "edit_ms"}, False),
)


def scale(lowest: float, highest: float, *, log: bool) -> tuple[Callable[[float], float], list[float]]:
    """Return where a value is on an axis, from 0 to 1, and the ticks: from zero, or whole powers of ten around the values."""
    if log:
        first, last = math.floor(math.log10(lowest) + 1e-9), math.ceil(math.log10(highest) - 1e-9)
        last = max(last, first + 1)
        return lambda value: (math.log10(value) - first) / (last - first), [10.0**power for power in range(first, last + 1)]
    step = 10.0 ** math.floor(math.log10(highest))
    step = next(step * by for by in (0.2, 0.5, 1, 2) if highest / (step * by) <= 5)
    top = step * math.ceil(highest / step)
    return lambda value: value / top, [step * number for number in range(round(top / step) + 1)]


def number(value: float) -> str:
    """Return a tick's text."""
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def panel(title: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, log: bool, below: str) -> str:
    """Return one diagram, of lines by name, over a logarithmic axis."""
    xs, ys = ([point[at] for line in lines.values() for point in line] for at in (0, 1))
    (along, x_ticks), (up, y_ticks) = scale(min(xs), max(xs), log=True), scale(min(ys), max(ys), log=log)

    def place(x: float, y: float) -> tuple[float, float]:
        return round(MARGIN + along(x) * (WIDTH - MARGIN - 12), 1), round(HEIGHT - 34 - up(y) * (HEIGHT - 84), 1)

    left, bottom = place(x_ticks[0], y_ticks[0])
    right, top = place(x_ticks[-1], y_ticks[-1])
    parts = [f'<text class="title" x="8" y="16">{title}</text>']
    for tick in y_ticks:
        _, y = place(x_ticks[0], tick)
        parts.append(
            f'<path class="grid" d="M{left} {y}H{right}"/><text x="{left - 5}" y="{y + 3}" text-anchor="end">{number(tick)}</text>'
        )
    for tick in x_ticks:
        x, _ = place(tick, y_ticks[0])
        parts.append(
            f'<path class="grid" d="M{x} {top}V{bottom}"/><text x="{x}" y="{bottom + 13}" text-anchor="middle">{number(tick)}</text>'
        )
    parts.append(f'<text x="{(left + right) / 2}" y="{HEIGHT - 7}" text-anchor="middle">{below}</text>')
    for index, ((name, line), colour) in enumerate(zip(lines.items(), COLOURS, strict=False)):
        places = [place(*point) for point in sorted(line)]
        path = "L".join(f"{x} {y}" for x, y in places)
        dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>' for x, y in places)
        parts.append(f'<path d="M{path}" stroke="{colour}" stroke-width="1.5" fill="none"/>{dots}')
        parts.append(f'<text x="{8 + 100 * index}" y="31" style="fill:{colour}">{name}</text>')
    return "".join(parts)


def growth_plot(data: Data) -> str:
    """Return the plot: a column for each figure, above by the number of ConfigMaps, below by that of namespaces."""
    rows = data["rows"]
    by_entries = {row["entries"]: row for row in rows if row["namespaces"] == namespaces_for(row["entries"])}
    spread = statistics.mode(row["entries"] for row in rows)
    by_namespaces = {row["namespaces"]: row for row in rows if row["entries"] == spread}
    sweeps = (("ConfigMaps of one entry", by_entries), (f"namespaces, with {spread:,} ConfigMaps", by_namespaces))
    drawn = [
        f'<g transform="translate({column * WIDTH} {line * HEIGHT})">'
        + panel(
            title,
            {name: [(at, statistics.median(row[key])) for at, row in points.items()] for name, key in keys.items()},
            log=log,
            below=below,
        )
        + "</g>"
        for line, (below, points) in enumerate(sweeps)
        for column, (title, keys, log) in enumerate(PANELS)
    ]
    width, height = WIDTH * len(PANELS), HEIGHT * len(sweeps)
    style = "text{font:10px sans-serif;fill:#333}.title{font-weight:bold;font-size:11px}.grid{stroke:#ddd;fill:none}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="Growth of the service">\n'
        f'<style>{style}</style><rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


# The page


def between(text: str, mark: str, content: str) -> str:
    """Return ``text`` with ``content`` between the two marks of that name."""
    begin, end = f"<!-- {mark}: written by .ci/generate.py from what bench/ measured -->\n", f"\n<!-- end of {mark} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"no marks of {mark}")
    return f"{before}{begin}\n{content}{end}{after}"


def pages() -> dict[Path, str]:
    """Return the page and the plot, by the data that is there."""
    compared, grown = json.loads(COMPARISON.read_text()), json.loads(GROWTH.read_text())
    text = between(PAGE.read_text(), "comparison", comparison_table(compared))
    return {PAGE: between(text, "growth", growth_table(grown)), PLOT: growth_plot(grown)}


def write() -> None:
    """Render the data into the page and the plot."""
    for path, text in pages().items():
        path.write_text(text)
        print(path, file=sys.stderr)


def keep(data: Data, page_data: Path, out: Path | None, *, in_page: bool) -> None:
    """Write the raw data to ``out``, and with ``in_page`` also beside the page, which is rendered anew."""
    if out:
        out.write_text(as_json(data))
    if in_page:
        page_data.write_text(as_json(data))
        write()
