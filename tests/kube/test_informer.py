import pytest

from exchanger.kube.index import EVERY_NAMESPACE, PolicyIndex
from exchanger.kube.informer import ConfigMapSink, NamespaceSink, Taking, missing_right
from exchanger.kube.list_watch import ApiFailure, FailureKind, Item, Key
from exchanger.policy.selection import ConfigMap, Namespace
from exchanger.values.selector import Selector


class Heard:
    def __init__(self) -> None:
        self.index = PolicyIndex(Selector(), Selector(), frozenset({"a", "b"}))
        self.times = 0

    def said(self, taking: Taking) -> None:
        self.times += 1
        for _ in taking() or ():
            pass

    def texts(self) -> dict[str, str | None]:
        return {str(source): text.text for source, text in self.index.documents().items()}


def config_map(namespace: str, text: str) -> Item[ConfigMap]:
    return Item(Key(namespace, "p"), "1", ConfigMap(namespace, "p", (), text))


@pytest.mark.parametrize(("scope", "expected"), [("a", {"a/p": "2", "b/p": "0"}), (EVERY_NAMESPACE, {"a/p": "2", "b/p": "2"})])
def test_a_list_of_one_namespace_does_not_speak_of_others(scope: str, expected: dict[str, str]) -> None:
    heard = Heard()
    heard.index.put_config_map(ConfigMap("b", "p", (), "0"))
    sink = ConfigMapSink(heard.index, heard.said, scope)
    sink.replaced({item.key: item for item in (config_map("a", "1"), config_map("b", "1"))})
    sink.put(config_map("a", "2"))
    sink.put(config_map("b", "2"))
    assert heard.texts() == expected
    assert heard.times == (2 if scope else 3)
    sink.deleted(Key("b", "p"))
    assert ("b/p" in heard.texts()) is bool(scope)
    sink.deleted(Key("a", "p"))
    assert "a/p" not in heard.texts()


def test_namespaces_are_handed_on() -> None:
    heard = Heard()
    sink = NamespaceSink(heard.index, heard.said)
    sink.replaced({Key("", "c"): Item(Key("", "c"), "1", Namespace("c", ()))})
    assert heard.index._selected == {"c"}
    sink.put(Item(Key("", "d"), "1", Namespace("d", ())))
    assert heard.index._selected == {"c", "d"}
    sink.deleted(Key("", "c"))
    assert heard.index._selected == {"d"}
    assert heard.times == 3


CLUSTER = '{0} is forbidden: User "system:serviceaccount:x:y" cannot {1} resource "{0}" in API group "" at the cluster scope'


@pytest.mark.parametrize(
    ("resource", "namespace", "message", "right"),
    [
        ("namespaces", "", CLUSTER.format("namespaces", "list"), "needs list on namespaces"),
        ("configmaps", "", CLUSTER.format("configmaps", "watch"), "needs watch on configmaps in every namespace"),
        (
            "configmaps",
            "a",
            'User "u" cannot list resource "configmaps" in the namespace "a"',
            "needs list on configmaps in the namespace a",
        ),
        ("configmaps", "a", "", "needs list and watch on configmaps in the namespace a"),
        ("namespaces", "", "User cannot escalate resource", "needs list and watch on namespaces"),
    ],
)
def test_a_forbidden_request_names_the_right(resource: str, namespace: str, message: str, right: str) -> None:
    assert missing_right(resource, namespace, ApiFailure(FailureKind.FORBIDDEN, 403, message)) == right


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind is not FailureKind.FORBIDDEN])
def test_no_other_failure_is_about_rights(kind: FailureKind) -> None:
    assert missing_right("configmaps", "", ApiFailure(kind, 401, CLUSTER.format("configmaps", "list"))) == ""
