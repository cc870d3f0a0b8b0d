"""AUDIT_REQUIRED: no exchanged token without its line, whatever the disk and the gateway do."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from exchanger.authz.decision.outcome import Allow, Deny, Exchange, ExchangePending, Filter, Outcome
from exchanger.authz.evaluation.evaluator import Evaluator, WaitingRequest
from exchanger.exchange.stage import GATEWAY_TIMED_OUT
from exchanger.model.entry import TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import ErrorStyle
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, ExchangedToken, TokenCall
from tests.authz.audit.outputs import Disk, SlowThread, audit_log
from tests.authz.envoy.exchangers import FakeExchanger, answered
from tests.authz.envoy.test_authorization import Records
from tests.authz.evaluation.test_evaluator import REQUEST, evaluator

CALL = TokenCall(0.25, 200)
TOKEN = ExchangedToken(Secret("new"), CALL, 60, Cache.MISS, 1_900_000_000, None, "read")


@asynccontextmanager
async def audited(exchanger: FakeExchanger, disk: Disk, thread: SlowThread, records: Records) -> AsyncGenerator[Evaluator]:
    log = audit_log(disk, thread, required=True)
    of = evaluator(exchanger, records, None)
    of.audit, of.observers = log, (records, log)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        nursery.start_soon(log.reactor.timers.run)
        await trio.sleep(1)
        yield of
        await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def ask(of: Evaluator, seconds: float = math.inf) -> Outcome:
    pending = of.begin(REQUEST, 0.0, Filter.EXT_PROC)
    assert isinstance(pending, ExchangePending)
    outcomes: list[Outcome] = []

    def encode(outcome: Outcome) -> bytes:
        outcomes.append(outcome)
        return b""

    waiting = WaitingRequest(of, REQUEST, pending, 0.0, Filter.EXT_PROC, encode)
    await answered(waiting.begin(trio.current_time() + seconds))
    return outcomes[0]


def code_of(outcome: Outcome) -> Diagnostic | None:
    assert isinstance(outcome, Deny)
    return outcome.diagnostic


@pytest.mark.parametrize("delay", [0.0, 0.2], ids=["hit", "exchange"])
async def test_an_allow_waits_for_its_line(delay: float, autojump_clock: trio.testing.MockClock) -> None:
    disk, records, thread = Disk(), Records(), SlowThread()
    async with audited(FakeExchanger(TOKEN, delay), disk, thread, records) as of:
        thread.seconds = 0.1
        started = trio.current_time()
        outcome = await ask(of)
        assert trio.current_time() - started == pytest.approx(delay + 0.1, abs=0.01)
        assert isinstance(outcome, Allow)
        assert [line["event"] for line in disk.lines] == ["exchange.granted"]
        assert of.in_flight == 0
    (record,) = records.records
    assert record.exchange == Exchange(TokenTarget("primary", "read:orders"), "issuer.example.com", CALL, Secret("subject"), "read")
    assert len(disk.lines) == 1


@pytest.mark.parametrize("delay", [0.0, 0.2], ids=["hit", "exchange"])
async def test_a_disk_that_is_full_refuses_and_then_nothing_is_exchanged(delay: float, autojump_clock: trio.testing.MockClock) -> None:
    disk, records, exchanger = Disk(), Records(), FakeExchanger(TOKEN, delay)
    async with audited(exchanger, disk, SlowThread(), records) as of:
        disk.room = 0
        assert code_of(await ask(of)) is Diagnostic.AUDIT_UNAVAILABLE
        assert len(exchanger.requests) == 1
        for _ in range(5):
            refused = await ask(of)
            assert (code_of(refused), refused.cache) == (Diagnostic.AUDIT_UNAVAILABLE, Cache.NONE)
            assert isinstance(refused, Deny)
            assert (refused.status, refused.body) == (
                500,
                '{"error":"server_error","message":"audit log is not available (TXE-5001)"}',
            )
            await trio.sleep(1)
        assert len(exchanger.requests) == 1
        disk.room = None
        await trio.sleep(1)
        assert isinstance(await ask(of), Allow)
    first = records.records[0]
    assert first.exchange is not None
    assert (first.exchange.call, first.outcome.cache) == (CALL, Cache.MISS)
    assert [line["event"] for line in disk.lines] == ["exchange.denied"] * 6 + ["exchange.granted"]
    assert {line["code"] for line in disk.lines[:6]} == {"TXE-5001"}


async def test_a_slow_audit_disk_denies_within_the_gateways_timeout(autojump_clock: trio.testing.MockClock) -> None:
    disk, records, thread = Disk(), Records(), SlowThread()
    async with audited(FakeExchanger(TOKEN), disk, thread, records) as of:
        thread.seconds = 0.5
        started = trio.current_time()
        assert code_of(await ask(of, 0.2)) is Diagnostic.AUDIT_UNAVAILABLE
        assert trio.current_time() - started < 0.2
        assert of.in_flight == 0


async def test_with_strict_errors_it_is_503(autojump_clock: trio.testing.MockClock) -> None:
    disk, records = Disk(room=0), Records()
    async with audited(FakeExchanger(TOKEN), disk, SlowThread(), records) as of:
        issuers = of.rules.issuers
        of.rules = attrs.evolve(of.rules, issuers=issuers.insert("primary", attrs.evolve(issuers["primary"], errors=ErrorStyle.STRICT)))
        refused = await ask(of)
        assert isinstance(refused, Deny)
        assert (refused.status, dict(refused.headers)) == (503, {"Retry-After": "1"})


async def test_a_gateway_that_leaves_gets_no_line_of_an_allow(autojump_clock: trio.testing.MockClock) -> None:
    disk, records, thread = Disk(), Records(), SlowThread()
    async with audited(FakeExchanger(TOKEN), disk, thread, records) as of:
        thread.seconds = 10  # for the look at the file
        await trio.sleep(0.5)
        with trio.move_on_after(0.1):
            await ask(of)
        assert of.in_flight == 0
        thread.seconds = 0
        await trio.sleep(20)
    assert [line["reason"] for line in disk.lines] == ["context_canceled"]


async def test_failures_do_not_wait_for_the_log(autojump_clock: trio.testing.MockClock) -> None:
    disk, records, thread = Disk(), Records(), SlowThread()
    async with audited(FakeExchanger(GATEWAY_TIMED_OUT), disk, thread, records) as of:
        thread.seconds = 0.9
        started = trio.current_time()
        assert code_of(await ask(of)) is Diagnostic.REQUEST_FAILED
        assert trio.current_time() == started
