import itertools

import pytest

from exchanger.kube.index import Changed, Difference, IndexStatistics, PolicyIndex
from exchanger.policy import selection
from exchanger.policy.document import PolicyDocument, parse_document
from exchanger.policy.objects import ConfigMap, Namespace
from exchanger.policy.selection import Text
from exchanger.policy.selector import Selector, parse_selector
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.policy.verdict import NoMatch, Unhealthy
from exchanger.values.entry import DenyEntry, Source

SELECTED, ENABLED = (("policy", "enabled"),), (("enabled", "true"),)
DENY = "version: v1\nentries: [{match: {host: h, pathPrefix: /a}, action: deny}]"


def index(*, named: frozenset[str] = frozenset()) -> PolicyIndex:
    return PolicyIndex(parse_selector("policy=enabled"), parse_selector("enabled=true"), named)


def config_map(namespace: str, name: str, text: str | None = "x") -> ConfigMap:
    return ConfigMap(namespace, name, ENABLED, text)


def filled() -> PolicyIndex:
    """Return an index of two selected Namespaces with two ConfigMaps each, at rest."""
    made = index()
    made.replace_namespaces([Namespace("a", SELECTED), Namespace("b", SELECTED)])
    made.replace_config_maps([config_map(namespace, name) for namespace in "ab" for name in "pq"])
    made.take()
    return made


def texts(made: PolicyIndex) -> dict[str, str | None]:
    return {str(source): text.text for source, text in made.documents().items()}


def taken(made: PolicyIndex) -> dict[str, tuple[str | None, str | None]]:
    """Take the difference, as texts before and after; "-" is no document at all."""
    return {str(changed.source): (_text(changed.before), _text(changed.after)) for changed in made.take().documents}


def _text(text: Text | None) -> str | None:
    return "-" if text is None else text.text


def test_both_selectors_have_to_match() -> None:
    made = index()
    made.put_config_map(config_map("a", "p"))
    assert texts(made) == {}
    made.put_namespace(Namespace("a", ()))
    assert texts(made) == {}
    made.put_namespace(Namespace("a", SELECTED))
    assert texts(made) == {"a/p": "x"}
    made.put_config_map(ConfigMap("a", "p", (), "x"))
    assert texts(made) == {}


def test_a_namespace_can_be_selected_by_its_name_whatever_its_labels_say() -> None:
    made = PolicyIndex(parse_selector("kubernetes.io/metadata.name in (a, b)"), parse_selector(""))
    made.replace_namespaces([Namespace("a", ()), Namespace("c", (("kubernetes.io/metadata.name", "b"),))])
    made.replace_config_maps([config_map("a", "p"), config_map("c", "p")])
    assert texts(made) == {"a/p": "x"}


def test_a_namespace_that_becomes_selected_brings_its_documents_at_once() -> None:
    made = filled()
    made.put_namespace(Namespace("c", ()))
    made.put_config_map(config_map("c", "p"))
    assert not made.changed
    made.put_namespace(Namespace("c", SELECTED))
    assert taken(made) == {"c/p": ("-", "x")}


def test_the_uid_is_that_of_the_object_that_has_the_name_now() -> None:
    made, source = filled(), Source("a", "p")
    made.put_config_map(ConfigMap("a", "p", ENABLED, "x", "1"))
    assert (made.uid_of(source), made.changed) == ("1", False)
    made.replace_config_maps([ConfigMap("a", "p", ENABLED, "x", "2")])
    assert (made.uid_of(source), made.uid_of(Source("b", "q"))) == ("2", "")
    made.put_config_map(ConfigMap("a", "p", (), "x", "3"))
    assert made.uid_of(source) == ""


@pytest.mark.parametrize("unlabelled", [False, True])
def test_a_namespace_that_goes_takes_its_documents_along_and_no_others(unlabelled: bool) -> None:
    made = filled()
    if unlabelled:
        made.put_namespace(Namespace("a", (("policy", "disabled"),)))
    else:
        made.delete_namespace("a")
    assert taken(made) == {"a/p": ("x", "-"), "a/q": ("x", "-")}
    assert made.statistics() == IndexStatistics(namespaces=1, config_maps=4, documents=2)
    made.delete_config_map("a", "p")
    made.put_config_map(config_map("a", "q", "y"))
    assert taken(made) == {}
    made.put_namespace(Namespace("a", SELECTED))
    assert taken(made) == {"a/q": ("-", "y")}


def test_a_change_of_a_namespace_that_makes_no_difference_costs_nothing() -> None:
    made = filled()
    made.put_namespace(Namespace("a", (*SELECTED, ("other", "label"))))
    made.put_namespace(Namespace("z", ()))
    made.delete_namespace("y")
    assert not made.changed


def test_a_config_map_costs_itself() -> None:
    made = filled()
    made.put_config_map(config_map("a", "p", "y"))
    assert taken(made) == {"a/p": ("x", "y")}
    made.put_config_map(config_map("a", "r"))
    assert taken(made) == {"a/r": ("-", "x")}
    made.delete_config_map("a", "p")
    assert taken(made) == {"a/p": ("y", "-")}
    made.delete_config_map("a", "p")
    made.delete_config_map("nowhere", "p")
    assert not made.changed


def test_a_config_map_without_the_key_is_a_document_without_text() -> None:
    made = filled()
    made.put_config_map(config_map("a", "p", None))
    difference = made.take()
    assert difference == Difference((Changed(Source("a", "p"), Text("x"), Text(None)),))
    change = difference.advance(PolicySnapshot.EMPTY, frozenset())
    assert isinstance(change.snapshot.match("any", "/", "GET"), Unhealthy)
    made.put_config_map(ConfigMap("a", "p", (), None))
    assert taken(made) == {"a/p": (None, "-")}


def test_the_last_config_map_of_a_namespace_leaves_nothing_behind() -> None:
    made = filled()
    made.delete_config_map("a", "p")
    made.delete_config_map("a", "q")
    assert made.statistics() == IndexStatistics(namespaces=2, config_maps=2, documents=2)
    assert "a" not in made._texts


def test_what_was_changed_back_is_no_difference() -> None:
    made = filled()
    made.put_config_map(config_map("a", "p", "y"))
    made.delete_namespace("a")
    made.put_config_map(config_map("a", "p", "x"))
    made.put_namespace(Namespace("a", SELECTED))
    assert made.changed
    assert made.take() == Difference()
    assert not made.changed


def test_equal_lists_cost_nothing_and_others_only_what_differs() -> None:
    made = filled()
    made.replace_namespaces([Namespace("b", SELECTED), Namespace("a", SELECTED), Namespace("c", ())])
    made.replace_config_maps([config_map(namespace, name) for namespace in "ba" for name in "qp"])
    assert not made.changed
    made.replace_config_maps([config_map("a", "p"), config_map("a", "r"), config_map("b", "q", "y"), ConfigMap("b", "p", (), "x")])
    assert taken(made) == {"a/q": ("x", "-"), "a/r": ("-", "x"), "b/q": ("x", "y"), "b/p": ("x", "-")}
    made.replace_namespaces([Namespace("b", SELECTED)])
    assert taken(made) == {"a/p": ("x", "-"), "a/r": ("x", "-")}
    made.replace_config_maps([])
    assert taken(made) == {"b/q": ("y", "-")}


def test_named_namespaces_need_no_objects() -> None:
    made = index(named=frozenset({"a", "b"}))
    made.replace_config_maps([config_map("a", "p")], "a")
    made.replace_config_maps([config_map("b", "p")], "b")
    made.replace_config_maps([config_map("c", "p")], "c")
    assert texts(made) == {"a/p": "x", "b/p": "x"}


def test_a_list_of_one_namespace_says_nothing_of_others() -> None:
    made = filled()
    made.replace_config_maps([config_map("a", "p", "y"), config_map("b", "p", "y")], "a")
    assert taken(made) == {"a/p": ("x", "y"), "a/q": ("x", "-")}
    made.replace_config_maps([], "a")
    assert taken(made) == {"a/p": ("y", "-")}
    assert texts(made) == {"b/p": "x", "b/q": "x"}


def test_a_difference_that_nothing_was_made_of_is_in_the_next_one() -> None:
    made = filled()
    made.put_config_map(config_map("a", "p", "y"))
    made.put_config_map(config_map("a", "r", "y"))
    made.delete_config_map("b", "p")
    difference = made.take()
    made.put_config_map(config_map("a", "p", "z"))
    made.put_config_map(config_map("b", "p", "x"))
    made.give_back(difference)
    assert taken(made) == {"a/p": ("x", "z"), "a/r": ("-", "y")}
    assert not made.changed


def test_parts_of_a_difference_lead_to_the_same_version() -> None:
    made = filled()
    made.take()
    for name in "pqrst":
        made.put_config_map(config_map("a", name, DENY.replace("/a", f"/{name}")))
    made.delete_namespace("b")
    difference = made.take()
    whole = difference.advance(PolicySnapshot.EMPTY, frozenset()).snapshot
    assert isinstance(whole.match("h", "/t", "GET"), DenyEntry)
    assert isinstance(whole.match("h", "/u", "GET"), NoMatch)
    for work in (1, 700, 1500, difference.work):
        snapshot = PolicySnapshot.EMPTY
        parts = list(difference.parts(work))
        for part in parts:
            assert part.work <= work or len(part.documents) == 1
            snapshot = part.advance(snapshot, frozenset()).snapshot
        assert snapshot == whole
        assert all(part.work + after.documents[0].work > work for part, after in itertools.pairwise(parts))
        assert tuple(document for part in parts for document in part.documents) == difference.documents
    assert len(list(difference.parts(1))) == 7
    assert list(difference.parts(difference.work)) == [difference]
    assert list(Difference().parts(1)) == [Difference()]


def test_no_document_is_in_a_repr() -> None:
    made = filled()
    made.put_config_map(config_map("a", "p", "canary"))
    assert "canary" not in repr(made)
    difference = made.take()
    assert "canary" not in repr(difference) + repr(difference.documents)


def test_ten_thousand_config_maps_are_parsed_once_each_and_then_only_where_they_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Source] = []

    def counted(source: Source, text: str | None, issuers: frozenset[str]) -> PolicyDocument:
        parsed.append(source)
        return parse_document(source, text, issuers)

    monkeypatch.setattr(selection, "parse_document", counted)
    made, everything = index(), [config_map(f"n{number % 100}", f"p{number}", "version: v1") for number in range(10_000)]
    made.replace_namespaces([Namespace(f"n{number}", SELECTED) for number in range(100)])
    made.replace_config_maps(everything)
    snapshot = made.take().advance(PolicySnapshot.EMPTY, frozenset()).snapshot
    assert len(parsed) == len(snapshot.documents) == 10_000

    made.replace_config_maps(everything)
    assert not made.changed
    made.put_config_map(config_map("n7", "p7", "version: v2"))
    snapshot = made.take().advance(snapshot, frozenset()).snapshot
    assert parsed[10_000:] == [Source("n7", "p7")]

    made.delete_namespace("n7")
    snapshot = made.take().advance(snapshot, frozenset()).snapshot
    assert len(parsed) == 10_001
    assert len(snapshot.documents) == 9_900
    made.put_namespace(Namespace("n7", SELECTED))
    snapshot = made.take().advance(snapshot, frozenset()).snapshot
    assert {source.namespace for source in parsed[10_001:]} == {"n7"}
    assert len(parsed) == 10_101


def test_other_names_take_the_place_of_those_before() -> None:
    made = PolicyIndex(Selector(), Selector(), frozenset({"a", "b"}))
    for namespace in "abc":
        made.put_config_map(ConfigMap(namespace, "p", (), namespace))
    made.take()
    made.use_named(("b", "c"))
    assert {str(source): text.text for source, text in made.documents().items()} == {"b/p": "b"}
    assert [(str(changed.source), changed.after) for changed in made.take().documents] == [("a/p", None)]
    made.put_config_map(ConfigMap("c", "p", (), "new"))
    made.use_named(("a", "c"))
    assert {str(source): text.text for source, text in made.documents().items()} == {"c/p": "new"}
    assert {str(changed.source) for changed in made.take().documents} == {"b/p", "c/p"}
