"""Whoever misspells a name within two edits is told, and told the right one; whoever spells all names right hears nothing."""

from typing import Final

from hypothesis import assume, given
from hypothesis import strategies as st

from exchanger.app.settings import known_variables
from exchanger.app.variable_names import MAX_UNKNOWN, NAME_LIMIT, unknown_variables
from exchanger.policy.notices import near_label, of_config_maps, of_namespaces
from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.util.text import distance
from exchanger.values.notice import MAX_NOTICES, SUBJECT_LIMIT, TEXT_LIMIT, Notices
from exchanger.values.selector import parse_selector

KNOWN: Final = sorted(known_variables())
CANARY: Final = "canary-value"
LABEL: Final = "ext-authz-token-exchange.magneticflux.net/enabled"
NAMESPACE_LABEL: Final = "ext-authz-token-exchange.magneticflux.net/policy"
CONFIG_MAPS: Final = parse_selector(f"{LABEL}=true")
NAMESPACES: Final = parse_selector(f"{NAMESPACE_LABEL}=enabled")
LETTERS: Final = st.sampled_from("ABCXYZ_0abcxyz-./")


@st.composite
def misspelt(draw: st.DrawFn, names: st.SearchStrategy[str]) -> tuple[str, str]:
    """Return a name and what one or two slips make of it."""
    right = draw(names)
    name = right
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(name) - 1))
        slip = draw(st.sampled_from(["lose", "add", "change", "swap"]))
        letter = draw(LETTERS)
        match slip:
            case "lose":
                name = name[:at] + name[at + 1 :]
            case "add":
                name = name[:at] + letter + name[at:]
            case "change":
                name = name[:at] + letter + name[at + 1 :]
            case _:
                name = name[:at] + name[at : at + 2][::-1] + name[at + 2 :]
    return right, name


@given(misspelt(st.sampled_from(KNOWN)))
def test_each_near_miss_of_a_variable_is_told_with_the_nearest_name(pair: tuple[str, str]) -> None:
    right, name = pair
    assume(name not in KNOWN and distance(name.upper(), right) <= 2)
    ((found, text),) = unknown_variables({name: CANARY}, frozenset(KNOWN))
    meant = text.partition("did you mean ")[2].rstrip("?")
    assert found == name
    assert meant in KNOWN
    folded = name.upper().replace("-", "_").replace(".", "_")
    assert distance(folded, meant) <= distance(folded, right)


@given(st.dictionaries(st.sampled_from(KNOWN), st.text()))
def test_no_known_name_is_told(variables: dict[str, str]) -> None:
    assert unknown_variables(variables, frozenset(KNOWN)) == ()


prefixed = st.builds(lambda prefix, rest: f"{prefix}{rest}", st.sampled_from(["POLICY_", "TOKEN_EXCHANGE_", "GRPC_"]), st.text())


@given(st.dictionaries(prefixed | st.text(), st.just(CANARY), max_size=60))
def test_what_is_told_of_variables_is_bounded_and_has_no_values(variables: dict[str, str]) -> None:
    told = unknown_variables(variables, frozenset(KNOWN))
    assert len(told) <= MAX_UNKNOWN + 1
    for name, text in told:
        assert len(name) <= NAME_LIMIT
        assert name.isprintable()
        assert CANARY not in name + text
        assert len(text) <= 128


@given(misspelt(st.sampled_from([LABEL, NAMESPACE_LABEL])))
def test_each_near_miss_of_a_label_is_told_with_the_right_one(pair: tuple[str, str]) -> None:
    right, key = pair
    selector, other, value = (CONFIG_MAPS, NAMESPACES, "true") if right == LABEL else (NAMESPACES, CONFIG_MAPS, "enabled")
    assume(key != right and distance(key, right) <= 2)  # two slips may lie further apart: a swap of what a letter was lost between
    hint = near_label(((key, value),), selector, other)
    assert hint is not None
    assert f"{right}={value}" in hint


@given(misspelt(st.sampled_from(["true", "enabled"])))
def test_each_near_miss_of_a_value_is_told_with_the_right_one(pair: tuple[str, str]) -> None:
    right, value = pair
    selector, other, key = (CONFIG_MAPS, NAMESPACES, LABEL) if right == "true" else (NAMESPACES, CONFIG_MAPS, NAMESPACE_LABEL)
    assume(value != right)
    hint = near_label(((key, value),), selector, other)
    assert hint is not None
    assert f"{key}={right}" in hint


keys = st.sampled_from([LABEL, NAMESPACE_LABEL, "app", "x/enabled"]) | st.text(max_size=400)
labels = st.dictionaries(keys, st.sampled_from(["true", "enabled", "false", "yes"]) | st.text(max_size=80), max_size=4)
names = st.text(max_size=400)
documents = st.none() | st.text().map(lambda text: f"version: v1\nentries: []\n# {CANARY} {text}")


@given(
    st.lists(st.builds(lambda name, of: Namespace(name, tuple(of.items())), names, labels), max_size=30),
    st.lists(st.builds(lambda a, b, of, text: ConfigMap(a, b, tuple(of.items()), text), names, names, labels, documents), max_size=30),
)
def test_what_is_told_of_objects_is_bounded_and_has_no_document(namespaces: list[Namespace], config_maps: list[ConfigMap]) -> None:
    known = {item.name: NAMESPACES.matches(dict(item.labels)) for item in namespaces}
    found = [*of_namespaces(namespaces, NAMESPACES, CONFIG_MAPS), *of_config_maps(config_maps, known, CONFIG_MAPS, NAMESPACES)]
    kept = Notices.of(found)
    assert (len(kept.listed), kept.count) == (min(len(found), MAX_NOTICES), len(found))
    for notice in found:
        assert len(notice.subject) <= SUBJECT_LIMIT
        assert len(notice.text) <= TEXT_LIMIT
        assert len(notice.remedy) <= TEXT_LIMIT
        assert str(notice).isprintable()
        assert CANARY not in str(notice)


@given(st.dictionaries(names, st.lists(names, max_size=3), max_size=5))
def test_what_is_in_order_is_not_told_of(teams: dict[str, list[str]]) -> None:
    namespaces = {name: NAMESPACES.matches({NAMESPACE_LABEL: "enabled"}) for name in teams}
    config_maps = [ConfigMap(team, name, ((LABEL, "true"),), "version: v1") for team, owned in teams.items() for name in owned]
    assert not list(of_config_maps(config_maps, namespaces, CONFIG_MAPS, NAMESPACES))
    assert not list(of_namespaces([Namespace(name, ((NAMESPACE_LABEL, "enabled"),)) for name in teams], NAMESPACES, CONFIG_MAPS))
