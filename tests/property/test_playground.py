"""Laws of the playground: its checks, and the requests that it sends."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.commands.playground.lint import MAX_PROBLEMS, lint
from exchanger.commands.playground.requests import MalformedBody, read_name, read_run, read_send, read_text
from exchanger.commands.scenarios.target import request_of
from exchanger.policy.selection import advance, select
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.directory.folder import Scan, scan
from tests.commands.playground.labs import RULES, SAMPLE, YELLOW
from tests.examples import examples

# Laws: a check of an edited file never fails, points into the file, and finds wrong just what the service finds wrong when it is saved.


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
        if "shares a host" not in problem.reason and not problem.reason.startswith(("not active", "the file has no ConfigMap"))
    }
    # The check adds what was probably meant, and looks behind a duplicate key.
    assert all(any(one[:2] == other[:2] and other[2].startswith(one[2]) for other in shown) for one in wrong)
    assert len(shown) == len(wrong) or "has duplicate keys" in str(wrong)
    assert {policy for policy, _, _ in shown} == {policy for policy, _, _ in wrong}


# Laws: any body is understood or refused without being repeated, and what is understood is sent as exactly the request that it says.


NASTY = st.sampled_from(
    ["\r\n", "\n", "\x00", " ", ":", "\u00e9", "a", "/", "?", "#", "@", "[", "Host", "Content-Length", "%0d%0a", "HTTP/1.1"]
)
TEXTS = st.lists(NASTY, max_size=5).map("".join) | st.text(max_size=20)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | TEXTS, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
HOSTS = st.sampled_from(["h", "h:80", "[::1]:80", "yellow.example.com", "-._"])
PATHS = VISIBLE.map(lambda text: f"/{text}")
METHODS = st.sampled_from(["GET", "PUT", "OPTIONS", "M-SEARCH"])
HEADERS = st.lists(st.tuples(st.sampled_from(["X-A", "Accept", "Cookie", "x-a"]), VISIBLE), max_size=4)


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_understood_or_refused(body: bytes) -> None:
    for read in (read_run, read_send, read_text, read_name):
        read(body)


@given(st.dictionaries(st.sampled_from(["name", "text", "token", "host", "path", "method", "headers", "subject", "s3cretfield"]), VALUES))
def test_no_refusal_repeats_what_came(fields: dict[str, object]) -> None:
    marked = {name: f"s3cret{value}" if isinstance(value, str) else value for name, value in fields.items()}
    for read in (read_run, read_send, read_text, read_name):
        found = read(json.dumps(marked).encode())
        assert not isinstance(found, MalformedBody) or "s3cret" not in found.reason


@given(host=HOSTS, path=PATHS, method=METHODS, headers=HEADERS)
def test_what_can_be_sent_is_sent_as_it_was_meant(host: str, path: str, method: str, headers: list[tuple[str, str]]) -> None:
    assert sent_as_meant(host, path, method, headers)


@given(st.data())
def test_the_playground_sends_the_intended_request_whatever_one_field_contains(data: st.DataObject) -> None:
    fields = data.draw(st.fixed_dictionaries({"host": HOSTS, "path": PATHS, "method": METHODS, "name": st.just("X-A"), "value": VISIBLE}))
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(TEXTS)
    sent_as_meant(fields["host"], fields["path"], fields["method"], [(fields["name"], fields["value"])])


def sent_as_meant(host: str, path: str, method: str, headers: list[tuple[str, str]]) -> bool:
    """Tell whether the request is sent at all; then it must be just the one that was meant."""
    found = read_send(json.dumps({"host": host, "path": path, "method": method, "headers": headers}).encode())
    if isinstance(found, MalformedBody):
        return False
    sent = request_of(found.call, "token")
    client, server = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    head = client.send(h11.Request(method=sent.method, target=sent.target, headers=list(sent.headers)))
    server.receive_data((head or b"") + (client.send(h11.EndOfMessage()) or b""))
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method.decode(), request.target.decode()) == (method, path)
    got = [(name.decode(), value.decode()) for name, value in request.headers]
    assert got == [("host", host), ("authorization", "Bearer token"), *((name.lower(), value) for name, value in headers)]
    assert isinstance(server.next_event(), h11.EndOfMessage)
    assert server.trailing_data == (b"", False)
    return True
