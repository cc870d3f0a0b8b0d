"""Places of a document in its file, however the document is written there; the law for literal blocks is in tests/property."""

import pytest
from exchanger.playground.source_map import NOWHERE, FileMap, Place, document_places, file_map, within

from exchanger.policy.yaml_nodes import Limits, Unreadable
from exchanger.values.entry import Source

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: n}\ndata:\n"
BLOCK = f"{HEAD}  config.yaml: |\n    version: v1\n\n    entries: []\n"
OPEN = f"{HEAD}  config.yaml: |\n    a: [\n\n---\n"


def mapped(text: str) -> FileMap:
    found = file_map(text, Limits())
    assert isinstance(found, FileMap)
    return found


@pytest.mark.parametrize(
    ("text", "line", "column", "place"),
    [
        (BLOCK, 1, 1, Place(6, 5)),
        (BLOCK, 3, 10, Place(8, 14)),
        (BLOCK, 3, None, Place(8, None)),
        (BLOCK, None, None, Place(1, 1)),
        (BLOCK, 0, 1, Place(5, 16)),
        *(
            (f"{HEAD}  config.yaml: {head}\n    version: v1\n", 1, 1, Place(6, 5))
            for head in ("|-", "|2", "|+2", "|+ # why", "&anchor |", "!!str &anchor |-")
        ),
        *(
            (f"{HEAD}  config.yaml: {value}", 2, 1, Place(5, 16))
            for value in (
                ">\n    version: v1\n    entries: []\n",
                '"version: v1\\nentries: []"\n',
                "'version: v1\n\n  entries: []'\n",
            )
        ),
        (OPEN, 9, 1, Place(6, 9)),
        (BLOCK.replace("\n", "\r\n"), 3, 1, Place(8, 5)),
    ],
)
def test_a_place_is_that_in_the_file_or_of_the_value_or_the_end(text: str, line: int | None, column: int | None, place: Place) -> None:
    assert mapped(text).place(Source("n", "a"), line, column) == place


def test_a_place_stays_within_its_text() -> None:
    assert within("a\nb\n", Place(4, 1)) == Place(3, None)
    assert within("a\nb\n", Place(2, 1)) == Place(2, 1)
    assert within("a", NOWHERE) == NOWHERE


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


def test_text_that_is_not_yaml_has_no_places() -> None:
    assert isinstance(file_map("a: [", Limits()), Unreadable)
    assert isinstance(document_places("a: [", Limits()), Unreadable)
    assert document_places("a: 1\n---\n\n  b: 1\n", Limits()) == (Place(1, 1), Place(4, 3))
