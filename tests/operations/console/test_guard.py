import pytest

from exchanger.model.secret import Secret
from exchanger.net.http.message import Request
from exchanger.operations.console.guard import COOKIE, GuardRefusal, bearer_of, checked, has_session, is_token, session_of

TOKEN = Secret("a-token-of-some-length")
NAMES = frozenset({"console.example.com"})


def request(*headers: tuple[str, str], method: str = "GET", path: str = "/api/policy") -> Request:
    return Request(method, path, headers=headers)


NOT_OURS = (
    *("", "localhost.evil.example", "a.localhost", "127.0.0.1.nip.io", "localhost, evil.example"),
    # An address in other forms than its own
    *("127.1", "0x7f000001", "2130706433", "127.0.0.01", "::1", "[::1", "[::1%25eth0]", "[127.0.0.1]"),
    # More of a URL than host and port
    *("user@localhost", "localhost@evil.example", "localhost:80:80", "localhost:port", "localhost:999999", "localhost/", "localhost#"),
    # Characters that somebody else may drop or convert
    *(" localhost", "localhost\t", "local%68ost", "ｌocalhost", "localhost\x00"),
)


@pytest.mark.parametrize("hosts", [(), ("localhost", "localhost"), ("localhost", "evil.example"), *((name,) for name in NOT_OURS)])
def test_other_names_are_refused(hosts: tuple[str, ...]) -> None:
    assert checked(request(*(("host", host) for host in hosts)), NAMES) is GuardRefusal.HOST


OTHER_PAGES = (
    *("", "null", "file://", "http://evil.example"),
    # Another scheme, host or port
    *(
        "http://localhost",
        "http://localhost:3004",
        "https://localhost",
        "ws://localhost:3003",
        "http://127.0.0.1:3003",
        "http://[::1]:3003",
    ),
    # Another form than browsers send
    *("localhost:3003", "HTTP://localhost:3003", "http://localhost:3003/", "http://localhost:3003/path", "http://user@localhost:3003"),
    *("http://localhost:3003@evil.example", "http://localhost:3003 http://evil.example"),
)


@pytest.mark.parametrize("origin", OTHER_PAGES)
def test_other_pages_may_not_send_requests(origin: str) -> None:
    assert checked(request(("host", "localhost:3003"), ("origin", origin)), NAMES) is GuardRefusal.ORIGIN
    both = (("origin", "http://localhost:3003"), ("origin", origin))
    assert checked(request(("host", "localhost:3003"), *both), NAMES) is GuardRefusal.ORIGIN


NAVIGATION = (("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"))


def test_a_session_is_a_cookie_made_with_the_token() -> None:
    session = session_of(TOKEN)

    assert has_session(request(("cookie", f"a=b; {COOKIE}={session}; c")), TOKEN)
    assert has_session(request(("cookie", f"{COOKIE}=other"), ("cookie", f"{COOKIE}={session}")), TOKEN)
    assert not has_session(request(("cookie", f"{COOKIE}={session}x")), TOKEN)
    assert not has_session(request(("cookie", f"{COOKIE}={TOKEN.reveal()}")), TOKEN)
    assert not has_session(request(("cookie", f"x{COOKIE}={session}")), TOKEN)
    assert not has_session(request(("cookie", f"{COOKIE}={session}")), Secret("another-token-of-some-length"))
    assert not has_session(request(), TOKEN)


def test_only_so_many_cookies_are_looked_at() -> None:
    crowd = "; ".join([f"{COOKIE}=x"] * 1000)
    assert not has_session(request(("cookie", f"{crowd}; {COOKIE}={session_of(TOKEN)}")), TOKEN)


@pytest.mark.parametrize(
    ("value", "bearer"),
    [("Bearer t", "t"), ("bearer t", "t"), ("Bearer", ""), ("Bearer  t", ""), ("Basic t", ""), ("Bearer t u", ""), ("", "")],
)
def test_a_bearer_token_is_read(value: str, bearer: str) -> None:
    assert bearer_of(request(("authorization", value))) == bearer
    assert bearer_of(request(("authorization", value), ("authorization", value))) == ""


def test_a_token_is_itself_alone() -> None:
    assert is_token(TOKEN.reveal(), TOKEN)
    assert not is_token(TOKEN.reveal() + " ", TOKEN)
    assert not is_token("\ud800", TOKEN)


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        (request(*NAVIGATION, path="/"), False),
        (request(*NAVIGATION), True),
        (request(*NAVIGATION, path="/", method="POST"), True),
        (request(*NAVIGATION[:3], ("sec-fetch-dest", "iframe"), path="/"), True),
        (request(*NAVIGATION[:3], path="/"), True),
        (request(*NAVIGATION[:2], ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image"), path="/"), True),
    ],
)
def test_a_link_from_another_site_opens_the_page_and_nothing_else(asked: Request, refused: bool) -> None:
    assert checked(asked, NAMES) is (GuardRefusal.SITE if refused else None)
