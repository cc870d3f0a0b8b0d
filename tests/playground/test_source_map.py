"""Places of a document in its file, however the document is written down there."""

import pytest

from exchanger.playground.source_map import NOWHERE, FileMap, Place, document_places, file_map, within
from exchanger.policy.yaml_nodes import Limits, Unreadable
from exchanger.values.entry import Source

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: n}\ndata:\n"
SOURCE = Source("n", "a")


def mapped(text: str) -> FileMap:
    found = file_map(text, Limits())
    assert isinstance(found, FileMap)
    return found


def test_a_block_s_lines_and_columns_are_the_file_s() -> None:
    known = mapped(f"{HEAD}  config.yaml: |\n    version: v1\n\n    entries: []\n")
    assert known.place(SOURCE, 1, 1) == Place(6, 5)
    assert known.place(SOURCE, 3, 10) == Place(8, 14)
    assert known.place(SOURCE, 3, None) == Place(8, None)
    assert known.place(SOURCE, None, None) == Place(1, 1)


@pytest.mark.parametrize("head", ["|-", "|2", "|+2", "| # why", "&anchor |", "!!str |", "!!str &anchor |-"])
def test_every_head_of_a_literal_block_is_understood(head: str) -> None:
    assert mapped(f"{HEAD} config.yaml: {head}\n   version: v1\n").place(SOURCE, 1, 1) in {Place(6, 4), Place(6, 3)}


@pytest.mark.parametrize(
    "value", [">\n    version: v1\n    entries: []\n", '"version: v1\\nentries: []"\n', "'version: v1\n\n  entries: []'\n"]
)
def test_where_lines_are_not_the_file_s_own_the_value_is_shown(value: str) -> None:
    assert mapped(f"{HEAD}  config.yaml: {value}").place(SOURCE, 2, 1) == Place(5, 16)


def test_what_is_missing_after_the_last_line_is_shown_at_its_end() -> None:
    assert mapped(f"{HEAD}  config.yaml: |\n    a: [\n\n---\n").place(SOURCE, 9, 1) == Place(6, 9)
    assert within("a\nb\n", Place(4, 1)) == Place(3, None)
    assert within("a\nb\n", Place(2, 1)) == Place(2, 1)
    assert within("a", NOWHERE) == NOWHERE


def test_there_is_no_line_before_the_first() -> None:
    assert mapped(f"{HEAD}  config.yaml: |\n    a\n").place(SOURCE, 0, 1) == Place(5, 16)


def test_line_ends_of_windows_count_once() -> None:
    text = f"{HEAD}  config.yaml: |\n    version: v1\n    entries: []\n".replace("\n", "\r\n")
    assert mapped(text).place(SOURCE, 2, 1) == Place(7, 5)


def test_configmaps_are_found_in_every_document_and_in_lists() -> None:
    text = (
        "kind: Namespace\napiVersion: v1\n---\n"
        "apiVersion: v1\nkind: List\nitems:\n- kind: ConfigMap\n  apiVersion: v1\n  metadata: {name: b}\n"
        "---\n"
        "apiVersion: v1\nkind: ConfigMapList\nitems:\n"
        "- metadata: {name: c, namespace: m}\n  data: {config.yaml: text}\n- kind: Secret\n- 1\n"
        "---\n[]\n"
    )
    known = mapped(text)
    assert [(str(found.source), found.place) for found in known.configmaps] == [("default/b", Place(7, 3)), ("m/c", Place(14, 3))]
    assert known.place(Source("default", "b"), 3, 3) == Place(7, 3)
    assert known.place(Source("m", "c"), 1, 1) == Place(15, 23)
    assert known.place(Source("m", "absent"), 1, 1) == NOWHERE


def test_what_is_no_yaml_has_no_places() -> None:
    assert isinstance(file_map("a: [", Limits()), Unreadable)
    assert isinstance(document_places("a: [", Limits()), Unreadable)
    assert document_places("a: 1\n---\n\n  b: 1\n", Limits()) == (Place(1, 1), Place(4, 3))
