"""No byte from the network reaches the HTTP/2 and HPACK packages that purerpc brings along: they are old, and have known holes."""

import subprocess
import sys

import h2.connection  # type: ignore[import-untyped]  # without types, and not to be used
import hpack  # type: ignore[import-untyped]  # as above
import pytest

from exchanger.grpc.routes import routes_of
from tests.grpc.peer import framed
from tests.grpc.services import Texts, text
from tests.grpc.serving import serving


def test_this_package_imports_neither_them_nor_purerpc() -> None:
    code = (
        "import sys, exchanger.grpc.server\n"
        "print(sorted(name for name in ('h2', 'hpack', 'hyperframe', 'purerpc', 'anyio') if name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


async def test_serving_a_purerpc_service_makes_no_connection_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def refuse(self: object, *_args: object, **_options: object) -> None:
        made.append(type(self).__name__)
        raise AssertionError("not to be used")

    monkeypatch.setattr(h2.connection.H2Connection, "__init__", refuse)
    monkeypatch.setattr(hpack.Decoder, "__init__", refuse)
    async with serving(routes_of(Texts().service())) as served:
        client = await served.connect()
        for path, body in ((b"Upper", "a"), (b"Split", "a b"), (b"Join", "a"), (b"Echo", "a")):
            _, answer = await client.start(b"/test.Texts/" + path, framed(text(body)))
            assert answer.status == 0
        client.send(b"\0\0\1\1\5\0\0\0\x01\xff")  # and a header block that cannot be decoded
        await client.settle()
        assert client.eof
    assert made == []
