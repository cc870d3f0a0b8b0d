"""How many small defects the tests of a room notice: a sample of mutants, drawn with a fixed seed.

Each mutant is the source with one change: a comparison, an operator or a condition turned around, a number or a truth value changed, a
return value or a statement removed. First the room's tests run once, and coverage records which of them run each line. A mutant is killed
when one of the tests that run its line fails or does not end in time; the survivors are printed with their places. Only the quick tier is
asked: no real parts, and 20 examples of each law. The changes are made in copies, so the checkout stays as it is.

Usage: .venv/bin/python bench/mutants.py [ROOM ...] [--count 60] [--seed 14] [--jobs 2]
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import cache_from_source
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from coverage import Coverage, CoverageData

# What is mutated, and the tests that must notice.
ROOMS: Final = {
    "policy": (["exchanger/policy"], ["tests/policy", "tests/property/test_policy*.py", "tests/property/test_values.py"]),
    "yaml": (["exchanger/yaml"], ["tests/yaml", "tests/policy/documents", "tests/schemas", "tests/scenarios/test_*r*.py", "tests/codes"]),
    "decision": (["exchanger/decision"], ["tests/decision", "tests/property/test_decision.py"]),
    "oauth": (
        ["exchanger/oauth"],
        ["tests/oauth", "tests/exchange", *(f"tests/property/test_{room}*.py" for room in ("exchange", "oauth"))],
    ),
    "exchange": (
        ["exchanger/exchange"],
        ["tests/exchange", *(f"tests/property/test_{room}*.py" for room in ("exchange", "oauth", "net_pool", "jwt"))],
    ),
    "net": (["exchanger/net"], ["tests/net", "tests/exchange", "tests/property/test_net*.py"]),
    "jwt": (["exchanger/jwt"], ["tests/jwt", "tests/property/test_jwt.py"]),
    "tools": (["exchanger/tools"], ["tests/author_tools", "tests/check", "tests/codes", "tests/schemas", "tests/property/test_tools*.py"]),
    "grpc-connection": (["exchanger/grpc/connection.py"], ["tests/grpc", "tests/property/test_grpc*.py"]),
    "kube-reflector": (["exchanger/kube/reflector.py"], ["tests/kube", "tests/property/test_kube_*.py"]),
}
# Seconds: several times what the tests of any line take, since a mutant may loop.
TIMEOUT_S: Final = 120.0

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


def pytest_runtest_logstart(nodeid: str) -> None:
    """Tell coverage which test runs the lines from here on: this module is also the plugin of the first run."""
    if (coverage := Coverage.current()) is not None:
        coverage.switch_context(nodeid)


def mutation(node: ast.AST) -> tuple[ast.expr | ast.stmt, str] | None:
    """Return the part of ``node`` to replace and the text to replace it with, or ``None`` where there is nothing to mutate."""
    match node:
        case ast.Compare(ops=[first, *rest]) if type(first) in _COMPARISONS:
            changed = ast.Compare(left=node.left, ops=[_COMPARISONS[type(first)](), *rest], comparators=node.comparators)
            return node, f"({ast.unparse(changed)})"
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return node, f"({ast.unparse(ast.BinOp(left=node.left, op=_OPERATORS[type(node.op)](), right=node.right))})"
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            return node, f"({ast.unparse(ast.BoolOp(op=other, values=node.values))})"
        case ast.UnaryOp(op=ast.Not()):
            return node, f"({ast.unparse(node.operand)})"
        case ast.If():
            return node.test, f"(not ({ast.unparse(node.test)}))"
        case ast.Constant(value=bool(value)):
            return node, repr(not value)
        case ast.Constant(value=int(value) | float(value)):
            return node, repr(value + 1)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            return node, "return None"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign():
            return node, "pass"
    return None


def mutants(source: str) -> list[tuple[range, str, str]]:
    """Return every mutant of ``source``: its lines, what was changed, and the mutated source."""
    raw = source.encode()
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in ast.walk(ast.parse(source)):
        if (change := mutation(node)) is None:
            continue
        part, text = change
        last = part.end_lineno or part.lineno
        start = starts[part.lineno - 1] + part.col_offset
        end = starts[last - 1] + (part.end_col_offset or 0)
        before = " ".join(raw[start:end].decode().split())
        lines = range(part.lineno, last + 1)
        found.append((lines, f"{before[:60]} -> {text[:60]}", (raw[:start] + text.encode() + raw[end:]).decode()))
    return found


def write(file: Path, source: str) -> None:
    """Write ``source``, and forget its bytecode: two versions of one length within a second would have the same."""
    file.write_text(source)
    Path(cache_from_source(str(file))).unlink(missing_ok=True)


def run(copy: Path, tests: list[str], *measured: str) -> bool:
    """Run ``tests`` in ``copy`` up to the first failure, below the command ``measured``; return whether all of them pass in time."""
    listed = copy / "tests.txt"
    listed.write_text("\n".join(tests))
    command = [sys.executable, "-m", *measured, "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not real", f"@{listed}"]
    paths = f"{copy}{os.pathsep}{copy / 'bench'}"
    environment = {**os.environ, "PYTHONPATH": paths, "CI": "true", "COVERAGE_CORE": "ctrace"}
    if measured:
        command[-1:-1] = ["-p", "mutants"]
    try:
        timeout = TIMEOUT_S * (10 if measured else 1)
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=timeout, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def score(copies: list[Path], room: str, count: int, seed: int) -> bool:
    """Print the survivors of a sample of ``count`` mutants and their number; return whether the tests pass without a mutation."""
    first = copies[0]
    sources, patterns = ROOMS[room]
    tests = [str(path.relative_to(first)) for pattern in patterns for path in sorted(first.glob(pattern))]
    start = time.monotonic()
    measurement = first / "measurement"
    measurement.unlink(missing_ok=True)
    if not run(first, tests, "coverage", "run", "--rcfile=/dev/null", f"--data-file={measurement}", "--source=exchanger", "-m"):
        print(f"{room}: the tests fail without a mutation")
        return False
    measured = CoverageData(measurement)
    measured.read()
    files = [path for source in sources for path in (sorted((first / source).rglob("*.py")) or [first / source])]
    sites = [(file.relative_to(first), index) for file in files for index in range(len(mutants(file.read_text())))]
    sample = random.Random(seed).sample(sites, min(count, len(sites)))  # noqa: S311 - chosen by chance, not secret
    runs_line = {file: measured.contexts_by_lineno(str(first / file)) for file, _ in sample}
    free: SimpleQueue[Path] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def survived(site: tuple[Path, int]) -> str | None:
        file, index = site
        copy = free.get()
        source = (copy / file).read_text()
        lines, what, mutated = mutants(source)[index]
        # A line that only runs at import may matter to all of them.
        running = sorted({test for line in lines for test in runs_line[file].get(line, [])} - {""}) or tests
        write(copy / file, mutated)
        try:
            return f"  {file}:{lines.start}: {what}" if run(copy, running) else None
        finally:
            write(copy / file, source)
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        survivors = [text for text in pool.map(survived, sample) if text is not None]
    print(*survivors, sep="\n")
    killed = len(sample) - len(survivors)
    print(f"{room}: {killed} of {len(sample)} killed, of {len(sites)} possible, {time.monotonic() - start:.0f} s", flush=True)
    return True


def main() -> int:
    """Mutate each room that the command line names, all of them by default."""
    parser = argparse.ArgumentParser(description="sampled mutants of the rooms that matter most")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)} (default: all)")
    parser.add_argument("--count", type=int, default=60, help="mutants per room (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=14, help="of the sample (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested at a time (default: %(default)s)")
    options = parser.parse_args()
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S607
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder, str(number)) for number in range(options.jobs)]
        for copy in copies:
            for name in listed:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(name, copy / name)
        scores = [score(copies, room, options.count, options.seed) for room in options.rooms or ROOMS]
        return 0 if all(scores) else 1


if __name__ == "__main__":
    sys.exit(main())
