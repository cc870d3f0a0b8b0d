"""Whatever a request has for headers, the guard answers; and it lets nothing in that is not for this console or not from its own page."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from exchanger.console.guard import COOKIE, bearer_of, has_session, is_token, judged, session_of
from exchanger.http.message import Request
from exchanger.http.names import is_ours, read_host
from exchanger.values.secret import Secret

NAMES = frozenset({"console.example.com"})
NAMES_OF_HEADERS = st.sampled_from(["host", "origin", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "cookie", "authorization"])
OURS = st.sampled_from(["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "console.example.com", "192.0.2.7", "[2001:db8::1]"])
FOREIGN = st.from_regex(r"[a-z0-9-]{1,12}(\.[a-z0-9-]{1,12}){1,3}\.(example|nip\.io|com)", fullmatch=True).filter(
    lambda name: name not in NAMES
)
PORTS = st.one_of(st.just(""), st.integers(0, 65535).map(lambda port: f":{port}"))
NOISE = st.sampled_from(
    ["", "@", "%", "%2e", "\x00", " ", ",", "/", "\\", "#", "?", ":", "::", ".", "[", "]", "é", "。", "\u202e", "\ud800"]
)


def request(*headers: tuple[str, str], method: str = "GET", path: str = "/api/policy") -> Request:
    return Request(method, path, headers=headers)


class TestTheGuardIsTotal:
    @given(st.lists(st.tuples(NAMES_OF_HEADERS, st.text(max_size=60))), st.sampled_from(["GET", "POST"]), st.sampled_from(["/", "/stream"]))
    def test_any_headers_get_a_verdict(self, headers: list[tuple[str, str]], method: str, path: str) -> None:
        asked = request(*headers, method=method, path=path)
        judged(asked, NAMES)
        has_session(asked, Secret("a-token-of-some-length"))
        bearer_of(asked)

    @given(OURS, NOISE, FOREIGN, PORTS, st.booleans())
    def test_ours_with_something_before_or_after_it(self, ours: str, noise: str, foreign: str, port: str, before: bool) -> None:
        host = f"{foreign}{noise}{ours}{port}" if before else f"{ours}{noise}{foreign}{port}"
        read = read_host(host)
        # Whatever is let in is, read again, a name of ours and nothing that a stranger's name server answers for.
        if judged(request(("host", host)), NAMES) is None:
            assert read is not None
            assert is_ours(read.host, NAMES)
            assert foreign not in read.host


class TestANameOfSomebodyElseIsNoneOfOurs:
    @given(FOREIGN, PORTS)
    def test_it_is_refused_whatever_it_resolves_to(self, host: str, port: str) -> None:
        assert judged(request(("host", host + port)), NAMES) is not None

    @given(OURS, PORTS, st.booleans(), st.booleans())
    def test_ours_is_taken_in_any_case_with_any_port(self, host: str, port: str, upper: bool, dot: bool) -> None:
        spelled = host.upper() if upper else host
        if dot and host[-1].isalpha():
            spelled += "."
        assert judged(request(("host", spelled + port)), NAMES) is None

    @given(st.ip_addresses())
    def test_an_address_is_nobodys_name(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        host = f"[{address}]" if address.version == 6 else str(address)
        assert judged(request(("host", host)), NAMES) is None


class TestOnlyTheOwnPageAsks:
    @given(OURS, PORTS, OURS, PORTS, st.sampled_from(["http", "https"]))
    def test_the_origin_is_the_host_or_refused(self, host: str, port: str, other: str, other_port: str, scheme: str) -> None:
        refused = judged(request(("host", host + port), ("origin", f"{scheme}://{other}{other_port}")), NAMES)
        default = ":80" if scheme == "http" else ":443"
        same = host == other and (port or default) == (other_port or default)
        assert (refused is None) == same

    @given(OURS, FOREIGN, PORTS, st.lists(st.just(None), max_size=2))
    def test_a_foreign_origin_is_refused_wherever_it_stands(self, host: str, foreign: str, port: str, before: list[None]) -> None:
        origins = [("origin", f"http://{host}") for _ in before] + [("origin", f"https://{foreign}{port}")]
        assert judged(request(("host", host), *origins), NAMES) is not None

    @given(st.text(max_size=20))
    def test_only_two_words_say_that_it_is_the_own_site(self, site: str) -> None:
        assert (judged(request(("host", "localhost"), ("sec-fetch-site", site)), NAMES) is None) == (site in {"same-origin", "none"})


class TestCredentialsAreTheTokenAndItsSession:
    @given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
    def test_no_other_token_is_taken(self, token: str, other: str) -> None:
        assert is_token(other, Secret(token)) == (token == other)

    @given(st.from_regex(r"[!-~]{16,40}", fullmatch=True), st.text(max_size=40))
    def test_no_other_cookie_is_taken(self, token: str, value: str) -> None:
        assert has_session(request(("cookie", f"{COOKIE}={session_of(Secret(token))}")), Secret(token))
        assert not has_session(request(("cookie", f"{COOKIE}={value}")), Secret(token))
        assert not has_session(request(("cookie", f"{COOKIE}={session_of(Secret(token))}")), Secret(token + "x"))
