"""Law: ``grpc-message`` is percent-encoded UTF-8 whose bytes are all printable ASCII, and decodes to the beginning of its text.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses
"""

from urllib.parse import unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st

from exchanger.grpc.head import encode_message


@given(st.text())
def test_round_trip(message: str) -> None:
    message = message[:500]
    encoded = encode_message(message)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote_to_bytes(encoded).decode("utf-8") == message


@given(st.text(min_size=1).map(lambda text: text * 600))
def test_a_long_one_is_cut_at_a_character(message: str) -> None:
    encoded = encode_message(message)
    assert len(encoded) <= 6000
    assert message.startswith(unquote_to_bytes(encoded).decode("utf-8"))
