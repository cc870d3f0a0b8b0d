"""Decisions have one word each, on the page and in the documentation, and none is without."""

import re
from pathlib import Path

from exchanger.decision.outcome import Reason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "exchanger/console/page/decisions.js").read_text()
DOCS = (ROOT / "docs/reference/answers.md").read_text()
KNOWN = {label: (kind, word) for label, kind, word in re.findall(r'^  (\w+): \["(\w+)", "([^"]+)", ".+\."\],$', PAGE, re.MULTILINE)}
KINDS = dict(re.findall(r'\{ id: "(\w+)", word: "([^"]+)" \}', PAGE))


def test_every_decision_has_a_word_of_its_own_and_a_kind() -> None:
    assert KNOWN.keys() == {reason.value for reason in Reason}
    assert len({word for _, word in KNOWN.values()}) == len(KNOWN)
    assert {kind for kind, _ in KNOWN.values()} == KINDS.keys()


def test_the_reference_has_the_same_words() -> None:
    rows = re.findall(r"^\| .+? \| `(\w+)` \| ([^|]+) \| .+ \|$", DOCS, re.MULTILINE)
    assert dict(rows) == {label: word for label, (_, word) in KNOWN.items()}
    groups = dict(re.findall(r"\*([^*]+)\*(?: \(([^)]+)\))?", DOCS[DOCS.index("groups them by kind") : DOCS.index("## TXE")]))
    for kind, name in KINDS.items():
        words = [word for other, word in KNOWN.values() if other == kind]
        assert sorted(groups[name].replace("\n", " ").split("; ")) == (sorted(words) if len(words) > 1 else [""])
