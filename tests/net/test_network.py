"""Nothing but ``net`` opens a socket, reads a clock, draws a number or starts a thread; see ``exchanger.net.network``.

Trio's own clock (``trio.current_time``, sleeps and deadlines) may be read anywhere: ``trio.run`` takes another one as an argument.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import exchanger

ROOT: Final = Path(exchanger.__file__).parent

# Names of modules and of what is in them. What begins with one of them is as forbidden, but for types in annotations.
FORBIDDEN: Final = frozenset(
    {
        *("socket", "select", "selectors", "ssl.get_server_certificate", "trio.socket"),
        *("trio.open_tcp_stream", "trio.open_tcp_listeners", "trio.serve_tcp", "trio.open_ssl_over_tcp_stream", "trio.open_unix_socket"),
        *("trio.open_ssl_over_tcp_listeners", "trio.serve_ssl_over_tcp", "trio.lowlevel.wait_readable", "trio.lowlevel.wait_writable"),
        *("asyncio", "http.client", "httpcore", "httpx", "requests", "urllib.request", "urllib3", "watchfiles"),
        *("time", "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
        *("random", "secrets", "os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4"),
        *("threading", "_thread", "concurrent.futures", "multiprocessing", "trio.to_thread"),
    }
)

# What a file uses all the same, and why.
EXCEPTIONS: Final = {
    "net/resolver.py": ({"socket", "trio.to_thread"}, "a part of the real network"),
    "net/listening.py": ({"socket", "trio.socket"}, "a part of the real network"),
    "net/reactor.py": ({"selectors.EVENT_READ", "selectors.EVENT_WRITE"}, "constants of the selector that it is given"),
    "net/stream.py": ({"socket.SOL_SOCKET", "socket.SO_KEEPALIVE"}, "an option of the sockets that it is given"),
    "net/tcp.py": ({"socket"}, "options and constants of the sockets that it is given"),
    "net/tls/server.py": ({"socket.SHUT_RD"}, "a constant"),
    "net/error_text.py": ({"socket.gaierror"}, "an exception"),
    "net/endpoint.py": ({"httpx.URL", "httpx.InvalidURL"}, "reads URLs"),
    "sources/kube/api/access.py": ({"socket", "threading", "urllib3"}, "the library's client has threads, and sockets that those block on"),
    "sources/kube/api/client.py": ({"socket"}, "the same"),
    "sources/kube/api/transport.py": ({"http.client", "socket", "urllib3"}, "the same"),
    "sources/directory/source.py": ({"watchfiles"}, "wakes the source sooner than its next look at the folder"),
    "operations/telemetry/log_writer.py": ({"threading.RLock", "threading.get_ident"}, "takes lines from any thread, and starts none"),
    "util/output.py": ({"select", "threading.Lock"}, "waits for outputs, where no event loop runs"),
    "cli.py": ({"time.sleep", "threading.active_count"}, "a command that does nothing else, and the end of each, without an event loop"),
    "commands/demo/setup.py": ({"socket"}, "finds ports for the demo's processes"),
    "commands/scenarios/client.py": ({"httpx"}, "asks addresses of users, as their own clients do"),
}


def uses(text: str) -> Iterator[str]:
    """Yield what of ``FORBIDDEN`` a module uses, with the whole name."""
    nodes = list(ast.walk(ast.parse(text)))
    names: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {part.asname or part.name.split(".")[0]: part.name if part.asname else part.name.split(".")[0] for part in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {part.asname or part.name: f"{node.module}.{part.name}" for part in node.names}
    types = {id(part) for node in nodes for hint in _hints(node) for part in ast.walk(hint)}
    left_out = types | {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in left_out:
            whole = _dotted(node, names)
            if whole and any(f"{whole}.".startswith(f"{name}.") for name in FORBIDDEN):
                yield whole


def _hints(node: ast.AST) -> list[ast.expr]:
    found = (getattr(node, name, None) for name in ("annotation", "returns"))
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    return [*(hint for hint in found if isinstance(hint, ast.expr)), *(base for base in bases if isinstance(base, ast.Subscript))]


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""


FILES: Final = {
    file: path for path in sorted(ROOT.rglob("*.py")) if not (file := str(path.relative_to(ROOT))).startswith(("_proto/", "net/network.py"))
}


def test_all_that_is_outside_of_the_process_comes_through_the_network() -> None:
    found = {file: set(uses(path.read_text())) for file, path in FILES.items()}
    excepted = {file: allowed for file, (allowed, _) in EXCEPTIONS.items()}
    left = {
        file: {use for use in used if not any(f"{use}.".startswith(f"{name}.") for name in excepted.get(file, ()))}
        for file, used in found.items()
    }
    assert {file: used for file, used in left.items() if used} == {}
    needless = {
        file: {name for name in allowed if not any(f"{use}.".startswith(f"{name}.") for use in found[file])}
        for file, allowed in excepted.items()
    }
    assert {file: names for file, names in needless.items() if names} == {}


def test_components_have_the_real_network_as_a_default_alone() -> None:
    found = []
    for file, path in FILES.items():
        if "SYSTEM" not in (text := path.read_text()) or file.startswith("commands/"):  # commands build what they need
            continue
        tree = ast.parse(text)
        defaults = {id(part) for node in ast.walk(tree) for value in _defaults(node) for part in ast.walk(value)}
        named = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "SYSTEM" and isinstance(node.ctx, ast.Load))
        if any(id(node) not in defaults for node in named):
            found.append(file)
    assert found == []


def _defaults(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.arguments):
        yield from (value for value in (*node.defaults, *node.kw_defaults) if value is not None)
    elif isinstance(node, ast.ClassDef):
        yield from (part.value for part in node.body if isinstance(part, ast.AnnAssign) and part.value is not None)


@pytest.mark.parametrize(
    ("text", "used"),
    [
        ("import time\ntime.monotonic()", ["time.monotonic"]),
        ("import time as clocks\nread = clocks.time", ["time.time"]),
        ("from time import perf_counter as now\nnow()", ["time.perf_counter"]),
        ("def f():\n    import time\n    return time.time_ns()", ["time.time_ns"]),
        ("from datetime import UTC, datetime\ndatetime.now(UTC)", ["datetime.datetime.now"]),
        ("import datetime as dt\ndt.datetime.now()", ["datetime.datetime.now"]),
        ("import trio\nawait_it = trio.to_thread.run_sync", ["trio.to_thread.run_sync"]),
        ("from trio.lowlevel import wait_readable\nwait_readable(1)", ["trio.lowlevel.wait_readable"]),
        ("import trio\ntrio.lowlevel.wait_writable(1), trio.open_tcp_stream", ["trio.lowlevel.wait_writable", "trio.open_tcp_stream"]),
        ("import trio\ntrio.current_time(), trio.sleep(1)", []),
        ("import socket\ndef f(one: socket.socket) -> socket.socket: ...", []),
        ("import socket\nsocket.create_connection(('h', 1))", ["socket.create_connection"]),
        ("from random import Random\nclass A:\n    random: Random = field(factory=Random)", ["random.Random"]),
        ("from random import Random\nclass A:\n    random: Random", []),
        ("import os, secrets, uuid\nos.urandom(1), secrets.token_hex(), uuid.uuid4()", ["os.urandom", "secrets.token_hex", "uuid.uuid4"]),
        ("import threading\nthreading.Thread(target=f).start()", ["threading.Thread"]),
        ("import os\nos.environ", []),
    ],
)
def test_each_way_to_go_past_it_is_seen(text: str, used: list[str]) -> None:
    assert sorted(set(uses(text))) == used
