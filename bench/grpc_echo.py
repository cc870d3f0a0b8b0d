"""The gRPC engine alone: answers every Check with one and the same message.

Usage: python bench/grpc_echo.py [PORT] [--tls CERT_FILE KEY_FILE]

    h2load -n 20000 -c 1 -m 20 -H 'content-type: application/grpc' -H 'te: trailers' -d REQUEST_FILE \
        http://127.0.0.1:PORT/envoy.service.auth.v3.Authorization/Check

The request file holds one length-prefixed CheckRequest. With ``--tls`` the address starts with https.
CPU time is in ``/proc/PID/schedstat``. SIGINT or SIGTERM ends it.
"""

import argparse
import signal
import sys
from pathlib import Path

import trio

from exchanger.net.grpc.routes import CallInfo, Immediate
from exchanger.net.grpc.server import GrpcServer, ServerSettings
from exchanger.net.reactor import Reactor
from exchanger.net.tls.settings import TlsSettings

PATH = b"/envoy.service.auth.v3.Authorization/Check"
# About the size of an allowing CheckResponse.
ANSWER = b"\n\x02\x08\x00" + b"\x12\x1a" + bytes(26)


def answer_at_once(_message: bytes, _call: CallInfo) -> bytes:
    """Answer in the reader's turn."""
    return ANSWER


def report(fault: BaseException) -> None:
    """A handler here has no faults."""
    sys.stderr.write(f"{fault!r}\n")


async def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("--tls", type=Path, nargs=2)
    options = parser.parse_args()
    settings = ServerSettings("127.0.0.1", options.port)
    if options.tls is not None:
        tls = TlsSettings(port=options.port, cert_file=options.tls[0], key_file=options.tls[1])
        settings = ServerSettings("127.0.0.1", None, tls=tls)
    reactor = Reactor()
    server = GrpcServer(settings, {PATH: Immediate(answer_at_once)}, reactor, on_fault=report)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reactor.run)
            addresses = await nursery.start(server.run)
            sys.stdout.write(f"{(addresses.plaintext or addresses.tls)[0][1]}\n")
            sys.stdout.flush()
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
