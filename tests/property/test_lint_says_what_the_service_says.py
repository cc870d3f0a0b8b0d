"""Laws: a check of an edited file never fails, points into the file, and finds wrong just what the service finds wrong when it is saved."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.directory.folder import Scan, scan
from exchanger.playground.lint import MAX_PROBLEMS, lint
from exchanger.policy.selection import advance, select
from exchanger.policy.snapshot import PolicySnapshot
from tests.examples import examples
from tests.playground.labs import RULES, SAMPLE, YELLOW

WORDS = [
    "deny",
    "demo",
    "version: v1",
    "entries:",
    "host:",
    "yellow.example.com",
    "/orders",
    "---",
    "config.yaml: |",
    "name:",
    '"true"',
    "labels:",
]
PIECES = st.sampled_from(
    ["", "x", " ", "\n", "\t", ": ", "- ", "{", "]", "&a ", "*a", "|", ">", "#", "nobody", "\u202e", "\ud800", "%TAG ! x\n", "9"]
)


@st.composite
def edited(draw: st.DrawFn) -> str:
    text = YELLOW
    for _ in range(draw(st.integers(0, 4))):
        if draw(st.booleans()):
            text = text.replace(draw(st.sampled_from(WORDS)), draw(PIECES), draw(st.integers(1, 3)))
        else:
            start = draw(st.integers(0, len(text)))
            text = text[:start] + draw(PIECES) + text[start + draw(st.integers(0, 20)) :]
    return text


@given(edited() | st.text(max_size=100))
def test_a_check_is_total_and_points_into_the_file(text: str) -> None:
    found = lint("yellow.yaml", text, SAMPLE, RULES)
    lines = text.replace("\r\n", "\n").count("\n") + sum(text.count(end) for end in "\r\x85\u2028\u2029") + 1
    assert found.documents >= 0
    assert len(found.problems) <= MAX_PROBLEMS
    for problem in found.problems:
        assert problem.reason
        assert problem.place.line is None or 1 <= problem.place.line <= lines
        assert problem.place.column is None or problem.place.column >= 1


@settings(max_examples=examples(60))
@given(edited())
def test_the_service_finds_the_same_wrong_in_the_same_file(text: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in text):
        return  # no file holds it
    found = lint("yellow.yaml", text, SAMPLE, RULES)
    with TemporaryDirectory() as name:
        folder = Path(name)
        for file, said in SAMPLE.items():
            (folder / file).write_text(said, "utf-8")
        before = scan(folder, Scan())
        (folder / "yellow.yaml").write_bytes(text.encode())
        after = scan(folder, before)
    unreadable = after.problems()
    if unreadable:
        assert unreadable["yellow.yaml"].partition(";")[0] in found.problems[0].reason
        return
    documents = select(after.manifests(), RULES.namespaces, RULES.configmaps)
    change = advance(PolicySnapshot.EMPTY, {}, documents, RULES.issuers)
    wrong = {(str(document.source), problem.entry, problem.text) for document in change.documents for problem in document.findings}
    shown = {
        (problem.policy, problem.entry, problem.reason)
        for problem in found.problems
        if "in common with" not in problem.reason and not problem.reason.startswith(("not in force", "there is no ConfigMap"))
    }
    # The check adds what was probably meant, and looks behind a duplicate key.
    assert all(any(one[:2] == other[:2] and other[2].startswith(one[2]) for other in shown) for one in wrong)
    assert len(shown) == len(wrong) or "has duplicate keys" in str(wrong)
    assert {policy for policy, _, _ in shown} == {policy for policy, _, _ in wrong}
