"""Law: the JSON Schema refuses no document that the service accepts, and lets pass none that the service refuses, but for what it names.

What a schema cannot say is in ``UNSAID``; each exception below is one of these.
"""

import json
import re
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from exchanger.codes.policy import WRONG_METADATA
from exchanger.codes.problem import Problem
from exchanger.policy.authority import MAX_TEXT
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.documents.entry_reader import MAX_METADATA
from exchanger.policy.documents.schema import policy_schema
from exchanger.policy.prefix import MAX_PREFIX
from exchanger.values.entry import Source
from tests.property import schema_law
from tests.property.schema_law import around, assert_accepts_what_is_read, mapping, mutated, some_texts
from tests.property.strategies_policy import HOSTS, ISSUERS, METHODS, rarely

RED: Final = Source("red", "policy")
VALIDATOR: Final = Draft202012Validator(policy_schema())

# Texts of which the schema can say all: a structure of these is refused by both or by none.
lists = st.none() | st.lists(around(st.sampled_from(["", "orders", "https://a.example"])) | st.none(), max_size=2)
header = st.none() | mapping(
    (),
    name=around(rarely(st.sampled_from(["Cookie", ":path", "a b", ""]), st.sampled_from(["Mcp-Name", "x_a"]))),
    value=rarely(
        st.sampled_from(["a,b", " a", "a ", "", "a\u00a0"]), st.sampled_from(["delete order", "é", "=?base64?x?=", "a\x7fb", "a\n"])
    ),
)
match = mapping(
    ("methods", "caseInsensitive", "pathType", "headers"),
    host=around(st.sampled_from([*HOSTS, "*.a.example"])),
    pathPrefix=around(st.sampled_from(["/", "/a", "a/b", "/a*b"])).filter(lambda text: text.isascii()),
    methods=st.none()
    | st.lists(around(rarely(st.sampled_from(["all", "Any", "G T", "3"]), st.sampled_from([*METHODS, "*", "get"]), 9)), max_size=2),
    caseInsensitive=st.none() | st.booleans(),
    pathType=st.none() | around(rarely(st.sampled_from(["Prefixes", "Regex"]), st.sampled_from(["", "Prefix", "segment", "EXACT"]))),
    headers=st.none() | st.lists(header, max_size=1),
)
# Of the signs that the reader judges, those that the schema cannot; what is elsewhere than on the entry's host is left to UNSAID.
signs = st.sampled_from([*"/?:.@#,\\\"'~!$(&[{|", "a", "1", "80", " ", "\t", "é", "\x7f", "\u200b"])
metadata = st.builds(
    lambda start, host, rest: f"{start}{host}{rest}",
    rarely(st.sampled_from(["http://", "//", "https:", "", "https://u@", "https://u:p@"]), st.sampled_from(["https://", "HttpS://"])),
    rarely(st.sampled_from(["", "*.a.example", "%61.example", "[::1"]), st.sampled_from([*HOSTS, "A.example.", "x.a.example"])),
    rarely(st.lists(signs, max_size=4).map("".join), st.sampled_from(["", ":8443", "/", "/.well-known/oauth-protected-resource", "?a"]), 4),
)
exchange = st.none() | mapping(
    ("scope", "resources", "audiences", "resourceMetadata"),
    issuerRef=around(rarely(st.just(""), st.just("primary"))).map(lambda text: text.strip("\ufeff\u200b")),
    scope=st.none() | around(st.sampled_from(["", "read write"])),
    resources=lists,
    audiences=lists,
    resourceMetadata=st.none() | around(rarely(st.just(""), metadata)),
)
action = around(rarely(st.sampled_from(["permit", "", "denyy"]), st.sampled_from(["exchange", "deny", "Exchange", "DENY", "allow"])))
entry = st.none() | mapping(("exchange",), match=match, action=action, exchange=exchange)
documents = mapping(
    ("entries",), version=rarely(st.sampled_from(["v2", "v1 ", 1]), st.just("v1")), entries=st.none() | st.lists(entry, max_size=3)
)


def read(document: object) -> PolicyDocument:
    return parse_document(RED, json.dumps(document), ISSUERS)


def is_refused(document: object) -> bool:
    """Tell whether the schema refuses ``document``, and hold it to the first half of the law."""
    return schema_law.is_refused(VALIDATOR, document, lambda text: parse_document(RED, text, ISSUERS).problems)


@given(documents)
def test_the_schema_refuses_what_the_service_refuses_and_nothing_else(document: object) -> None:
    problems = [problem for region in read(document).problems for problem in region.problems]
    unsaid = bool(problems) and all(map(is_elsewhere, problems))
    assert is_refused(document) == (bool(problems) and not unsaid)


def is_elsewhere(problem: Problem) -> bool:
    """Tell whether ``problem`` is that the metadata of an entry is on another host."""
    return problem.code is WRONG_METADATA and "own host" in problem.text


def policy(host: str = "a.example", prefix: str = "/", methods: list[str] | None = None, action: str = "deny") -> dict[str, object]:
    entry = {"match": {"host": host, "pathPrefix": prefix, "methods": methods}, "action": action}
    return {"version": "v1", "entries": [entry]}


host_parts = st.sampled_from(
    ["a", "api.example.com", "A-b_c.d", "http", "h2c", "1", "::", "[::1]", "1:2", "fe80::1", "::ffff:1.2.3.4", "*."]
)
host_ends = st.sampled_from(
    ["", ".", ":", ":8080", ":*", ":http", ": 8a", " :1-2", ":a--b", "/", "/x", ",", "%", " b", ":http2", "..", ":-"]
)
hosts = st.builds(lambda *parts: "".join(parts), host_parts, host_ends, rarely(host_ends, st.just(""), 4)) | st.text(
    "ab.:/[]*1- \t", max_size=10
)


@given(around(hosts | some_texts))
@example("a" * MAX_TEXT)
@example("a" * (MAX_TEXT + 1))
@example("http:8-x")
@example("orders:a23456789012345")
@example("a.:http-alt")
@example("1::2:10.0.0.1")
@example("a\u200b")
@example("*. b")
def test_hosts(text: str) -> None:
    document = policy(host=text)
    if not is_refused(document) and read(document).problems:
        is_address = text.count(":") > 1 or "[" in text
        is_service = re.search(r":[ \t]*[A-Za-z0-9-]{16,}\s*\Z", text)
        assert is_address or is_service or len(text) > MAX_TEXT


prefix_signs = st.sampled_from("//ab.*+;,|(){$^?#\\\"'`% \té．\u200b")
prefix_parts = st.sampled_from(["..", "{id}", "<id>", ";x", "[^", "[a]", "{{", "//", "http:", "x://"])
escapes = st.sampled_from(["%2e", "%252E", "%2f", "%5c", "%00", "%4", "%20", "%c3%a9"])
prefixes = st.lists(prefix_signs | prefix_parts | escapes, max_size=6).map("".join)


@given(around(prefixes | prefixes.map("/{}".format) | some_texts))
@example("a.example/orders")
@example("/" + "a" * MAX_PREFIX)
@example("/ /")
@example("/a%")
@example("/a%4\n")
@example("/a/.\n")
@example("/('x')/...")
def test_prefixes(text: str) -> None:
    document = policy(prefix=text)
    if not is_refused(document) and (problems := read(document).problems):
        names_host = "begins with the host" in problems[0].reason
        assert names_host or "%" in text or not text.isascii() or len(text) > MAX_PREFIX


@given(st.lists(around(st.text("aAlLnNyY*-_1 ", max_size=4) | some_texts), max_size=2))
def test_methods(texts: list[str]) -> None:
    document = policy(methods=texts)
    assert is_refused(document) == bool(read(document).problems)


@given(around(st.sampled_from(["deny", "DENY", "dEny", "de ny", "den", "denyx", "", "xdeny"]) | some_texts))
def test_actions(text: str) -> None:
    document = policy(action=text)
    assert is_refused(document) == bool(read(document).problems)


@given(around(metadata | metadata.map("https://a.example/{}".format) | some_texts))
@example("https://a.example/".ljust(MAX_METADATA, "a"))
@example("https://a.example/".ljust(MAX_METADATA + 1, "a"))
@example("https://a.example:65536")
@example("https://a.example:065535")
@example("https://[:::]")
@example("https://a.example/\n")
def test_metadata(text: str) -> None:
    exchange = {"issuerRef": "primary", "scope": "read", "resourceMetadata": text}
    document = {
        "version": "v1",
        "entries": [{"match": {"host": "a.example", "pathPrefix": "/"}, "action": "exchange", "exchange": exchange}],
    }
    if not is_refused(document) and (regions := read(document).problems):
        (problem,) = regions[0].problems
        assert is_elsewhere(problem) or len(text) > MAX_METADATA or re.search(":[0-9]{5}", text)


@given(mutated(documents))
def test_what_the_service_reads_in_any_yaml_the_schema_accepts(text: str) -> None:
    assert_accepts_what_is_read(VALIDATOR, text, lambda text: parse_document(RED, text, ISSUERS).problems)
