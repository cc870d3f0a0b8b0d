"""The grants file: what it says, and what is wrong with it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.model.entry import BASELINE, DenyEntry, MatchScope, PathType
from exchanger.model.selector import parse_selector
from exchanger.policy.grants import allowance
from exchanger.policy.grants.allowance import (
    Granted,
    Grants,
    NamespaceGrant,
    is_audience_granted,
    is_granted,
    is_resource_granted,
    is_scope_granted,
)
from exchanger.policy.grants.reader import MAX_AREAS, read_grants, told
from exchanger.policy.path import read_path

_CODE = re.compile(r"POL-[0-9]{4}: ")


def grants_of(text: str, *, has_labels: bool = True) -> Grants:
    found = read_grants(text, has_labels=has_labels)
    assert isinstance(found, Grants), found
    return found


def one(grant: str) -> str:
    return f"version: v1\ngrants:\n- {{{grant}}}"


def test_a_file_says_who_may_do_what() -> None:
    found = grants_of("""
version: v1
grants:
- namespaces: [team-orders]
  namespaceSelector: team=orders
  hosts: [Orders.example.com, "*.orders.example.com", "{namespace}.Apps.example.com", "{label:example.com/Team}.example.com", "*"]
  pathPrefixes: [/orders/, "/t/{namespace}", "*"]
  actions: [Allow, deny]
  issuers: [primary, "p*"]
  audiences: [orders-api, "orders-*"]
  resources: ["https://orders.example.com/*", "urn:x", "*"]
  scopes: ["read:orders", "orders.*"]
- {namespaces: [a]}
baseline:
- match: {host: "*.Example.com", pathPrefix: /internal/, pathType: Segment, methods: [get]}
  action: Deny
- {match: {host: "*", pathPrefix: /x}, action: deny}
""")
    assert found.grants == (
        NamespaceGrant(
            frozenset({"team-orders"}),
            parse_selector("team=orders"),
            ("orders.example.com", "*.orders.example.com", "{namespace}.apps.example.com", "{label:example.com/Team}.example.com", "*"),
            ("/orders", "/t/{namespace}", ""),
            frozenset({"allow", "deny"}),
            ("primary", "p*"),
            ("orders-api", "orders-*"),
            ("https://orders.example.com/*", "urn:x", "*"),
            ("read:orders", "orders.*"),
        ),
        NamespaceGrant(frozenset({"a"}), None),
    )
    assert found.baseline == (
        DenyEntry(BASELINE, 0, MatchScope("*.example.com", "/internal", frozenset({"GET"}), path_type=PathType.SEGMENT)),
        DenyEntry(BASELINE, 1, MatchScope(None, "/x")),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("[]", "line 1: the file must be a mapping"),
        ("version: v1", "line 1: grants is required: an empty list grants nothing"),
        ("version: v2\ngrants: []", 'line 1: version must be v1, not "v2"'),
        ("version: v1\ngrants: []\nbaselines: []", 'line 3: the file has an unknown field "baselines"'),
        (one("hosts: [a]"), "line 3: grants[0].namespaces is required, or namespaceSelector: a grant must name its namespaces"),
        (one("namespaceSelector: ' '"), "line 3: grants[0].namespaceSelector must not be blank: it would select every namespace"),
        (one("namespaces: [A]"), 'line 3: grants[0].namespaces has "A", which is not the name of a namespace'),
        (one("namespaces: [a], actions: [permit]"), 'line 3: grants[0].actions must be exchange, deny or allow, not "permit"'),
        (one("namespaceSelector: 'a in ('"), "line 3: grants[0].namespaceSelector is not a label selector: "),
        (
            "version: v1\ngrants: []\nbaseline: [{match: {host: a, pathPrefix: /}, action: allow}]",
            'baseline[0].action must be deny, not "allow"',
        ),
        ("version: v1\ngrants: []\nbaseline: [{action: deny}]", "baseline[0].match is required"),
        (one("namespaces: [a], hosts: 5"), "line 3: grants[0].hosts must be a list of texts"),
    ],
)
def test_one_mistake_makes_the_file_unusable(text: str, problem: str) -> None:
    found = read_grants(text, has_labels=True)
    assert isinstance(found, tuple)
    assert problem in _CODE.sub("", told(found)[0])


@pytest.mark.parametrize(
    ("field", "items"),
    [
        ("hosts", ["a.example.com:443", "https://a", "a.*.example.com", "**", "*.[::1]", "{name}.example.com", "{label:}.x", "a b", "a.."]),
        ("pathPrefixes", ["orders", "/a/*", "/a/../b", "/a{", "/{id}", "/a?b"]),
        ("issuers", ["{namespace}", "{a", "a}", "a*b", "*a"]),
        ("audiences", ["a*b", "{other}", "}", "**"]),
        ("resources", ["https://a*", "https://a/b*", "urn:*", "https://a/*/b", "https://u@a/*", "/*"]),
        ("scopes", ["a b", "*:read", "{label:a b}"]),
    ],
)
def test_an_item_that_could_mean_more_than_it_says_is_refused(field: str, items: list[str]) -> None:
    for item in items:
        assert isinstance(read_grants(one(f"namespaces: [a], {field}: ['{item}']"), has_labels=True), tuple), item


def test_not_all_problems_are_told() -> None:
    found = read_grants("version: v1\ngrants: [" + "{}, " * 30 + "]", has_labels=True)
    assert isinstance(found, tuple)
    assert (len(told(found)), told(found)[-1]) == (11, "20 more problems")


def test_every_path_has_two_spellings() -> None:
    assert grants_of(one("namespaces: [a], pathPrefixes: [/, '*']")).grants[0].path_prefixes == ("",)


def test_what_a_placeholder_makes_too_long_grants_nothing() -> None:
    prefix = "/" + "a" * 2030 + "{label:t}"
    found = grants_of(one(f"namespaceSelector: t, hosts: [a], pathPrefixes: ['{prefix}']")).allowance("n", (("t", "b" * 60),))
    assert found.granted[0].prefixes == frozenset()
    assert found.problems[0].endswith("is not a prefix")


def test_allowances_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "_KEPT", 2)
    grants = grants_of(one("namespaces: [a], hosts: [h]"))
    found = [grants.allowance(name, ()) for name in ("a", "b", "c", "a")]
    assert found[0] == found[3] != found[1]


def test_labels_are_refused_where_nobody_knows_them() -> None:
    for grant in ("namespaceSelector: a=b", "namespaces: [a], hosts: ['{label:x}.example.com']"):
        assert isinstance(read_grants(one(grant), has_labels=False), tuple)
    assert grants_of(one("namespaces: [a], hosts: ['{namespace}.example.com']"), has_labels=False).grants


def test_the_places_of_all_grants_are_bounded() -> None:
    hosts = ", ".join(f"h{number}" for number in range(MAX_AREAS // 2 + 1))
    assert isinstance(read_grants(one(f"namespaces: [a], pathPrefixes: [/a, /b], hosts: [{hosts}]"), has_labels=True), tuple)


def test_placeholders_are_filled_in_with_plain_values_only() -> None:
    grants = grants_of(
        one("namespaceSelector: team, hosts: ['{label:team}.{namespace}.example.com', a.example.com], scopes: ['{label:x}']")
    )
    granted = Granted(frozenset({"red.n.example.com", "a.example.com"}), frozenset({""}), frozenset({"deny", "exchange"}), scopes=("1",))
    assert grants.allowance("n", (("team", "red"), ("x", "1"))).granted == (granted,)
    assert grants.allowance("n", (("team", "red"), ("x", "1"))).problems == ()
    for value in ("Red", "r_d", "a.b", "-a", "", "*"):
        found = grants.allowance("n", (("team", value),))
        assert found.granted == (Granted(frozenset({"a.example.com"}), frozenset({""}), frozenset({"deny", "exchange"})),)
        assert [problem.split(":")[0] for problem in found.problems] == ["host {label", "scope {label"]
    assert grants.allowance("n", ()).granted == ()


@pytest.mark.parametrize(
    ("value", "patterns", "granted"),
    [
        ("orders-api", ("orders-*",), True),
        ("orders-", ("orders-*",), True),
        ("payments", ("orders-*", "pay"), False),
        ("a b", ("*",), False),
        ("a b", ("a b",), True),
        ("a,b", ("a*",), False),
        ("orders*", ("orders*",), True),
    ],
)
def test_a_star_stands_for_a_plain_rest(value: str, patterns: tuple[str, ...], granted: bool) -> None:
    assert is_granted(value, patterns) is granted


@pytest.mark.parametrize(
    ("resource", "granted"),
    [
        ("https://a.example/", True),
        ("https://a.example/x/y?z", True),
        ("https://a.example", False),
        ("https://a.example.evil/", False),
        ("https://a.example/../x", False),
        ("https://a.example/x/..;/y", False),
        ("https://a.example/%2e%2E/x", False),
        ("https://a.example/%252e/x", False),
        ("https://a.example/a\\b", False),
        ("https://u@a.example/", False),
        ("https://a.example/x@y", True),
        ("https://a.example/...", True),
        ("https://a.example/..%2Fx", False),
        ("https://a.example/x%2fy", False),
        ("https://a.example/x%5Cy", False),
        ("https://a.example/x;y", False),
        ("https://a.example/x%3By", False),
        ("https://a.example/%2541", False),
        ("https://a.example//x", False),
        ("https://a.example/x/.", False),
        ("https://a.example/x%20", False),
        ("https://a.example/\uff0e\uff0e/x", False),
        ("https://a.example/x%", False),
        ("https://a.example/x#y", False),
        ("https://a.example/x?y=%2F..%2F", True),
    ],
)
def test_a_resource_matches_a_star_only_if_every_server_reads_it_alike(resource: str, granted: bool) -> None:
    assert is_resource_granted(resource, ("https://a.example/*",)) is granted
    assert is_audience_granted(resource, ("https://a.example/*",)) is granted
    assert is_resource_granted(resource, (resource,))
    assert is_audience_granted(resource, (resource,))


@given(st.text(alphabet="/a.%2eF5cC;\\b\uff0f", max_size=12))
def test_no_reading_of_a_resource_leaves_what_a_star_is_below(rest: str) -> None:
    resource = f"https://a.example/v1/{rest}"
    if is_resource_granted(resource, ("https://a.example/v1/*",)):
        interpretations = read_path(f"/v1/{rest}", "GET")
        assert isinstance(interpretations, tuple)
        assert all(interpretation.startswith("/v1/") for interpretation in interpretations)


def test_what_stands_before_a_star_is_the_operators_own_text() -> None:
    assert is_resource_granted("https://a.example/caf%C3%A9/x", ("https://a.example/caf%C3%A9/*",))
    assert is_audience_granted("https://a.example/x", ("https://*",))
    assert is_audience_granted("https://a.example.evil/x", ("https://a.example*",))
    assert not is_audience_granted("https://u@a.example/x", ("*",))
    assert not is_resource_granted("https://a%2Eexample/x", ("*",))
    assert is_resource_granted("urn:orders", ("*",))


def test_an_audience_that_is_no_url_is_a_plain_text() -> None:
    assert is_audience_granted("orders/../v2;x%2F", ("orders/*",))


def test_a_scope_is_one_that_oauth_has() -> None:
    assert is_scope_granted("read:orders", ("read:*",))
    assert not is_scope_granted('a"b', ('a"b', "*"))
