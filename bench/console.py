"""What watching costs: CPU a Check with and without the console, at a steady rate of decisions, and memory.

Usage: python bench/console.py [--rate 5000] [--seconds 2] [--rounds 18] [--subscribers 10]

The service's parts (gRPC server, Authorization, metrics, console) run in one process, the gateway in another, and those who watch in a
third, of whom the last one connects and never reads. Each round measures without the console's observer, with it and nobody watching, and
with all subscribers. Half of the requests are denied by policy, so that there is always more than is told.
"""

import argparse
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

import ngh2
import trio

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from exchanger.console.api import About
from exchanger.console.broadcast import Totals
from exchanger.console.console import Console, Reports, Sources
from exchanger.console.settings import ConsoleSettings
from exchanger.decision.check import DecisionRules
from exchanger.envoy.authorization import CHECK_PATH, Authorization
from exchanger.envoy.evaluator import Evaluator
from exchanger.grpc.server import GrpcServer, ServerSettings
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.telemetry.decision_log import decision_line
from exchanger.telemetry.metrics import Gauges, Metrics
from exchanger.values.entry import Source
from exchanger.values.token import TokenOutcome, TokenRequest

POLICY: Final = """
version: v1
entries:
  - {match: {host: api.example.com, pathPrefix: /orders}, action: deny}
"""
BURSTS: Final = 500
"""Bursts a second: a gateway's worker threads hand over what has come together."""
STREAM_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
PATIENCE_S: Final = 30.0


class NoExchange:
    """No request here needs one."""

    async def exchange(self, request: TokenRequest, /) -> TokenOutcome:
        """See ``typing.TokenExchanger``."""
        raise NotImplementedError(request)


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


def serve(pipe: Pipe) -> None:
    """Serve; tell the ports, then answer questions: ``observe`` or ``ignore`` and then CPU seconds, decisions, MiB and what was told."""

    async def main() -> None:
        policy = CurrentPolicy()
        policy.publish(PolicySnapshot.EMPTY.apply(parse_document(Source("team", "orders"), POLICY, frozenset())))
        gauges = Gauges(lambda: 0, dict, lambda: 0, lambda: 0, lambda: None, lambda: True, lambda: 0, lambda: None, lambda: 0, lambda: 0)
        metrics = Metrics("bench", gauges)
        evaluator = Evaluator(policy, DecisionRules(), NoExchange(), (metrics,))
        server = GrpcServer(ServerSettings("127.0.0.1", 0), Authorization(evaluator).routes(), report)
        console = Console(
            ConsoleSettings(port=0),
            Sources(lambda: policy.snapshot, lambda: counted(metrics), decision_line),
            Reports(print, report),
            About("bench", "directory"),
        )
        async with trio.open_nursery() as nursery:
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
                told = console.statistics()
                pipe.send((time.process_time(), evaluator.statistics().answered, memory_mib(), told.broadcast, told.server))

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


def main() -> None:
    """Run the rounds and print what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=18)
    parser.add_argument("--subscribers", type=int, default=10)
    options = parser.parse_args()
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
                print(f", {watchers.recv() / 2**20:.1f} MiB read, {answer[3]}", end="")
            print(flush=True)
    for name, values in costs.items():
        more = statistics.mean(values) / statistics.mean(costs["without"]) * 100 - 100
        print(f"{name}: {statistics.mean(values):.1f} µs a Check ({min(values):.1f} to {max(values):.1f}), {more:+.1f} %")
    for pipe, process in ((gateway, asking), (watchers, watching), (server, serving)):
        if pipe is not server:
            pipe.send(None)
        pipe.close()
        process.join()


if __name__ == "__main__":
    os.nice(5)
    main()
