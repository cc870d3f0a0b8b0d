"""What a request over HTTP/2 to a token endpoint costs: our machine alone, without sockets and TLS, and the codec in it.

Usage: python bench/token_http2.py [--rounds 9]

The endpoint is the codec in its server role, in memory, and its time is left out. For several numbers of requests that are outstanding at a
time, it prints the microseconds of CPU that one request and its answer took: the least and the median of the rounds, which alternate.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Final, Protocol

import attrs
import ngh2

from exchanger.net.http2.client import Http2Client
from exchanger.net.http2.head import Field, RequestHead, header_fields, request_head
from exchanger.net.http2.response import ResponseEnded

OUTSTANDING: Final = (1, 8, 20, 100)
REQUESTS: Final = 4_000  # in a round
NOW: Final = 1.0
BODY: Final = b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&scope=read&subject_token=" + b"e" * 900
ANSWER: Final = b'{"access_token":"' + b"a" * 900 + b'","token_type":"Bearer","expires_in":300}'
FIELDS: Final = (
    (b":status", b"200"),
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"date", b"Fri, 27 Nov 2026 12:00:00 GMT"),
    (b"content-length", b"%d" % len(ANSWER)),
)
HEADERS: Final = (("Accept", "application/json"), ("Authorization", "Basic Y2xpZW50OnNlY3JldA=="), ("User-Agent", "exchanger"))
TRACE: Final = (("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),)


class Client(Protocol):
    """The part of a client that is measured."""

    def request(self, head: RequestHead, body: bytes, now: float, extra: tuple[Field, ...]) -> int:
        """Make a request."""

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes."""

    def data_to_send(self) -> bytes:
        """Return bytes."""


@attrs.define(eq=False)
class Machine:
    """Ours."""

    client: Http2Client = attrs.field(factory=lambda: Http2Client(1e9, 1.0))

    def request(self, head: RequestHead, body: bytes, now: float, extra: tuple[Field, ...]) -> int:
        """See ``Client``."""
        return self.client.request(head, body, now, extra)

    def receive(self, data: bytes, now: float) -> None:
        """See ``Client``."""
        self.client.receive(data, now)

    def data_to_send(self) -> bytes:
        """See ``Client``."""
        return self.client.data_to_send()

    def answered(self) -> int:
        """Return how many answers have come since the last time."""
        return sum(type(event) is ResponseEnded for event in self.client.events())


@attrs.define(eq=False)
class Codec:
    """The codec with nothing around it."""

    http: ngh2.Connection = attrs.field(factory=lambda: ngh2.Connection(ngh2.Role.CLIENT))
    found: list[ngh2.Event] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.http.initiate_connection()

    def request(self, head: RequestHead, body: bytes, _now: float, extra: tuple[Field, ...]) -> int:
        """See ``Client``."""
        stream = self.http.send_request([*head.fields, (b"content-length", b"%d" % len(body)), *extra])
        self.http.send_data(stream, body, end_stream=True)
        return stream

    def receive(self, data: bytes, _now: float) -> None:
        """See ``Client``."""
        self.http.receive_data(data)
        self.found += self.http.events()

    def data_to_send(self) -> bytes:
        """See ``Client``."""
        return self.http.data_to_send()

    def answered(self) -> int:
        """Return how many answers have come since the last time."""
        found, self.found = self.found, []
        return sum(type(event) is ngh2.DataReceived and event.end_stream for event in found)


def serve(server: ngh2.Connection, data: bytes) -> bytes:
    """Let the endpoint take ``data``, answer each request, and return its bytes."""
    server.receive_data(data)
    for event in server.events():
        if type(event) is ngh2.DataReceived and event.end_stream:
            server.send_response(event.stream_id, FIELDS)
            server.send_data(event.stream_id, ANSWER, end_stream=True)
    return server.data_to_send()


def measure(client: Machine | Codec, outstanding: int) -> float:
    """Return the microseconds of one request."""
    server = ngh2.Connection(ngh2.Role.SERVER)
    server.initiate_connection({3: 250})
    head = request_head(secure=True, authority="issuer.example.com", target="/token", headers=HEADERS)
    extra = header_fields(TRACE)
    if head is None or extra is None:
        raise AssertionError
    clock: Callable[[], float] = time.thread_time
    spent, rounds = 0.0, REQUESTS // outstanding
    for _ in range(rounds):
        began = clock()
        for _ in range(outstanding):
            client.request(head, BODY, NOW, extra)
        data = client.data_to_send()
        spent += clock() - began
        left = outstanding
        while left or data:
            said = serve(server, data)
            began = clock()
            client.receive(said, NOW)
            data = client.data_to_send()
            left -= client.answered()
            spent += clock() - began
    return spent / (rounds * outstanding) * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    gc.freeze()
    for outstanding in OUTSTANDING:
        pairs = [(measure(Codec(), outstanding), measure(Machine(), outstanding)) for _ in range(rounds)]
        codec, machine = zip(*pairs, strict=True)
        figures = [f"{min(found):5.1f} {statistics.median(found):5.1f}" for found in (codec, machine)]
        print(f"{outstanding:4} outstanding: codec {figures[0]}, machine {figures[1]} µs", flush=True)


if __name__ == "__main__":
    main()
