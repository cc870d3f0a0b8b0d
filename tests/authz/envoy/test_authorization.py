import math
from collections.abc import Callable

import attrs
import orjson
import pytest
import trio

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from exchanger.authz.decision.outcome import DecisionReason, DecisionRecord
from exchanger.authz.envoy.authorization import CHECK_PATH, Authorization
from exchanger.authz.evaluation.evaluator import Evaluator
from exchanger.model.errors import Diagnostic
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangeFailure
from exchanger.net.grpc.routes import CallInfo
from exchanger.net.grpc.status import StatusCode
from exchanger.operations.telemetry.decision_log import decision_line
from exchanger.policy.current import CurrentPolicy
from tests.authz.decision.examples import RULES, snapshot
from tests.authz.envoy.exchangers import BrokenExchanger, FakeExchanger, answered
from tests.authz.envoy.test_check_codec import check
from tests.net.grpc.peer import framed
from tests.net.grpc.serving import serving


@attrs.define(eq=False)
class Records:
    records: list[DecisionRecord] = attrs.Factory(list)

    def decided(self, record: DecisionRecord, /) -> None:
        self.records.append(record)


@attrs.define(eq=False)
class BrokenObserver:
    """Breaks upon whatever was decided."""

    def decided(self, record: object, /) -> None:
        raise RuntimeError("broken")


def authorization(exchanger: FakeExchanger, records: Records, clock: Callable[[], float] = trio.current_time) -> Authorization:
    policy = CurrentPolicy()
    policy.publish(snapshot())
    return Authorization(Evaluator(policy, RULES, exchanger, (records,), clock))


def message(path: str, token: str = "") -> bytes:
    return check({":authority": "api.example.com", **({"authorization": f"Bearer {token}"} if token else {})}, path=path)


async def answer(service: Authorization, asked: bytes) -> CheckResponse:
    return CheckResponse.FromString(await answered(service.check(asked, CallInfo(CHECK_PATH, math.inf, ()))))


@pytest.mark.parametrize(
    ("asked", "reason", "status"),
    [
        (message("/public", "t"), DecisionReason.ALLOW_UNMATCHED, 0),
        (message("/admin", "t"), DecisionReason.DENY_EXPLICIT_POLICY, 403),
        (message("/broken", "t"), DecisionReason.DENY_POLICY_UNHEALTHY, 500),
        (message("/orders"), DecisionReason.DENY_MISSING_BEARER, 401),
        (CheckRequest().SerializeToString(), DecisionReason.MISSING_HTTP_ATTRIBUTES, 500),
    ],
    ids=["public", "admin", "broken", "no bearer", "no attributes"],
)
async def test_a_request_without_an_exchange_is_answered_at_once(asked: bytes, reason: DecisionReason, status: int) -> None:
    exchanger, records = FakeExchanger(), Records()
    service = authorization(exchanger, records)
    result = service.check(asked, None)  # type: ignore[arg-type]  # Check does not read the call
    assert isinstance(result, bytes)
    assert CheckResponse.FromString(result).denied_response.status.code == status
    assert [record.outcome.reason for record in records.records] == [reason]
    assert exchanger.requests == []


@pytest.mark.parametrize(
    ("raw", "path", "host"),
    [
        (b"/admin", "/orders", b"api.example.com"),
        (b"/orders", "/orders", b"api\xff.example.com"),
        (b"/adm\xffin", "/orders", b"api.example.com"),
    ],
)
async def test_a_check_with_contradicting_raw_fields_is_denied_and_can_be_logged(raw: bytes, path: str, host: bytes) -> None:
    exchanger, records = FakeExchanger(), Records()
    fields = [(":path", "", raw), (":authority", "", host), ("authorization", "", b"Bearer subject")]
    response = await answer(authorization(exchanger, records), check({}, fields, path=path))
    assert response.denied_response.status.code == 400
    (record,) = records.records
    assert record.outcome.reason is DecisionReason.DENY_AMBIGUOUS_REQUEST
    assert record.request.host.endswith(".example.com")
    line = orjson.dumps(decision_line(record, "now"))
    assert b'"detail":"' in line
    assert b"subject" not in line
    assert exchanger.requests == []


async def test_an_exchange_is_awaited_and_recorded_once(autojump_clock: trio.testing.MockClock) -> None:
    exchanger, records = FakeExchanger(delay=0.2), Records()
    response = await answer(authorization(exchanger, records), message("/orders", "subject"))
    assert response.ok_response.headers[0].header.value == "Bearer new"
    assert [request.subject_token for request in exchanger.requests] == [Secret("subject")]
    (record,) = records.records
    assert record.outcome.reason is DecisionReason.ALLOW_EXCHANGE
    assert record.duration == pytest.approx(0.2)


async def test_a_failed_exchange_denies() -> None:
    failure = ExchangeFailure(Diagnostic.OAUTH_ERROR, ErrorKind.HTTP_STATUS, 400, '{"error":"invalid_target"}', (), 400)
    records = Records()
    response = await answer(authorization(FakeExchanger(failure), records), message("/orders", "subject"))
    assert (response.denied_response.status.code, response.denied_response.body) == (400, '{"error":"invalid_target"}')
    assert [record.outcome.reason for record in records.records] == [DecisionReason.DENY_EXCHANGE_ERROR]


async def test_a_caller_that_leaves_is_recorded_and_nothing_stays(autojump_clock: trio.testing.MockClock) -> None:
    records = Records()
    service = authorization(FakeExchanger(delay=60), records)
    with trio.move_on_after(1) as scope:
        await answer(service, message("/orders", "subject"))
    assert scope.cancelled_caught
    assert service.evaluator.answered == 1
    (record,) = records.records
    assert record.outcome.reason is DecisionReason.DENY_EXCHANGE_ERROR
    assert record.duration == pytest.approx(1)
    assert service.evaluator.in_flight == 0


async def test_nothing_passes_without_a_policy_and_a_new_one_counts_at_once() -> None:
    service = Authorization(Evaluator(CurrentPolicy(), RULES, FakeExchanger(), ()))
    seen: list[object] = []
    service.evaluator.policy.on_change(seen.append)
    assert (await answer(service, message("/public"))).denied_response.status.code == 500
    first = snapshot()
    service.evaluator.policy.publish(first)
    assert (await answer(service, message("/admin"))).denied_response.status.code == 403
    replacement = snapshot("version: v1")
    service.evaluator.policy.publish(replacement)
    assert (await answer(service, message("/admin"))).WhichOneof("http_response") == "ok_response"
    assert seen == [first, replacement]


@pytest.mark.parametrize("path", ["/public", "/orders"])
async def test_a_fault_of_ours_is_a_denial(path: str) -> None:
    policy = CurrentPolicy()
    policy.publish(snapshot())
    service = Authorization(Evaluator(policy, RULES, BrokenExchanger(), (BrokenObserver(),)))
    async with serving(service.routes()) as served:
        client = await served.connect()
        _, broken = await client.start(CHECK_PATH, framed(message(path, "canary")))
        assert broken.status == StatusCode.OK
        (denial,) = broken.messages
        assert CheckResponse.FromString(denial).denied_response.status.code == 500
        assert len(served.faults) == 1
        _, unparsable = await client.start(CHECK_PATH, framed(b"\xff"))
        assert unparsable.status == StatusCode.INTERNAL
