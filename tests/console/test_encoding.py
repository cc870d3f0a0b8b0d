import json
import math

import pytest

from exchanger.console.encoding import encode


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


def test_what_is_no_number_is_null() -> None:
    assert encode([math.nan, math.inf]) == b"[null,null]"
