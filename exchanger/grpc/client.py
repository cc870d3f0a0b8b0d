"""One unary call over a connection that is open already, plaintext or TLS.

Must not know: how the connection was made, or what is asked.
"""

from typing import Final

import trio

from exchanger.grpc.one_call import OneCall, Reply

READ_BYTES: Final = 65_536
"""Most of one read; an answer has some hundred bytes."""


async def exchange(stream: trio.abc.Stream, call: OneCall) -> Reply:
    """Make ``call`` over ``stream`` and return the reply; the caller bounds the time and closes the stream.

    Raises:
        trio.BrokenResourceError: the connection broke.
    """
    while True:
        if data := call.data_to_send():
            await stream.send_all(data)
        if call.reply is not None:
            return call.reply
        call.receive(bytes(await stream.receive_some(READ_BYTES)))
