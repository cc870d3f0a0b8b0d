import json
import math

import pytest

from exchanger.console.message import MAX_DEPTH, encode


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": [1, "é", None, True]}, {"a": [1, "é", None, True]}),
        ({"a": "\ud800"}, {"a": "?"}),
        ({"\ud800": (1.5, {"b": "\udfff"})}, {"?": [1.5, {"b": "?"}]}),
        ([2**70, "\ud800"], [float(2**70), "?"]),
        ([2**2000, True], [None, True]),
        ([b"bytes"], ["b'bytes'"]),
    ],
)
def test_whatever_there_is_becomes_json(value: object, shown: object) -> None:
    assert json.loads(encode(value)) == shown


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 300, 100_000])
def test_whatever_is_nested_too_deeply_is_cut_there(levels: int) -> None:
    value: object = "\ud800"
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    encoded = encode(value)

    assert "…".encode() in encoded
    assert encoded.count(b"[") + encoded.count(b"{") == MAX_DEPTH


def test_what_is_no_number_is_null() -> None:
    assert encode([math.nan, math.inf]) == b"[null,null]"
