import pytest
import trio

from exchanger._proto.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest
from exchanger.envoy.health import Health, HealthBoard
from exchanger.grpc.status import GrpcError, StatusCode

SERVICE = "envoy.service.auth.v3.Authorization"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_serving_is_between_the_first_policy_and_the_drain(service: str) -> None:
    board = HealthBoard()
    health = Health(board, frozenset({SERVICE}))
    request = HealthCheckRequest(service=service)
    assert (await health.Check(request)).status == NOT_SERVING
    board.set_ready()
    assert (await health.Check(request)).status == SERVING
    board.set_draining()
    assert (await health.Check(request)).status == NOT_SERVING
    board.set_ready()
    assert (await health.Check(request)).status == NOT_SERVING
    assert board.statistics().draining


async def test_an_unknown_service_is_not_found() -> None:
    with pytest.raises(GrpcError) as raised:
        await Health(HealthBoard(), frozenset({SERVICE})).Check(HealthCheckRequest(service="other"))
    assert raised.value.status is StatusCode.NOT_FOUND


async def test_list_names_every_service() -> None:
    board = HealthBoard()
    board.set_ready()
    statuses = (await Health(board, frozenset({SERVICE})).List(HealthListRequest())).statuses
    assert {name: status.status for name, status in statuses.items()} == {"": SERVING, SERVICE: SERVING}


async def test_checks_are_reported() -> None:
    seen: list[tuple[str, bool]] = []
    health = Health(HealthBoard(), frozenset({SERVICE}), lambda service, serving: seen.append((service, serving)))
    await health.Check(HealthCheckRequest(service=SERVICE))
    assert seen == [(SERVICE, False)]


async def test_watch_tells_each_change_once(autojump_clock: trio.testing.MockClock) -> None:
    board = HealthBoard()
    health = Health(board, frozenset({SERVICE}))
    seen: list[int] = []

    async def watch(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        async for response in health.Watch(HealthCheckRequest(service=SERVICE)):
            seen.append(response.status)  # noqa: PERF401 - each is seen while the call goes on

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        await trio.testing.wait_all_tasks_blocked()
        board.set_ready()
        board.set_ready()
        await trio.testing.wait_all_tasks_blocked()
        board.set_draining()  # which ends the call, and with it the task
    assert seen == [NOT_SERVING, SERVING, NOT_SERVING]


async def test_a_watch_ends_with_the_drain_although_it_was_never_serving(autojump_clock: trio.testing.MockClock) -> None:
    board = HealthBoard()
    watch = Health(board, frozenset({SERVICE})).Watch(HealthCheckRequest())
    assert (await anext(watch)).status == NOT_SERVING
    board.set_draining()
    with trio.fail_after(1), pytest.raises(StopAsyncIteration):
        await anext(watch)


async def test_watch_of_an_unknown_service_is_a_status() -> None:
    watch = Health(HealthBoard(), frozenset({SERVICE})).Watch(HealthCheckRequest(service="other"))
    assert (await anext(watch)).status == HealthCheckResponse.SERVICE_UNKNOWN
    await watch.aclose()  # type: ignore[attr-defined]  # an async generator
