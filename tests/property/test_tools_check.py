"""Laws of a check: what it reads, reports, points to and proposes."""

import io
import json
import re
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from exchanger.commands.check import likely
from exchanger.commands.check.command import run_check
from exchanger.commands.check.files import CheckedDocument, read_file
from exchanger.commands.check.options import CheckOptions, Format
from exchanger.commands.check.source_map import FileText
from exchanger.commands.check.suggest import mended, suggest
from exchanger.formats.yaml.syntax import meant
from exchanger.model.codes.code import Severity
from exchanger.model.codes.manifests import DENY_WITHOUT_SLASH, NEAR_HOST
from exchanger.model.codes.policy import UNKNOWN_FIELD, UNKNOWN_METHOD
from exchanger.model.entry import AllowEntry, ExchangeEntry, Source
from exchanger.model.policy_decision import NO_MATCH
from exchanger.policy.documents import entry_reader
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.documents.method_names import REGISTERED, meant_method
from exchanger.policy.documents.text_rules import METHOD
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.mistakes import mistakes_of_baseline
from exchanger.policy.selection import AnyIssuer, ConfigMap
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.directory.manifest import UnreadableFile, objects_of, read_manifests
from exchanger.util.text import MAX_QUOTED, distance
from tests.commands.check.checking import LABEL, checked, codes, config_map, entries, rules
from tests.examples import examples
from tests.policy.examples import with_documents

# Law: a check has the objects that the service reads in a file, and reports every file that the service cannot read.


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


# Laws: a check is total and agrees with the service; what it proposes changes no valid entry, leaves fewer problems, and then no more.


FIELDS = st.sampled_from(["action", "acton", "Action", "match", "mach", "exchange", "exchnage", "other", "clientSecret"])
MATCH_FIELDS = st.sampled_from(
    ["host", "hots", "pathPrefix", "pathprefix", "path", "methods", "method", "caseInsensitive", "pathType", "x"]
)
WORDS = (
    "deny Deny denny allow alow exchange a.example https://a.example/ /orders orders 'x' \"/y\" 1 true \"true\" [GET] GET [] {} ~ '' "
    "Segment segment *a 'it''s' \"\\u0061\""
)
VALUES = st.sampled_from([*WORDS.split(), "[get, 1]", "&a b", "a b"])
FIELD = st.builds("{}: {}".format, MATCH_FIELDS, VALUES)
MATCH = st.lists(FIELD, max_size=4).map(lambda fields: "{" + ", ".join(["host: a.example, pathPrefix: /o"] * (not fields) + fields) + "}")


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = ["version: v1", "entries:"]
    for _ in range(draw(st.integers(0, 4))):
        lines.append(f"- match: {draw(MATCH)}")
        for _ in range(draw(st.integers(0, 3))):
            value = draw(VALUES | st.just("{issuerRef: p, scope: 1}"))
            lines.append(f"  {draw(FIELDS)}: {value}" + draw(st.sampled_from(["", "  # why"])))
    return "\n".join(lines) + "\n"


@settings(max_examples=examples(60))
@given(documents())
def test_what_is_proposed_changes_nothing_valid_and_is_accepted(document: str) -> None:
    text = config_map(document)
    before = checked(text)
    after_text = mended(before.files[0], before, rules())
    after = checked(after_text)
    valid = {entry for one in before.documents for entry in one.policy.entries}
    assert valid <= {entry for one in after.documents for entry in one.policy.entries}
    assert len(before.documents) == len(after.documents)
    if after_text != text:
        proposed = {one.problem for one in before.problems if one.problem.instead}
        assert proposed - {one.problem for one in after.problems}
    assert suggest(after, rules()) == ""


@settings(max_examples=examples(60))
@given(documents() | st.text(max_size=100))
def test_a_check_finds_wrong_what_the_service_finds_wrong(document: str) -> None:
    text = config_map(document)
    if any("\ud800" <= char <= "\udfff" for char in text):
        return
    result = checked(text)
    lines = text.count("\n") + sum(text.count(end) for end in "\r\x85\u2028\u2029") + 1
    for one in result.problems:
        assert one.place.line is None or 1 <= one.place.line <= lines
        assert one.problem.text
    for found in result.documents:
        said = parse_document(Source("team", "policy"), getattr(found.object.value, "document", None), AnyIssuer())
        wrong = {closed_scope.index for closed_scope in said.problems}
        assert wrong == {problem.entry for problem in found.policy.findings}
        assert bool(wrong) is any(name.startswith(("POL-10", "POL-11", "POL-12", "POL-13", "POL-14")) for name in codes(result))


# Law: which hosts are probably misspelt.


def _single_edits(host: str) -> set[str]:
    """Return what is one character away from ``host``, with another one in its place, without or beside it, or two exchanged."""
    parts = [(host[:at], host[at:]) for at in range(len(host) + 1)]
    kept = {left + new + right for left, right in parts for new in "ab1"}
    replaced = {left + new + right[1:] for left, right in parts if right for new in ["", *"ab1"]}
    return kept | replaced | {left + right[1] + right[0] + right[2:] for left, right in parts if len(right) > 1}


@given(st.lists(st.text("ab1", min_size=1, max_size=2), min_size=2, max_size=8), st.sampled_from([0, 0, 0, 1]), st.integers(1, 2))
def test_check_reports_a_rarer_host_one_character_from_another(hosts: list[str], lacking: int, longest: int) -> None:
    expected = {}
    known = [host for host in hosts if len(host) <= longest]
    most = len(set(known)) - lacking
    for host in () if lacking else known:
        others = [other for other in known if other in _single_edits(host) and other.replace("1", "") != host.replace("1", "")]
        before = [other for other in others if known.count(other) > 1 or known.index(other) < known.index(host)]
        if known.count(host) == 1 and before:
            expected[hosts.index(host)] = max(before, key=known.count)  # the first of equals

    lines = [f"{{match: {{host: '{host}', pathPrefix: /{number}}}, action: deny}}" for number, host in enumerate(hosts)]
    with mock.patch.object(likely, "MAX_HOSTS", most), mock.patch.object(likely, "MAX_HOST", longest):
        found = [one.problem for one in checked(config_map(entries(*lines))).problems]

    assert {problem.entry: problem.hint for problem in found if problem.code is NEAR_HOST} == expected


# Laws: a method is probably misspelt if it is one edit from a registered one, and neither registered nor common; a port changes no entry,
# and is reported; a denial that ends in a slash is reported if, and only if, the path without the slash is open.


@given(st.sampled_from(REGISTERED), st.data())
def test_a_method_one_edit_from_a_registered_one_is_reported(method: str, data: st.DataObject) -> None:
    slip = data.draw(st.sampled_from(sorted(_single_edits(method) - set(REGISTERED)))).upper()
    assume(re.fullmatch(METHOD, slip))
    assert (meant_method(method), distance(slip, meant_method(slip))) == ("", 1)
    (problem,) = (one.problem for one in checked(config_map(entries(DENY.replace("/}", f"/, methods: [{slip}]}}")))).problems)
    assert (problem.code, problem.hint) == (UNKNOWN_METHOD, meant_method(slip))


@pytest.mark.parametrize("method", ["PURGE", "TRACK", "BAN", "LIST", "SUBSCRIBE", "M-SEARCH", "NOTIFY", "EXPORT", "FOO", "MY-METHOD"])
def test_a_method_that_is_no_slip_is_not_reported(method: str) -> None:
    assert codes(checked(config_map(entries(DENY.replace("/}", f"/, methods: [{method}]}}"))))) == []


HOSTS = ["a.example", "*.a.example", "A.Example.", "[2001:db8::1]", "10.0.0.1"]


@given(st.sampled_from(HOSTS), st.sampled_from(["", ":", ":*", ":443", ":8443", ": 8080", ":https"]))
def test_a_port_of_a_host_changes_no_entry_and_is_reported(host: str, port: str) -> None:
    with_port, without = (
        config_map(entries(f"{{match: {{host: '{text}', pathPrefix: /}}, action: deny}}")) for text in (host + port, host)
    )
    result, plain = checked(with_port), checked(without)
    assert [one.policy.entries for one in result.documents] == [one.policy.entries for one in plain.documents]
    assert codes(result) == ([] if port in {"", ":", ":*"} else ["POL-1905"])
    assert codes(checked(mended(result.files[0], result, rules()))) == []


OTHERS = [
    *("{match: {host: a.example, pathPrefix: /}, action: exchange, exchange: {issuerRef: p, scope: s}}",),
    *("{match: {host: a.example, pathPrefix: /}, action: deny}", "{match: {host: a.example, pathPrefix: /admin}, action: deny}"),
    "{match: {host: a.example, pathPrefix: /adm}, action: allow}",
    "{match: {host: a.example, pathPrefix: /ADMIN, pathType: Segment, caseInsensitive: true}, action: deny}",
    "{match: {host: '*.example', pathPrefix: /, methods: [PUT]}, action: deny}",
    "{match: {host: a.example, pathPrefix: /admin, pathType: Exact, methods: [PUT]}, action: deny}",
    "{match: {host: a.example, pathPrefix: /admin, pathType: Exact}, action: allow}",
]
SLASHED = ["", ", methods: [PUT]", ", methods: [GET, HEAD]", ", pathType: Segment", ", pathType: Exact", ", caseInsensitive: true"]


@given(st.lists(st.sampled_from(OTHERS), max_size=3, unique=True), st.sampled_from(SLASHED))
def test_check_reports_a_denial_ending_in_a_slash_that_leaves_paths_open(others: list[str], more: str) -> None:
    deny = f"{{match: {{host: a.example, pathPrefix: /admin/{more}}}, action: deny}}"
    result = checked(config_map(entries(deny, *others)), by=rules(issuers=frozenset({"p"})))
    snapshot = with_documents(PolicySnapshot.EMPTY, *(document.policy.document for document in result.documents))
    methods = ["PUT"] if "PUT" in more else ["GET", "HEAD"] if "GET" in more else ["OTHER"]
    found = [snapshot.match("a.example", "/admin", method, raw=True) for method in methods]
    is_open = [one is NO_MATCH or (isinstance(one, ExchangeEntry | AllowEntry) and one.match.path_prefix != "/admin") for one in found]
    expected = any(is_open) and "Exact" not in more
    assert [one.problem.entry for one in result.problems if one.problem.code is DENY_WITHOUT_SLASH] == [0] * expected
    if expected:
        event("reported")
        to_write = deny.replace(f"/admin/{more}", f"/admin, pathType: Segment{more.replace(', pathType: Segment', '')}")
        corrected = checked(config_map(entries(to_write, *others)), by=rules(issuers=frozenset({"p"})))
        assert DENY_WITHOUT_SLASH not in {one.problem.code for one in corrected.problems}


# Law: a baseline is checked for the same mistakes as the policies; what denies the path without the slash is another denial of it.


@given(st.lists(st.sampled_from(["/admin", "/adm", "/", "/admin/x"]), max_size=2, unique=True), st.sampled_from(["'*'", "a.example"]))
def test_check_reports_a_baseline_ending_in_a_slash_that_leaves_paths_open(others: list[str], host: str) -> None:
    items = "".join(f"- {{match: {{host: {host}, pathPrefix: {path}}}, action: deny}}\n" for path in ["/admin/", *others])
    text = f"version: v1\ngrants: []\nbaseline:\n{items}"
    grants = read_grants(text, has_labels=True)
    assert isinstance(grants, Grants)
    found = [(one.code, one.field, one.line, one.column) for one in mistakes_of_baseline(grants, text)]
    is_open = not {"/admin", "/adm", "/"} & set(others)
    expected = (DENY_WITHOUT_SLASH, "baseline[0].match.pathPrefix", 4, items.index("/admin/") + 1)
    assert found == [expected] * is_open


def test_a_misspelt_method_and_a_port_of_a_baseline_are_reported(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(YAML)
    item = "{match: {host: 'a.example:443', pathPrefix: /x, methods: [DELTE]}, action: deny}"
    (tmp_path / "grants.yaml").write_text(f"version: v1\ngrants: [{{namespaces: [team], hosts: [a.example]}}]\nbaseline: [{item}]\n")
    out = io.StringIO()
    options = CheckOptions((str(tmp_path / "policy.yaml"),), grants=tmp_path / "grants.yaml", format=Format.JSON)
    assert run_check(options, {}, out) == 1
    assert [problem["code"] for problem in json.loads(out.getvalue())["problems"]] == ["POL-1905", "POL-1904"]


# Law: every line and column of a document is the same character in its file, whichever kind of scalar the document is.


HEADS = ["|", "|-", "|+", "| # a comment", "&a |", "!!str |-"]
# No line break of any kind, and nothing that YAML does not take.
CHARS = st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_categories=["Cc"])
LINES = st.lists(st.text(CHARS, max_size=30), max_size=12)
FIRST = st.text(st.characters(categories=["Ll"], max_codepoint=0x17F), min_size=1, max_size=8)


def document_in(text: str) -> CheckedDocument | None:
    file = read_file("file.yaml", text.encode())
    items = [item for item in file.objects if isinstance(item.value, ConfigMap) and item.document is not None]
    source = Source("default", "a")
    policy = with_documents(PolicySnapshot.EMPTY, PolicyDocument(source)).document(source)
    assert policy is not None
    return CheckedDocument(file, items[0], policy) if items else None


def assert_same_characters(document: CheckedDocument) -> None:
    assert document.object.document is not None
    value, file = FileText(document.object.document.node.text), document.file.text
    for line in range(1, len(value.starts) + 1):
        for column, char in enumerate(value.line(line), 1):
            place = document.place(line, column)
            assert place.line is not None
            assert place.column is not None
            here = file.line(place.line)[place.column - 1 :]
            assert char.isspace() or here[:1] == char or here[:1] == "\\"


@given(
    before=st.lists(st.sampled_from(["# a comment", "", "---", "--- []"]), max_size=4),
    data_indent=st.integers(1, 6),
    more_indent=st.integers(1, 6),
    head=st.sampled_from([*HEADS, ">", ">-", "&a >+"]),
    first=FIRST,
    lines=LINES,
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_places_in_a_block_are_the_text_s(
    before: list[str], data_indent: int, more_indent: int, head: str, first: str, lines: list[str], end: str
) -> None:
    indent = " " * (data_indent + more_indent)
    head_lines = ["kind: ConfigMap", "apiVersion: v1", "metadata: {name: a}", "data:", f"{' ' * data_indent}config.yaml: {head}"]
    document = document_in(end.join([*before, "---", *head_lines, *(f"{indent}{line}" for line in (first, *lines))]) + end)
    if document is not None:  # else a line at the end of the block was not part of it
        assert_same_characters(document)


@given(first=FIRST, lines=LINES, style=st.sampled_from("\"'"))
def test_places_in_quotation_marks_are_the_text_s(first: str, lines: list[str], style: str) -> None:
    value = "\n".join([first, *lines])
    written = (
        json.dumps(value, ensure_ascii=len(value) % 2 == 0)
        if style == '"'
        else "'" + value.replace("'", "''").replace("\n", "\n\n  ") + "'"
    )
    document = document_in(f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: a}}\ndata: {{config.yaml: {written}}}\n")
    if document is not None:
        assert_same_characters(document)


@pytest.mark.parametrize("style", ['"', "'", "", "|", ">"])
def test_the_place_of_a_word_is_known_in_every_style(style: str) -> None:
    written = {
        '"': '"version: v1\\nentries:\\n- \\u0061cton: x"',
        "'": "'version: v1\n\n  entries:\n\n  - acton: x'",
        "": "version v1 acton x",
        "|": "|\n    version: v1\n    entries:\n    - acton: x",
        ">": ">\n    version: v1\n\n    entries:\n\n    - acton: x",
    }[style]
    document = document_in(f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: a}}\ndata:\n  config.yaml: &doc {written}\n")
    assert document is not None
    assert document.object.document is not None
    text = FileText(document.object.document.node.text)
    place = text.place(text.text.index("acton"))
    found = document.place(place.line, place.column)
    assert found.line is not None
    assert found.column is not None
    assert document.file.text.line(found.line)[found.column - 1 :].startswith(("acton", "\\u0061cton"))


@given(
    text=st.text(max_size=200), line=st.integers(-3, 300), column=st.none() | st.integers(1, 80), head=st.sampled_from([*HEADS, ">", ">+"])
)
def test_no_text_and_no_place_is_too_much(text: str, line: int, column: int | None, head: str) -> None:
    body = "".join(f"    {part}\n" for part in text.splitlines())
    whole = f"kind: ConfigMap\napiVersion: v1\nmetadata: {{name: a}}\ndata:\n  config.yaml: {head}\n{body}"
    try:
        document = document_in(whole)
    except UnicodeEncodeError:
        return
    if document is not None:
        place = document.place(line, column)
        assert place.line is None or 1 <= place.line <= len(document.file.text.starts)


# Law: a field with a name that it has elsewhere, or with a slip in its name, is one problem, and correcting it leaves none.


NEEDED = {
    "match": {"host": "a.example", "pathPrefix": "/", "methods": "[GET]"},
    "exchange": {"issuerRef": "primary", "scope": "read"},
}
KNOWN = {"match": entry_reader.MATCH_FIELDS.fields, "exchange": entry_reader.EXCHANGE_FIELDS.fields}


def with_names(names: dict[str, str]) -> str:
    """Return an entry with ``NEEDED``, in which fields have other names."""
    parts = [f"{part}: {{{', '.join(f'{names.get(name, name)}: {text}' for name, text in NEEDED[part].items())}}}" for part in NEEDED]
    return config_map(entries(f"{{action: exchange, {', '.join(parts)}}}"))


@st.composite
def misnamed(draw: st.DrawFn) -> tuple[str, str]:
    """Return a field that the entry needs, and another name for it."""
    part = draw(st.sampled_from(sorted(NEEDED)))
    name = draw(st.sampled_from(sorted(NEEDED[part].keys() - {"methods"})))
    at = draw(st.integers(1, len(name) - 1))
    slips = st.sampled_from([f"{name}s", name[:at] + name[at + 1 :], name.upper()])
    aliases = sorted(KNOWN[part][name].aliases)
    wrong = draw(slips | st.sampled_from(aliases) if aliases else slips)
    assume(wrong not in KNOWN[part])
    return name, wrong


@given(misnamed())
def test_a_field_with_another_name_is_one_problem_and_corrected(found: tuple[str, str]) -> None:
    name, wrong = found
    right, result = with_names({}), checked(with_names({name: wrong}))
    assert checked(right).problems == ()
    (problem,) = (one.problem for one in result.problems)
    assert (problem.code, problem.hint, problem.remedy) == (UNKNOWN_FIELD, name, f"Write {name}.")
    event("proposed" if problem.instead else "guessed")
    assert mended(result.files[0], result, rules()) == (right if problem.instead else with_names({name: wrong}))


# Law: a guess about syntax is a place in its line, and repeats little of it.


SAID = st.sampled_from(["mapping values are not allowed", "did not find expected ',' or '}'", "another reason"])


@given(line=st.text("ab:{}[],*.@'\"#\t- |", max_size=90), column=st.integers(1, 100), said=SAID)
def test_a_guess_about_syntax_is_in_its_line(line: str, column: int, said: str) -> None:
    guess = meant(line, column, said)
    if guess is not None:
        assert guess.column is not None
        assert 1 <= guess.column <= len(line)
        assert len(guess.hint) <= MAX_QUOTED + 2
        assert guess.instead in {"", guess.hint}
