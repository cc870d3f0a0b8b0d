"""Laws of reading: what a document's text means, and what is closed for what cannot be understood of it."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml
from hypothesis import assume, event, example, given
from hypothesis import strategies as st
from yaml import CSafeLoader, parse
from yaml._yaml import Mark as CMark
from yaml.error import Mark, MarkedYAMLError, YAMLError
from yaml.events import Event

from exchanger.formats.yaml.reader import Pieces
from exchanger.model.authority import MAX_HOSTS, MAX_TEXT, WILDCARD, is_host, normalise_policy_host, read_authority, read_host
from exchanger.model.entry import Claim, DenyEntry, MatchScope, Source
from exchanger.model.policy_decision import NO_MATCH
from exchanger.policy.documents.document import UNREADABLE_REACH, PolicyDocument, entry_lines, parse_document
from exchanger.policy.path import interpretations_of
from exchanger.policy.prefix import MAX_PREFIX, prefix_spellings, read_prefix
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import MAX_QUOTED
from tests.property.strategies_policy import ISSUERS, rarely

# Law: any text is a policy document, and what cannot be understood of it is closed.
#
# An unreadable document closes every host, path and method; an invalid entry closes its own area. Nothing raises, and nothing is left out.


RED = Source("red", "policy")

# JSON writes characters beyond U+FFFF as two escapes, which YAML does not read.
texts = st.text(st.characters(max_codepoint=0xD7FF), max_size=8) | st.sampled_from(
    ["*", "a.example", "/a", "GET", "exchange", "deny", "primary", "v1", "<<", "x" * 100]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8)


def fields(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Most of the known fields, mostly with values of the right kind, and once in a while something else."""
    some = st.fixed_dictionaries(
        {name: rarely(anything, value) for name, value in list(known.items())[:2]},
        optional={name: rarely(anything, value) for name, value in list(known.items())[2:]},
    )
    return rarely(anything | st.builds(lambda one, other: {**one, **other}, some, st.dictionaries(texts, anything, max_size=1)), some)


lists_of_texts = st.lists(texts, max_size=2)
urls = texts | st.sampled_from(["https://a.example/x", "https://b.example", "https://u@a.example", "https://a.example:99999"])
matches = fields(host=texts, pathPrefix=texts, methods=lists_of_texts)
exchanges = fields(
    issuerRef=st.sampled_from(["primary", "nobody"]), scope=texts, resources=lists_of_texts, audiences=lists_of_texts, resourceMetadata=urls
)
entries = fields(match=matches, action=st.sampled_from(["exchange", "deny"]), exchange=exchanges)
structures = fields(version=st.just("v1"), entries=st.lists(entries, max_size=3))
written = st.one_of(
    structures.map(json.dumps),
    structures.map(lambda structure: yaml.safe_dump(structure, allow_unicode=True)),
    structures.map(lambda structure: yaml.safe_dump(structure, default_flow_style=True)),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Draw a document, and then cut, double or overwrite some pieces of it."""
    text = draw(written)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 10)))
        piece = draw(
            st.sampled_from(["", text[start:end] * 2, "&a ", "*a", "- ", "\n", "{", "]", ": ", "\t", "---\n", "!x ", "'", "\0"])
            | st.text(max_size=3)
        )
        text = text[:start] + piece + text[end:]
    return text


def check(text: str) -> PolicyDocument:
    document = parse_document(RED, text, ISSUERS)
    event(
        "unreadable"
        if any(closed_scope.index is None for closed_scope in document.closed_scopes)
        else f"{len(document.entries)}+{len(document.problems)}"
    )
    if any(closed_scope.index is None for closed_scope in document.closed_scopes):
        assert document.entries == ()
        (closed_scope,) = document.closed_scopes
        assert closed_scope.match == UNREADABLE_REACH
    indices = [claim.index for claim in (*document.entries, *document.problems)]
    assert len(set(indices)) == len(indices)
    for closed_scope in document.closed_scopes:
        assert closed_scope.reason.isprintable()
        assert len(closed_scope.reason) < 2_000
        assert "x" * MAX_QUOTED not in closed_scope.reason or "x" * MAX_QUOTED not in text
        assert closed_scope.line is None or 1 <= closed_scope.line <= len(text.splitlines()) + 1
    return document


@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"%#?,\n\t \ud800\0é"))
def test_any_text_is_a_document(text: str) -> None:
    check(text)


@given(st.text().map(lambda text: "version: v1\nentries:\n- " + text))
def test_any_text_is_an_entry_or_closes(text: str) -> None:
    check(text)


@given(mutated())
def test_a_broken_document_is_a_document(text: str) -> None:
    check(text)


@given(structures)
def test_every_entry_of_a_document_is_accounted_for(structure: object) -> None:
    document = check(json.dumps(structure))

    if not any(closed_scope.index is None for closed_scope in document.closed_scopes):
        assert isinstance(structure, dict)
        written = [index for index, entry in enumerate(structure["entries"] or ()) if entry is not None]
        assert sorted(claim.index or 0 for claim in (*document.entries, *document.problems)) == written


class QuotingDumper(yaml.SafeDumper):
    """Quotes every text: PyYAML writes by YAML 1.1, where a plain ``0E0`` is a text, and the reader goes by YAML 1.2, where it is none."""


QuotingDumper.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


@given(structures)
def test_json_and_yaml_are_read_alike(structure: object) -> None:
    from_json = parse_document(RED, json.dumps(structure), ISSUERS)
    from_yaml = parse_document(RED, yaml.dump(structure, Dumper=QuotingDumper, sort_keys=False), ISSUERS)

    assert from_json.entries == from_yaml.entries
    assert [(closed_scope.match, closed_scope.reason) for closed_scope in from_json.closed_scopes] == [
        (closed_scope.match, closed_scope.reason) for closed_scope in from_yaml.closed_scopes
    ]


# Law: a text that is read in pieces has the events, places and errors of the whole, wherever it is cut.


# Bytes that libyaml asks for at once.
BUFFER: Final = 16 * 1024


def told(events: Iterable[Event]) -> Iterator[object]:
    try:
        for found in events:
            yield repr(found), place(found.start_mark), place(found.end_mark)
    except MarkedYAMLError as error:
        yield error.problem, error.context, place(error.problem_mark), place(error.context_mark)
    except YAMLError as error:
        yield type(error)


def place(mark: Mark | CMark | None) -> tuple[int, int] | None:
    return None if mark is None else (mark.line, mark.column)


@given(text=mutated() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20), before=st.integers(0, 60) | st.none())
@example("\ufeffa: é\n", None)
@example("a: \U0001f600\0", 2)
@example("[é\0", 2)
def test_pieces_say_what_the_whole_says(text: str, before: int | None) -> None:
    whole = text if before is None else f"#{'é' * ((BUFFER - before) // 2)}\n{text}"
    expected = list(told(parse(whole, Loader=CSafeLoader)))
    event(type(expected[-1]).__name__)
    assert list(told(parse(Pieces(whole.encode()), Loader=CSafeLoader))) == expected


# An entry's lines are exactly those that its author wrote it in, however the document is laid out.


# Items in many spellings; each is one entry from its first line to its last.
ITEMS = (
    "- {match: {host: a, pathPrefix: /}, action: deny}",
    "- match: {host: a, pathPrefix: /}  # of this one\n  action: deny",
    "- action: |\n    # no comment\n    deny",
    "- action: deny\n  match:\n    host: a\n\n    # within\n    methods:\n    - GET",
    "-\n  match: {host: a}",
    "- # why\n  # and why\n\n  match: {host: a}",
    "- {match: {host: a},\n   action: deny\n  }",
    "- action: two\n    lines",
    '- action: "two\n\n    lines"',
    "- ~",
    "-",
)
IN_FLOW = tuple(item for item in ITEMS if item.startswith(("- {", "- ~")))
BETWEEN = ("\n", "# of what follows\n", "  # - {action: deny}\n", "\n\n")


def lists_of(items: tuple[str, ...]) -> st.SearchStrategy[list[tuple[str, list[str]]]]:
    return st.lists(st.tuples(st.sampled_from(items), st.lists(st.sampled_from(BETWEEN), max_size=2)), min_size=1, max_size=5)


@given(
    st.tuples(st.just(value=False), lists_of(ITEMS)) | st.tuples(st.just(value=True), lists_of(IN_FLOW)),
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\r", "\x85"]),
    st.sampled_from(["", "version: v1\n", "# the end\n"]),
)
def test_an_entry_has_its_own_lines(written: tuple[bool, list[tuple[str, list[str]]]], alias: bool, line_end: str, tail: str) -> None:
    in_flow, items = written
    text, expected = "entries: [\n" if in_flow else "entries:\n", []
    for item, after in [*items, *([("- &two {action: deny}", []), ("- *two", [])] if alias else [])]:
        first = text.count("\n") + 1
        text += f"{item[2:]},\n" if in_flow else f"{item}\n"
        expected.append((first, text.count("\n")))
        text += "".join(after)
    text += "]\n" if in_flow else ""

    assert entry_lines((text + tail).replace("\n", line_end)) == tuple(expected)


# Law: what is normalised stays as it is, and a policy and a request mean the same by the same text.
#
# "Host trimmed, lower-cased, port dropped; prefix trimmed, leading / added; methods trimmed, upper-cased."


header_names = st.text(alphabet="abAB01-_", min_size=1, max_size=4)
addresses = st.ip_addresses(v=6).map(lambda address: f"[{address}]") | st.ip_addresses(v=6).map(
    lambda address: f"[{address.exploded.upper()}]"
)
authorities = st.builds(
    lambda host, dot, port: host + dot + port,
    st.lists(header_names, min_size=1, max_size=3).map(".".join) | addresses,
    st.sampled_from(["", "."]),
    st.sampled_from(["", ":", ":443"]),
)
authority_texts = st.text() | st.text(alphabet="aK\u212a.:[]%*1 \t\n\x85İß") | authorities


@given(authority_texts)
def test_hosts_are_normalised_once(text: str) -> None:
    host = normalise_policy_host(text)

    assert normalise_policy_host(host) == host


@given(authority_texts)
def test_authorities_are_normalised_once(text: str) -> None:
    authority = read_authority(text)
    if authority is not None:
        assert read_authority(authority) == authority
        assert authority == "" or is_host(authority)


@given(authority_texts)
def test_a_policy_and_a_request_mean_the_same_host(text: str) -> None:
    authority = read_authority(text)
    if authority:
        assert normalise_policy_host(text) == authority


@given(authority_texts, authority_texts)
def test_what_is_no_host_is_no_requests_authority(policy: str, request: str) -> None:
    host = normalise_policy_host(policy)
    if not is_host(host):
        assert not host or read_authority(request) != host


@given(st.text(alphabet="aÉé%27fFz/?.", max_size=8).map(lambda rest: "/" + rest))
def test_spellings_have_the_prefix_first_and_each_once(prefix: str) -> None:
    spellings = prefix_spellings(prefix)
    both = spellings.literal + spellings.rewritten

    assert both[0] == prefix
    assert len(set(both)) == len(both) <= 4
    assert all(spelling.startswith("/") for spelling in both)


@given(authorities, st.text(alphabet="/a b", max_size=4), st.lists(st.sampled_from(["get", " GET", "*", "", "put\n"]), max_size=3))
def test_an_entry_that_is_written_as_it_was_read_is_the_same(host: str, prefix: str, methods: list[str]) -> None:
    def read(match: object) -> DenyEntry | None:
        text = json.dumps({"version": "v1", "entries": [{"match": match, "action": "deny"}]})
        document = parse_document(Source("red", "policy"), text, frozenset())
        for entry in document.entries:
            assert isinstance(entry, DenyEntry)
            return entry
        return None

    entry = read({"host": host, "pathPrefix": prefix, "methods": methods})
    if entry is not None:
        area = entry.match
        assert read({"host": area.host, "pathPrefix": area.path_prefix, "methods": sorted(area.methods or ())}) == entry


# Law: a policy's host is one that requests can have, or it closes every host that its author may have meant, and no other.
#
# What a text names is known here from how it was made; for any other text a small model finds the names that are beyond doubt.


# The last label is none of the words and schemes that surround names below.
host_names = st.lists(st.text(alphabet="ab01-", min_size=1, max_size=3), max_size=2).map(
    lambda labels: ".".join([*labels, "host", "example"])
)
possible_hosts = (
    host_names | st.ip_addresses(v=6).map(lambda address: normalise_policy_host(str(address))) | st.sampled_from(["localhost", "10.0.0.1"])
)

schemes = st.sampled_from(["https://", "HTTP://", "http:", "//", "x+y://", "grpc:/", "wss//"])
users = st.sampled_from(["", "", "user@", "user:sec.ret.example@"])
tails = st.sampled_from(["/", "/v1.2/orders", "/?to=other.example", "#x", "?x", "\\", ":443/", "./", "..", ":443:1"])
wrapped = st.sampled_from(["'{}'", '"{}"', "({})", "“{}”", "{}\u200b", "\ufeff{}", "{},"])
separators = st.sampled_from([",", ", ", " ", "; ", "|", "\n", "\u00a0", "，", '","'])


@st.composite
def written_hosts(draw: st.DrawFn, host: str, of: st.SearchStrategy[str] = users) -> str:
    """Draw a text that is about ``host`` alone, and that no request has."""
    kind = draw(st.sampled_from(["url", "tail", "wrapped"]))
    shown = draw(st.sampled_from([host, host.upper()]))
    if kind == "url":
        return draw(schemes) + draw(of) + shown + draw(st.just("") | tails)
    if kind == "tail":
        return shown + draw(tails)
    return draw(wrapped).replace("{}", shown)


@given(possible_hosts.flatmap(lambda host: st.tuples(st.just(host), written_hosts(host))))
def test_a_host_in_other_clothes_is_closed_alone(case: tuple[str, str]) -> None:
    host, text = case
    reading = read_host(text.strip())
    event(reading.problem[:20])

    assert reading.hosts == (host,)
    assert "sec.ret" not in reading.problem


@given(host_names)
def test_a_host_behind_a_dot_is_closed_with_all_below_it(host: str) -> None:
    reading = read_host(f".{host}")
    assert reading.hosts == (f"*.{host}", host)
    assert f"write *.{host} for all hosts below it, or {host}," in reading.problem


@given(
    st.lists(
        possible_hosts.flatmap(lambda host: st.tuples(st.just(host), st.just(host) | written_hosts(host, st.just("")))),
        min_size=2,
        max_size=MAX_HOSTS,
    ),
    separators,
)
def test_of_a_list_each_host_is_closed_and_no_other(cases: list[tuple[str, str]], separator: str) -> None:
    text = separator.join(text for _, text in cases)
    assume(not re.search(r"\.\s|\s\.", text))  # a blank beside a dot may also have got into one name
    reading = read_host(text.strip())

    assert reading.problem
    assert sorted(map(str, reading.hosts)) == sorted({host for host, _ in cases})
    assert (" and the others " in reading.problem) is (len(reading.hosts) > 3)


@given(st.lists(host_names, min_size=MAX_HOSTS + 1, unique=True))
def test_more_hosts_than_can_be_named_are_unknown(many: list[str]) -> None:
    reading = read_host(",".join(many)[:MAX_TEXT])

    assert reading.hosts[-1] is None
    assert len(reading.hosts) == MAX_HOSTS + 1


@given(st.text(max_size=40), st.sampled_from("${}<>%*"), st.text(max_size=40))
def test_a_template_names_none(before: str, sign: str, after: str) -> None:
    text = "x" + before + sign + after + "x"
    if not read_host(text).problem:
        assert sign == "*" and text.partition(":")[2].strip() == "*x"  # noqa: PT018 - never, as nothing follows such a port
    assert read_host(text).hosts == (None,)


ascii_texts = st.text(alphabet="ab.:/@,-*\\ []#x1", max_size=24) | st.text(st.characters(max_codepoint=127), max_size=24)


@given(ascii_texts)
@example("a.b://c.d")
@example("1.a::")
def test_no_domain_in_a_text_is_left_open(text: str) -> None:
    text = text.strip()
    if not text or set("@?#") & set(text):  # where secrets may be, nothing is looked for
        return
    reading = read_host(text)
    if None in reading.hosts:
        return
    for word in re.findall(r"[A-Za-z0-9_.-]+(?!://)", re.sub(r"[A-Za-z][A-Za-z0-9+.-]*:(?=[/\\])", " ", text)):
        name = ".".join(label for label in word.lower().split(".") if label)
        if "." in name and re.search("[a-z]", name.rpartition(".")[2]):
            assert name in reading.hosts


@given(st.text(max_size=60) | ascii_texts | st.text(alphabet="a.é\u0308\u200b😀ß、", max_size=12))
@example("*.A:80")
def test_any_text_is_a_host_or_a_problem_with_a_sentence(text: str) -> None:
    text = text.strip()
    if not text:
        return
    reading = read_host(text)
    event("valid" if not reading.problem else f"{len(reading.hosts)} hosts")

    assert reading.hosts
    assert len(set(reading.hosts)) == len(reading.hosts) <= MAX_HOSTS + 1
    assert all(host is None or is_host(host.removeprefix(WILDCARD)) for host in reading.hosts)
    assert reading.problem.isprintable()
    assert len(reading.problem) < 6 * MAX_QUOTED
    if not reading.problem:
        wildcard = WILDCARD if text.startswith(WILDCARD) else ""
        assert reading.hosts == (wildcard + normalise_policy_host(text.removeprefix(wildcard)),)
    if read_authority(text):
        assert reading.hosts == (read_authority(text),)
        assert not reading.problem


# Law: a policy's prefix is one that paths can have, or it closes the paths that its author may have meant.
#
# What a legal prefix begins is never unmatched. What is closed for an illegal one is a legal beginning of it, or everything.


HOST = "api.example.com"

odd = st.text(alphabet="/a.*%2fFeE;\\ ^{}?#é．", max_size=16)
prefix_texts = st.text(max_size=30) | odd | odd.map(lambda text: "/" + text)


def is_rewritten(reading: str) -> bool:
    return "//" in reading or "\\" in reading or not {".", ".."}.isdisjoint(reading.split("/"))


@given(prefix_texts)
@example("/a;/../b")
@example("/．．/b")
@example("/%25％2e")
def test_a_legal_prefix_is_what_servers_see(text: str) -> None:
    text = text.strip()
    if not text:
        return
    reading = read_prefix(text)
    event(reading.problem[:24] or "legal")
    if not reading.problem:
        assert reading.prefix == (text if text.startswith("/") else "/" + text)
        interpretations = interpretations_of(reading.prefix)
        assert isinstance(interpretations, tuple)
        assert not any(is_rewritten(each) for each in interpretations)


@given(prefix_texts)
@example("/a*%")
@example("/a" + "*.+" * 50 + "%")
def test_what_an_illegal_prefix_closes_is_a_legal_beginning_of_it(text: str) -> None:
    text = text.strip()
    if not text:
        return
    reading = read_prefix(text)
    if reading.problem:
        whole = text if text.startswith("/") else "/" + text
        assert whole.startswith(reading.prefix)
        assert not reading.prefix.endswith("/")
        assert reading.prefix == "" or not read_prefix(reading.prefix).problem
    assert reading.problem.isprintable()
    assert len(reading.problem) < 6 * MAX_QUOTED


@given(prefix_texts, st.text(max_size=12) | odd, st.sampled_from(["GET", "HEAD"]))
def test_no_path_that_begins_with_a_legal_prefix_passes_by_a_deny(text: str, rest: str, method: str) -> None:
    text = text.strip()
    if not text or read_prefix(text).problem:
        return
    prefix = read_prefix(text).prefix
    snapshot = PolicySnapshot.EMPTY.changed({RED: PolicyDocument(RED, (DenyEntry(RED, 0, MatchScope(HOST, prefix)),))})

    assert snapshot.match(HOST, prefix + rest, method) is not NO_MATCH


segments = st.text(alphabet="ab0_~-", min_size=1, max_size=3) | st.sampled_from(
    ["a%2Fb", "a%20b", "('x')", "k:verb", "a*b", "$batch", "...", "é"]
)
clean = st.lists(segments, max_size=3).map(lambda parts: "".join("/" + part for part in parts))
everything = st.sampled_from(["/.", "/..", "/x/..", "/%2e", "/.%2E", "/..;x"])
here = st.sampled_from(
    [
        "*",
        "**",
        "/*",
        "/**",
        ".*",
        "/{id}",
        "/<id>",
        "//",
        "\\",
        "#x",
        "?x",
        "%",
        "%4",
        "%zz",
        "%00",
        "%ff",
        "\x7f",
        "\u200b",
        "/${A}",
        "(/b)?",
    ]
)
beginnings = st.sampled_from(["//", "\\", "^", "^/", "*", "https://x.example/", "//x.example/", '"/', "/*/", "/^"])


@given(clean, everything, clean)
def test_dot_segments_close_every_path(before: str, dots: str, after: str) -> None:
    reading = read_prefix(before + dots + after)

    assert (reading.prefix, bool(reading.problem)) == ("", True)


@given(beginnings, clean)
def test_a_wrong_beginning_closes_every_path(beginning: str, after: str) -> None:
    reading = read_prefix(beginning + after.removeprefix("/"))

    assert (reading.prefix, bool(reading.problem)) == ("", True)


@given(clean.filter(lambda prefix: prefix[-1:].isalnum()), here, clean)
def test_anything_else_closes_what_is_before_it(before: str, wrong: str, after: str) -> None:
    reading = read_prefix(before + wrong + after)
    rewritten = wrong in {"%00", "%ff"}

    assert reading.problem
    if not rewritten:
        assert reading.prefix == before
    assert before.startswith(reading.prefix)
    if rewritten and before.isascii() and "%" not in before:
        assert reading.prefix == before


@given(clean.filter(bool))
def test_a_clean_prefix_is_legal(prefix: str) -> None:
    assert read_prefix(prefix) == read_prefix(prefix.removeprefix("/"))
    assert not read_prefix(prefix).problem


@given(st.integers(1, 50), st.sampled_from(["a", "/a", "%", "%25", "é", "*/", "../", "{", "(", "[", "<", ",", " ", "^/", "http://", "`"]))
def test_a_prefix_is_bounded(times: int, piece: str) -> None:
    reading = read_prefix("/" + piece * (MAX_PREFIX // len(piece) + times))

    assert reading.problem
    assert len(reading.prefix) <= MAX_PREFIX


# Law: each part of a match is read by itself; mistakes in one never widen what is known of another, and none is left out.
#
# An invalid entry closes the product of what its parts close, and is one problem with one sentence for each mistake.


odd_hosts = st.sampled_from(["api.example.com", "https://a.example", "a,b", "${HOST}", "*", "*.example.com", "10.0.0.1/8"])
prefixes = st.sampled_from(["/admin", "orders", "/admin*", "/a/../b", "/a/{id}", "//a", "/a?b", "/a%2Fb"])
methods = st.none() | st.lists(st.sampled_from(["GET", "post", "*", "", "ALL", "GET,POST", "!GET", "3", "M-SEARCH"]), max_size=3)
actions = st.sampled_from(["deny", "Deny", "permit"])


def read(match: object, action: str) -> PolicyDocument:
    entry = {"match": match, "action": action}
    return parse_document(RED, json.dumps({"version": "v1", "entries": [None, entry, None]}), frozenset())


def methods_of(texts: list[str] | None) -> tuple[frozenset[str] | None, bool]:
    """Return the methods, and whether they are wrong."""
    written = [text for text in texts or () if text]
    wrong = any(text != "*" and (not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", text) or text.upper() in {"ALL", "ANY"}) for text in written)
    return (None if wrong or not written or "*" in written else frozenset(text.upper() for text in written)), wrong


@given(odd_hosts, prefixes, methods, actions)
def test_an_invalid_entry_closes_what_its_parts_close(host: str, prefix: str, texts: list[str] | None, action: str) -> None:
    document = read({"host": host, "pathPrefix": prefix, "methods": texts}, action)
    named, begun, (asked, wrong) = read_host(host), read_prefix(prefix), methods_of(texts)
    mistakes = sum([bool(named.problem), bool(begun.problem), wrong, action == "permit"])

    areas = [MatchScope(each, begun.prefix, asked) for each in named.hosts]
    claims: list[Claim] = [*document.entries, *document.closed_scopes]
    assert [claim.match for claim in claims] == areas
    assert {claim.index for claim in claims} == {1}
    assert len(document.entries) == (mistakes == 0)
    assert len(document.problems) == (mistakes > 0)
    for problem in document.problems:
        assert problem.reason.count("entries[1].") == mistakes


@given(st.lists(st.text(max_size=8) | st.sampled_from(["GET", "*", "Any", "a-b_1"]), max_size=3))
def test_methods_are_names_or_close_all(texts: list[str]) -> None:
    texts = [text for text in texts if text.isprintable() and text.isascii()]
    document = read({"host": "a", "pathPrefix": "/", "methods": texts}, "deny")
    asked, wrong = methods_of([text.strip() for text in texts])

    claims: list[Claim] = [*document.entries, *document.closed_scopes]
    (claim,) = claims
    assert claim.match.methods == asked
    assert bool(document.closed_scopes) == wrong
