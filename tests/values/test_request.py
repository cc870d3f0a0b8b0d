from exchanger.values.request import HttpRequest
from exchanger.values.secret import Secret
from exchanger.values.trace import NO_TRACE, TraceContext


def test_a_request_has_no_credentials_and_no_trace_unless_it_says_so() -> None:
    request = HttpRequest("GET", "api.example.com", "/")
    assert request.authorization is None
    assert request.trace is NO_TRACE
    assert TraceContext() == NO_TRACE


def test_a_request_does_not_show_its_token() -> None:
    assert "t0ken" not in repr(HttpRequest("GET", "api.example.com", "/", authorization=Secret("Bearer t0ken")))


def test_a_request_does_not_show_what_may_be_a_credential_elsewhere() -> None:
    trace = TraceContext("", "vendor=t0ken", "user=t0ken")
    request = HttpRequest("GET", "user:t0ken@api.example.com", "/orders?access_token=t0ken", trace=trace, target_authority="user:t0ken@x")
    assert "t0ken" not in repr(request)
    assert "/orders" in repr(request)
