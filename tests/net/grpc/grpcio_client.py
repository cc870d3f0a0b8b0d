"""A client on grpcio, run as a program of its own: prints one JSON object with what it saw on each of two connections.

Usage: grpcio_client.py PLAINTEXT_PORT TLS_PORT AUTHORITY_FILE CERTIFICATE_FILE KEY_FILE
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

TIMEOUT = 20.0


def plain(data: bytes) -> bytes:
    return data


def outcome(call: Callable[[], object]) -> object:
    try:
        result = call()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    if isinstance(result, bytes):
        return result.decode()
    assert isinstance(result, list)
    return [item.decode() for item in result]


def stuttering(*messages: bytes) -> Iterator[bytes]:
    for message in messages:
        time.sleep(0.01)
        yield message


def channels(plaintext: str, tls: str, *files: str) -> dict[str, grpc.Channel]:
    # A proxy that the environment names knows no way to a loopback address.
    options = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))
    authority, certificate, key = (Path(file).read_bytes() for file in files)
    return {
        "plaintext": grpc.insecure_channel(f"127.0.0.1:{plaintext}", options),
        "mutual TLS": grpc.secure_channel(f"localhost:{tls}", grpc.ssl_channel_credentials(authority, key, certificate), options),
    }


def seen_on(channel: grpc.Channel) -> dict[str, object]:
    with channel:
        say, wait = (channel.unary_unary(f"/test.Echo/{name}", plain, plain) for name in ("Say", "Wait"))
        split, flood = (channel.unary_stream(f"/test.Texts/{name}", plain, plain) for name in ("Split", "Flood"))
        join = channel.stream_unary("/test.Texts/Join", plain, plain)
        echo, chat = (channel.stream_stream(name, plain, plain) for name in ("/test.Texts/Echo", "/test.Echo/Chat"))
        seen: dict[str, object] = {}
        seen["unary"] = outcome(lambda: say(b"hello", timeout=TIMEOUT))
        seen["empty"] = outcome(lambda: say(b"", timeout=TIMEOUT))
        seen["large"] = len(say(bytes(4 * 1024 * 1024), timeout=TIMEOUT))
        seen["too large"] = outcome(lambda: say(bytes(5 * 1024 * 1024), timeout=TIMEOUT))
        seen["compressed"] = outcome(lambda: say(b"x" * 10_000, timeout=TIMEOUT, compression=grpc.Compression.Gzip))
        seen["unknown"] = outcome(lambda: channel.unary_unary("/test.Echo/Unknown", plain, plain)(b"", timeout=TIMEOUT))
        seen["deadline"] = str(outcome(lambda: wait(b"forever", timeout=0.05))).lower()  # either side may be the first to say it
        seen["many"] = sorted(future.result().decode() for future in [say.future(b"%d" % number, timeout=TIMEOUT) for number in range(50)])
        seen["refused"] = outcome(lambda: say(b"refuse", timeout=TIMEOUT))
        seen["fault"] = outcome(lambda: say(b"fail", timeout=TIMEOUT))
        seen["split"] = outcome(lambda: list(split(b"\n\5a b c", timeout=TIMEOUT)))
        seen["join"] = outcome(lambda: join(stuttering(b"\n\1a", b"\n\1b"), timeout=TIMEOUT))
        seen["join early"] = outcome(lambda: join(stuttering(b"\n\1a", b"\n\4stop", *[b"\n\1x"] * 5), timeout=TIMEOUT))
        seen["echo"] = outcome(lambda: list(echo(stuttering(b"\n\1a", b"\n\1b", b"\n\1c"), timeout=TIMEOUT)))
        seen["chat"] = outcome(lambda: list(chat(stuttering(b"a", b"b"), timeout=TIMEOUT)))
        seen["chat refused"] = outcome(lambda: list(chat(stuttering(b"a", b"refuse"), timeout=TIMEOUT)))
        stream = flood(b"\n\1x", timeout=TIMEOUT)
        seen["flood"] = sum(len(next(stream)) for _ in range(20_000))
        stream.cancel()
        seen["after"] = outcome(lambda: say(b"still here", timeout=TIMEOUT))
        return seen


if __name__ == "__main__":
    json.dump({name: seen_on(channel) for name, channel in channels(*sys.argv[1:]).items()}, sys.stdout)
