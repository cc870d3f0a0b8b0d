import itertools
from collections.abc import Callable, Iterator

import attrs
import pytest
import structlog
import trio
import trio.testing
from structlog.testing import CapturingLogger
from trio.testing import MockClock

from exchanger.operations.telemetry.otlp.export import FLUSH_S, REMIND_S, Batch, Export, ExportAccepted, ExportRefused, ExportResult

DEAD = ExportRefused("cannot be reached: Connection refused", retryable=True)
WRONG = ExportRefused("HTTP status 400", retryable=False)


@attrs.define(eq=False)
class FakeSource:
    """Has ``items`` to give in batches of two, and gets ``more`` each time that it was asked."""

    items: int = 0
    more: int = 0
    lost: int = 0
    full: trio.Event = attrs.Factory(trio.Event)

    async def wait(self) -> None:
        await self.full.wait()

    def batches(self) -> Iterator[Batch]:
        while self.items > 0:
            taken = min(2, self.items)
            self.items -= taken
            yield Batch(b"x" * taken, taken, len)
        self.items += self.more
        self.full = trio.Event()

    def dropped(self) -> int:
        return self.lost


@attrs.define(eq=False)
class FakePost:
    """Gives ``answers`` in turn, the last one for ever, each after ``delay``."""

    answers: list[ExportResult]
    delay: float = 0.0
    posted: list[tuple[float, bytes]] = attrs.Factory(list)

    async def __call__(self, body: bytes) -> ExportResult:
        self.posted.append((trio.current_time(), body))
        await trio.sleep(self.delay)
        return self.answers[min(len(self.posted), len(self.answers)) - 1]


@attrs.define(eq=False)
class Scene:
    """An export with everything around it; times are since its start."""

    source: FakeSource
    post: FakePost
    logged: CapturingLogger = attrs.Factory(CapturingLogger)
    interval: float = 5.0
    timeout: float = 10.0

    def export(self) -> Export:
        log = structlog.wrap_logger(self.logged, processors=[])
        return Export("traces", "collector:4318", self.source, self.post, self.interval, self.timeout, log=log)

    def lines(self) -> list[tuple[str, dict[str, object]]]:
        return [(call.kwargs["event"], {**call.kwargs, "level": call.method_name}) for call in self.logged.calls]

    def events(self) -> list[str]:
        return [event for event, _ in self.lines()]


async def run(export: Export, seconds: float, *, then: Callable[[], None] = lambda: None) -> float:
    """Run ``export`` for so long, then end it; return how long the end took."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_run, export)
        await trio.sleep(seconds)
        then()
        ended = trio.current_time()
        nursery.cancel_scope.cancel()
    return trio.current_time() - ended


async def _run(export: Export, *, task_status: trio.TaskStatus[None]) -> None:
    await export.run(task_status=task_status)


async def test_batches_leave_after_the_interval(autojump_clock: MockClock) -> None:
    scene = Scene(FakeSource(items=3), FakePost([ExportAccepted(b"")]))
    export = scene.export()
    await run(export, 6)
    assert [body for _, body in scene.post.posted] == [b"xx", b"x"]
    assert scene.post.posted[0][0] == pytest.approx(5)
    assert (export.delivered, export.lost, export.healthy) == (3, 0, True)
    assert scene.events() == []


async def test_a_full_batch_leaves_at_once(autojump_clock: MockClock) -> None:
    scene = Scene(FakeSource(items=2), FakePost([ExportAccepted(b"")]))
    scene.source.full.set()
    async with trio.open_nursery() as nursery:
        await nursery.start(_run, scene.export())
        await trio.testing.wait_all_tasks_blocked()
        assert [when for when, _ in scene.post.posted] == [pytest.approx(0)]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("delay", "late", "posted", "took"),
    [(0.0, 3, [(6, b"xx"), (6, b"x")], 0.0), (1.0, 0, [(5, b"x"), (6, b"x")], 1.5)],
    ids=["after the last batch", "while it was on its way"],
)
async def test_what_is_left_leaves_at_the_end(
    delay: float, late: int, posted: list[tuple[float, bytes]], took: float, autojump_clock: MockClock
) -> None:
    scene = Scene(FakeSource(items=0 if late else 1, more=0 if late else 1), FakePost([ExportAccepted(b"")], delay))

    def arrive() -> None:
        scene.source.items += late

    export = scene.export()
    assert await run(export, 6 if late else 5.5, then=arrive) == pytest.approx(took, abs=0.1)
    assert [(round(when), body) for when, body in scene.post.posted] == posted
    assert (export.delivered, export.lost) == (sum(len(body) for _, body in posted), 0)


async def test_a_collector_that_is_silent_at_the_end_is_given_up(autojump_clock: MockClock) -> None:
    scene = Scene(FakeSource(items=1), FakePost([ExportAccepted(b"")], delay=1000))
    assert await run(scene.export(), 1) == pytest.approx(FLUSH_S)


@pytest.mark.parametrize("delay", [0.0, 1000.0])
async def test_one_that_took_nothing_before_is_not_asked_at_the_end(delay: float, autojump_clock: MockClock) -> None:
    scene = Scene(FakeSource(items=1, more=1), FakePost([DEAD], delay))
    assert await run(scene.export(), 60) < 0.1


async def test_attempts_are_repeated_with_growing_pauses_within_the_timeout(autojump_clock: MockClock) -> None:
    scene = Scene(FakeSource(items=1), FakePost([DEAD]))
    await run(scene.export(), 20)
    times = [when - 5 for when, _ in scene.post.posted]
    assert 3 <= len(times) <= 6
    assert times[-1] < 10
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert all(0.5 * 2**number <= pause <= 2**number for number, pause in enumerate(pauses))


@pytest.mark.parametrize(
    ("answers", "attempts"),
    [
        ([ExportRefused("HTTP status 429", retryable=True, retry_after=4.0)], {3}),
        ([WRONG], {1}),
        ([ExportRefused("HTTP status 503", retryable=True, retry_after=0.0)], {3, 4, 5, 6}),
        ([DEAD, DEAD, ExportAccepted(b"")], {3}),
    ],
    ids=["later", "never", "at once", "until it succeeds"],
)
async def test_the_collector_says_whether_and_when_to_try_again(
    answers: list[ExportResult], attempts: set[int], autojump_clock: MockClock
) -> None:
    scene = Scene(FakeSource(items=1), FakePost(answers))
    export = scene.export()
    await run(export, 20)
    assert len(scene.post.posted) in attempts
    assert (export.delivered, scene.events()) == ((1, []) if ExportAccepted(b"") in answers else (0, ["telemetry.export_failed"]))


async def test_an_export_failure_and_its_recovery_are_logged_at_once_with_losses(autojump_clock: MockClock) -> None:
    scene = Scene(FakeSource(items=2, more=2), FakePost([WRONG, WRONG, WRONG, ExportAccepted(b""), WRONG, ExportAccepted(b"")]))
    export = scene.export()
    await run(export, 40)
    assert scene.events() == ["telemetry.export_failed", "telemetry.export_recovered"] * 2
    assert [fields.get("lost") for _, fields in scene.lines()][:2] == [2, 4]
    assert export.healthy


async def test_a_dead_collector_is_one_warning_and_then_a_reminder_at_times(autojump_clock: MockClock) -> None:
    scene = Scene(FakeSource(items=2, more=2), FakePost([DEAD]))
    export = scene.export()
    await run(export, REMIND_S * 2.5)
    assert scene.events() == ["telemetry.export_failed"] * 3
    fields = [fields for _, fields in scene.lines()]
    assert {one["reason"] for one in fields} == {"cannot be reached: Connection refused"}
    assert {one["level"] for one in fields} == {"warning"}
    assert {(one["signal"], one["endpoint"]) for one in fields} == {("traces", "collector:4318")}
    assert fields[0]["lost"] == 2
    assert 50 < int(str(fields[1]["lost"])) < 150
    assert export.lost > 200


async def test_a_silent_collector_is_reported_with_the_timeout(autojump_clock: MockClock) -> None:
    scene = Scene(FakeSource(items=1), FakePost([ExportAccepted(b"")], delay=1000), timeout=2.0)
    await run(scene.export(), 20)
    assert [fields["reason"] for _, fields in scene.lines()] == ["no answer within 2 s"]


async def test_rejected_items_and_items_without_room_are_reported(autojump_clock: MockClock) -> None:
    # The fake's answer has as many bytes as items were rejected.
    scene = Scene(FakeSource(items=2, more=2), FakePost([ExportAccepted(b"r"), ExportAccepted(b"")]))
    export = scene.export()

    def overflow() -> None:
        scene.source.lost = 7

    await run(export, 6, then=overflow)
    assert scene.events() == ["telemetry.items_lost"]
    assert scene.lines()[0][1]["lost"] == 1
    assert export.lost == 8


async def test_a_fault_in_what_is_exported_is_a_fault(autojump_clock: MockClock) -> None:
    async def broken(_body: bytes) -> ExportResult:
        await trio.lowlevel.checkpoint()
        raise RuntimeError

    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        await run(Export("traces", "c", FakeSource(items=1), broken, 5.0, 10.0), 20)
