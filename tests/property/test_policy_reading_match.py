"""Law: each part of a match is read by itself; mistakes in one never widen what is known of another, and none is left out.

An invalid entry closes the product of what its parts close, and is one problem with one sentence for each mistake.
"""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.authority import read_host
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.prefix import read_prefix
from exchanger.values.entry import Claim, MatchScope, Source

RED = Source("red", "policy")

hosts = st.sampled_from(["api.example.com", "https://a.example", "a,b", "${HOST}", "*", "*.example.com", "10.0.0.1/8"])
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


@given(hosts, prefixes, methods, actions)
def test_an_invalid_entry_closes_what_its_parts_close(host: str, prefix: str, texts: list[str] | None, action: str) -> None:
    document = read({"host": host, "pathPrefix": prefix, "methods": texts}, action)
    named, begun, (asked, wrong) = read_host(host), read_prefix(prefix), methods_of(texts)
    mistakes = sum([bool(named.problem), bool(begun.problem), wrong, action == "permit"])

    areas = [MatchScope(each, begun.prefix, asked) for each in named.hosts]
    claims: list[Claim] = [*document.entries, *document.regions]
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

    claims: list[Claim] = [*document.entries, *document.regions]
    (claim,) = claims
    assert claim.match.methods == asked
    assert bool(document.regions) == wrong
