"""Which ConfigMaps of a namespace are read: the first ones by name for which there is room."""

from exchanger.model.codes.manifests import MANY_DOCUMENTS
from exchanger.model.entry import DenyEntry
from exchanger.model.policy_decision import NO_MATCH, Unhealthy
from exchanger.model.selector import Selector
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.quota import MAX_LISTED, NamespaceQuota
from exchanger.policy.selection import USUAL_LABELS, ConfigMap, Namespace, PolicyObject, advance, select
from exchanger.policy.snapshot import PolicySnapshot

TWO = NamespaceLimits(documents=2)


def read(quota: NamespaceQuota, names: str) -> str:
    return "".join(name for name in names if quota.is_read("n", name))


def test_the_first_by_name_are_read_whatever_came_first() -> None:
    quota = NamespaceQuota(TWO)
    for name in "dcb":
        quota.put("n", name, 1)
    assert read(quota, "bcd") == "bc"
    assert "c" in quota.put("n", "a", 1)
    assert read(quota, "abcd") == "ab"
    assert "c" in quota.drop("n", "b")
    assert read(quota, "abcd") == "ac"
    assert quota.drop("m", "a") == ()
    assert not quota.is_read("m", "a")


def test_nothing_is_read_after_the_first_document_over_the_size_limit() -> None:
    quota = NamespaceQuota(NamespaceLimits(kib=1))
    for name, size in (("a", 1000), ("b", 100), ("c", 1)):
        quota.put("n", name, size)
    assert read(quota, "abc") == "a"
    quota.put("n", "b", 24)
    assert read(quota, "abc") == "ab"
    quota.put("n", "a", 999)
    assert read(quota, "abc") == "abc"


def test_so_many_beyond_are_told() -> None:
    quota = NamespaceQuota(TWO)
    for number in range(100):
        quota.put("n", f"{number:02}", 1)
    assert sum(quota.is_listed("n", f"{number:02}") for number in range(100)) == 2 + MAX_LISTED
    assert not quota.is_listed("n", "nobody")
    assert not quota.is_listed("m", "00")


def config_map(namespace: str, name: str, path: str) -> ConfigMap:
    text = f"version: v1\nentries: [{{match: {{host: {namespace}.example, pathPrefix: {path}}}, action: deny}}]"
    return ConfigMap(namespace, name, (), text)


def test_documents_over_the_limit_fail_closed_as_unreadable_ones_do() -> None:
    objects: list[PolicyObject] = [Namespace("red", ()), Namespace("blue", ()), config_map("blue", "z", "/z")]
    objects += [config_map("red", name, f"/{name}") for name in "cab"]
    documents = select(objects, Selector(), Selector(), TWO)
    snapshot = advance(PolicySnapshot.EMPTY, {}, documents, frozenset(), grants=Grants(limited=False, limits=TWO)).snapshot
    assert [problem.code for one in snapshot.documents() if one.source.name == "c" for problem in one.findings] == [MANY_DOCUMENTS]
    assert isinstance(snapshot.match("red.example", "/c", "GET"), Unhealthy)
    assert isinstance(snapshot.match("red.example", "/a", "GET"), Unhealthy)
    assert isinstance(snapshot.match("blue.example", "/z", "GET"), DenyEntry)
    enough = advance(PolicySnapshot.EMPTY, {}, select(objects, Selector(), Selector()), frozenset()).snapshot
    assert enough.match("red.example", "/x", "GET") is NO_MATCH


def test_usual_labels_count_for_nothing_and_huge_ones_do() -> None:
    text = config_map("red", "a", "/a")
    assert ConfigMap("red", "a", (("app", "x" * 63),), text.document).size == text.size
    assert ConfigMap("red", "a", (("app", "é" * USUAL_LABELS),), "é").size == USUAL_LABELS + 5
