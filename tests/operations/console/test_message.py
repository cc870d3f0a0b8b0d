import json
import math

import pytest
import trio.testing

from exchanger.operations.console.message import MAX_DEPTH, SLICE_S, TimeSlice, encode


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"a": [1, "é", None, True]}, {"a": [1, "é", None, True]}),
        ({"a": "\ud800"}, {"a": "?"}),
        ({"\ud800": (1.5, {"b": "\udfff"})}, {"?": [1.5, {"b": "?"}]}),
        ([2**70, "\ud800"], [float(2**70), "?"]),
        ([2**2000, True], [None, True]),
        ([b"bytes"], ["b'bytes'"]),
        ([math.nan, math.inf], [None, None]),
    ],
)
def test_every_value_becomes_json(value: object, shown: object) -> None:
    assert json.loads(encode(value)) == shown


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 300, 100_000])
def test_values_nested_too_deeply_are_cut(levels: int) -> None:
    value: object = "\ud800"
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    encoded = encode(value)

    assert "…".encode() in encoded
    assert encoded.count(b"[") + encoded.count(b"{") == MAX_DEPTH


async def test_others_run_once_a_slice_is_over() -> None:
    moments = [0.0, 0.9 * SLICE_S, SLICE_S, SLICE_S, 1.9 * SLICE_S]
    time_slice = TimeSlice(iter(moments).__next__)
    with trio.testing.assert_no_checkpoints():
        await time_slice.step()
    with trio.testing.assert_checkpoints():
        await time_slice.step()
    with trio.testing.assert_no_checkpoints():
        await time_slice.step()
