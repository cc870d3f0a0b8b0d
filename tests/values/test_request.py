from exchanger.values.request import NO_TRACE, HttpRequest, TraceContext
from exchanger.values.secret import Secret


def test_a_request_has_no_credentials_and_no_trace_unless_it_says_so() -> None:
    request = HttpRequest("GET", "api.example.com", "/")

    assert request.authorization is None
    assert request.trace is NO_TRACE
    assert TraceContext() == NO_TRACE


def test_a_request_does_not_show_its_token() -> None:
    assert "t0ken" not in repr(HttpRequest("GET", "api.example.com", "/", authorization=Secret("Bearer t0ken")))
