import pytest

from exchanger.kube.feed import ConfigMapSink, NamespaceSink, Taking
from exchanger.kube.index import EVERY_NAMESPACE, PolicyIndex
from exchanger.kube.list_watch import Item, Key
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
    assert heard.index.statistics().namespaces == 1
    sink.put(Item(Key("", "d"), "1", Namespace("d", ())))
    assert heard.index.statistics().namespaces == 2
    sink.deleted(Key("", "c"))
    assert heard.index.statistics().namespaces == 1
    assert heard.times == 3
