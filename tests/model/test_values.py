"""Small values: what they refuse, how they are written, and what they do not show."""

import attrs
import pytest

from exchanger.model.entry import Source, TokenTarget
from exchanger.model.errors import Diagnostic
from exchanger.model.issuer import AuthMethod, Credentials, Issuer
from exchanger.model.notice import MAX_NOTICES, SUBJECT_LIMIT, TEXT_LIMIT, Notice, Notices
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenRequest
from exchanger.model.trace import NO_TRACE, TraceContext, parse_traceparent

ISSUER = Issuer(
    "primary", "https://issuer.example/token", "issuer.example", AuthMethod.CLIENT_SECRET_BASIC, Credentials("id", Secret("s3cr3t"))
)
REQUEST = TokenRequest(ISSUER, Secret("subject-t0ken"), TokenTarget("primary", scope="s"), "grant", "type")


def test_a_source_is_written_and_sorted_as_kubernetes_does() -> None:
    assert str(Source("team", "policy")) == "team/policy"
    assert sorted([Source("b", "a"), Source("a", "b"), Source("a", "a")]) == [Source("a", "a"), Source("a", "b"), Source("b", "a")]


def test_a_target_needs_an_issuer_and_something_to_ask_for() -> None:
    with pytest.raises(ValueError, match="at least one of scope, resources and audiences is required"):
        TokenTarget("primary")
    with pytest.raises(ValueError, match="issuer_ref is required"):
        TokenTarget("", scope="s")


def notice(number: int) -> Notice:
    return Notice(f"ConfigMap a/{number}", "is not active", "label it")


def test_a_notice_is_a_bounded_and_printable_sentence() -> None:
    assert str(notice(1)) == "ConfigMap a/1 is not active (label it)"
    found = Notice("a\x1b[2J" * 1000, "b\n" * 10_000, "c" * 10_000)
    assert (len(found.subject), len(found.text), len(found.remedy)) == (SUBJECT_LIMIT, TEXT_LIMIT, TEXT_LIMIT)
    assert str(found).isprintable()


def test_the_first_notices_are_kept_and_the_others_counted() -> None:
    few, many = Notices.of(map(notice, range(2))), Notices.of(map(notice, range(MAX_NOTICES + 5)))
    assert (few.listed, few.more, few.count) == ((notice(0), notice(1)), 0, 2)
    assert (len(many.listed), many.more, many.count) == (MAX_NOTICES, 5, MAX_NOTICES + 5)
    assert Notices.of(map(notice, range(30)), 1000).more == 1000 - MAX_NOTICES


def test_a_request_has_no_credentials_and_no_trace_unless_it_says_so() -> None:
    request = HttpRequest("GET", "api.example.com", "/")
    assert request.authorization is None
    assert request.trace is NO_TRACE
    assert TraceContext() == NO_TRACE


def test_a_request_shows_its_path_and_nothing_that_may_be_a_credential() -> None:
    authority, trace = "user:t0ken@api.example.com", TraceContext("", "vendor=t0ken", "user=t0ken")
    request = HttpRequest(
        "GET", authority, "/orders?access_token=t0ken", authorization=Secret("Bearer t0ken"), trace=trace, target_authority=authority
    )
    assert "t0ken" not in repr(request)
    assert "/orders" in repr(request)


def test_two_token_requests_are_equal_whosever_trace_they_carry() -> None:
    traced = attrs.evolve(REQUEST, trace=TraceContext("00-1-2-01"))
    assert traced == REQUEST
    assert hash(traced) == hash(REQUEST)


@pytest.mark.parametrize(
    "other",
    [
        attrs.evolve(REQUEST, subject_token=Secret("another")),
        attrs.evolve(REQUEST, target=TokenTarget("primary", scope="t")),
        attrs.evolve(REQUEST, target=TokenTarget("primary", resources=("s",))),
        attrs.evolve(REQUEST, target=TokenTarget("primary", audiences=("s",))),
        attrs.evolve(REQUEST, grant_type="other"),
        attrs.evolve(REQUEST, subject_token_type="other"),
        attrs.evolve(REQUEST, issuer=attrs.evolve(ISSUER, name="other")),
        attrs.evolve(REQUEST, issuer=attrs.evolve(ISSUER, credentials=Credentials("id", Secret("s3cr3t"), generation=1))),
    ],
)
def test_they_differ_in_everything_else(other: TokenRequest) -> None:
    assert other != REQUEST


def test_no_token_secret_or_body_is_shown() -> None:
    failure = ExchangeFailure(Diagnostic.OAUTH_ERROR, ErrorKind.HTTP_STATUS, 400, '{"error":"b0dy"}')
    shown = f"{REQUEST} {ExchangedToken(Secret('access-t0ken'))} {failure}"
    for hidden in ("subject-t0ken", "access-t0ken", "s3cr3t", "b0dy"):
        assert hidden not in shown


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
def test_a_valid_traceparent_says_where_the_caller_is(text: str, flags: int) -> None:
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
def test_an_invalid_traceparent_says_nothing(text: str) -> None:
    assert parse_traceparent(text) is None
