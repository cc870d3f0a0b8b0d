"""Law: the JSON Schema refuses no grants file that the service reads, and lets pass none that it refuses, but for what it names."""

import json
from typing import Any, Final

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.grants.schema import grants_schema
from tests.property import schema_law
from tests.property.schema_law import around, assert_accepts_what_is_read, mapping, mutated, some_texts
from tests.property.strategies_policy import HOSTS, METHODS, rarely

VALIDATOR: Final = Draft202012Validator(grants_schema())


def problems(text: str) -> tuple[object, ...]:
    found = read_grants(text, has_labels=True)
    return () if isinstance(found, Grants) else found


def is_refused(document: object) -> bool:
    return schema_law.is_refused(VALIDATOR, document, problems)


def texts(*right: str, wrong: tuple[str, ...] = ()) -> st.SearchStrategy[list[str | None] | None]:
    """Draw a list of texts, mostly right ones."""
    some = rarely(st.sampled_from([*wrong, "{x}", "a*b"]), st.sampled_from(["", *right]), 9)
    return st.none() | st.lists(st.none() | around(some), max_size=2)


grant = st.none() | mapping(
    ("namespaceSelector", "hosts", "pathPrefixes", "actions", "issuers", "audiences", "resources", "scopes"),
    namespaces=texts("team-a", "b", wrong=("Team", "-a", "a.b", "a" * 64)),
    namespaceSelector=st.none() | around(st.sampled_from(["team=a", "tier in (web, api)"])).map(lambda text: text.strip("\ufeff\u200b")),
    hosts=texts(
        "a.example", "*.A.example", "*", "{namespace}.apps.example", "*.{label:a.b/c}x", wrong=("https://a", "a.", "a:80", "*.*.a")
    ),
    pathPrefixes=texts("/", "/a", "*", "/a/", "/{namespace}/x", "/x-{label:k/v}", wrong=("a", "/a*", "//", "/{id}", "/a?b", "**")),
    actions=texts("exchange", "Deny", "ALLOW", "*", wrong=("permit", "exchange deny")),
    issuers=texts("primary", "p*", "*", wrong=("{namespace}",)),
    audiences=texts("orders-api", "orders-*", "*", "{namespace}", "{label:team}-*", wrong=("{label:}",)),
    resources=texts("*", "x", "https://a.example/*", "https://{namespace}.a/x/*", "https://a", wrong=("https://a*", "x*", "https://a/b*")),
    scopes=texts("read:orders", "orders.*", "{namespace}.*", wrong=("a b",)),
)
match = mapping(
    ("methods", "caseInsensitive", "pathType"),
    host=around(st.sampled_from([*HOSTS, "*.a.example", "*"])),
    pathPrefix=around(st.sampled_from(["/", "/a", "/a*b"])).filter(lambda text: text.isascii()),
    methods=st.none() | st.lists(around(rarely(st.just("all"), st.sampled_from([*METHODS, "*"]))), max_size=2),
    caseInsensitive=st.none() | st.booleans(),
    pathType=st.none() | around(rarely(st.just("Regex"), st.sampled_from(["", "Prefix", "segment"]))),
)
denial = st.none() | mapping((), match=match, action=around(rarely(st.just("allow"), st.sampled_from(["deny", "Deny"]))))
documents = mapping(
    ("baseline",),
    version=around(rarely(st.sampled_from(["v2", ""]), st.just("v1"))),
    grants=rarely(st.none(), st.lists(grant, max_size=2)),
    baseline=st.none() | st.lists(denial, max_size=2),
)


@given(documents)
def test_the_schema_refuses_what_the_reader_refuses_and_nothing_else(document: object) -> None:
    assert is_refused(document) == bool(problems_of(document))


def problems_of(document: object) -> tuple[object, ...]:
    return problems(json.dumps(document))


def granting(**fields: object) -> dict[str, Any]:
    return {"version": "v1", "grants": [{"namespaces": ["a"], **fields}]}


placeholders = st.sampled_from(
    [*"{}", "{namespace}", "{Namespace}", "{label:a}", "{label:a.b/c}", "{label:A_b}", "{label:}", "{label:a/b/c}"]
)
signs = st.sampled_from([*"aZ09-_.:*/[]%,|; '\"^<>()?#\\+$é\u212a\u200b", "//", "://", ".*", "%2f", "..", "x*"])
pieces = st.lists(rarely(placeholders, signs, 3), max_size=6).map("".join)


@given(around(pieces | some_texts))
@example("[::1]")
@example("\u212a.example")
@example("*.[::1]")
@example("{Namespace}")
@example("*. a")
def test_hosts(text: str) -> None:
    document = granting(hosts=[text])
    if not is_refused(document) and problems_of(document):
        assert "[" in text


@given(around(pieces.map("/{}".format) | pieces | some_texts))
@example("/;a{label:k/v}")
@example("/[a]{namespace}")
@example("/${namespace}")
@example("/<{namespace}>")
@example("/{namespace}/%")
@example("/ *")
@example("**")
def test_path_prefixes(text: str) -> None:
    document = granting(pathPrefixes=[text])
    if not is_refused(document) and (found := problems_of(document)):
        assert "{" in text or "%" in text or not text.isascii(), found


@given(around(pieces | some_texts), st.sampled_from(["issuers", "audiences", "resources", "scopes", "actions"]))
def test_patterns(text: str, field: str) -> None:
    document = granting(**{field: [text]})
    assert is_refused(document) == bool(problems_of(document))


@given(around(st.builds("{}://{}/{}".format, pieces | st.just("https"), pieces, pieces | st.just("*"))))
def test_resources(text: str) -> None:
    document = granting(resources=[text])
    assert is_refused(document) == bool(problems_of(document))


@given(around(st.text("abZ-.09", max_size=5) | st.integers(62, 65).map(lambda length: "a" * length) | some_texts))
def test_namespaces(text: str) -> None:
    document = granting(namespaces=[text])
    assert is_refused(document) == bool(problems_of(document))


@given(around(st.sampled_from(["team=a", "!a", "a in (b)", "(", "a b", ""]) | some_texts))
def test_a_selector_is_at_least_not_blank(text: str) -> None:
    document = granting(namespaceSelector=text)
    if not is_refused(document):
        assert text.strip()


@given(around(st.sampled_from(["*", "a.example", "*.a.example", "*:80", "a.*", "http:a"])))
def test_the_host_of_a_baseline_may_be_a_star(host: str) -> None:
    document = {"version": "v1", "grants": [], "baseline": [{"match": {"host": host, "pathPrefix": "/"}, "action": "deny"}]}
    assert is_refused(document) == bool(problems_of(document))


@given(mutated(documents))
def test_what_the_reader_reads_in_any_yaml_the_schema_accepts(text: str) -> None:
    assert_accepts_what_is_read(VALIDATOR, text, problems)
