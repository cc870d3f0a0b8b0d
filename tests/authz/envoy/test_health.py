import pytest
import trio

from exchanger._proto.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest
from exchanger.authz.envoy.health import LIVENESS, HealthBoard, HealthService
from exchanger.net.grpc.routes import routes_of
from exchanger.net.grpc.status import GrpcError, StatusCode
from tests.net.grpc.peer import Answer, framed
from tests.net.grpc.serving import serving

SERVICE = "envoy.service.auth.v3.Authorization"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


async def test_serving_is_between_the_first_policy_and_the_drain() -> None:
    board = HealthBoard()
    health = HealthService(board, frozenset({SERVICE}))

    async def check(service: str) -> int:
        return (await health.Check(HealthCheckRequest(service=service))).status

    async def assert_all_are(status: int) -> None:
        assert await check(LIVENESS) == SERVING  # whether it waits or drains
        listed = {name: response.status for name, response in (await health.List(HealthListRequest())).statuses.items()}
        assert listed == {name: await check(name) for name in ("", SERVICE)} == {"": status, SERVICE: status}

    await assert_all_are(NOT_SERVING)
    board.set_ready()
    await assert_all_are(SERVING)
    board.set_draining()
    await assert_all_are(NOT_SERVING)
    board.set_ready()
    await assert_all_are(NOT_SERVING)
    assert board.draining


async def test_only_answers_about_known_services_are_told() -> None:
    told = list[tuple[str, bool]]()
    health = HealthService(HealthBoard(), frozenset({SERVICE}), lambda *check: told.append(check))
    with pytest.raises(GrpcError) as raised:
        await health.Check(HealthCheckRequest(service="other"))
    assert raised.value.status is StatusCode.NOT_FOUND
    await health.Check(HealthCheckRequest(service=LIVENESS))
    await health.Check(HealthCheckRequest())
    assert told == [(LIVENESS, True), ("", False)]


@pytest.mark.parametrize("ready", [False, True])
async def test_a_watch_ends_with_the_drain_although_its_status_is_the_same(ready: bool, autojump_clock: trio.testing.MockClock) -> None:
    board = HealthBoard()
    watch = HealthService(board, frozenset({SERVICE})).Watch(HealthCheckRequest())
    assert (await anext(watch)).status == NOT_SERVING
    if ready:  # which is undone before the watcher runs
        board.set_ready()
    board.set_draining()
    with trio.fail_after(1), pytest.raises(StopAsyncIteration):
        await anext(watch)


def statuses(answer: Answer) -> list[int]:
    return [HealthCheckResponse.FromString(message).status for message in answer.messages]


async def test_health_watches_stay_open_until_the_drain_and_do_not_delay_it(autojump_clock: trio.testing.MockClock) -> None:
    board = HealthBoard()
    async with serving(routes_of(HealthService(board, frozenset({SERVICE})).service)) as served:
        client = await served.connect()

        async def watch(service: str) -> Answer:
            message = framed(HealthCheckRequest(service=service).SerializeToString())
            return (await client.start(b"/grpc.health.v1.Health/Watch", message))[1]

        known, whole, unknown = await watch(SERVICE), await watch(""), await watch("other")
        await trio.sleep(3600)
        board.set_ready()
        board.set_ready()
        await client.settle()
        late = await watch(SERVICE)
        assert [answer.status for answer in (known, whole, unknown, late)] == [None] * 4
        board.set_draining()
        after = await watch(SERVICE)
        assert statuses(known) == statuses(whole) == [NOT_SERVING, SERVING, NOT_SERVING]
        assert statuses(unknown) == [HealthCheckResponse.SERVICE_UNKNOWN]
        assert statuses(late) == [SERVING, NOT_SERVING]
        assert statuses(after) == [NOT_SERVING]
        assert [answer.status for answer in (known, whole, unknown, late, after)] == [0] * 5
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.drain, 3600.0)
            await client.settle()
        assert trio.current_time() - started < 2  # what closing takes
        assert served.stopped.is_set()
