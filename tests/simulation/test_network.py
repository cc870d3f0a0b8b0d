"""The simulated network: what goes in at one end comes out at the other, in its order, whatever the pieces."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.kernel import Kernel
from tests.simulation.network import Host, Links, Remote, SimulatedNetwork


class Listener:
    """A peer that repeats what it hears, and remembers it."""

    def __init__(self, remote: Remote) -> None:
        self.remote, self.heard, self.over = remote, b"", ""

    def received(self, data: bytes) -> None:
        self.heard += data
        self.remote.write(data)

    def ended(self) -> None:
        self.over = "ended"
        self.remote.close()

    def lost(self) -> None:
        self.over = "lost"


class Echo:
    """A host on which one listens."""

    def __init__(self, answer: str = "") -> None:
        self.answer, self.peers = answer, list[Listener]()

    def refuses(self) -> str:
        return self.answer

    def connected(self, remote: Remote) -> Listener:
        self.peers.append(Listener(remote))
        return self.peers[-1]


@given(st.integers(0, 1000), st.lists(st.binary(min_size=1, max_size=200), max_size=10), st.sampled_from([0.0, 0.5, 0.9]))
def test_bytes_keep_their_order(seed: int, said: list[bytes], pieces: float) -> None:
    network, echo = SimulatedNetwork(Kernel(seed), Links(pieces=pieces, part=pieces)), Echo()
    network.hosts["echo"] = echo

    async def main() -> bytes:
        stream = await network.connect("echo", 1)
        for data in said:
            await stream.send_all(data)
        await stream.send_eof()
        heard = b""
        while data := await stream.receive_some(1000):
            heard += data
        await stream.aclose()
        await trio.sleep(1.0)
        return heard

    assert network.kernel.run(main) == b"".join(said) == echo.peers[0].heard
    assert echo.peers[0].over == "ended"
    assert network.sockets == {}


class Deaf:
    """A peer behind which nothing is read: its window stays full."""

    def received(self, data: bytes) -> None:
        self.remote.socket.unread += len(data)

    def ended(self) -> None:
        """It does not matter."""

    lost = ended

    def refuses(self) -> str:
        return ""

    def connected(self, remote: Remote) -> "Deaf":
        self.remote = remote
        return self


@given(st.integers(0, 1000))
def test_who_does_not_read_stops_who_sends(seed: int) -> None:
    network = SimulatedNetwork(Kernel(seed))
    network.hosts["deaf"] = Deaf()
    sent = 0

    async def main() -> None:
        nonlocal sent
        stream = await network.connect("deaf", 1)
        with trio.move_on_after(10.0):
            while True:
                sent += await stream.socket.send(b"x" * 10_000)
        await trio.aclose_forcefully(stream)

    network.kernel.run(main)
    assert sent == 64 * 1024


def refusal(network: SimulatedNetwork, host: str) -> str:
    async def connect() -> str:
        with trio.move_on_after(5.0):
            try:
                await network.connect(host, 1)
            except OSError as error:
                return str(error.strerror)
        return "silent"

    return network.kernel.run(connect)


def test_hosts_refuse_and_are_silent() -> None:
    hosts: dict[str, Host] = {"silent": Echo("silent"), "refused": Echo("refused")}
    for host, found in (("refused", "refused"), ("nobody", "refused"), ("silent", "silent")):
        assert refusal(SimulatedNetwork(Kernel(1), hosts=hosts), host) == found


def test_nothing_can_be_sent_over_a_closed_connection() -> None:
    network = SimulatedNetwork(Kernel(1))
    network.hosts["echo"] = Echo("echo")

    async def main() -> None:
        stream = await network.connect("echo", 1)
        await stream.send_all(b"")
        await stream.aclose()
        for data in (b"", b"x"):
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(data)

    network.kernel.run(main)
