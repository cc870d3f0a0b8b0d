import ngh2
import pytest

from exchanger.net.grpc import limits
from exchanger.net.grpc.call import Call
from exchanger.net.grpc.limits import ConnectionLimits
from exchanger.net.grpc.routes import Route, Streaming, StreamMethod
from exchanger.net.grpc.status import StatusCode
from tests.net.grpc.peer import ECHO, Answer, Pair, Text, framed, head, pair, routes

STREAM = b"/test.Echo/Stream"
LISTEN = b"/test.Echo/Listen"


def streaming(kind: Streaming = Streaming.STREAM_STREAM) -> StreamMethod:
    return StreamMethod(lambda _argument, _call: None, Text, kind)


def table() -> dict[bytes, Route]:
    return {**routes(), STREAM: streaming(), LISTEN: streaming(Streaming.UNARY_STREAM)}


def answer_of(joined: Pair, stream: int) -> Answer:
    joined.serve()
    return joined.peer.answers[stream]


def streaming_call(joined: Pair) -> tuple[int, Call]:
    stream = joined.peer.request(head(STREAM), end=False)
    joined.exchange()
    return stream, joined.calls[-1]


def test_settings_are_announced() -> None:
    settings = pair(limits=ConnectionLimits(concurrent_streams=7)).peer.server_settings
    assert settings[ngh2.Setting.MAX_CONCURRENT_STREAMS] == 7
    assert settings[ngh2.Setting.MAX_HEADER_LIST_SIZE] == 64 * 1024
    assert settings[ngh2.Setting.INITIAL_WINDOW_SIZE] == limits.STREAM_WINDOW


def test_equal_headers_at_another_time_have_another_deadline() -> None:
    joined = pair()
    for now in (1.0, 2.0):
        joined.now = now
        joined.peer.call(b"", ECHO, (b"grpc-timeout", b"1S"))
        joined.peer.call(b"", ECHO, (b"grpc-timeout", b"1S"))
        joined.to_server()
    joined.peer.call(b"", ECHO, (b"grpc-timeout", b"2S"))
    joined.to_server()
    assert [call.info.deadline for call in joined.calls] == [2.0, 2.0, 3.0, 3.0, 4.0]


def test_the_answer_to_head_has_no_body() -> None:
    joined = pair()
    answer = answer_of(joined, joined.peer.request(head(method=b"HEAD")))
    assert (answer.headers[b":status"], answer.body, answer.closed) == (b"405", b"", True)


def test_plain_http_whose_answer_is_kept_back_is_reset_after_it() -> None:
    joined = pair()
    joined.peer.http.update_settings({ngh2.Setting.INITIAL_WINDOW_SIZE: 0})
    joined.exchange()
    stream = joined.peer.request(head(content_type=b"text/html"), b"x", end=False)
    joined.exchange()
    answer = joined.peer.answers[stream]
    assert (len(answer.body), answer.closed) == (0, False)
    joined.peer.http.update_settings({ngh2.Setting.INITIAL_WINDOW_SIZE: 1000})
    joined.exchange()
    assert (len(answer.body), answer.closed, answer.reset) == (75, True, ngh2.ErrorCode.NO_ERROR)


class TestStreams:
    def test_an_empty_response_is_trailers_only(self) -> None:
        joined = pair(table())
        stream, call = streaming_call(joined)
        joined.connection.finish(call)
        joined.exchange()
        assert joined.peer.answers[stream].headers[b"grpc-status"] == b"0"
        assert joined.peer.answers[stream].reset == ngh2.ErrorCode.NO_ERROR
        stream = joined.peer.request(head(LISTEN), framed(b"go"))
        joined.exchange()
        joined.connection.finish(joined.calls[-1])
        joined.exchange()
        answer = joined.peer.answers[stream]
        assert (answer.headers[b"grpc-status"], answer.closed, answer.reset) == (b"0", True, None)
        assert joined.at_rest()

    def test_unread_messages_stop_the_peer(self) -> None:
        joined = pair(table())
        stream, call = streaming_call(joined)
        message = bytes(10_000)
        for _ in range(200):
            joined.peer.http.send_data(stream, framed(message))
        joined.exchange()
        unread = joined.connection.usage().unread_bytes
        assert limits.STREAM_WINDOW // 2 < unread <= limits.STREAM_WINDOW
        assert answer_of_other_call(joined) == [b"echo other"]
        taken = 0
        while joined.connection.take(call) is not None:
            taken += 1
            joined.exchange()
        assert taken == 200
        assert joined.connection.usage().unread_bytes == 0

    def test_a_message_larger_than_the_window_arrives_behind_unread_ones(self) -> None:
        joined = pair(table())
        stream, call = streaming_call(joined)
        joined.peer.http.send_data(stream, framed(b"small") + framed(bytes(1024 * 1024)))
        joined.exchange()
        assert joined.connection.take(call) == b"small"
        joined.exchange()
        assert joined.connection.take(call) == bytes(1024 * 1024)


def answer_of_other_call(joined: Pair) -> list[bytes]:
    joined.calls.clear()
    return answer_of(joined, joined.peer.call(b"other")).messages


def test_a_repr_shows_nothing_of_what_callers_send() -> None:
    joined = pair(table())
    joined.peer.call(b"hunter2", ECHO, (b"authorization", b"hunter2"))
    joined.peer.request(head(STREAM), framed(b"hunter2") + framed(b"hunter2")[:11], end=False)
    joined.exchange()
    assert joined.connection.usage().held_bytes == 7 + 64 + 11
    assert "hunter2" not in repr(joined.connection)
    assert "hunter2" not in repr(joined.calls)


@pytest.mark.parametrize(("path", "status"), [(ECHO, StatusCode.RESOURCE_EXHAUSTED), (b"/test.Echo/Unknown", StatusCode.UNIMPLEMENTED)])
def test_window_lost_to_cut_frames_is_made_up_for(path: bytes, status: StatusCode) -> None:
    """A reset that cuts a DATA frame in two loses window; a thousand of them must not stop the connection."""
    joined = pair()
    beginning = framed(bytes(5_000_000))[: 2 * 16_384]
    for _ in range(2 * limits.CONNECTION_WINDOW // 16_384):
        stream = joined.peer.request(head(path), beginning, end=False)
        data = joined.peer.send()
        joined.to_server(data[:-10])  # the first frame, and all but the end of the second
        joined.to_peer()
        joined.to_server(data[-10:])
        joined.exchange()
        assert joined.peer.answers[stream].status == status
    assert answer_of(joined, joined.peer.call(bytes(1_000_000))).status == 0


class TestDrain:
    def test_running_and_crossing_calls_finish_before_the_connection_closes(self) -> None:
        joined = pair()
        running = joined.peer.call(b"running")
        joined.exchange()
        joined.connection.begin_drain()
        crossing = joined.peer.call(b"crossing")
        joined.to_server()
        joined.to_peer()
        assert joined.peer.goaways == [(2**31 - 1, 0)]
        assert not joined.peer.http.can_send_request
        joined.exchange()
        assert joined.peer.goaways == [(2**31 - 1, 0), (crossing, 0)]
        assert not joined.connection.closed
        joined.serve()
        assert [joined.peer.answers[stream].messages for stream in (running, crossing)] == [[b"echo running"], [b"echo crossing"]]
        assert joined.connection.closed

    def test_an_idle_connection_closes(self) -> None:
        joined = pair()
        joined.connection.begin_drain()
        joined.connection.begin_drain()
        assert joined.connection.data_to_send().count(b"draining") == 1
        joined.to_server(b"\0\0\x08\6\1\0\0\0\0draining")  # PING with ACK
        assert not joined.connection.closed
        assert len(joined.connection.data_to_send()) == 17  # GOAWAY
        assert joined.connection.closed
