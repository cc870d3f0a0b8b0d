"""Law: the JSON Schema refuses no tests that ``exchanger test`` reads, and lets pass none that it refuses, but for what it names."""

import json
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from exchanger.codes.problem import Problem
from exchanger.tools.cases import DECISIONS, read_cases
from exchanger.tools.cases import tests_schema as cases_schema
from tests.property import schema_law
from tests.property.schema_law import around, assert_accepts_what_is_read, mapping, mutated, some_texts
from tests.property.strategies_policy import rarely

VALIDATOR: Final = Draft202012Validator(cases_schema())


def problems(text: str) -> tuple[Problem, ...]:
    return tuple(found for found in read_cases(text) if isinstance(found, Problem))


def problems_of(document: object) -> tuple[Problem, ...]:
    return problems(json.dumps(document))


def is_refused(document: object) -> bool:
    return schema_law.is_refused(VALIDATOR, document, problems)


names = around(rarely(st.sampled_from(["", "a b", ":path"]), st.sampled_from(["Mcp-Name", "authorization"]), 9))
values = rarely(st.none() | st.just(5), st.sampled_from(["", "x y"]), 9)
headers = st.none() | st.dictionaries(names, values, max_size=2) | st.lists(mapping((), name=names, value=values), max_size=2)
request = mapping(
    ("headers",),
    method=around(rarely(st.sampled_from(["", "G T", "GET,"]), st.sampled_from(["GET", "purge"]), 9)),
    url=around(
        rarely(st.sampled_from(["", "https://a#b", "ftp://a", "u@a"]), st.sampled_from(["https://a/b?c", "a.example", "WS://a"]), 9)
    ),
    headers=headers,
)
expect = mapping(
    ("policy", "scope", "audiences"),
    decision=around(rarely(st.sampled_from(["", "permit", "Exchange"]), st.sampled_from(DECISIONS), 9)),
    policy=st.none() | around(rarely(st.sampled_from(["", "a", "/a", "a/", "a/b/c"]), st.sampled_from(["a/b", "baseline", "a /b"]), 9)),
    scope=st.none() | around(st.sampled_from(["", "read write"])),
    audiences=st.none() | st.lists(rarely(st.none(), st.sampled_from(["", "orders"]), 9), max_size=2),
)
documents = mapping((), tests=st.lists(mapping((), request=request, expect=expect), max_size=2))


@given(documents)
def test_the_schema_refuses_what_the_reader_refuses_and_nothing_else(document: object) -> None:
    found = problems_of(document)
    if not is_refused(document) and found:
        assert all("no host" in problem.text for problem in found)


def asking(**request: object) -> dict[str, object]:
    return {"tests": [{"request": {"method": "GET", "url": "https://a.example", **request}, "expect": {"decision": "deny"}}]}


pieces = st.sampled_from([*":/@%?# \\é-_\t[]*", "http", "HTTPS", "wss", "ftp", "://", "//", "a.example", "[::1]", ":80"])
urls = st.lists(pieces, max_size=6).map("".join)


@given(around(urls | some_texts))
@example("://a")
@example("http:/a")
@example("https://")
@example("a+b://c")
@example("http://@")
def test_urls(text: str) -> None:
    document = asking(url=text)
    if not is_refused(document) and (found := problems_of(document)):
        assert "no host" in found[0].text


@given(around(st.text("/ a\u00a0\t", max_size=5) | st.sampled_from(["baseline", "Baseline"])))
def test_policies(text: str) -> None:
    document = {"tests": [{**asking()["tests"][0], "expect": {"decision": "deny", "policy": text}}]}  # type: ignore[index]
    assert is_refused(document) == bool(problems_of(document))


@given(mutated(documents))
def test_what_the_reader_reads_in_any_yaml_the_schema_accepts(text: str) -> None:
    assert_accepts_what_is_read(VALIDATOR, text, problems)
