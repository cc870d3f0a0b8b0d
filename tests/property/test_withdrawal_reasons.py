"""Law: a document has a reason for being gone exactly if it is not in force, and the reason is the first thing that it lacks."""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.selection import ConfigMap, Namespace, PolicyObject, select
from exchanger.policy.withdrawal import Gone, why_gone
from exchanger.values.entry import Source
from exchanger.values.selector import parse_selector

NAMESPACES, CONFIG_MAPS = parse_selector("policy=enabled"), parse_selector("enabled=true")
names = st.sampled_from("ab")
labels = st.sampled_from([(), (("policy", "enabled"),), (("enabled", "true"),), (("policy", "off"), ("enabled", "no"))])
objects = st.lists(st.builds(Namespace, names, labels) | st.builds(ConfigMap, names, names, labels, st.just("version: v1")), max_size=8)
sources = st.sets(st.builds(Source, names, names))


@given(sources, objects)
def test_what_is_in_force_has_no_reason_and_what_is_not_has_one(asked: set[Source], found: list[PolicyObject]) -> None:
    in_force = select(found, NAMESPACES, CONFIG_MAPS)
    reasons = why_gone(asked, found, NAMESPACES, CONFIG_MAPS)
    assert reasons.keys() == asked - in_force.keys()
    there = {item.name for item in found if isinstance(item, Namespace)}
    maps = {Source(item.namespace, item.name) for item in found if isinstance(item, ConfigMap)}
    for source, reason in reasons.items():
        assert (reason is Gone.NAMESPACE) == (source.namespace not in there)
        assert reason is not Gone.DELETED or source not in maps
        assert reason is not Gone.LABEL or source in maps


def test_a_file_that_is_readable_again_was_no_config_map() -> None:
    assert why_gone([Source("", "policy.yaml")], [], NAMESPACES, CONFIG_MAPS) == {}
