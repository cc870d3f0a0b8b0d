import errno
import socket
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.net.deferred import Deferred
from exchanger.net.grpc.routes import CallInfo, Immediate, Route, StreamContinuation, UnaryMethod
from exchanger.net.grpc.server import Addresses, GrpcServer, ServerSettings
from exchanger.net.grpc.status import StatusCode
from exchanger.net.reactor import Reactor
from tests.net.grpc.authority import Site
from tests.net.grpc.later import Pending
from tests.net.grpc.peer import Text, echo, framed, head, routes
from tests.net.grpc.serving import Client, Served, is_open, serving
from tests.net.grpc.test_cancellation import PENDING, Methods


async def test_answers_that_end_together_leave_in_one_piece() -> None:
    waiting: list[Waiting] = []

    def wait(message: bytes, _call: CallInfo) -> Waiting:
        waiting.append(Waiting(message))
        return waiting[-1]

    async with serving({PENDING: Immediate(wait)}) as served:
        client = await served.connect()
        for _ in range(10):
            client.peer.request(head(PENDING), framed(b"x"))
        await client.settle()
        sizes = []

        def give_all() -> None:
            for each in waiting:
                each.give()

        served.reactor.turn(give_all)
        while any(not answer.closed for answer in client.peer.answers.values()):
            await trio.lowlevel.checkpoint()
            try:
                data = client.socket.recv(1 << 20)
            except BlockingIOError:
                continue
            sizes.append(len(data))
            client.peer.receive(data)
        assert len(sizes) == 1


@attrs.define(eq=False)
class Waiting(Deferred):
    """An answer that somebody gives later; whoever leaves meets a fault, if there is one."""

    message: bytes
    fault: Exception | None = None
    ready: Callable[[Callable[[], bytes | StreamContinuation]], None] = print

    def give(self) -> None:
        self.ready(lambda: self.message)

    def leave(self) -> None:
        if self.fault is not None:
            raise self.fault


async def fail_in_the_end() -> Text:
    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("s3cret")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await trio.sleep_forever()


class TestFaults:
    @pytest.mark.parametrize(
        "bad",
        [ValueError("s3cret"), ExceptionGroup("s3cret", [ValueError("s3cret")]), MemoryError("s3cret"), None, "text", bytearray(b"x")],
    )
    async def test_an_immediate_handler_that_raises_or_returns_nonsense(self, bad: Any) -> None:
        def handler(message: bytes, call: CallInfo) -> bytes | Pending:
            if message == b"bad" and isinstance(bad, Exception):
                raise bad
            nonsense: bytes = bad
            return nonsense if message == b"bad" else echo(message, call)

        async with serving(routes(handler)) as served:
            client = await served.connect()
            good = client.peer.call(b"good")
            failed = client.peer.call(b"bad")
            await client.settle()
            assert client.peer.answers[good].messages == [b"echo good"]
            assert (client.peer.answers[failed].status, client.peer.answers[failed].message) == (StatusCode.INTERNAL, "internal error")
            (fault,) = served.faults
            assert fault is bad or (not isinstance(bad, Exception) and type(fault) is TypeError)
            assert (await client.ask(b"next")).messages == [b"echo next"]

    @pytest.mark.parametrize(
        "route",
        [
            UnaryMethod(lambda _message, _call: fail_in_the_end(), Text),
            Immediate(lambda message, _call: Waiting(message, ValueError("s3cret"))),
        ],
        ids=["in a nursery", "in what leaves"],
    )
    async def test_what_fails_when_its_connection_is_lost(self, route: Route) -> None:
        async with serving({**routes(), PENDING: route}) as served:
            client, other = await served.connect(), await served.connect()
            await client.start(PENDING, framed(b"x"))
            client.socket.close()
            await other.settle()
            assert len(served.faults) == 1
            assert (await other.ask(b"next")).messages == [b"echo next"]


class TestConnections:
    async def test_the_preface_must_come_in_time(self, mock_clock: MockClock) -> None:
        async with serving(routes()) as served:
            silent = socket.create_connection(("127.0.0.1", served.port))
            with silent:
                await wait_all_tasks_blocked()
                mock_clock.jump(9)
                await wait_all_tasks_blocked()
                assert served.server.connections == 1
                mock_clock.jump(2)
                await wait_all_tasks_blocked()
                assert served.server.connections == 0

    async def test_an_idle_connection_may_stay(self, mock_clock: MockClock) -> None:
        async with serving(routes()) as served:
            client = await served.connect()
            mock_clock.jump(1_000_000)
            await client.settle()
            assert (await client.ask(b"still here")).messages == [b"echo still here"]

    async def test_more_than_allowed_are_refused(self) -> None:
        async with serving(routes(), max_connections=2) as served:
            clients = [await served.connect() for _ in range(3)]
            assert [client.eof for client in clients] == [False, False, True]
            assert (await clients[0].ask(b"x")).status == 0
            assert served.server.refused == 1
            clients[1].socket.close()
            await wait_all_tasks_blocked()
            assert (await (await served.connect()).ask(b"x")).status == 0


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
class TestReaders:
    """Peers with a small buffer, whose windows are as large as can be."""

    async def connect(self, served: Served, site: Site | None) -> Client:
        small = 65_536
        client = await (served.connect(receive_buffer=small) if site is None else served.connect_tls(site.client(), receive_buffer=small))
        client.peer.http.update_settings({4: 2**31 - 1})
        client.peer.http.set_local_window_size(2**31 - 1)
        await client.settle()
        return client

    async def ask_without_reading(self, served: Served, client: Client, count: int) -> list[int]:
        streams = []
        for number in range(count):
            streams.append(client.peer.call(b"%03d" % number * 20))
            client.send()
            await wait_all_tasks_blocked()
        assert served.server.ended_calls[0] < 400  # the server reads no more than it can answer
        return streams

    async def test_a_peer_that_never_reads_is_dropped(self, tls: bool, site: Site, mock_clock: MockClock) -> None:
        big = bytes(100_000)
        async with serving(routes(lambda _message, _call: big), tls=site.files.settings()) as served:
            reader, stuck = await served.connect(), await self.connect(served, site if tls else None)
            await self.ask_without_reading(served, stuck, 500)
            assert (await reader.ask(b"x")).messages == [big]
            mock_clock.jump(21)
            await reader.settle()
            assert served.server.connections == 1
            assert (await reader.ask(b"x")).messages == [big]

    async def test_a_slow_reader_gets_everything_in_order(self, tls: bool, site: Site, mock_clock: MockClock) -> None:
        async with serving(routes(lambda message, _call: message * 1000), tls=site.files.settings()) as served:
            client = await self.connect(served, site if tls else None)
            streams = await self.ask_without_reading(served, client, 400)
            while not all(client.peer.answers[stream].closed for stream in streams):
                mock_clock.jump(0.4)  # it reads in time: longer than a stall in all, and shorter than requests may take to arrive
                client.receive()
                assert not client.eof
                await wait_all_tasks_blocked()
            for number, stream in enumerate(streams):
                assert client.peer.answers[stream].messages == [b"%03d" % number * 20_000]
            assert served.at_rest()


class TestDrain:
    async def test_running_calls_finish(self) -> None:
        methods = Methods()
        async with serving(methods.table()) as served, trio.open_nursery() as nursery:
            idle, busy = await served.connect(), await served.connect()
            _, answer = await busy.start(PENDING, framed(b"x"))
            nursery.start_soon(served.server.drain, 60.0)
            await idle.settle()
            await busy.settle()
            assert [client.eof for client in (idle, busy)] == [True, False]
            assert not is_open(served.port)
            assert not served.stopped.is_set()
            methods.release.set()
            await busy.settle()
            assert answer.messages == [b"late x"]
            assert busy.eof
            busy.socket.close()
            idle.socket.close()
            await served.stopped.wait()

    @pytest.mark.parametrize("graces", [(10.0,), (1000.0, 10.0)], ids=["one drain", "a shorter one after it"])
    async def test_the_deadline_ends_what_still_runs(self, graces: tuple[float, ...], mock_clock: MockClock) -> None:
        methods = Methods()
        async with serving(methods.table()) as served, trio.open_nursery() as nursery:
            client = await served.connect()
            _, answer = await client.start(PENDING, framed(b"x"))
            for grace in graces:
                nursery.start_soon(served.server.drain, grace)
                await client.settle()
            mock_clock.jump(9.9)
            await client.settle()
            assert methods.waiting == 1
            mock_clock.jump(0.2)
            await client.settle()
            assert (methods.waiting, len(methods.seen)) == (0, 1)
            assert answer.status == StatusCode.UNAVAILABLE
            mock_clock.jump(1.1)  # the client does not close
            await served.stopped.wait()

    async def test_a_peer_that_acknowledges_nothing_holds_up_nothing(self, mock_clock: MockClock) -> None:
        async with serving(Methods().table()) as served, trio.open_nursery() as nursery:
            client = await served.connect()  # which reads and says nothing from now on
            nursery.start_soon(served.server.drain, 1000.0)
            await wait_all_tasks_blocked()
            assert not served.stopped.is_set()
            mock_clock.jump(1.01)
            await wait_all_tasks_blocked()
            mock_clock.jump(1.01)  # for its last bytes
            await served.stopped.wait()
            client.socket.close()

    async def test_before_it_runs(self) -> None:
        server = GrpcServer(ServerSettings("127.0.0.1", 0), routes(), Reactor(), lambda _fault: None)
        await server.drain(1.0)
        assert server.connections == 0


class TestListening:
    async def test_all_interfaces_on_one_port(self) -> None:
        server = GrpcServer(ServerSettings(None, 0), routes(), Reactor(), lambda _fault: None)
        async with trio.open_nursery() as nursery:
            addresses = (await nursery.start(server.run)).plaintext
            assert "0.0.0.0" in [host for host, _ in addresses]
            assert len({port for _, port in addresses}) == 1
            assert str(Addresses((("::", 1),), (("192.0.2.1", 2),))) == "plaintext [::]:1, TLS 192.0.2.1:2"
            for host, port in addresses:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                with socket.socket(family) as probe:
                    answer = probe.connect_ex(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
                # "::" can be bound, too, where no interface has an address of IPv6.
                assert answer == 0 or (family == socket.AF_INET6 and answer == errno.EADDRNOTAVAIL)
            nursery.cancel_scope.cancel()
