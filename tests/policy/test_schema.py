"""The JSON Schema of a policy document: the committed file, its dialect, and what authors see first."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from exchanger.policy.prefix import Fault, read_prefix
from exchanger.policy.schema import UNSAID, policy_schema, schema_text

ROOT: Final = Path(__file__).resolve().parents[2]
COMMITTED: Final = ROOT / "docs" / "schemas" / "policy.schema.json"
VALIDATOR: Final = Draft202012Validator(policy_schema())
TARGET: Final = {"issuerRef": "primary", "scope": "read"}


def policy(**entry: object) -> dict[str, object]:
    return {"version": "v1", "entries": [{"match": {"host": "a.example", "pathPrefix": "/"}, "action": "deny", **entry}]}


def found(schema: Any, name: str) -> Iterator[Any]:
    """Yield every value under the key ``name``."""
    if isinstance(schema, dict):
        yield from ([schema[name]] if name in schema else [])
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            yield from found(inner, name)


def test_the_committed_schema_is_the_generated_one() -> None:
    assert COMMITTED.read_text() == schema_text(), f"run .venv/bin/exchanger schema policy > {COMMITTED.relative_to(ROOT)}"


def test_it_is_a_schema_of_2020_12() -> None:
    assert policy_schema()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(policy_schema())


def test_its_patterns_are_for_every_language() -> None:
    patterns = [pattern for pattern in found(policy_schema(), "pattern") if isinstance(pattern, str)]
    assert patterns
    for pattern in patterns:
        assert set(re.findall(r"\\(.)", pattern)) <= set("\\*.?+^$(){}[]|"), pattern
        outside = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", pattern)
        assert re.search(r"\(\?[^:]|[+*?}]\+", outside) is None, pattern


def test_each_field_is_described_in_sentences() -> None:
    descriptions = list(found(policy_schema(), "description"))
    assert len(descriptions) > len(list(found(policy_schema()["properties"], "type"))) / 2
    assert [text for text in descriptions if not text[:1].isupper() or not text.endswith(".")] == []


def test_the_description_names_the_rules_that_a_schema_cannot_express() -> None:
    assert all(sentence in str(policy_schema()["description"]) for sentence in UNSAID)


@pytest.mark.parametrize("page", ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))])
def test_the_policies_of_the_documentation_fit(page: str) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
        if "\n  config.yaml: |\n" in block:
            for manifest in yaml.safe_load_all(block):
                if "config.yaml" in manifest.get("data", {}):
                    VALIDATOR.validate(yaml.safe_load(manifest["data"]["config.yaml"]))


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"action": "permit"}, ["entries", 0, "action"]),
        ({"action": True}, ["entries", 0, "action"]),
        ({"actions": "deny"}, ["entries", 0]),
        ({"match": {"host": "*.*.com", "pathPrefix": "/"}}, ["entries", 0, "match", "host"]),
        ({"match": {"host": "a.example", "pathPrefix": "/a/*"}}, ["entries", 0, "match", "pathPrefix"]),
        ({"match": {"host": "a.example", "pathPrefix": "/", "methods": ["GET", "all"]}}, ["entries", 0, "match", "methods", 1]),
        ({"action": "exchange"}, ["entries", 0]),
        ({"action": "exchange", "exchange": {"issuerRef": "primary"}}, ["entries", 0, "exchange"]),
        ({"action": "exchange", "exchange": {**TARGET, "issuerRef": " "}}, ["entries", 0, "exchange", "issuerRef"]),
    ],
)
def test_a_mistake_is_shown_where_it_is(entry: dict[str, object], place: list[object]) -> None:
    errors = list(VALIDATOR.iter_errors(policy(**entry)))
    assert errors
    assert all(list(error.absolute_path) == place for error in errors)


def test_an_exchange_with_one_target_is_complete() -> None:
    assert VALIDATOR.is_valid(policy(action=" Exchange\n", exchange=TARGET))


@pytest.mark.parametrize(
    ("fault", "prefixes"),
    [
        (Fault.URL, ["http:a", "WSS:", "x+y:/\\a", "/x://a"]),
        (Fault.QUOTED, ["'/a'", '"a', "/`a"]),
        (Fault.EXPRESSION, ["^/a", "/^a"]),
        (Fault.DOTS, [".", "/a/..", "/a/../b", "/a/ . /b", "/..;a", "/a/%2e.", "/a%252F%252E/b"]),
        (Fault.SLASHES, ["/a//b"]),
        (Fault.BACKSLASH, ["/a\\b"]),
        (Fault.FRAGMENT, ["/a#b"]),
        (Fault.QUERY, ["/a?b"]),
        (Fault.ESCAPE, ["/%", "/%4", "/%g0", "/%0g"]),
        (Fault.INVISIBLE, ["/a\u200b", "\ufeff/a", "/a\tb", "/a\u2028b", "/a\x7f"]),
        (Fault.LIST, ["/a /b", "/a,/b", "/a|/b", ",/b", "/a,\u00a0/b"]),
        (Fault.WILDCARD, ["/a*", "/a**", "/a*/b", "/a*;b"]),
        (Fault.PATTERN, ["*a", "/*a", "/a.*b", "/a.+", "{a}", "/a/{b}/c", "/<a>", "/${a", "/a{{", "/a(/b", "/a(b|c)", "/[^a]", "/[ab]+"]),
        (Fault.REWRITTEN, [";/a", "/a/;b/c", "/a%2f/b", "/a/%252F", "%2Fa", "/a%5cb", "/a%0Ab", "/a%257f"]),
    ],
)
def test_a_prefix_is_refused_with_the_reason(fault: Fault, prefixes: list[str]) -> None:
    refusals = policy_schema()["properties"]["entries"]["items"]["properties"]["match"]["properties"]["pathPrefix"]["allOf"]  # type: ignore[index]
    for prefix in prefixes:
        assert read_prefix(prefix).problem, prefix
        reasons = [refusal["not"]["description"] for refusal in refusals if re.search(refusal["not"]["pattern"], prefix)]
        assert any(fault.value in reason for reason in reasons), prefix
        assert not VALIDATOR.is_valid(policy(match={"host": "a.example", "pathPrefix": prefix}))
