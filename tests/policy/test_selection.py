import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.model.entry import Source
from exchanger.model.policy_decision import NoMatch, Unhealthy
from exchanger.model.selector import parse_selector
from exchanger.policy.selection import (
    ConfigMap,
    DocumentText,
    Namespace,
    PolicyObject,
    Text,
    UnknownText,
    advance,
    key_meant,
    labels_of,
    select,
)
from exchanger.policy.snapshot import PolicySnapshot
from tests.policy.comparing import content

NAMESPACES = parse_selector("policy=enabled")
CONFIG_MAPS = parse_selector("enabled=true")
SELECTED, ENABLED = (("policy", "enabled"),), (("enabled", "true"),)


def chosen(*manifests: PolicyObject) -> dict[Source, DocumentText]:
    return select(manifests, NAMESPACES, CONFIG_MAPS)


def text(*descriptions: Namespace) -> Text:
    return Text("x", namespace_labels=tuple(labels_of(namespace) for namespace in descriptions))


def test_both_selectors_have_to_match() -> None:
    namespace, config_map = Namespace("a", SELECTED), ConfigMap("a", "p", ENABLED, "x")
    assert chosen(namespace, config_map) == {Source("a", "p"): text(namespace)}
    assert chosen(config_map, namespace) == {Source("a", "p"): text(namespace)}
    assert chosen(config_map) == {}
    assert chosen(Namespace("a", ()), config_map) == {}
    assert chosen(Namespace("b", SELECTED), config_map) == {}
    assert chosen(namespace, ConfigMap("a", "p", (), "x")) == {}
    # Described twice: what the namespace may do has to hold for both descriptions.
    assert chosen(Namespace("a", ()), namespace, config_map) == {Source("a", "p"): text(Namespace("a", ()), namespace)}


def test_a_config_map_with_two_documents_is_unreadable() -> None:
    namespace = Namespace("a", SELECTED)
    twice = chosen(namespace, ConfigMap("a", "p", ENABLED, "x"), ConfigMap("a", "p", ENABLED, "y"))
    assert isinstance(twice[Source("a", "p")], UnknownText)
    three = chosen(namespace, *(ConfigMap("a", "p", ENABLED, text) for text in "xyx"))
    assert isinstance(three[Source("a", "p")], UnknownText)
    assert chosen(namespace, *[ConfigMap("a", "p", ENABLED, "x")] * 2) == {Source("a", "p"): text(namespace)}


def test_an_unreadable_file_closes_everything() -> None:
    change = advance(PolicySnapshot.EMPTY, {}, {Source("", "broken.yaml"): UnknownText("the file is not YAML")}, frozenset())
    decision = change.snapshot.match("any.example.com", "/", "GET")
    assert decision == Unhealthy("the file is not YAML", Source("", "broken.yaml"))
    repaired = advance(change.snapshot, {Source("", "broken.yaml"): UnknownText("the file is not YAML")}, {}, frozenset())
    assert isinstance(repaired.snapshot.match("any.example.com", "/", "GET"), NoMatch)
    assert repaired.removed == (Source("", "broken.yaml"),)


def test_a_config_map_without_its_document_says_which_key_was_probably_meant() -> None:
    maps = [ConfigMap("a", name, ENABLED, None, instead=instead) for name, instead in (("p", "config.yml\n"), ("q", ""))]
    found = chosen(Namespace("a", SELECTED), *maps)
    meant, unknown = (document.problems[0].reason for document in advance(PolicySnapshot.EMPTY, {}, found, frozenset()).documents)
    says = "; the ConfigMap has config.yml\N{REPLACEMENT CHARACTER}, which was probably meant: rename it to config.yaml"
    assert meant == unknown + says
    assert "probably meant" not in unknown


@pytest.mark.parametrize(
    ("data", "binary", "key"),
    [
        ({"config.yaml": 5, "config.yml": "x"}, None, ""),
        ({"a": "x"}, {"config.yaml": "eA=="}, "binaryData.config.yaml"),
        ({"a": "x", "Config.YML": "x"}, {}, "Config.YML"),
        ({"policy": "x"}, [], "policy"),
        ({"a": "x", "b": "x"}, None, ""),
        ({}, None, ""),
    ],
)
def test_the_key_that_was_probably_meant(data: dict[str, object], binary: object, key: str) -> None:
    assert key_meant(data, binary) == key


texts = st.sampled_from(
    [
        None,
        "version: v1",
        "version: v2",
        "version: v1\nentries: [{match: {host: h, pathPrefix: /a}, action: deny}]",
        "version: v1\nentries: [{match: {host: h, pathPrefix: /b}, action: deny}, {match: {host: h}, action: deny}]",
    ]
)
documents = st.dictionaries(
    st.builds(Source, st.sampled_from("ab"), st.sampled_from("pq")),
    st.one_of(texts.map(Text), st.just(UnknownText("reason"))),
    max_size=4,
)


@given(st.lists(documents, min_size=1, max_size=5))
def test_any_way_to_a_state_gives_the_policy_of_that_state(states: list[dict[Source, DocumentText]]) -> None:
    snapshot, before = PolicySnapshot.EMPTY, dict[Source, DocumentText]()
    for state in states:
        change = advance(snapshot, before, state, frozenset())
        assert {document.source for document in change.documents} == {source for source in state if before.get(source) != state[source]}
        snapshot, before = change.snapshot, state
    fresh = advance(PolicySnapshot.EMPTY, {}, states[-1], frozenset()).snapshot
    assert content(snapshot) == content(fresh)
