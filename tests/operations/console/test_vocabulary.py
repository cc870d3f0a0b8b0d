"""Decisions have one word each, on the page and in the documentation, and none is without."""

import re
from pathlib import Path

from exchanger.authz.decision.outcome import DecisionReason
from exchanger.model.errors import Diagnostic

ROOT = Path(__file__).parents[3]
STEPS = (ROOT / "exchanger/operations/console/page/detail/steps.js").read_text()
PAGE = (ROOT / "exchanger/operations/console/page/decisions.js").read_text()
DOCS = (ROOT / "docs/reference/answers.md").read_text()
KNOWN = {label: (kind, word) for label, kind, word in re.findall(r'^  (\w+): \["(\w+)", "([^"]+)", ".+\."\],$', PAGE, re.MULTILINE)}
KINDS = dict(re.findall(r'\{ id: "(\w+)", word: "([^"]+)" \}', PAGE))


def test_every_decision_has_a_word_of_its_own_and_a_kind() -> None:
    assert KNOWN.keys() == {reason.value for reason in DecisionReason}
    assert len({word for _, word in KNOWN.values()}) == len(KNOWN)
    assert {kind for kind, _ in KNOWN.values()} == KINDS.keys()


def test_the_reference_has_the_same_words() -> None:
    rows = re.findall(r"^\| .+? \| `(\w+)` \| ([^|]+) \| .+ \|$", DOCS, re.MULTILINE)
    assert dict(rows) == {label: word for label, (_, word) in KNOWN.items()}
    groups = dict(re.findall(r"\*([^*]+)\*(?: \(([^)]+)\))?", DOCS[DOCS.index("groups them by kind") : DOCS.index("## TXE")]))
    for kind, name in KINDS.items():
        words = [word for other, word in KNOWN.values() if other == kind]
        assert sorted(groups[name].replace("\n", " ").split("; ")) == (sorted(words) if len(words) > 1 else [""])


def test_every_code_without_a_token_response_has_its_own_step() -> None:
    """TXE-1003 and TXE-1004 end a call, and TXE-1005 no exchange is begun for."""
    codes = {diagnostic.value for diagnostic in Diagnostic}
    assert set(re.findall(r'^  "(TXE-1\d+)": "', STEPS, re.MULTILINE)) == {
        code for code in codes if code.startswith("TXE-1") and code not in {"TXE-1003", "TXE-1004", "TXE-1005"}
    }
    (gate,) = re.findall(r"const GATE = new Set\(\[(.+)\]\)", STEPS)
    assert set(re.findall(r"TXE-\d+", gate)) == {code for code in codes if code.startswith("TXE-4")}
