"""How many small defects the tests of a room notice: a sample of mutants, drawn with fixed seeds.

Each mutant is the source with one change: a comparison, an operator or a condition turned around, a number or a truth value changed, a
return value or a statement removed. The room's tests run once, and coverage records which of them run each line. A mutant is noticed if a
test that runs its line fails, or takes several times its usual CPU time or wall time. The survivors are printed with their places. Only the
quick tier is asked: no real parts, and 20 examples of each law.

A process that has collected the tests forks once for each mutant, and the child exchanges the code of the functions that differ. A mutant
in a line that runs at import needs a fresh import: its child comes from the process that has only imported other packages. Children run the
cheapest tests first and end at the first failure. All of it happens in a copy of the checkout.

Usage: .venv/bin/python bench/mutants.py [ROOM ...] [--count 60] [--seed 14,15,16] [--jobs 2]
"""

import argparse
import ast
import contextlib
import gc
import importlib
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType
from typing import Final
from unittest.mock import patch

import attrs
import pytest
from coverage import Coverage
from hypothesis import Phase, settings

# What is mutated, and the tests that must notice.
ROOMS: Final = {
    "policy": (
        ["exchanger/policy/**/*.py"],
        [
            "tests/policy",
            "tests/authz/decision",
            "tests/commands/check",
            "tests/model/codes",
            "tests/schemas",
            "tests/commands/status",
            *(f"tests/property/test_{room}*.py" for room in ("policy", "values", "tools_check")),
        ],
    ),
    "lookup": (
        [f"exchanger/policy/{name}.py" for name in ("lookup", "scope", "table", "trie", "revocation")],
        [
            "tests/policy",
            *(f"tests/property/test_policy_{part}.py" for part in ("lookup", "matching", "namespaces", "versions", "grants")),
        ],
    ),
    "yaml": (
        ["exchanger/formats/yaml/*.py"],
        ["tests/formats/yaml", "tests/policy/documents", "tests/schemas", "tests/model/codes", "tests/property/test_policy_reading.py"],
    ),
    "decision": (
        ["exchanger/authz/decision/*.py", "exchanger/model/bearer.py", "exchanger/model/token_failure.py"],
        [
            "tests/authz/decision",
            "tests/authz/envoy",
            *(f"tests/model/test_{part}.py" for part in ("bearer", "token_failure")),
            "tests/operations/telemetry/test_decision_log.py",
            *(f"tests/property/test_{room}.py" for room in ("decision", "envoy")),
        ],
    ),
    "oauth": (
        ["exchanger/exchange/oauth/*.py"],
        [
            "tests/exchange",
            "tests/authz/decision/test_strict.py",
            *(f"tests/property/test_{room}*.py" for room in ("exchange", "oauth")),
        ],
    ),
    "exchange": (
        ["exchanger/exchange/*.py", "exchanger/exchange/cache/*.py"],
        ["tests/exchange", *(f"tests/property/test_{room}*.py" for room in ("exchange", "oauth", "net_pool", "jwt"))],
    ),
    "net": (
        ["exchanger/net/*.py", "exchanger/net/http2/*.py", "exchanger/net/tls/*.py"],
        ["tests/net", "tests/exchange", *(f"tests/property/test_{room}*.py" for room in ("net", "grpc_tls"))],
    ),
    "jwt": (
        ["exchanger/formats/jwt/*.py"],
        [
            "tests/formats/jwt",
            "tests/exchange/test_verify.py",
            "tests/exchange/oauth/test_issued_token.py",
            "tests/commands/scenarios/test_tokens.py",
            "tests/property/test_jwt.py",
        ],
    ),
    "tools": (
        ["exchanger/commands/*.py", "exchanger/commands/check/*.py"],
        ["tests/commands/test_*.py", "tests/commands/check", "tests/model/codes", "tests/schemas", "tests/property/test_tools*.py"],
    ),
    "offline": (
        [
            "exchanger/commands/offline/*.py",
            "exchanger/commands/policies.py",
            "exchanger/commands/status/survey.py",
            "exchanger/commands/status/command.py",
        ],
        ["tests/commands/test_*.py", "tests/commands/status", "tests/commands/playground", "tests/property/test_tools.py"],
    ),
    "publish": (["exchanger/sources/publish/*.py"], ["tests/sources/publish", "tests/property/test_publish_*.py"]),
    "kube": (["exchanger/sources/kube/**/*.py"], ["tests/sources/kube", "tests/property/test_kube_*.py"]),
    "grpc": (
        ["exchanger/net/grpc/*.py"],
        ["tests/net/grpc", "tests/authz/envoy", *(f"tests/property/test_{room}*.py" for room in ("grpc", "envoy"))],
    ),
    "envoy": (["exchanger/authz/envoy/*.py"], ["tests/authz/envoy", "tests/property/test_envoy.py"]),
    "http_authz": (["exchanger/authz/http_authz/*.py"], ["tests/authz/http_authz", "tests/property/test_http_authz.py"]),
    "audit": (["exchanger/authz/audit/*.py"], ["tests/authz/audit", "tests/app/test_settings.py"]),
    "issuers": (
        ["exchanger/exchange/issuers/*.py"],
        ["tests/exchange/issuers", "tests/commands/check/test_command.py", "tests/property/test_issuers*.py"],
    ),
    "grpc-connection": (["exchanger/net/grpc/connection.py"], ["tests/net/grpc", "tests/property/test_grpc*.py"]),
    "kube-reflector": (["exchanger/sources/kube/reflector.py"], ["tests/sources/kube", "tests/property/test_kube_*.py"]),
}
# A mutant may loop or wait for ever. What a test may take, in seconds and in multiples of what it takes without a mutation.
CPU_S: Final = 5.0
WALL_S: Final = 60.0
TIMES: Final = 10
# The import of a room and its tests.
IMPORT_S: Final = 60.0
# Children say nothing but what is said here.
OUT: Final = os.fdopen(os.dup(1), "w", buffering=1)
# Exit codes of a child: this mutant needs a fresh import; the child itself failed.
FRESH: Final = 70
FAULT: Final = 71
SURVIVED: Final = {0, FAULT}

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
            return node, ast.unparse(changed)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return node, ast.unparse(ast.BinOp(left=node.left, op=_OPERATORS[type(node.op)](), right=node.right))
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            return node, ast.unparse(ast.BoolOp(op=other, values=node.values))
        case ast.UnaryOp(op=ast.Not()):
            return node, ast.unparse(node.operand)
        case ast.If():
            return node.test, f"not ({ast.unparse(node.test)})"
        case ast.Constant(value=bool(value)):
            return node, repr(not value)
        case ast.Constant(value=int(value) | float(value)):
            return node, repr(value + 1)
        case ast.Return(value=ast.Constant(value="")):  # nobody tells it from None
            return node, "return '?'"
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and isinstance(value.value, bool | None)):
            return node, "return None"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign():
            return node, "pass"
    return None


def without_effect(tree: ast.AST) -> set[ast.AST]:
    """Return the nodes that no mutant changes: annotations, options for readers alone, sizes of caches, and what cannot be."""
    roots: list[ast.AST | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.arg() | ast.AnnAssign():
                roots.append(node.annotation)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                roots.append(node.returns)
            case ast.keyword(arg="init" | "repr" | "kw_only" | "cache_hash" | "strict" | "maxsize"):
                roots.append(node.value)
            case ast.Call(func=ast.Attribute(attr="define" | "frozen")):  # what compares by identity does so to save time
                roots += [option.value for option in node.keywords]
            case ast.Call(func=ast.Attribute(attr="field")) if any(option.arg == "init" for option in node.keywords):
                roots += [option.value for option in node.keywords if option.arg == "eq"]  # it follows from the other fields
            case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never" | "_ensure"))):
                roots.append(node)
    return {node for root in roots if root is not None for node in ast.walk(root)}


@attrs.frozen(cache_hash=True)
class Mutant:
    """One change: where, what was changed, and the mutated source, in which all other code keeps its lines."""

    file: Path
    lines: range
    what: str
    source: str

    def __str__(self) -> str:
        return f"{self.file}:{self.lines.start}: {self.what}"

    @property
    def module(self) -> str:
        """The module's name."""
        return ".".join(self.file.with_suffix("").parts).removesuffix(".__init__")


def mutants(file: Path) -> list[Mutant]:
    """Return every mutant of ``file``."""
    raw = file.read_bytes()
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    tree = ast.parse(raw)
    ignored = without_effect(tree)
    for node in ast.walk(tree):
        if node in ignored or (change := mutation(node)) is None:
            continue
        part, text = change
        last = part.end_lineno or part.lineno
        start = starts[part.lineno - 1] + part.col_offset
        end = starts[last - 1] + (part.end_col_offset or 0)
        before = " ".join(raw[start:end].decode().split())
        padding = "\n" * (last - part.lineno)
        written = f"({text}{padding})" if isinstance(part, ast.expr) else f"{text}{padding}"
        source = (raw[:start] + written.encode() + raw[end:]).decode()
        found.append(Mutant(file, range(part.lineno, last + 1), f"{before[:60]} -> {text[:60]}", source))
    return found


def judged(tasks: Sequence[Callable[[], int]], jobs: int) -> Generator[tuple[int, int]]:
    """Run each task in a silent child, ``jobs`` at a time; yield its number and its exit code, negative for a signal."""
    running: dict[int, int] = {}
    waiting = list(enumerate(tasks))[::-1]
    while waiting or running:
        while waiting and len(running) < jobs:
            number, task = waiting.pop()
            if (child := os.fork()) == 0:
                code = FAULT
                try:
                    os.setpgid(0, 0)
                    silent = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(silent, 1)
                    code = task()
                except BaseException:  # noqa: BLE001 - a fork must not go on as its parent
                    traceback.print_exc()
                finally:
                    os._exit(code)
            running[child] = number
        child, status = os.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what its tests started
        yield running.pop(child), os.waitstatus_to_exitcode(status)


def limit(cpu: float, wall: float) -> None:
    """End this process by a signal after these seconds, from now."""
    signal.setitimer(signal.ITIMER_PROF, cpu)
    signal.setitimer(signal.ITIMER_REAL, wall)


@attrs.define
class Room:
    """What one run of a room's tests shows."""

    # Seconds of CPU and of wall time, by test; the tests that fail without a mutation; those that run each line, with "" for the import.
    costs: dict[str, tuple[float, float]] = attrs.field(factory=dict)
    failing: set[str] = attrs.field(factory=set)
    running: dict[Path, dict[int, set[str]]] = attrs.field(factory=dict)
    # The packages that the tests import, and the exit code of each mutant.
    packages: list[str] = attrs.field(factory=list)
    codes: dict[Mutant, int] = attrs.field(factory=dict)

    def at_import(self, mutant: Mutant) -> bool:
        """Tell whether a line of ``mutant`` runs at import."""
        return any("" in self.running[mutant.file].get(line, ()) for line in mutant.lines)

    def tests(self, mutant: Mutant) -> list[str]:
        """Return the tests to ask, the cheapest first. A line that only runs at import may matter to all, rather to those of its file."""
        lines = self.running[mutant.file]
        found = {test for line in mutant.lines for test in lines.get(line, ())}
        if found == {""}:
            of_file = set[str]().union(*lines.values())
            return sorted(self.costs.keys() - self.failing, key=lambda test: (test not in of_file, self.costs[test]))
        return sorted(found - {""}, key=self.costs.__getitem__)

    def note(self, sample: list[Mutant], judge: Callable[[Mutant], int], jobs: int) -> None:
        """Judge the mutants of ``sample``, and print those that survive."""
        for number, code in judged([partial(judge, mutant) for mutant in sample], jobs):
            mutant = sample[number]
            self.codes[mutant] = code
            if code in SURVIVED:
                why = "the child failed" if code == FAULT else f"{len(self.tests(mutant))} tests"
                print(f"  {mutant} ({why})", file=OUT)


@attrs.define(eq=False)
class Quick:
    """A plugin that asks laws for the quick tier's examples, and does not shrink what fails."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        """Change the profile that ``tests/conftest.py`` has chosen."""
        settings.register_profile("mutants", settings.get_profile("quick"), phases=[Phase.explicit, Phase.generate, Phase.target])
        settings.load_profile("mutants")


def run_items(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Run ``items`` in their order."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


@attrs.define(eq=False)
class Asked:
    """A plugin that ends the process at the first failure, or at a test that takes too long."""

    room: Room

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Start the clocks of a test."""
        cpu, wall = self.room.costs.get(nodeid, (CPU_S, WALL_S))
        limit(CPU_S + TIMES * cpu, WALL_S + TIMES * wall)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """End with a failure."""
        if report.failed:
            os._exit(1)


@attrs.define(eq=False)
class Measured:
    """A plugin that notes what each test costs, and tells coverage which one runs."""

    room: Room
    coverage: Coverage

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, bool, bool]:
        """Measure one test."""
        self.coverage.switch_context(item.nodeid)
        cpu, wall = time.process_time(), time.monotonic()
        result = yield
        self.room.costs[item.nodeid] = time.process_time() - cpu, time.monotonic() - wall
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure."""
        if report.failed:
            self.room.failing.add(report.nodeid)


def functions(code: CodeType) -> Generator[CodeType]:
    """Yield the code of each function below ``code``, at any depth."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from functions(constant)


def exchange_code(mutant: Mutant, live: list[FunctionType]) -> bool:
    """Give the functions of ``live`` that ``mutant`` changes their new code; return whether that is possible."""
    path = str(mutant.file.absolute())
    old, new = (compile(source, path, "exec", dont_inherit=True) for source in (mutant.file.read_text(), mutant.source))
    by_place: dict[tuple[str, int], list[CodeType]] = {}
    for code in functions(new):
        by_place.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
    exchanged = False
    for code in functions(old):
        same_place = by_place.get((code.co_qualname, code.co_firstlineno), [])
        replacement = same_place.pop(0) if same_place else None
        if replacement is None or replacement == code:
            continue
        for function in live:
            if function.__code__ == code:
                try:
                    function.__code__ = replacement
                except ValueError:  # other free variables
                    return False
                exchanged = True
    return exchanged


@attrs.define(eq=False)
class Server:
    """A plugin that measures the tests, and judges the mutants that need no import of their own."""

    files: list[Path]
    sample: list[Mutant]
    jobs: int
    coverage: Coverage
    result: Path

    def measure(self, session: pytest.Session) -> int:
        """Run all tests and write what they show."""
        room = Room()
        session.config.pluginmanager.register(Measured(room, self.coverage))
        run_items(session, session.items)
        self.coverage.stop()
        data = self.coverage.get_data()
        for file in self.files:
            by_line = data.contexts_by_lineno(str(file.absolute()))
            room.running[file] = {line: set(contexts) - room.failing for line, contexts in by_line.items()}
        self.result.write_bytes(pickle.dumps(room))
        return 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Fork for the measurement, then for each mutant, instead of running the tests here."""
        for _, code in judged([lambda: self.measure(session)], 1):
            self.coverage.stop()
            if code:
                return True
        room: Room = pickle.loads(self.result.read_bytes())  # noqa: S301 - written by the child
        room.packages = [name for name in sys.modules if name.partition(".")[0] not in {"exchanger", "tests", "__main__"}]
        gc.unfreeze()
        live: dict[str, list[FunctionType]] = {}
        for found in gc.get_objects():
            if isinstance(found, FunctionType):
                live.setdefault(found.__code__.co_filename, []).append(found)
        gc.freeze()
        items = {item.nodeid: item for item in session.items}

        def judge(mutant: Mutant) -> int:
            tests = room.tests(mutant)
            if not tests:
                return 0
            if room.at_import(mutant) or not exchange_code(mutant, live.get(str(mutant.file.absolute()), [])):
                return FRESH
            session.config.pluginmanager.register(Asked(room))
            run_items(session, [items[test] for test in tests])
            return 0

        room.note(self.sample, judge, self.jobs)
        self.result.write_bytes(pickle.dumps(room))
        return True


@attrs.define(eq=False)
class Chosen(Asked):
    """A plugin that runs some tests in an order of their own."""

    tests: list[str]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests to ask, and those whose names depend on the mutant."""
        order = {test: number for number, test in enumerate(self.tests)}
        items[:] = sorted(
            (item for item in items if item.nodeid in order or item.nodeid not in self.room.costs),
            key=lambda item: order.get(item.nodeid, -1),
        )


def run_pytest(tests: Iterable[str], plugin: object) -> int:
    """Run pytest in this process, once."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not real", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*options, *tests], plugins=[Quick(), plugin]))


def judge_freshly(room: Room, mutant: Mutant) -> int:
    """Ask the tests after an import of their own."""
    limit(IMPORT_S, TIMES * IMPORT_S)
    tests = room.tests(mutant)
    usual = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, module: str) -> CodeType | None:
        changed = compile(mutant.source, loader.path, "exec", dont_inherit=True) if module == mutant.module else None
        return changed or usual(loader, module)

    with patch.object(SourceFileLoader, "get_code", get_code):
        return run_pytest(sorted({test.partition("::")[0] for test in tests}), Chosen(room, tests))


def matching(patterns: Iterable[str]) -> list[Path]:
    """Return the files and folders that match ``patterns``, each of which must match something."""
    found = {pattern: sorted(Path().glob(pattern)) for pattern in patterns}
    if unmatched := [pattern for pattern, paths in found.items() if not paths]:
        raise FileNotFoundError(f"nothing matches {', '.join(unmatched)}")
    return [path for paths in found.values() for path in paths]


def score(name: str, count: int, seeds: list[int], jobs: int, folder: Path) -> bool:
    """Print the survivors of samples of ``count`` mutants and their numbers; return whether the tests pass without a mutation."""
    start = time.monotonic()
    files, tests = map(matching, ROOMS[name])
    possible = [mutant for file in files for mutant in mutants(file)]
    samples = {seed: random.Random(seed).sample(possible, min(count, len(possible))) for seed in seeds}  # noqa: S311 - no secret
    sample = list(dict.fromkeys(mutant for drawn in samples.values() for mutant in drawn))
    result = folder / f"{name}.result"

    def serve() -> int:
        coverage = Coverage(data_file=str(folder / f"{name}.coverage"), config_file=False, source=[str(Path("exchanger").absolute())])
        coverage.start()
        return run_pytest(map(str, tests), Server(files, sample, jobs, coverage, result))

    for _ in judged([serve], 1):
        if not result.exists():
            print(f"{name}: the tests cannot run")
            return False
    room: Room = pickle.loads(result.read_bytes())  # noqa: S301 - written by the child
    for test in sorted(room.failing):
        print(f"{name}: left out, since it fails without a mutation: {test}")
    for package in room.packages:
        with contextlib.suppress(Exception):  # names that are no module's
            importlib.import_module(package)
    fresh = [mutant for mutant, code in room.codes.items() if code == FRESH]
    room.note(fresh, partial(judge_freshly, room), jobs)
    for seed, drawn in samples.items():
        noticed = sum(room.codes[mutant] not in SURVIVED for mutant in drawn)
        print(f"{name}, seed {seed}: {noticed} of {len(drawn)} noticed, of {len(possible)} possible", flush=True)
    print(f"{name}: {len(fresh)} imported freshly, {time.monotonic() - start:.0f} s", flush=True)
    return not room.failing


def main() -> int:
    """Mutate each room that the command line names, all of them by default."""
    parser = argparse.ArgumentParser(description="sampled mutants of the rooms that matter most")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)} (default: all)")
    parser.add_argument("--count", type=int, default=60, help="mutants per room and seed (default: %(default)s)")
    parser.add_argument("--seed", default="14", help="of the sample, or several with commas (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested at a time (default: %(default)s)")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seed.split(",")]
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: S607
    os.environ |= {"CI": "true", "COVERAGE_CORE": "ctrace"}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        for name in listed:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, copy / name)
        os.environ |= {"PYTHONPATH": str(copy), "PYTEST_DEBUG_TEMPROOT": folder}
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        scores = [score(room, options.count, seeds, options.jobs, Path(folder)) for room in options.rooms or ROOMS]
        return 0 if all(scores) else 1


if __name__ == "__main__":
    sys.exit(main())
