"""Ways around a policy that are known from other products, as a table: a spelling gets the canonical decision or a refusal.

The CVE numbers name classes, not this program.
"""

import enum
from typing import Final, assert_never

import pytest

from exchanger.model.entry import AllowEntry, DenyEntry, ExchangeEntry
from exchanger.model.policy_decision import Ambiguous, AmbiguousPart, NoMatch, Unhealthy
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
    decision = POLICY.match(host, path, method)
    match decision:
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
        case Unhealthy() | Ambiguous() | AllowEntry():
            raise AssertionError(decision)
        case _:
            assert_never(decision)


# By class of trick; each value has the spellings that get that decision, separated by blanks.
PATHS: Final = {
    "Repeated slashes: CVE-2021-31920, CVE-2026-26205": {
        REFUSED: "//orders/1 //admin ///admin /%2fadmin /%2F/admin",
        DENY: "/admin//x",
        EXCHANGE: "/orders//1 /orders//",
    },
    "A host where the path should begin: RFC 3986 section 4.2": {
        REFUSED: (
            "//x/admin ///x/admin //x//admin //api.example.com/admin //user@x:80/admin/1 //[::1]/orders/1 "
            "//x;p/orders/1 /\\x/admin \\\\x/admin /%2fx/admin /%5c%5cx/admin /y/..//x/admin //orders/orders"
        ),
        EXCHANGE: "/orders//x/admin",
        UNMATCHED: "//x/y",
    },
    "Dot segments: CVE-2019-9901": {
        REFUSED: "/./orders/1 /x/../orders/1 /../admin /a//../admin /a//../../admin",
        DENY: "/admin/.",
        EXCHANGE: "/orders/./1 /orders/x/../1 /orders/.",
    },
    "Dot segments out of a match: CVE-2026-42274": {
        REFUSED: "/orders/../admin /orders/%2e%2e/admin /orders/%2E./admin /orders/.%2e/admin /orders/.. /admin/..",
        DENY: "/admin/../admin/x",
        EXCHANGE: "/orders/../orders/1",
    },
    "Escaped unreserved characters: RFC 3986 section 6.2.2.2": {
        REFUSED: "/%6frders/1 /%6Frders/1 /%61dmin /%61%64%6d%69%6e",
        DENY: "/admin/%7Ejoe",
        EXCHANGE: "/orders/%7Ejoe /orders/%7ejoe",
    },
    "Escaped slashes: CVE-2021-29492, CVE-2026-42272": {
        REFUSED: "/%2forders/1 /a%2F..%2Fadmin /a%2f..%2fadmin /x%2fy/%2e%2e/admin /x%2Fy/../admin /orders%2f..%2fadmin",
        EXCHANGE: "/orders/a%2Fb /orders%2fa",
    },
    "Backslashes, raw and escaped": {
        REFUSED: (
            "/\\orders /\\admin /a\\..\\admin /a%5c..%5cadmin /a%5C../admin /%5cadmin /%5c%2e%2e%5cadmin "
            "/x%2fy\\..\\admin /orders\\..\\admin"
        ),
        EXCHANGE: "/orders\\1",
    },
    "Escapes of escapes": {
        REFUSED: (
            "/%252e%252e/admin /%25%32%65%25%32%65/admin /%25%32%66admin /%2525252fadmin /%2561dmin "
            "/x/%252e%252e/admin /x%252f..%252fadmin /orders/%252e%252e%252fadmin"
        ),
        EXCHANGE: "/orders/100%25",
    },
    "Path parameters": {
        REFUSED: (
            "/foo/..;/admin /foo/..;x=1/admin /foo/..%3b/admin /foo/%2e%2e%3B/admin /;/admin /;x/../admin /.;/admin "
            "/ad;/../admin /orders/..;/admin"
        ),
        DENY: "/admin;x=1",
        EXCHANGE: "/orders;jsessionid=1/2",
        UNMATCHED: "/ad;x/min /adm;x=1in",
    },
    "Compatibility characters": {
        REFUSED: (
            "/\uff41dmin /%ef%bd%81dmin /x/\uff0e\uff0e/admin /x/%EF%BC%8E%EF%BC%8E/admin /x\uff0f..\uff0fadmin "
            "/\uff0fadmin /\u2025/admin /x/\u2025/admin /x/..\uff1b/admin /\uff05\uff16\uff11dmin"
        ),
        EXCHANGE: "/orders/caf%C3%A9 /orders/cafe%CC%81",
    },
    "Case: paths are case-sensitive": {
        UNMATCHED: "/ORDERS/1 /Admin",
    },
    "The query is not a path: CVE-2020-8595": {
        REFUSED: "/public/%3f/../../admin /public%3f/../../admin",
        DENY: "/admin?x /admin?",
        EXCHANGE: "/orders?/../admin /orders?x=%2e%2e/%2fadmin;\\",
        UNMATCHED: "/public?/admin /public?x=/../admin /?/admin",
    },
    "Fragments and control characters: CVE-2019-9900": {
        REFUSED: (
            "/admin#f /public#/../admin /orders?x#f /orders%00 /orders%0a /orders%0d%0aX /orders%09 /orders%7f "
            "/orders%2500 /orders\x00 /%20admin"
        ),
        DENY: "/admin%20",
    },
    "Not origin form: CVE-2026-33186": {
        REFUSED: "orders/1 http://api.example.com/orders/1 api.example.com:443 ?/orders \\orders *",
    },
    "Broken escapes, and bytes that are not text": {
        REFUSED: "/ord%zzers /orders%2 /orders% /%u0061dmin /%c0%afadmin /%c1%a1dmin /orders/%ff /orders/%ed%a0%80",
    },
    "Escaped blanks are common in names; at the end of a segment some servers drop them": {
        REFUSED: "/orders/..%20/admin /%2520admin",
        DENY: "/admin%20/x",
        EXCHANGE: "/orders/John%20Smith",
        UNMATCHED: "/a%20b",
    },
    "A prefix is a string prefix": {
        EXCHANGE: "/orders /orders/ /ordersX",
        UNMATCHED: "/order",
    },
}
ODD_PATHS: Final = [
    ("/orders 1", REFUSED),
    ("/\tadmin", REFUSED),
    ("", REFUSED),
    ("/orders/" + "a" * 65_536, EXCHANGE),
    ("/x/" + "a" * 65_536, UNMATCHED),
    ("/" + "a/../" * 10_000 + "admin", REFUSED),
    ("/orders/" + "%2e" * 65_536, REFUSED),
]


@pytest.mark.parametrize(
    ("path", "expected"),
    [*((path, expected) for cases in PATHS.values() for expected, paths in cases.items() for path in paths.split()), *ODD_PATHS],
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
        ("API.example.com.:1", EXCHANGE),
        ("user@api.example.com", REFUSED_AUTHORITY),
        ("api.example.com,evil.com", REFUSED_AUTHORITY),
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
