"""Time and chance: a clock that jumps to what is due next, and random numbers that follow from a seed.

Trio asks its clock how long it may sleep whenever no task can run. That is when the kernel moves time to the next event of the world and
does it. So the world needs no tasks, and waiting costs nothing.
"""

import ctypes
import hashlib
import heapq
import itertools
import math
import random
import ssl
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from functools import cache
from random import Random
from typing import Any, Final, TypeVar, final

import attrs
import trio
from trio._core import _run

T = TypeVar("T")

START: Final = 1_000.0
# The wall clock at the start, in seconds since the epoch.
EPOCH: Final = 1_900_000_000.0
# Events without the clock moving: more than any world has at one moment, and soon over if one event makes the next for ever.
_AT_ONE_MOMENT: Final = 100_000
# Looks of Trio, which has its own wake-up pipe, before a run in which nothing can happen any more is called stuck.
_PATIENCE: Final = 100


class StuckError(Exception):
    """No task can run, and nothing will happen."""


@final
@attrs.define(eq=False)
class Trace:
    """What happened: a running digest, and the lines themselves for those who want to read them."""

    show: Callable[[str], None] | None = None
    events: int = attrs.field(default=0, init=False)
    _digest: Any = attrs.field(factory=lambda: hashlib.blake2b(digest_size=16), init=False)

    def __call__(self, now: float, who: str, what: str, *details: object) -> None:
        self.events += 1
        line = f"{now - START:.6f} {who} {what} {' '.join(map(_shown, details))}"
        self._digest.update(line.encode())
        if self.show is not None:
            self.show(line.replace("\n", "\\n"))

    @property
    def digest(self) -> str:
        digest: str = self._digest.hexdigest()
        return digest


def _shown(detail: object) -> str:
    if isinstance(detail, bytes):
        return f"{len(detail)} bytes {hashlib.blake2b(detail, digest_size=6).hexdigest()}"
    return f"{detail:.6f}" if isinstance(detail, float) else str(detail)


@final
@attrs.define(eq=False)
class Kernel(trio.abc.Clock):
    """The clock of one run, in seconds, and all that is still to happen in it.

    ``offset`` is what the wall clock was set by since the start. ``thread`` are the seconds that work in a worker thread takes.
    """

    seed: int
    trace: Trace = attrs.field(factory=Trace)
    now: float = START
    offset: float = 0.0
    thread: tuple[float, float] = (0.0, 0.002)
    _due: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = attrs.field(factory=list, init=False)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count, init=False)
    _streams: dict[str, Random] = attrs.field(factory=dict, init=False)
    _looks: int = attrs.field(default=0, init=False)
    _at_once: int = attrs.field(default=0, init=False)
    _chance: Random = attrs.field(init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _fault: Exception | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = self.random("threads")

    def random(self, purpose: str) -> Random:
        """Return a source of numbers of its own, so that one part of the world may change without the others."""
        return Random(f"{self.seed} {purpose}")

    def strike(self, who: str, kinds: Collection[str], often: float) -> str:
        """Return the fault of these kinds that strikes ``who`` now, or "". Each kind has a stream, so that another one changes little."""
        if not kinds or self.stream(f"faults of {who}").random() >= often:
            return ""
        kind = min(kinds, key=lambda kind: self.stream(f"{kind} of {who}").random())
        self.tell(who, "fault", kind)
        return kind

    def stream(self, purpose: str) -> Random:
        """Return the source for a purpose, which goes on where it was left."""
        if purpose not in self._streams:
            self._streams[purpose] = self.random(purpose)
        return self._streams[purpose]

    def tell(self, who: str, what: str, *details: object) -> None:
        """Write a line into the trace."""
        self.trace(self.now, who, what, *details)

    def at(self, when: float, work: Callable[..., None], *args: object) -> None:
        """Call ``work`` then, between two steps of Trio."""
        heapq.heappush(self._due, (max(when, self.now), next(self._numbers), work, args))

    def after(self, seconds: float, work: Callable[..., None], *args: object) -> None:
        """Call ``work`` in ``seconds``."""
        self.at(self.now + seconds, work, *args)

    def wall(self) -> float:
        """Return the time that the wall clock shows."""
        return EPOCH + self.now - START + self.offset

    def steady(self) -> float:
        """Return the time of the clock that is never set."""
        return self.now

    async def run_sync(self, work: Callable[..., T], *args: object, **options: Any) -> T:
        """Do ``work`` as a worker thread would, a moment later."""
        limiter: trio.CapacityLimiter = options.get("limiter") or trio.CapacityLimiter(1)
        async with limiter:
            with trio.CancelScope(shield=not options.get("abandon_on_cancel", False)):
                await trio.sleep(self._chance.uniform(*self.thread))
            # What a thread does is no part of a task's turn, whose calls may be counted.
            counted = sys.gettrace()
            sys.settrace(None)
            try:
                return work(*args)
            finally:
                sys.settrace(counted)

    # What Trio asks of its clock.

    def start_clock(self) -> None:
        """It runs already."""

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Let the world go on until a task can run, or a deadline is over."""
        runner = _run.GLOBAL_RUN_CONTEXT.runner
        can_run, signals = runner.runq, runner.entry_queue
        due = self._due
        while due and due[0][0] <= deadline and not can_run and not signals.size() and self._fault is None:
            when, _, work, args = heapq.heappop(due)
            self._move(when)
            try:
                work(*args)
            except Exception as fault:  # noqa: BLE001 - Trio takes none from its clock; it leaves by ``run``
                self._end(fault)
        if can_run or signals.size():  # a signal takes no time until it is heard
            return 0.0
        if deadline == math.inf:
            self._looks += 1
            if self._looks > _PATIENCE:
                self._end(StuckError("\n".join(tasks())))
        else:
            self._move(deadline)
        return 0.0

    def _move(self, when: float) -> None:
        self._at_once = 0 if when > self.now else self._at_once + 1
        if self._at_once > _AT_ONE_MOMENT:
            self._due.clear()
            self._end(StuckError(f"time stands still at {self.now - START}"))
        self.now, self._looks = max(when, self.now), 0

    def _end(self, fault: Exception) -> None:
        if self._fault is None:
            self._fault = fault
            self._scope.cancel()

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run ``main`` by this clock, and return its result.

        Raises:
            StuckError: nothing can happen any more, or time stands still. What an event raises is passed on, too.
        """

        async def guarded() -> T:
            with self._scope:
                return await main()
            assert self._fault is not None
            raise self._fault

        return trio.run(guarded, clock=self)


def tasks() -> Iterator[str]:
    """Yield where each task of this run waits."""
    todo = [trio.lowlevel.current_root_task()]
    while todo:
        task = todo.pop()
        if task is not None:
            yield f"{task.name}: " + " > ".join(f"{frame.f_code.co_name}:{line}" for frame, line in task.iter_await_frames())
            todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Take the chance out of Trio and OpenSSL for a run: the order of tasks that can run, of deadlines at one moment, nonces, and pings."""
    before = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run.Deadlines.add, _run._r
    numbers = itertools.count()

    def add(self: _run.Deadlines, deadline: float, scope: trio.CancelScope) -> None:  # by age, where Trio has the scope's address
        heapq.heappush(self._heap, (deadline, next(numbers), scope))
        self._active += 1

    patched: Any = _run
    patched._ALLOW_DETERMINISTIC_SCHEDULING, patched.Deadlines.add, patched._r = True, add, Random(f"{seed} trio")
    _openssl(f"{seed} openssl")
    random.seed(f"{seed} libraries")
    try:
        yield
    finally:
        patched._ALLOW_DETERMINISTIC_SCHEDULING, patched.Deadlines.add, patched._r = before
        _openssl(None)


_Fill: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_ubyte), ctypes.c_int)
_Status: Final = ctypes.CFUNCTYPE(ctypes.c_int)


class _Method(ctypes.Structure):
    """RAND_METHOD (https://docs.openssl.org/3.0/man3/RAND_set_rand_method/)."""

    _fields_ = (
        ("seed", ctypes.c_void_p),
        ("bytes", _Fill),
        ("cleanup", ctypes.c_void_p),
        ("add", ctypes.c_void_p),
        ("pseudorand", _Fill),
        ("status", _Status),
    )


@cache
def _library() -> Any:
    import _ssl

    for name in (_ssl.__file__, find_library("crypto")):
        library = ctypes.CDLL(name)
        if hasattr(library, "RAND_set_rand_method"):
            library.RAND_set_rand_method.argtypes = [ctypes.c_void_p]
            return library
    return None


def can_seed_openssl() -> bool:
    """Return whether worlds with TLS are the same in another process, too: some builds of Python hide the library."""
    found = list[bytes]()
    for _ in range(2):
        _openssl("a seed")
        found.append(ssl.RAND_bytes(8))
        _openssl(None)
    return found[0] == found[1]


_in_use: list[object] = []


def _openssl(seed: str | None) -> None:
    """Make the library below ``ssl`` draw its numbers from ``seed``, or from where it always does."""
    if (library := _library()) is None:
        return
    if seed is None:
        library.RAND_set_rand_method(None)
        _in_use.clear()
        return
    source = Random(seed)

    def draw(buffer: Any, size: int) -> int:
        ctypes.memmove(buffer, source.randbytes(size), size)
        return 1

    fill = _Fill(draw)
    method = _Method(None, fill, None, None, fill, _Status(lambda: 1))
    _in_use[:] = [method, fill]  # it is called for as long as it is set
    library.RAND_set_rand_method(ctypes.byref(method))
