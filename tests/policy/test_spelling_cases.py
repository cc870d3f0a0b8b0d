"""Ways around a policy that are known from other products, as a table: a spelling gets the canonical decision or a refusal.

The CVE numbers name classes, not this program.
"""

import enum
from typing import assert_never

import pytest

from exchanger.values.entry import DenyEntry, ExchangeEntry
from exchanger.values.verdict import Ambiguous, AmbiguousPart, NoMatch, Unhealthy
from tests.policy.examples import HOST, deny, exchange, snapshot_of

POLICY = snapshot_of(exchange("/orders"), deny("/admin", index=1))


class Expect(enum.Enum):
    EXCHANGE = "exchange"
    DENY = "deny"
    UNMATCHED = "unmatched"
    REFUSED_PATH = "path"
    REFUSED_AUTHORITY = "authority"


EXCHANGE, DENY, UNMATCHED, REFUSED, REFUSED_AUTHORITY = Expect


def decided(host: str, path: str, method: str = "GET") -> Expect:
    verdict = POLICY.match(host, path, method)
    match verdict:
        case ExchangeEntry():
            return EXCHANGE
        case DenyEntry():
            return DENY
        case NoMatch():
            return UNMATCHED
        case Ambiguous(AmbiguousPart.PATH):
            return REFUSED
        case Ambiguous(AmbiguousPart.AUTHORITY):
            return REFUSED_AUTHORITY
        case Unhealthy() | Ambiguous():
            raise AssertionError(verdict)
        case _:
            assert_never(verdict)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # Repeated slashes: CVE-2021-31920, CVE-2026-26205.
        ("//orders/1", REFUSED),
        ("//admin", REFUSED),
        ("///admin", REFUSED),
        ("/%2fadmin", REFUSED),
        ("/%2F/admin", REFUSED),
        ("/orders//1", EXCHANGE),
        ("/orders//", EXCHANGE),
        ("/admin//x", DENY),
        # A host where the path should begin: RFC 3986 section 4.2.
        ("//x/admin", REFUSED),
        ("///x/admin", REFUSED),
        ("//x//admin", REFUSED),
        ("//api.example.com/admin", REFUSED),
        ("//user@x:80/admin/1", REFUSED),
        ("//[::1]/orders/1", REFUSED),
        ("//x;p/orders/1", REFUSED),
        ("/\\x/admin", REFUSED),
        ("\\\\x/admin", REFUSED),
        ("/%2fx/admin", REFUSED),
        ("/%5c%5cx/admin", REFUSED),
        ("/y/..//x/admin", REFUSED),
        ("//orders/orders", REFUSED),
        ("//x/y", UNMATCHED),
        ("/orders//x/admin", EXCHANGE),
        # Dot segments: CVE-2019-9901.
        ("/./orders/1", REFUSED),
        ("/x/../orders/1", REFUSED),
        ("/../admin", REFUSED),
        ("/a//../admin", REFUSED),
        ("/a//../../admin", REFUSED),
        ("/orders/./1", EXCHANGE),
        ("/orders/x/../1", EXCHANGE),
        ("/orders/.", EXCHANGE),
        ("/admin/.", DENY),
        # Dot segments out of a match: CVE-2026-42274.
        ("/orders/../admin", REFUSED),
        ("/orders/%2e%2e/admin", REFUSED),
        ("/orders/%2E./admin", REFUSED),
        ("/orders/.%2e/admin", REFUSED),
        ("/orders/..", REFUSED),
        ("/orders/../orders/1", EXCHANGE),
        ("/admin/../admin/x", DENY),
        ("/admin/..", REFUSED),
        # Escaped unreserved characters: RFC 3986 section 6.2.2.2.
        ("/%6frders/1", REFUSED),
        ("/%6Frders/1", REFUSED),
        ("/%61dmin", REFUSED),
        ("/%61%64%6d%69%6e", REFUSED),
        ("/orders/%7Ejoe", EXCHANGE),
        ("/orders/%7ejoe", EXCHANGE),
        ("/admin/%7Ejoe", DENY),
        # Escaped slashes: CVE-2021-29492, CVE-2026-42272.
        ("/%2forders/1", REFUSED),
        ("/a%2F..%2Fadmin", REFUSED),
        ("/a%2f..%2fadmin", REFUSED),
        ("/x%2fy/%2e%2e/admin", REFUSED),
        ("/x%2Fy/../admin", REFUSED),
        ("/orders%2f..%2fadmin", REFUSED),
        ("/orders/a%2Fb", EXCHANGE),
        ("/orders%2fa", EXCHANGE),
        # Backslashes, raw and escaped.
        ("/\\orders", REFUSED),
        ("/\\admin", REFUSED),
        ("/a\\..\\admin", REFUSED),
        ("/a%5c..%5cadmin", REFUSED),
        ("/a%5C../admin", REFUSED),
        ("/%5cadmin", REFUSED),
        ("/%5c%2e%2e%5cadmin", REFUSED),
        ("/x%2fy\\..\\admin", REFUSED),
        ("/orders\\1", EXCHANGE),
        ("/orders\\..\\admin", REFUSED),
        # Escapes of escapes.
        ("/%252e%252e/admin", REFUSED),
        ("/%25%32%65%25%32%65/admin", REFUSED),
        ("/%25%32%66admin", REFUSED),
        ("/%2525252fadmin", REFUSED),
        ("/%2561dmin", REFUSED),
        ("/x/%252e%252e/admin", REFUSED),
        ("/x%252f..%252fadmin", REFUSED),
        ("/orders/%252e%252e%252fadmin", REFUSED),
        ("/orders/100%25", EXCHANGE),
        # Path parameters.
        ("/foo/..;/admin", REFUSED),
        ("/foo/..;x=1/admin", REFUSED),
        ("/foo/..%3b/admin", REFUSED),
        ("/foo/%2e%2e%3B/admin", REFUSED),
        ("/;/admin", REFUSED),
        ("/;x/../admin", REFUSED),
        ("/.;/admin", REFUSED),
        ("/ad;x/min", UNMATCHED),
        ("/ad;/../admin", REFUSED),
        ("/adm;x=1in", UNMATCHED),
        ("/admin;x=1", DENY),
        ("/orders;jsessionid=1/2", EXCHANGE),
        ("/orders/..;/admin", REFUSED),
        # Compatibility characters.
        ("/\uff41dmin", REFUSED),
        ("/%ef%bd%81dmin", REFUSED),
        ("/x/\uff0e\uff0e/admin", REFUSED),
        ("/x/%EF%BC%8E%EF%BC%8E/admin", REFUSED),
        ("/x\uff0f..\uff0fadmin", REFUSED),
        ("/\uff0fadmin", REFUSED),
        ("/\u2025/admin", REFUSED),
        ("/x/\u2025/admin", REFUSED),
        ("/x/..\uff1b/admin", REFUSED),
        ("/\uff05\uff16\uff11dmin", REFUSED),
        ("/orders/caf%C3%A9", EXCHANGE),
        ("/orders/cafe%CC%81", EXCHANGE),
        # Case: paths are case-sensitive.
        ("/ORDERS/1", UNMATCHED),
        ("/Admin", UNMATCHED),
        # The query is no path: CVE-2020-8595.
        ("/admin?x", DENY),
        ("/admin?", DENY),
        ("/orders?/../admin", EXCHANGE),
        ("/orders?x=%2e%2e/%2fadmin;\\", EXCHANGE),
        ("/public?/admin", UNMATCHED),
        ("/public?x=/../admin", UNMATCHED),
        ("/public/%3f/../../admin", REFUSED),
        ("/public%3f/../../admin", REFUSED),
        ("/?/admin", UNMATCHED),
        # Fragments and control characters: CVE-2019-9900.
        ("/admin#f", REFUSED),
        ("/public#/../admin", REFUSED),
        ("/orders?x#f", REFUSED),
        ("/orders%00", REFUSED),
        ("/orders%0a", REFUSED),
        ("/orders%0d%0aX", REFUSED),
        ("/orders%09", REFUSED),
        ("/orders%7f", REFUSED),
        ("/orders%2500", REFUSED),
        ("/orders\x00", REFUSED),
        ("/orders 1", REFUSED),
        ("/%20admin", REFUSED),
        ("/admin%20", DENY),
        ("/\tadmin", REFUSED),
        # Not origin form: CVE-2026-33186.
        ("orders/1", REFUSED),
        ("", REFUSED),
        ("http://api.example.com/orders/1", REFUSED),
        ("api.example.com:443", REFUSED),
        ("?/orders", REFUSED),
        ("\\orders", REFUSED),
        ("*", REFUSED),
        # Broken escapes, and bytes that are no text.
        ("/ord%zzers", REFUSED),
        ("/orders%2", REFUSED),
        ("/orders%", REFUSED),
        ("/%u0061dmin", REFUSED),
        ("/%c0%afadmin", REFUSED),
        ("/%c1%a1dmin", REFUSED),
        ("/orders/%ff", REFUSED),
        ("/orders/%ed%a0%80", REFUSED),
        # Escaped blanks are common in names; at the end of a segment some servers drop them.
        ("/orders/John%20Smith", EXCHANGE),
        ("/admin%20/x", DENY),
        ("/orders/..%20/admin", REFUSED),
        ("/%2520admin", REFUSED),
        ("/a%20b", UNMATCHED),
        # A prefix is a string prefix.
        ("/orders", EXCHANGE),
        ("/orders/", EXCHANGE),
        ("/ordersX", EXCHANGE),
        ("/order", UNMATCHED),
        # Work.
        ("/orders/" + "a" * 65_536, EXCHANGE),
        ("/x/" + "a" * 65_536, UNMATCHED),
        ("/" + "a/../" * 10_000 + "admin", REFUSED),
        ("/orders/" + "%2e" * 65_536, REFUSED),
    ],
)
def test_a_spelling_of_a_path_never_opens(path: str, expected: Expect) -> None:
    assert decided(HOST, path) is expected


def test_the_asterisk_form_is_unmatched() -> None:
    assert decided(HOST, "*", "OPTIONS") is UNMATCHED


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("api.example.com", EXCHANGE),
        ("API.Example.COM", EXCHANGE),
        ("api.example.com:8443", EXCHANGE),
        ("api.example.com.", EXCHANGE),
        ("API.example.com.:1", EXCHANGE),
        (" api.example.com ", EXCHANGE),
        ("api.example.com:", EXCHANGE),
        ("user@api.example.com", REFUSED_AUTHORITY),
        ("api.example.com,evil.com", REFUSED_AUTHORITY),
        ("api.example.com/x", REFUSED_AUTHORITY),
        ("api.example.com:abc", REFUSED_AUTHORITY),
        ("api.exam ple.com", REFUSED_AUTHORITY),
        ("api.example.com..", REFUSED_AUTHORITY),
        ("api%2eexample.com", REFUSED_AUTHORITY),
        ("api.example.com\x00", REFUSED_AUTHORITY),
        ("api\uff0eexample.com", REFUSED_AUTHORITY),
        ("other.example.com", UNMATCHED),
        ("", UNMATCHED),
    ],
)
def test_a_spelling_of_an_authority_never_opens(host: str, expected: Expect) -> None:
    assert decided(host, "/orders") is expected


def test_an_ipv6_literal_matches_in_every_spelling() -> None:
    policy = snapshot_of(deny("/", host="[2001:db8::1]"))

    for host in ("[2001:db8::1]", "[2001:db8::1]:443", "[2001:DB8:0::1]", "[2001:0db8:0000::0001]:1"):
        assert policy.match(host, "/", "GET") == deny("/", host="[2001:db8::1]")
    assert isinstance(policy.match("2001:db8::1", "/", "GET"), Ambiguous)
