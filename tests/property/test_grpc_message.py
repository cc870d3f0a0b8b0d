"""Law: ``grpc-message`` is percent-encoded UTF-8 whose bytes are all printable ASCII, and decodes to the text it was made of.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
"""

from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from exchanger.grpc.status import encode_message


@given(st.text())
def test_round_trip(message: str) -> None:
    encoded = encode_message(message)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote_to_bytes(encoded).decode("utf-8") == message
