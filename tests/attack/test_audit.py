"""AUDIT_REQUIRED in a real process: a flood of made-up tokens, a full disk, and pipes whose readers are slow, stuck, missing or dead.

Whatever happens, each request that gets a token has its line, each refusal has one or is counted in one, none is lost, and other requests
go on.
"""

import argparse
import collections
import contextlib
import fcntl
import io
import itertools
import json
import os
import resource
import threading
import urllib.parse
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from exchanger.authz.audit.refusals import MAX_A_SECOND, MAX_BYTES_A_SECOND, MAX_GROUPS
from exchanger.commands.audit import add_arguments, audit
from tests.authz.audit.outputs import jwt
from tests.e2e.collector import Got, Recorder, recording, wait_until, write_issuers
from tests.e2e.service import DOCUMENT, Service, serving
from tests.tiers import mostly_full

MADE_UP: Final = 800
HONEST: Final = 60
# Requests at a time.
CALLERS: Final = 8
# A line, however long the texts in it: ``tests/authz/audit/test_line.py``.
LONGEST: Final = 40_000
PAGE: Final = 4096
VARIABLES: Final = {
    "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
    "METRICS_ENABLED": "true",
    "LOG_DECISIONS": "off",
    "AUDIT_REQUIRED": "true",
    "AUDIT_IDENTITIES": "plain",
}


@attrs.define(eq=False)
class Audited:
    """A service with an audit log at ``path``. ``moved``: where its files were moved to."""

    service: Service
    tokens: Recorder
    path: Path
    read: bytearray = attrs.Factory(bytearray)
    moved: list[Path] = attrs.Factory(list)
    allowed: set[str] = attrs.Factory(set)
    denied: list[str] = attrs.Factory(list)
    _numbers: Iterator[int] = attrs.Factory(itertools.count)

    def ask(self, token: str) -> bool:
        """Ask for an exchange, and return whether the request got a token."""
        name = f"request-{next(self._numbers)}"
        answer = self.service.check("/orders", authorization=f"Bearer {token}", x_request_id=name)
        if answer.HasField("ok_response"):
            self.allowed.add(name)
            return True
        self.denied.append(code_of(answer))
        return False

    def ask_all(self, tokens: list[str]) -> list[bool]:
        with ThreadPoolExecutor(CALLERS) as callers:
            return list(callers.map(self.ask, tokens))

    def is_broken(self) -> bool:
        return self.service.metric("ext_authz_audit_unwritable") == 1

    def recovers(self) -> None:
        """The log can be written, so requests get tokens."""
        wait_until(lambda: not self.is_broken() and self.ask(USERS[0]))

    def move_away(self) -> None:
        self.moved.append(self.path.with_name(f"moved-{len(self.moved)}"))
        self.path.rename(self.moved[-1])

    def lines(self) -> list[dict[str, Any]]:
        """Return all lines, without those that a full disk tore."""
        files = [file.read_bytes() for file in (*self.moved, self.path) if file.is_file()]
        raw = [line for data in (*files, bytes(self.read)) for line in data.splitlines(keepends=True)]
        whole = [line for line in raw if line.startswith(b"{") and line.endswith(b"}\n")]
        assert len(raw) - len(whole) <= 1
        return [json.loads(line) for line in whole]

    def count_refusals(self) -> int:
        return sum(line.get("count", 1) for line in self.lines() if line["event"] == "exchange.denied")

    def check(self) -> None:
        """No exchange without its line, each refusal told, and nothing lost."""
        wait_until(lambda: self.count_refusals() == len(self.denied), lambda: f"{self.count_refusals()} of {len(self.denied)}")
        granted = collections.Counter(line["request_id"] for line in self.lines() if line["event"] == "exchange.granted")
        assert self.allowed <= granted.keys()
        assert {granted[name] for name in self.allowed} == {1}
        # A line can be there without an exchange, if the time was up while it was being written: never more than were refused.
        assert len(granted.keys() - self.allowed) <= len(self.denied)
        assert self.service.metric("ext_authz_audit_lines_lost_total") == 0


def code_of(answer: CheckResponse) -> str:
    body: str = answer.denied_response.body
    return body.partition("(")[2].partition(")")[0]


USERS: Final = [jwt(iss="https://login.example.com", sub=f"user-{number}").reveal() for number in range(HONEST)]


@contextlib.contextmanager
def audited(folder: Path, **variables: str) -> Generator[Audited]:
    numbers = itertools.count()

    def issue(got: Got) -> tuple[int, str, bytes]:
        subject = urllib.parse.parse_qs(got.body.decode())["subject_token"][0]
        if subject not in USERS:
            return 400, "application/json", b'{"error":"invalid_grant"}'
        token = jwt(jti=f"issued-{next(numbers)}").reveal()
        answer = {"access_token": token, "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}
        return 200, "application/json", json.dumps(answer).encode()

    path = folder / "audit.log"
    with recording(issue) as tokens:
        write_issuers(folder, tokens.url)
        with serving(folder, DOCUMENT, **{"AUDIT_LOG": str(path), **VARIABLES, **variables}) as service:
            yield Audited(service, tokens, path)
            assert service.stop() == 0


@pytest.mark.full
def test_made_up_tokens_fill_no_disk_and_stop_no_one(tmp_path: Path) -> None:
    # The longest lines that a caller can make: eleven parties, none of whom anybody vouches for.
    long = "\u2028" * 240
    act: dict[str, object] = {}
    for _ in range(10):
        act = {"iss": long, "sub": long, "client_id": long, **({"act": act} if act else {})}

    def made_up(number: int) -> str:
        return jwt(sub=f"{number}", act=act).reveal() if number % 2 else f"opaque-{number}"

    with audited(tmp_path) as it, ThreadPoolExecutor(CALLERS) as callers:
        flood = [callers.submit(it.ask, made_up(number)) for number in range(MADE_UP)]
        assert it.ask_all(USERS) == [True] * HONEST
        assert not any(asked.result() for asked in flood)
        it.check()
        refusals = [line for line in it.lines() if line["event"] == "exchange.denied"]
    assert len(it.denied) == MADE_UP
    # Their seconds are not those of the service's steady clock, so two of these meet in one of those.
    singles = collections.Counter(line["time"][:19] for line in refusals if "count" not in line)
    counts = collections.Counter(line["time"][:19] for line in refusals if "count" in line)
    assert max(singles.values()) <= 2 * MAX_A_SECOND
    assert max(counts.values()) <= 2 * (MAX_GROUPS + 1)
    size: collections.Counter[str] = collections.Counter()
    for line in refusals:
        size[line["time"][:19]] += len(json.dumps(line, ensure_ascii=False).encode())
    assert max(size.values()) <= 2 * (MAX_BYTES_A_SECOND + LONGEST)
    assert len(refusals) < MADE_UP // 2


@attrs.define(eq=False)
class Pipe:
    """A pipe in the place of the file, which holds a page, and its reader: a thread that reads a little at a time if it is ``slow``."""

    it: Audited
    slow: bool = False
    _end: threading.Event = attrs.Factory(threading.Event)

    @contextlib.contextmanager
    def opened(self) -> Generator[Callable[[], None]]:
        """Open it for reading, and close it; what is yielded begins to read. All that it holds at the end is read."""
        reader = os.open(self.it.path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PAGE)
        thread = threading.Thread(target=self._read, args=(reader,))
        try:
            yield thread.start
        finally:
            self._end.set()
            thread.join()
            os.close(reader)
            self._end.clear()

    def _read(self, reader: int) -> None:
        while not self._end.wait(0.02):
            self._take(reader, 256 if self.slow else None)
        self._take(reader)

    def _take(self, reader: int, most: int | None = None) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(reader, most or PAGE):
                self.it.read += data
                if most is not None:
                    return


@contextlib.contextmanager
def full(it: Audited) -> Generator[None]:
    """Let the file become a few lines longer and no more, as on a full disk, which may tear a line. Other files are longer already."""
    limit = it.path.stat().st_size + 2000, resource.RLIM_INFINITY
    resource.prlimit(it.service.process.pid, resource.RLIMIT_FSIZE, limit)
    yield
    resource.prlimit(it.service.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextlib.contextmanager
def missing(it: Audited) -> Generator[None]:
    with piped(it) as pipe:
        yield
        with pipe.opened() as read:
            read()
            it.recovers()


@contextlib.contextmanager
def stuck(it: Audited) -> Generator[None]:
    with piped(it) as pipe, pipe.opened() as read:
        yield
        read()
        it.recovers()


@contextlib.contextmanager
def slow(it: Audited) -> Generator[None]:
    with piped(it) as pipe, pipe.opened() as read:
        pipe.slow = True
        read()
        yield
        pipe.slow = False
        it.recovers()


@contextlib.contextmanager
def dead(it: Audited) -> Generator[None]:
    with piped(it) as pipe:
        with pipe.opened() as read:
            read()
            it.recovers()
        yield
        with pipe.opened() as read:
            read()
            it.recovers()


@contextlib.contextmanager
def piped(it: Audited) -> Generator[Pipe]:
    it.move_away()
    os.mkfifo(it.path)
    yield Pipe(it)
    it.move_away()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Audited]:
    with audited(tmp_path_factory.mktemp("audited")) as it:
        yield it


@pytest.mark.parametrize("trouble", mostly_full([full, missing, stuck, slow, dead], [full]))
def test_no_exchange_is_without_its_line_and_none_is_lost(
    trouble: Callable[[Audited], contextlib.AbstractContextManager[None]], served: Audited
) -> None:
    it = served
    it.recovers()
    with trouble(it), ThreadPoolExecutor(CALLERS) as callers:
        asked = [callers.submit(it.ask, user) for user in USERS]
        while not all(one.done() for one in asked):  # others go on
            assert it.service.check("/admin").denied_response.status.code == 403
        if trouble is not slow:
            wait_until(it.is_broken)
            calls = len(it.tokens.requests)
            assert it.ask_all(USERS) == [False] * HONEST
            assert len(it.tokens.requests) == calls
    it.recovers()
    it.check()
    assert set(it.denied) <= {"TXE-5001"}


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.full
def test_audit_lines_on_stdout_stay_whole_and_distinct_from_log_lines(form: str, tmp_path: Path) -> None:
    with audited(tmp_path, AUDIT_LOG="stdout", LOG_FORMAT=form, LOG_DECISIONS="all") as it, ThreadPoolExecutor(CALLERS) as callers:
        others = [
            callers.submit(it.service.check, f'/admin/{{"time":"x","event":"exchange.granted"}}/{number}') for number in range(HONEST)
        ]
        assert it.ask_all([*USERS, *["made-up"] * MAX_A_SECOND, *USERS]) == [True] * HONEST + [False] * MAX_A_SECOND + [True] * HONEST
        assert all(one.result().denied_response.status.code == 403 for one in others)
    out, errors = io.StringIO(), io.StringIO()
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert audit(parser.parse_args(["--json", str(it.service.log)]), {}, out, errors) == 0
    assert errors.getvalue() == ""
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert {line["request_id"] for line in found if line["event"] == "exchange.granted"} == it.allowed
    assert sum(line.get("count", 1) for line in found if line["event"] == "exchange.denied") == MAX_A_SECOND
    assert len(found) <= 2 * HONEST + MAX_A_SECOND
    assert len(it.service.lines().splitlines()) > len(found) + HONEST  # of the service's own
