"""What was probably meant to be policy is noticed; what was not, or expressly shall not be, is left alone."""

import pytest

from exchanger.model.entry import Source
from exchanger.model.selector import Selector, parse_selector
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.notices import is_declined, looks_like_policy, near_label, not_named, of_config_maps, of_namespaces, of_snapshot
from exchanger.policy.selection import ConfigMap, Namespace, Text, advance
from exchanger.policy.snapshot import PolicySnapshot

DOMAIN = "ext-authz-token-exchange.magneticflux.net"
CONFIG_MAPS = parse_selector(f"{DOMAIN}/enabled=true")
NAMESPACES = parse_selector(f"{DOMAIN}/policy=enabled")
POLICY = "version: v1\nentries: []"


def near(selector: str, other: str = "unlike", **labels: str) -> bool:
    return near_label(tuple(labels.items()), parse_selector(selector), parse_selector(other)) is not None


@pytest.mark.parametrize(
    ("key", "value", "is_near"),
    [
        (f"{DOMAIN}/enabled", "yes", True),
        (f"{DOMAIN}/enabled", "", True),
        (f"{DOMAIN}/enable", "yes", True),
        ("ext-authz-token-exchange/enabled", "true", True),
        ("magneticflux.net/enabled", "true", True),
        ("enabled", "true", True),
        (f"{DOMAIN}/policy", "enabled", True),
        (f"{DOMAIN}/enabled", "true", False),
        (f"{DOMAIN}/enabled", "Off", False),
        (f"{DOMAIN}/enable", "false", False),
        (f"{DOMAIN}/owner", "true", False),
        ("sidecar.istio.io/enabled", "true", False),
        ("app.kubernetes.io/name", "true", False),
        ("enabled", "yes", False),
        ("kubernetes.io/metadata.name", "enabled", False),
    ],
)
def test_a_label_that_was_probably_meant(key: str, value: str, is_near: bool) -> None:
    assert (near_label(((key, value),), CONFIG_MAPS, NAMESPACES) is not None) == is_near


def test_labels_near_other_selectors() -> None:
    assert near("exchanger", exchangr="")
    assert not near("exchanger", exchanger="")
    assert near("exchanger", "tokens", tokens="x")
    assert near("team=orders-api", team="OrdersApi")
    assert not near("team=orders", team="borders")
    assert near("team in (a,b),exchanger=on", team="a", exchanger="yes")
    assert not near("!legacy,tier!=test,version>3", legacy="x", tier="test", version="1")
    assert not near("kubernetes.io/metadata.name=orders", **{"kubernetes.io/metadata.name": "order"})
    assert not near("", any="x")


def test_a_label_that_says_no_declines() -> None:
    assert is_declined(((f"{DOMAIN}/enabled", "False"),), CONFIG_MAPS)
    assert not is_declined((), CONFIG_MAPS)
    assert not is_declined((("a", "false"),), parse_selector("a"))


@pytest.mark.parametrize(
    ("text", "is_policy"),
    [
        (POLICY, True),
        ("{version: v1, entries: [{}]}", True),
        ('{"entries": [], "version": "v2"}', True),
        ("# x\nversion : 'v1'\nentries:\n- match: {}", True),
        ("version: 1\nentries: []", False),
        ("version: v1", False),
        ("conversion: v1\nentries: []", False),
        ("", False),
        (None, False),
    ],
)
def test_documents_that_look_like_policy(text: str | None, is_policy: bool) -> None:
    assert looks_like_policy(text) is is_policy


CHOSEN = ((f"{DOMAIN}/enabled", "true"),)


@pytest.mark.parametrize(
    ("labels", "text", "namespaces", "is_noticed"),
    [
        (CHOSEN, POLICY, {"a": True}, False),
        (CHOSEN, POLICY, {"a": False}, True),
        (CHOSEN, POLICY, {}, True),
        ((), POLICY, {"a": True}, True),
        (((f"{DOMAIN}/enable", "true"),), "other", {"a": True}, True),
        (((f"{DOMAIN}/enabled", "false"),), POLICY, {"a": True}, False),
        ((), "other", {"a": True}, False),
    ],
)
def test_config_maps(labels: tuple[tuple[str, str], ...], text: str, namespaces: dict[str, bool], is_noticed: bool) -> None:
    found = of_config_maps((ConfigMap("a", "p", labels, text),), namespaces, CONFIG_MAPS, NAMESPACES)
    assert [notice.subject for notice in found] == ["ConfigMap a/p"] * is_noticed


def test_a_config_map_outside_the_named_namespaces() -> None:
    text = "POL-3103: ConfigMap a/p is not active: its Namespace a is not selected, as it is not among those that are followed by name"
    assert str(not_named(Source("a", "p"))) == f"{text} (add the name to POLICY_NAMESPACES or its file (chart: policyNamespaces))"


def test_namespaces() -> None:
    found = of_namespaces((Namespace("a", ((f"{DOMAIN}/polcy", "enabled"),)), Namespace("b", ())), NAMESPACES, CONFIG_MAPS)
    hint = f"the label {DOMAIN}/polcy is probably meant to be {DOMAIN}/policy=enabled"
    assert [str(notice) for notice in found] == [f"POL-3101: Namespace a is not selected: {hint} (its labels must match {NAMESPACES})"]


def test_a_policy_in_which_nothing_is_active() -> None:
    def told(*texts: str, grants: Grants = NO_GRANTS, **options: int) -> list[str]:
        documents = {Source("a", str(number)): Text(text) for number, text in enumerate(texts)}
        snapshot = advance(PolicySnapshot.EMPTY, {}, documents, frozenset(), grants=grants).snapshot
        return [notice.text for notice in of_snapshot(snapshot, "b", Selector(), **options)]

    assert ["nothing is selected" in text for text in told()] == [True]
    assert ["7 that were active are gone" in text for text in told(emptied=7)] == [True]
    assert ["no active entry" in text for text in told(POLICY, POLICY)] == [True]
    assert told("not a policy") == []  # which closes everything, and is told as what it is
    entry = "version: v1\nentries: [{match: {host: h, pathPrefix: /a}, action: deny}]"
    assert told(entry) == []
    assert ["all are outside what their namespaces are granted" in text for text in told(entry, grants=Grants())] == [True]
