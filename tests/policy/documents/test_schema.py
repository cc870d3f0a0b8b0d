"""The JSON Schema of a policy document: what authors see first. ``tests/schemas/test_schemas.py`` has what holds for all schemas."""

import re
from pathlib import Path
from typing import Final

import pytest
import yaml
from jsonschema import Draft202012Validator

from exchanger.policy.documents.schema import policy_schema
from exchanger.policy.prefix import Fault, read_prefix

ROOT: Final = Path(__file__).resolve().parents[3]
VALIDATOR: Final = Draft202012Validator(policy_schema())
TARGET: Final = {"issuerRef": "primary", "scope": "read"}


def policy(**entry: object) -> dict[str, object]:
    return {"version": "v1", "entries": [{"match": {"host": "a.example", "pathPrefix": "/"}, "action": "deny", **entry}]}


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
        ({"action": "exchange", "exchange": {**TARGET, "resourceMetadata": "/x"}}, ["entries", 0, "exchange", "resourceMetadata"]),
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
