"""Counts what the reactor does for one call, in function calls and bytecode instructions, which do not depend on how fast the machine is.

All parts are those of the service: a session, the evaluator, the pipeline of an exchange, connections. Sockets are pairs without a network,
and time stands still. Only functions of the service count, and those of C that it calls.

Usage: python -m tests.authz.envoy.counted_calls [--record] [--by-function denial|logged|hit|exchange|kept]
"""

import argparse
import base64
import gc
import json
import platform
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import BuiltinFunctionType, FrameType
from typing import Any, Final, TypeVar, final

import attrs
import trio
import trio.testing
from rpds import HashTrieMap

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from exchanger.authz.decision.check import DecisionRules
from exchanger.authz.decision.outcome import Result
from exchanger.authz.envoy.authorization import CHECK_PATH, Authorization
from exchanger.authz.evaluation.evaluator import Evaluator
from exchanger.exchange.pipeline import ExchangePipeline
from exchanger.model.entry import Source
from exchanger.model.issuer import CachePolicy
from exchanger.net.grpc.connection import Connection
from exchanger.net.grpc.session import Session
from exchanger.net.network import SYSTEM
from exchanger.net.reactor import Reactor
from exchanger.net.tcp import SocketTransport
from exchanger.operations.telemetry.decision_log import DecisionLog, json_line
from exchanger.operations.telemetry.log_writer import LogWriter
from exchanger.operations.telemetry.metrics import Metrics
from exchanger.operations.telemetry.render import Stamp
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot
from tests.exchange.oauth.fakes import CONTRACT, response, success, token_request
from tests.net.grpc.peer import Peer, framed, head
from tests.operations.telemetry.gauges import NOTHING

T = TypeVar("T")

RECORDED: Final = Path(__file__).with_name("counted_calls.json")
PYTHON: Final = ".".join(platform.python_version_tuple()[:2])
# A decision without an exchange, the same with its line in the log, a token from memory, an exchange, and one whose token is kept.
CASES: Final = ("denial", "logged", "hit", "exchange", "kept")

# Calls before those that count: what is made once is made by then, and there is a connection to the token endpoint.
_WARM_UP: Final = 3
# The least of so many: in some, a heap of deadlines is swept.
_COUNTED: Final = 3
# Seconds between calls, in which a connection to the token endpoint leaves its quarantine and does not become idle.
_PAUSE: Final = 2.0

_POLICY: Final = """
version: v1
entries:
  - {match: {host: api.example.com, pathPrefix: /exchange}, action: exchange, exchange: {issuerRef: plain, scope: read}}
  - {match: {host: api.example.com, pathPrefix: /hit}, action: exchange, exchange: {issuerRef: keeping, scope: read}}
  - {match: {host: api.example.com, pathPrefix: /kept}, action: exchange, exchange: {issuerRef: keeping, scope: read}}
  - {match: {host: api.example.com, pathPrefix: /denial}, action: deny}
  - {match: {host: api.example.com, pathPrefix: /logged}, action: deny}
"""
_PLAIN: Final = attrs.evolve(token_request().issuer, name="plain")
_ISSUERS: Final = {"plain": _PLAIN, "keeping": attrs.evolve(_PLAIN, name="keeping", cache=CachePolicy(3600.0, 1000))}
_BODY: Final = success("y" * 900)[:-1] + b',"expires_in":3600}'


def _subject_token(user: int) -> str:
    """Return a JWT of a usual size."""
    claims = f'{{"iss":"https://issuer.example.com","sub":"user-{user:08}","aud":["api"],"exp":4102444800,"more":"{"x" * 250}"}}'
    header, payload = (base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in ('{"alg":"RS256","kid":"1"}', claims))
    return f"{header}.{payload}.{'x' * 342}"


@final
@attrs.define(eq=False)
class ReactorWork(trio.abc.Instrument):
    """Counts in the steps of the reactor's task alone; ``work`` is by function."""

    instructions: bool
    work: Counter[str] = attrs.field(factory=Counter)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Begin to count."""
        if not task.name.endswith("Reactor.run"):
            return
        if self.instructions:
            sys.settrace(self._entered)
        else:
            sys.setprofile(self._called)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count no more."""
        sys.settrace(None)
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        if event in {"call", "c_call"} and (name := _name(frame)):
            self.work[f"{name} > {argument.__qualname__}" if isinstance(argument, BuiltinFunctionType) else name] += 1

    def _entered(self, frame: FrameType, _event: str, _argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._executed if _name(frame) else None

    def _executed(self, frame: FrameType, event: str, _argument: object) -> Any:
        self.work[_name(frame)] += event == "opcode"
        return self._executed


def _name(frame: FrameType) -> str:
    """Return the name of a function of the service, "" for any other."""
    code = frame.f_code
    generated = code.co_filename.startswith("<attrs generated methods exchanger.")
    return f"{code.co_filename}:{code.co_qualname}" if generated or frame.f_globals.get("__name__", "").startswith("exchanger.") else ""


@final
@attrs.define(eq=False)
class Caller:
    """A gateway on its end of a connection."""

    _socket: trio.socket.SocketType
    _clock: trio.testing.MockClock
    _peer: Peer = attrs.field(factory=Peer)
    _calls: int = 0

    async def ask(self, case: str) -> None:
        """Make one call, and wait for its answer."""
        self._clock.jump(_PAUSE)
        await trio.testing.wait_all_tasks_blocked()
        self._calls += 1
        check = CheckRequest()
        http = check.attributes.request.http
        http.method, http.path, http.host, http.scheme = "GET", f"/{case}/1", "api.example.com", "https"
        user = 0 if case == "hit" else self._calls
        for name, value in {
            ":path": http.path,
            "authorization": f"Bearer {_subject_token(user)}",
            "user-agent": "test",
            "accept": "*/*",
        }.items():
            http.headers[name] = value
        stream = self._peer.request([*head(CHECK_PATH), (b"grpc-timeout", b"1S")], framed(check.SerializeToString()))
        answer = self._peer.answers[stream]
        await self._send()
        while not answer.closed:
            self._peer.receive(await self._socket.recv(65_536))
            await self._send()
        assert (CheckResponse.FromString(answer.messages[0]).status.code == 0) == (case in {"hit", "exchange", "kept"})

    async def _send(self) -> None:
        if data := self._peer.send():
            await self._socket.send(data)


@final
@attrs.define(eq=False)
class _Nowhere:
    """An output that takes everything."""

    problem: str = ""

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        """See ``Output``."""
        del data, patience, at_once
        return 0


async def _at_once(function: Callable[..., T], *arguments: object, **_options: object) -> T:
    """Run ``function`` as if in a thread, which would end sooner or later."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


async def _answer_all(stream: trio.SocketStream) -> None:
    """Answer each request on a connection to the token endpoint; it comes in one piece."""
    while await stream.receive_some(65_536):
        await stream.send_all(response(_BODY, 200, "Content-Type: application/json"))


async def _count(case: str, *, instructions: bool) -> Counter[str]:
    metrics, policy = Metrics("0", NOTHING), CurrentPolicy()
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    faults: list[BaseException] = []
    counted: list[Counter[str]] = []
    writer = LogWriter(_Nowhere(), lambda _lines: b"", _at_once)
    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)

        async def dial(_host: str, _port: int) -> trio.SocketStream:
            await trio.lowlevel.checkpoint()
            ours, theirs = trio.socket.socketpair()
            nursery.start_soon(_answer_all, trio.SocketStream(theirs))
            return trio.SocketStream(ours)

        reactor = Reactor(attrs.evolve(SYSTEM, connect=dial))
        tokens = ExchangePipeline(CONTRACT, (metrics,), reactor)
        tokens.use_issuers(_ISSUERS)
        source = Source("team", "policy")
        policy.publish(PolicySnapshot.EMPTY.changed({source: parse_document(source, _POLICY, frozenset(_ISSUERS))}))
        log = DecisionLog(frozenset(Result), Stamp(lambda: 0.0), json_line, writer.put, writer.lose, reactor.schedule_flush)
        observers = (metrics, log) if case == "logged" else (metrics,)
        evaluator = Evaluator(policy, DecisionRules(HashTrieMap(_ISSUERS)), tokens, observers, now=reactor.now)
        ours, theirs = socket.socketpair()
        session = Session(SocketTransport(ours), Connection(Authorization(evaluator).routes()), reactor, faults.append)
        nursery.start_soon(reactor.run)
        await nursery.start(tokens.run)
        nursery.start_soon(session.run)
        caller = Caller(trio.socket.from_stdlib_socket(theirs), clock)
        for number in range(_WARM_UP + _COUNTED):
            instrument = ReactorWork(instructions)
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.add_instrument(instrument)
            await caller.ask(case)
            await trio.testing.wait_all_tasks_blocked()
            trio.lowlevel.remove_instrument(instrument)
            counted += [instrument.work] if number >= _WARM_UP else []
        nursery.cancel_scope.cancel()
    theirs.close()
    reactor.close()
    assert not faults
    return min(counted, key=Counter.total)


def count(case: str, *, instructions: bool) -> Counter[str]:
    """Return the work of one call of ``case`` in a process that has done nothing else, by function."""
    gc.disable()
    return trio.run(lambda: _count(case, instructions=instructions), clock=trio.testing.MockClock())


def counted() -> dict[str, dict[str, int]]:
    """Return the figures of all cases."""
    return {
        case: {"calls": count(case, instructions=False).total(), "instructions": count(case, instructions=True).total()} for case in CASES
    }


def main() -> None:
    """Print the figures, or record them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help=f"write the figures of this version of Python to {RECORDED.name}")
    parser.add_argument("--by-function", choices=CASES, help="print instructions and calls by function instead")
    options = parser.parse_args()
    if options.by_function:
        calls = count(options.by_function, instructions=False)
        for name, instructions in count(options.by_function, instructions=True).most_common():
            print(f"{instructions:6} {calls[name]:4}  {name}")
        return
    found = counted()
    print(json.dumps(found))
    if options.record:
        recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
        RECORDED.write_text(json.dumps({**recorded, PYTHON: found}, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
