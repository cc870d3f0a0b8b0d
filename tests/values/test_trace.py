import pytest

from exchanger.values.trace import parse_traceparent

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (f"00-{TRACE_ID}-{PARENT_ID}-00", 0),
        (f"00-{TRACE_ID}-{PARENT_ID}-01", 1),
        (f"00-{TRACE_ID}-{PARENT_ID}-ff", 255),
        (f"01-{TRACE_ID}-{PARENT_ID}-01", 1),
        (f"cc-{TRACE_ID}-{PARENT_ID}-01-", 1),
        (f"cc-{TRACE_ID}-{PARENT_ID}-03-what-comes-later", 3),
    ],
)
def test_a_valid_one_says_where_the_caller_is(text: str, flags: int) -> None:
    assert parse_traceparent(text) == (TRACE_ID, PARENT_ID, flags)


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE_ID}-{PARENT_ID}",
        f"00-{TRACE_ID}-{PARENT_ID}-01".upper(),
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-01-extra",
        f"01-{TRACE_ID}-{PARENT_ID}-01extra",
        f"00-{TRACE_ID}-{PARENT_ID}-1",
        f"00-{TRACE_ID}-{PARENT_ID}-0x",
        f"00-{TRACE_ID}-{PARENT_ID}-01\n",
        f"00-{TRACE_ID}-{PARENT_ID}-01,00-{TRACE_ID}-{PARENT_ID}-01",
        "00-" + "٣" * 32 + f"-{PARENT_ID}-01",
    ],
)
def test_an_invalid_one_says_nothing(text: str) -> None:
    assert parse_traceparent(text) is None
