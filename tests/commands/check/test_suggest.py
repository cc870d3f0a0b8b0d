"""What ``--suggest`` proposes: one right answer, everything else as it stands."""

import subprocess
from pathlib import Path

import pytest

from exchanger.commands.check.suggest import mended, suggest
from exchanger.commands.offline.rules import PolicyRules
from tests.commands.check.checking import LABEL, checked, codes, config_map, entries, rules
from tests.model.codes.reaching import ISSUERS

DENY = "{match: {host: api.example.com, pathPrefix: /orders}, action: deny}"


def mend(text: str, by: PolicyRules | None = None) -> str:
    result = checked(text, by=by)
    return mended(result.files[0], result, by or rules())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("acton: deny", "action: deny"),
        ('"acton": deny', '"action": deny'),
        ("Action: deny", "action: deny"),
        ("action: deney", "action: deny"),
        ("action: denny # why", "action: deny # why"),
    ],
)
def test_a_misspelt_word_is_mended(wrong: str, right: str) -> None:
    text = config_map(f"version: v1\nentries:\n  - match: {{host: a, pathPrefix: /}}   # stays\n    {wrong}\n")
    assert mend(text) == text.replace(wrong, right)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("pathprefix: /x", "pathPrefix: /x"),
        ("path-prefix: /x", "pathPrefix: /x"),
        ("path: /x", "pathPrefix: /x"),
        ('"path": /x', '"pathPrefix": /x'),
        ("pathPrefix: x", "pathPrefix: /x"),
        ("pathPrefix: 'x'", "pathPrefix: '/x'"),
        ("pathPrefix: /x, methods: [get, POST]", "pathPrefix: /x, methods: [GET, POST]"),
        ("pathPrefix: /x, methods: GET", "pathPrefix: /x, methods: [GET]"),
        ('pathPrefix: /x, methods: "GET"', 'pathPrefix: /x, methods: ["GET"]'),
        ("pathPrefix: /x, method: [GET]", "pathPrefix: /x, methods: [GET]"),
        ("pathPrefix: /x, headers: [{name: a, value: 1}]", 'pathPrefix: /x, headers: [{name: a, value: "1"}]'),
        ('pathPrefix: /x, caseInsensitive: "true"', "pathPrefix: /x, caseInsensitive: true"),
    ],
)
def test_a_match_is_mended(wrong: str, right: str) -> None:
    text = config_map(entries(f"{{match: {{host: a, {wrong}}}, action: deny}}"))
    assert mend(text) == text.replace(wrong, right)


@pytest.mark.parametrize(
    "entry",
    [
        "{match: {host: a, pathPrefix: /}, action: block}",
        "{match: {host: a, pathPrefix: /}, action: alow}",
        "{match: {host: a, pathPrefix: /x*/y}, action: deny}",
        "{match: {host: 'a,b', pathPrefix: /}, action: deny}",
        "{match: {host: a, pathPrefix: /}, action: deny, clientSecret: hunter2}",
        "{match: {host: a, pathPrefix: /, methods: ALL}, action: deny}",
        "{match: {host: a, pathPrefix: /, zzz: 1}, action: deny}",
        DENY,
    ],
)
def test_what_has_no_one_right_answer_stays(entry: str) -> None:
    text = config_map(entries(entry))
    assert mend(text) == text
    assert suggest(checked(text), rules()) == ""


def test_of_corrections_that_exclude_each_other_the_first_is_proposed() -> None:
    twice = "{match: {host: a, pathPrefix: /x}, acton: deny, Action: deny}"
    text = config_map(entries(DENY, twice))
    assert mend(text) == text.replace("acton", "action")


def test_issuers_are_mended_if_they_are_known() -> None:
    text = config_map(entries("{match: {host: a, pathPrefix: /}, action: exchange, exchange: {issuerRef: primery, scope: 1}}"))
    assert mend(text, rules(issuers=ISSUERS)) == text.replace("primery", "primary").replace("scope: 1", 'scope: "1"')


@pytest.mark.parametrize("wrong", ["issuer", "issuerName", "issuer-profile"])
def test_the_issuer_s_field_gets_its_name(wrong: str) -> None:
    text = config_map(entries(f"{{match: {{host: a, pathPrefix: /}}, action: exchange, exchange: {{{wrong}: primary, scope: a}}}}"))
    assert mend(text) == text.replace(wrong, "issuerRef")


def test_a_name_from_elsewhere_stays_where_its_field_is_there_already() -> None:
    text = config_map(entries("{match: {host: a, pathPrefix: /x, path: /y}, action: deny}"))
    assert mend(text) == text


def test_a_wildcard_host_gets_its_quotation_marks() -> None:
    text = config_map(entries("{match: {host: *.example.com, pathPrefix: /}, acton: deny}"))
    assert mend(text) == text.replace("*.example.com", '"*.example.com"').replace("acton", "action")


@pytest.mark.parametrize("version", ["1", "1.0", "V1", '"1"', "'v1 '"])
def test_the_version_is_mended(version: str) -> None:
    text = config_map(entries(DENY)).replace("version: v1", f"version: {version}")
    assert codes(checked(mend(text))) == []


def test_labels_are_mended() -> None:
    text = config_map(entries(DENY), label=LABEL.replace('"', ""))
    assert mend(text) == text.replace("enabled: true", 'enabled: "true"')


@pytest.mark.parametrize("style", ['"', "'", ">", "|-"])
def test_the_document_may_be_any_kind_of_scalar(style: str) -> None:
    entry = """- {"acton": deny, match: {host: a, pathPrefix: 'o', headers: [{name: x, value: 1}]}}"""
    lines = ["version: v1", "entries:", entry]
    value = {
        '"': '"' + "\\n".join(lines).replace('"', '\\"').replace('\\\\"', '\\"') + '"',
        "'": "'" + "\n\n  ".join(line.replace("'", "''") for line in lines) + "'",
        ">": ">\n" + "\n\n".join(f"    {line}" for line in lines),
        "|-": "|-\n" + "\n".join(f"    {line}" for line in lines),
    }[style]
    head = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, labels: {{{LABEL}}}}}\n"
    text = f"{head}data:\n  config.yaml: {value}\n"
    after = mend(text)
    assert codes(checked(after)) == ["POL-2106"]
    number = 'value: \\"1\\"' if style == '"' else 'value: "1"'
    assert after == text.replace("acton", "action").replace("'o'", "'/o'").replace("value: 1", number)


def test_the_diff_can_be_applied(tmp_path: Path) -> None:
    text = config_map(entries(*[DENY.replace("/orders", f"/{number}") for number in range(20)], DENY.replace("action", "acton"), "{}"))
    text = text.replace("pathPrefix: /1}", "pathprefix: /1}").replace("\n", "\r\n").rstrip("\r\n")
    path = tmp_path / "policy.yaml"
    path.write_bytes(text.encode())
    result = checked(text)
    diff = suggest(result, rules()).replace("a/0.yaml", "a/policy.yaml").replace("b/0.yaml", "b/policy.yaml")
    assert [line for line in diff.split("\n") if line.startswith("@@")] == ["@@ -10,7 +10,7 @@", "@@ -29,5 +29,5 @@"]
    done = subprocess.run(["git", "apply", "--unsafe-paths", "-"], input=diff.encode(), cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert path.read_bytes().decode() == mended(result.files[0], result, rules())


def test_a_line_with_a_secret_is_neither_shown_nor_changed() -> None:
    text = config_map(
        f"version: v1\nentries:\n  - match: {{host: a, pathPrefix: /}}\n    acton: deny\n    clientSecret: hunter2\n  - {DENY}\n"
    )
    diff = suggest(checked(text), rules())
    assert "+    " in diff
    assert "hunter2" not in diff
    flow = config_map(entries("{match: {host: a, pathPrefix: /}, acton: deny, password: hunter2}"))
    assert suggest(checked(flow), rules()) == ""
