"""Law: the JSON Schema refuses no document that the service accepts, and lets pass none that the service refuses, but for what it names.

What a schema cannot say is in ``UNSAID``; each exception below is one of these.
"""

import json
import re
from typing import Any, Final

import yaml
from hypothesis import event, example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from exchanger.policy.authority import MAX_TEXT
from exchanger.policy.document import PolicyDocument, parse_document
from exchanger.policy.prefix import MAX_PREFIX
from exchanger.policy.schema import policy_schema
from exchanger.policy.yaml_nodes import Kind, Mapping, Node, Scalar, Sequence, Unreadable, read_nodes
from exchanger.values.entry import Source
from tests.property.strategies_policy import HOSTS, ISSUERS, METHODS, rarely

RED: Final = Source("red", "policy")
VALIDATOR: Final = Draft202012Validator(policy_schema())
BLANKS: Final = ["", " ", "\t", "\n", "\r\n ", "\x1c", "\x85", "\u00a0", "\u2003", "\u2028", "\ufeff", "\u200b"]

blanks = rarely(st.sampled_from(BLANKS), st.just(""), one_in=4)


def around(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Put blanks, and what only looks like one, around a text."""
    return st.builds(lambda before, text, after: before + text + after, blanks, texts, blanks)


# JSON writes characters beyond U+FFFF as two escapes, which YAML does not read.
some_texts = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=12)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 1)
    | st.just(1.5)
    | st.sampled_from(["", " ", "v1", "exchange", "/a", "a.example", "GET", "*"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["", "host", "x"]), inner, max_size=2),
    max_leaves=4,
)


def mapping(optional: tuple[str, ...], **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw a mapping, mostly of known fields with values of the right type; once in a while something is missing, added or replaced."""
    values = {name: rarely(anything, value, one_in=30) for name, value in known.items()}
    right = st.fixed_dictionaries(
        {name: value for name, value in values.items() if name not in optional},
        optional={name: value for name, value in values.items() if name in optional},
    )
    poor = st.fixed_dictionaries({}, optional=values)
    rich = st.builds(
        lambda whole, more: {**whole, **more}, right, st.dictionaries(st.sampled_from(["Host", "x", ""]), anything, min_size=1)
    )
    return rarely(anything | poor | rich, right, one_in=15)


# Texts of which the schema can say all: a structure of these is refused by both or by none.
lists = st.none() | st.lists(around(st.sampled_from(["", "orders", "https://a.example"])) | st.none(), max_size=2)
header = st.none() | mapping(
    (),
    name=around(rarely(st.sampled_from(["Cookie", ":path", "a b", ""]), st.sampled_from(["Mcp-Name", "x_a"]))),
    value=rarely(st.sampled_from(["a,b", " a", "a ", "", "a\u00a0"]), st.sampled_from(["delete order", "é", "=?base64?x?="])),
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
exchange = st.none() | mapping(
    ("scope", "resources", "audiences"),
    issuerRef=around(rarely(st.just(""), st.just("primary"))).map(lambda text: text.strip("\ufeff\u200b")),
    scope=st.none() | around(st.sampled_from(["", "read write"])),
    resources=lists,
    audiences=lists,
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
    refused = not VALIDATOR.is_valid(document)
    problems = read(document).problems
    event(f"{'refused' if problems else 'accepted'} by the service, {'refused' if refused else 'accepted'} by the schema")
    assert problems or not refused
    return refused


@given(documents)
def test_the_schema_refuses_what_the_service_refuses_and_nothing_else(document: object) -> None:
    assert is_refused(document) == bool(read(document).problems)


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


def instance_of(node: Node) -> object:
    """Return what a JSON Schema is applied to when ``node`` is read by the core schema of YAML 1.2. What has a tag is some number."""
    match node:
        case Scalar(Kind.TEXT, text):
            return text
        case Scalar(Kind.NULL):
            return None
        case Scalar(_, text):
            return text.lower() == "true" if text.lower() in {"true", "false"} else 1
        case Sequence(items):
            return [instance_of(item) for item in items]
        case Mapping(pairs):
            return {
                key.text if isinstance(key, Scalar) and key.kind is Kind.TEXT else repr(key): instance_of(value) for key, value in pairs
            }


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Draw the YAML of a document, with a piece or two of it replaced."""
    text = draw(documents.map(lambda document: yaml.safe_dump(document, allow_unicode=True, width=1000)))
    pieces = st.sampled_from(["", "&a ", "*a", "- ", "\n", "{}", "[]", "null", "~", "true", "1", "v1", "'", "!x ", "# ", "<<", "deny", "/"])
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(pieces) + text[start + draw(st.integers(0, 6)) :]
    return text


@given(mutated())
def test_what_the_service_reads_in_any_yaml_the_schema_accepts(text: str) -> None:
    root = read_nodes(text)
    problems = parse_document(RED, text, ISSUERS).problems
    event("refused" if problems else "accepted")
    if not problems:
        assert not isinstance(root, Unreadable)
        assert VALIDATOR.is_valid(instance_of(root))
