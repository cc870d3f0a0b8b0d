"""How many small defects the tests of a room notice: a sample of mutants, drawn with a fixed seed.

Each mutant is the source with one change: a comparison, an operator or a condition turned around, a number or a truth value changed, a
return value or a statement removed. It is killed when the room's tests fail or do not end in time; the survivors are printed with their
places. Tests that need real parts are left out. The changes are made in a copy, so the checkout stays as it is.

Usage: .venv/bin/python bench/mutants.py [ROOM ...] [--count 60] [--seed 14]
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
from pathlib import Path
from typing import Final

# What is mutated, and the tests that must notice.
ROOMS: Final = {
    "policy": (["exchanger/policy"], ["tests/policy", "tests/property/test_policy_*.py", "tests/property/test_selector_text.py"]),
    "decision": (["exchanger/decision"], ["tests/decision", "tests/property/test_decision_*.py", "tests/property/test_token_re*.py"]),
    "oauth": (["exchanger/oauth"], ["tests/oauth", "tests/property/test_coalescer_*.py", "tests/property/test_token_pool_*.py"]),
    "jose": (
        ["exchanger/oauth/jose"],
        ["tests/oauth/jose", "tests/property/test_assertions_*.py", "tests/property/test_key_sets_*.py", "tests/property/test_tokens_*.py"],
    ),
    "grpc-connection": (["exchanger/grpc/connection.py"], ["tests/grpc", "tests/property/test_grpc_*.py"]),
    "kube-reflector": (["exchanger/kube/reflector.py"], ["tests/kube", "tests/property/test_kube_*.py"]),
}
REAL_PARTS: Final = "browser or envoy or go or helm or image or keycloak or kubernetes or mounts or protoc or attack"
# Seconds: several times what the slowest of these takes, since a mutant may loop.
TIMEOUT_S: Final = 240.0

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


def mutants(source: str) -> list[tuple[int, str, str]]:
    """Return every mutant of ``source``: its line, what was changed, and the mutated source."""
    starts = [0]
    for line in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in ast.walk(ast.parse(source)):
        if (change := mutation(node)) is None:
            continue
        part, text = change
        start = starts[part.lineno - 1] + part.col_offset
        end = starts[(part.end_lineno or part.lineno) - 1] + (part.end_col_offset or 0)
        raw = source.encode()
        before = raw[start:end].decode()
        found.append((part.lineno, f"{' '.join(before.split())[:60]} -> {text[:60]}", (raw[:start] + text.encode() + raw[end:]).decode()))
    return found


def passes(copy: Path, patterns: list[str]) -> bool:
    """Run the tests of ``patterns`` in ``copy`` up to the first failure; return whether all of them pass in time."""
    tests = [str(path.relative_to(copy)) for pattern in patterns for path in sorted(copy.glob(pattern))]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", f"not ({REAL_PARTS})", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "CI": "true"}
    try:
        return subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def score(copy: Path, room: str, count: int, seed: int) -> bool:
    """Print the survivors of a sample of ``count`` mutants and their number; return whether the tests pass without a mutation."""
    sources, tests = ROOMS[room]
    start = time.monotonic()
    if not passes(copy, tests):
        print(f"{room}: the tests fail without a mutation")
        return False
    paths = [copy / source for source in sources]
    files = [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    sites = [(file, index) for file in files for index in range(len(mutants(file.read_text())))]
    sample = random.Random(seed).sample(sites, min(count, len(sites)))  # noqa: S311 - chosen by chance, not secret
    killed = 0
    for file, index in sample:
        source = file.read_text()
        line, what, mutated = mutants(source)[index]
        file.write_text(mutated)
        try:
            survived = passes(copy, tests)
        finally:
            file.write_text(source)
        killed += not survived
        if survived:
            print(f"  {file.relative_to(copy)}:{line}: {what}", flush=True)
    print(f"{room}: {killed} of {len(sample)} killed, of {len(sites)} possible, {time.monotonic() - start:.0f} s", flush=True)
    return True


def main() -> int:
    """Mutate each room that the command line names, all of them by default."""
    parser = argparse.ArgumentParser(description="sampled mutants of the rooms that matter most")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)} (default: all)")
    parser.add_argument("--count", type=int, default=60, help="mutants per room (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=14, help="of the sample (default: %(default)s)")
    options = parser.parse_args()
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S607
    with tempfile.TemporaryDirectory() as folder:
        for name in listed:
            target = Path(folder, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, target)
        scores = [score(Path(folder), room, options.count, options.seed) for room in options.rooms or ROOMS]
        return 0 if all(scores) else 1


if __name__ == "__main__":
    sys.exit(main())
