"""Law: every text is either a usable token endpoint or has a reason why it is not.

RFC 6749 section 3.2: "The endpoint URI MAY include an "application/x-www-form-urlencoded" formatted query component [...]. The endpoint URI
MUST NOT include a fragment component." What is usable is absolute, https unless http is allowed, and names nobody.
"""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.net.endpoint import Endpoint, read_endpoint

schemes = st.sampled_from(["http", "https", "HTTPS", "ftp"])
marks = st.sampled_from([":", "//", "/", "\\", "@", "#", "?", "[", "]", "%", "%00", ".", "..", "\r\n", " ", "\x00"])
names = st.sampled_from(
    ["a", "a" * 64, "xn--", "issuer.example.com", "127.0.0.1", "::1", "user:password", "\u00fc", "\u2603", "\u3002", "\u200d"]
)
ports = st.sampled_from([":443", ":0", ":99999"])
pieces = schemes | marks | names | ports | st.just("\ud800")
texts = (
    st.lists(pieces, max_size=8).map("".join)
    | st.tuples(st.sampled_from(["http://", "https://"]), st.lists(pieces, max_size=6).map("".join)).map("".join)
    | st.text(max_size=30)
)


@given(texts, st.booleans())
def test_total(text: str, allow_http: bool) -> None:
    found = read_endpoint(text, allow_http=allow_http)
    if not isinstance(found, Endpoint):
        assert found.reason
        return
    assert found.origin.secure or allow_http
    assert found.target.startswith(("/", "?"))
    assert found.target.isascii()
    assert not set(found.target) & set("#\r\n ")
    assert found.authority.strip("[]").startswith(found.origin.host)
    assert not set(found.authority) & set("@/?#\r\n ")
    assert "#" not in text
