"""Law: a check has the objects that the service reads in a file, and reports every file that the service cannot read."""

import json

from hypothesis import event, example, given
from hypothesis import strategies as st

from exchanger.codes.code import Severity
from exchanger.directory.manifest import UnreadableFile, objects_of, read_manifests
from exchanger.tools.check.files import read_file
from tests.check.checking import LABEL, config_map, entries

DENY = "{match: {host: a.example, pathPrefix: /}, action: deny}"
YAML = config_map(entries(DENY))
CHART = "apiVersion: v2\nname: shop\nversion: 1.0.0\n"
OTHER = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\n"
LABELS = dict([LABEL.replace('"', "").split(": ")])
OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "policy", "labels": LABELS},
    "data": {"config.yaml": entries(DENY)},
}
JSON = json.dumps(OBJECT, indent=1)
PIECES = [
    "\ufeff",
    "// x\n",
    "# x\n",
    ",",
    "---\n",
    "{",
    "}",
    '"',
    "\t",
    " ",
    "\n",
    "null",
    "1",
    ":",
    "- ",
    "\\ud800",
    "kind",
    "<<",
    "*a",
    "&a ",
]

names = st.sampled_from(["a.yaml", "a.yml", "a.json"])


@st.composite
def files(draw: st.DrawFn) -> str:
    """Draw a file with a few slips in it."""
    text = draw(st.sampled_from([YAML, JSON, JSON, CHART, f"{YAML}---\n{YAML}", f"{OTHER}---\n{CHART}", "{}", "[]", ""]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)) | st.sampled_from([0, len(text)]))
        text = text[:at] + draw(st.sampled_from(PIECES)) + text[at + draw(st.sampled_from([0, 0, 1, 8, 18])) :]
    return text


@example(f"\ufeff{JSON}", "a.json")
@example(f"# a comment\n{JSON}", "a.json")
@example(JSON.replace("}", ",}"), "a.json")
@example(f"{JSON}\n---\n{JSON}", "a.json")
@example(f"{JSON}{JSON}", "a.json")
@example('{"a": 1, "a": 2}', "a.json")
@example("apiVersion: v1\nspec: {}\n", "a.yaml")
@example("apiVersion: v1\nversion: v1\nentries: []\n", "a.yaml")
@example(CHART, "a.yaml")
@given(files(), names)
def test_a_check_reads_what_the_service_reads(text: str, name: str) -> None:
    data = text.encode("utf-8", "surrogatepass")

    known = read_manifests(data, is_json=name.endswith(".json"))
    found = read_file(name, data)

    if isinstance(known, UnreadableFile):
        event("unreadable")
        assert any(placed.problem.code.severity is Severity.ERROR for placed in found.problems)
    else:
        assert [item.value for item in found.objects] == list(objects_of(known))
        assert len(found.problems) == len(known) - len(found.objects)
