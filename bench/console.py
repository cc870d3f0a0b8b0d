"""What watching costs: CPU a Check with and without the console, at a steady rate of decisions, and memory.

Usage: python bench/console.py [--rate 5000] [--seconds 2] [--rounds 18] [--subscribers 10] [--alone]

The service's parts (gRPC server, Authorization, metrics, console) run in one process, the gateway in another, and those who watch in a
third, of whom the last one connects and never reads. Each round measures without the console's observer, with it and nobody watching, and
with all subscribers. Half of the requests are denied by policy, so that there is always more than is told.

On a machine with few cores those who read take a share of the server's, and rounds differ by more than what is measured. ``--alone`` asks
for the two parts of it by themselves: a Check without any connection, with and without the observer, and what the console takes in a second
while decisions come at that rate, with and without readers.
"""

import argparse
import itertools
import math
import multiprocessing
import os
import resource
import selectors
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Final

import attrs
import ngh2
import trio

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from exchanger.authz.decision.check import DecisionRules
from exchanger.authz.decision.outcome import DecisionRecord
from exchanger.authz.envoy.authorization import CHECK_PATH, Authorization
from exchanger.authz.evaluation.evaluator import Evaluator
from exchanger.model.entry import Source
from exchanger.model.token import TokenOutcome, TokenRequest
from exchanger.net.grpc.routes import CallInfo
from exchanger.net.grpc.server import GrpcServer, ServerSettings
from exchanger.net.reactor import Reactor
from exchanger.operations.console.access import ConsoleSettings
from exchanger.operations.console.api import ConsoleFacts
from exchanger.operations.console.broadcast import Totals
from exchanger.operations.console.console import Console, Sources
from exchanger.operations.console.feed import Feed
from exchanger.operations.telemetry.decision_log import decision_line
from exchanger.operations.telemetry.metrics import Gauges, Metrics
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot

ORDERS: Final = Source("team", "orders")
POLICY: Final = """
version: v1
entries:
  - {match: {host: api.example.com, pathPrefix: /orders}, action: deny}
"""
NOTHING: Final = Gauges(
    lambda: 0, dict, lambda: 0, lambda: 0, lambda: 0, lambda: None, lambda: True, lambda: 0, lambda: None, lambda: 0, lambda: 0
)
# Bursts a second: a gateway's worker threads hand over what has come together.
BURSTS: Final = 500
STREAM_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
PATIENCE_S: Final = 30.0


class NoExchange:
    """No request here needs one."""

    def begin(self, request: TokenRequest, due: float, done: Callable[[TokenOutcome], None], /) -> TokenOutcome:
        """See ``typing.TokenExchanger``."""
        raise NotImplementedError(request)


@attrs.frozen
class Recorded:
    """Keeps what it observes."""

    records: list[DecisionRecord]

    def decided(self, record: DecisionRecord, /) -> None:
        """See ``typing.DecisionObserver``."""
        self.records.append(record)


def memory_mib() -> float:
    """Return this process's memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 2**20


def report(fault: BaseException) -> None:
    """Nothing here has faults."""
    sys.stderr.write(f"{fault!r}\n")


def counted(metrics: Metrics) -> Totals:
    """Return what the console shows of the counters."""
    families = {metric.name: metric for metric in metrics.collect()}
    checks = families["ext_authz_check_requests"].samples
    decisions = {sample.labels["decision"]: int(sample.value) for sample in checks if sample.name.endswith("_total")}
    return Totals(decisions, 0, 0, (0.001, 0.01, 0.1), (sum(decisions.values()), 0, 0, 0))


def console_of(policy: CurrentPolicy, metrics: Metrics) -> Console:
    """Return a console on any free port."""
    sources = Sources(lambda: policy.snapshot, lambda: counted(metrics), decision_line)
    return Console(ConsoleSettings(port=0), sources, ConsoleFacts("bench", "directory"))


def serve(pipe: Pipe) -> None:
    """Serve; tell the ports, then answer questions: ``observe`` or ``ignore`` and then CPU seconds, decisions, MiB and what was told."""

    async def main() -> None:
        policy = CurrentPolicy()
        policy.publish(PolicySnapshot.EMPTY.changed({ORDERS: parse_document(ORDERS, POLICY, frozenset())}))
        metrics = Metrics("bench", NOTHING)
        evaluator = Evaluator(policy, DecisionRules(), NoExchange(), (metrics,))
        reactor = Reactor()
        server = GrpcServer(ServerSettings("127.0.0.1", 0), Authorization(evaluator).routes(), reactor, report)
        console = console_of(policy, metrics)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            addresses = await nursery.start(server.run)
            port = await nursery.start(console.run)
            pipe.send((addresses.plaintext[0][1], port))
            while True:
                await trio.lowlevel.wait_readable(pipe.fileno())
                try:
                    question = pipe.recv()
                except EOFError:
                    nursery.cancel_scope.cancel()
                    return
                if question == "observe":
                    evaluator.observers = (metrics, console.feed)
                elif question == "ignore":
                    evaluator.observers = (metrics,)
                told = (console.broadcast.sampled, console.server.http.slots.taken)
                pipe.send((time.process_time(), evaluator.answered, memory_mib(), *told))

    trio.run(main)


def messages() -> list[bytes]:
    """Return some hundred requests, as Envoy sends them, half of them denied."""
    framed = []
    for number in range(400):
        request = CheckRequest()
        http = request.attributes.request.http
        http.method, http.host = "GET", "api.example.com"
        http.path = f"/{'orders' if number % 2 else 'public'}/{number}?page={number}"
        for name, value in (("user-agent", "curl/8.5.0"), ("accept", "*/*"), ("authorization", "Bearer " + "x" * 200)):
            http.headers[name] = value
        data = request.SerializeToString()
        framed.append(struct.pack(">BI", 0, len(data)) + data)
    return framed


def ask_steadily(port: int, rate: int, pipe: Pipe) -> None:
    """Make ``rate`` calls a second until told to end."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    http = ngh2.Connection(ngh2.Role.CLIENT)
    http.initiate_connection()
    connection.sendall(http.data_to_send())
    head = [
        *((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"bench"), (b":path", CHECK_PATH)),
        *((b"te", b"trailers"), (b"content-type", b"application/grpc")),
    ]
    bodies, sent, began = messages(), 0, time.perf_counter()
    connection.setblocking(False)
    while not pipe.poll():
        due = int((time.perf_counter() - began) * rate)
        for _ in range(min(due - sent, 90)):
            stream = http.send_request(head)
            http.send_data(stream, bodies[sent % len(bodies)], end_stream=True)
            sent += 1
        if data := http.data_to_send():
            connection.setblocking(True)
            connection.sendall(data)
            connection.setblocking(False)
        try:
            while data := connection.recv(1 << 18):
                http.receive_data(data)
                for _ in http.events():
                    pass
        except BlockingIOError:
            pass
        time.sleep(1 / BURSTS)


def watch(port: int, count: int, pipe: Pipe) -> None:
    """At ``open`` open ``count`` streams and read all but the last one; at ``close`` close them and say how many bytes came."""
    opening = (
        f"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {STREAM_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    while pipe.recv() == "open":
        streams = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        received = 0
        with selectors.DefaultSelector() as selector:
            for stream in streams:
                stream.sendall(opening)
            for stream in streams[:-1]:
                selector.register(stream, selectors.EVENT_READ, stream)
            pipe.send(None)
            while not pipe.poll():
                for key, _ in selector.select(0.2):
                    received += len(key.data.recv(1 << 18))
        pipe.recv()
        for stream in streams:
            stream.close()
        pipe.send(received)


Answer = tuple[float, int, float, object, object]


def measured(server: Pipe, observe: str, seconds: float) -> tuple[float, float, Answer]:
    """Return µs of CPU a Check, Checks a second, and the server's last answer."""

    def ask(question: str) -> Answer:
        server.send(question)
        answer: Answer = server.recv()
        return answer

    ask(observe)
    time.sleep(0.5)  # for the rate to be steady
    before, began = ask(observe), time.perf_counter()
    time.sleep(seconds)
    after = ask(observe)
    checks = after[1] - before[1]
    return (after[0] - before[0]) / checks * 1e6, checks / (time.perf_counter() - began), after


def started(target: Callable[..., None], *arguments: object) -> tuple[Pipe, multiprocessing.process.BaseProcess]:
    """Start a process and return our end of its pipe."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=target, args=(*arguments, theirs))
    process.start()
    theirs.close()
    return ours, process


def checks_alone(blocks: int = 200) -> None:
    """Print µs a Check in this process, block by block in turn, so that the machine is the same for both."""
    policy, metrics = CurrentPolicy(), Metrics("bench", NOTHING)
    policy.publish(PolicySnapshot.EMPTY.changed({ORDERS: parse_document(ORDERS, POLICY, frozenset())}))
    evaluator, feed, asked = Evaluator(policy, DecisionRules(), NoExchange(), (metrics,)), Feed(), messages()
    authorization, call = Authorization(evaluator), CallInfo(CHECK_PATH, math.inf, ())
    costs: dict[str, list[float]] = {"without": [], "observed": []}
    for number in range(blocks):
        names = sorted(costs, reverse=bool(number % 2))
        for name in names:
            evaluator.observers = (metrics, feed) if name == "observed" else (metrics,)
            began = time.process_time()
            for framed in asked:
                authorization.check(framed[5:], call)
            costs[name].append((time.process_time() - began) / len(asked) * 1e6)
    for name, values in costs.items():
        print(f"a Check alone, {name}: {statistics.median(values):.2f} µs")


async def watching_alone(rate: int, subscribers: int, rounds: int) -> None:
    """Print ms a second of this process while a record is told ``rate`` times a second, with and without readers."""
    policy, metrics = CurrentPolicy(), Metrics("bench", NOTHING)
    records = list[DecisionRecord]()
    evaluator = Evaluator(policy, DecisionRules(), NoExchange(), (Recorded(records),))
    for framed in messages():
        Authorization(evaluator).check(framed[5:], CallInfo(CHECK_PATH, math.inf, ()))
    console = console_of(policy, metrics)

    async def decide() -> None:
        due, at = trio.current_time(), itertools.cycle(records)
        while True:
            due += 1 / BURSTS
            await trio.sleep_until(due)
            for _ in range(rate // BURSTS):
                console.feed.decided(next(at))

    costs: dict[str, list[float]] = {"nobody reads": [], f"{subscribers - 1} read": []}
    async with trio.open_nursery() as nursery:
        port = await nursery.start(console.run)
        watchers, watching = started(watch, port, subscribers)
        nursery.start_soon(decide)
        for _ in range(rounds):
            for name, taken in costs.items():
                if name != "nobody reads":
                    watchers.send("open")
                    await trio.to_thread.run_sync(watchers.recv)
                await trio.sleep(0.5)
                began = time.process_time()
                await trio.sleep(1.0)
                taken.append((time.process_time() - began) * 1e3)
                if name != "nobody reads":
                    watchers.send("close")
                    await trio.to_thread.run_sync(watchers.recv)
        nursery.cancel_scope.cancel()
    watchers.send(None)
    watchers.close()
    watching.join()
    for name, values in costs.items():
        print(f"the console alone, {name}: {statistics.median(values):.1f} ms a second ({min(values):.1f} to {max(values):.1f})")


def main() -> None:
    """Run the rounds and print what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=18)
    parser.add_argument("--subscribers", type=int, default=10)
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    if options.alone:
        checks_alone()
        trio.run(watching_alone, options.rate, options.subscribers, options.rounds)
        return
    server, serving = started(serve)
    grpc_port, console_port = server.recv()
    gateway, asking = started(ask_steadily, grpc_port, options.rate)
    watchers, watching = started(watch, console_port, options.subscribers)
    phases = [("without", "ignore"), ("nobody watches", "observe"), ("watched", "observe")]
    costs: Mapping[str, list[float]] = {name: [] for name, _ in phases}
    for number in range(options.rounds):
        # Each phase is first, second and last in turn, so that a machine that slows down does so for all.
        for name, observe in (phases[(number + step) % len(phases)] for step in range(len(phases))):
            if name == "watched":
                watchers.send("open")
                watchers.recv()
            cost, rate, answer = measured(server, observe, options.seconds)
            costs[name].append(cost)
            print(f"round {number + 1}, {name}: {cost:.1f} µs a Check at {rate:.0f} a second, {answer[2]:.1f} MiB", end="")
            if name == "watched":
                watchers.send("close")
                print(f", {watchers.recv() / 2**20:.1f} MiB read, {answer[3]} decisions left out", end="")
            print(flush=True)
    for name, values in costs.items():
        # Within a round the machine is the same, more or less; from one to the next it may be faster or slower by a third.
        ratios = [value / other * 100 - 100 for value, other in zip(values, costs["without"], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        print(
            f"{name}: {statistics.median(values):.1f} µs a Check ({min(values):.1f} to {max(values):.1f}), "
            f"in a round {statistics.median(ratios):+.1f} % (half of them {low:+.1f} to {high:+.1f})"
        )
    for pipe, process in ((gateway, asking), (watchers, watching), (server, serving)):
        if pipe is not server:
            pipe.send(None)
        pipe.close()
        process.join()


if __name__ == "__main__":
    os.nice(5)
    main()
