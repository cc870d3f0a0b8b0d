"""What a store may send, as laws: the replies to the commands under way, however they are cut, and nothing else."""

from contextlib import suppress
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchanger.exchange.cache.replies import MAX_GREETING, MAX_LINE, MAX_PARTS, Replies, Reply, UnexpectedReplyError, reply_to

MAX_BYTES: Final = 40
# Redis 7, and Redis 8 with a module.
_PLAIN: Final = (
    b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n$4\r\nmode\r\n"
    b"$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
)
_WITH_MODULE: Final = (
    b"%2\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*1\r\n%3\r\n$4\r\nname\r\n$6\r\nsearch\r\n$3\r\nver\r\n:80000\r\n$4\r\nargs\r\n"
    b"*2\r\n$1\r\na\r\n$0\r\n\r\n"
)
GREETINGS: Final = (_PLAIN, _WITH_MODULE)
ERRORS: Final = st.sampled_from((b"-ERR\r\n", b"-WRONGTYPE Operation against a key\r\n"))
VALUES: Final = st.binary(max_size=MAX_BYTES).map(lambda value: b"$%d\r\n%b\r\n" % (len(value), value))
NUMBERS: Final = st.integers(-(2**63), 2**63 - 1).map(lambda number: b":%d\r\n" % number)
GOOD: Final = st.one_of(
    st.tuples(st.just(reply_to(b"GETRANGE", MAX_BYTES)), VALUES | ERRORS),
    st.tuples(st.sampled_from((reply_to(b"PTTL"), reply_to(b"UNLINK"))), NUMBERS | ERRORS),
    st.tuples(st.sampled_from((reply_to(b"SET"), reply_to(b"SELECT"), reply_to(b"CLIENT SETINFO"))), st.just(b"+OK\r\n") | ERRORS),
    st.tuples(st.just(reply_to(b"HELLO")), st.sampled_from(GREETINGS) | ERRORS),
)
HEADS: Final = b"*1 %1 >1 ~1 |1 $5 $-1 *9999999 _ #t".split()
ANY: Final = st.lists(
    st.sampled_from([head + b"\r\n" for head in HEADS] + [b"\r\n"]) | st.binary(max_size=80) | VALUES | NUMBERS,
    max_size=30,
).map(b"".join)


def expecting(*replies: Reply) -> Replies:
    found = Replies()
    for reply in replies:
        found.expect(reply)
    return found


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


@given(replies=st.lists(GOOD, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=20))
def test_good_replies_come_whole_however_they_are_cut(replies: list[tuple[Reply, bytes]], cuts: list[int]) -> None:
    found = expecting(*(reply for reply, _ in replies))
    sent = b"".join(text for _, text in replies)
    taken = []
    for piece in pieces(sent, cuts):
        found.add(piece)
        taken.append(found.take())
    assert b"".join(taken) == sent
    assert found.expected == 0
    # Whole ones alone: each ends where a reply does.
    ends = {len(b"".join(text for _, text in replies[:count])) for count in range(len(replies) + 1)}
    assert {len(b"".join(taken[:count])) for count in range(len(taken) + 1)} <= ends


@given(replies=st.lists(GOOD, min_size=1, max_size=4), surplus=st.binary(min_size=1, max_size=20))
def test_a_surplus_counts_once_the_replies_are_gone(replies: list[tuple[Reply, bytes]], surplus: bytes) -> None:
    found = expecting(*(reply for reply, _ in replies))
    sent = b"".join(text for _, text in replies)
    found.add(sent + surplus)
    assert found.take() == sent
    for _ in range(2):
        with pytest.raises(UnexpectedReplyError):
            found.take()


@given(replies=st.lists(GOOD, max_size=4), sent=ANY, cuts=st.lists(st.integers(0, 400), max_size=20))
@example(replies=[(reply_to(b"HELLO"), b"")], sent=b"*1\r\n" * 3000, cuts=[])
def test_whatever_is_sent_no_more_is_handed_on_than_was_asked_for(replies: list[tuple[Reply, bytes]], sent: bytes, cuts: list[int]) -> None:
    found = expecting(*(reply for reply, _ in replies))
    taken = b""
    with suppress(UnexpectedReplyError):
        for piece in pieces(sent, cuts):
            found.add(piece)
            taken += found.take()
    bounds = sum(MAX_GREETING + MAX_LINE if reply.nests else reply.max_bytes + MAX_LINE for reply, _ in replies)
    assert len(taken) <= bounds
    assert sent.startswith(taken)


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        *((command, b"*1\r\n") for command in (b"GETRANGE", b"PTTL", b"SET", b"UNLINK", b"SELECT")),
        *((command, b">1\r\n+x\r\n") for command in (b"GETRANGE", b"PTTL", b"HELLO")),
        *((b"GETRANGE", reply) for reply in (b"$41\r\n", b"$-1\r\n", b"$1\r\nabc", b":1\r\n", b"=5\r\ntxt:a\r\n")),
        *((b"PTTL", reply) for reply in (b"$1\r\n1\r\n", b":\r\n", b":" + b"1" * 20 + b"\r\n", b":1_0\r\n")),
        *((b"SET", reply) for reply in (b"_\r\n", b"+" + b"x" * MAX_LINE, b"-" + b"x" * MAX_LINE)),
        *((b"HELLO", reply) for reply in (b"*1\r\n-ERR\r\n", b"*1025\r\n", b"%999999999\r\n", b"*1\r\n" * MAX_PARTS)),
        (b"HELLO", b"*3\r\n" + b"$40000\r\n%b\r\n" % (b"x" * 40_000) * 2),
    ],
)
def test_what_a_command_does_not_have_ends_the_connection(command: bytes, sent: bytes) -> None:
    found = expecting(reply_to(command, MAX_BYTES))
    found.add(sent + b":1\r\n")
    with pytest.raises(UnexpectedReplyError):
        found.take()
