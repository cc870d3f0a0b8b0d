"""What the pages on policies and grants show is what the service reads, and does."""

import re
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml

from exchanger.authz.decision.check import DecisionRules, begin
from exchanger.authz.decision.outcome import Deny
from exchanger.model.entry import DenyEntry, ExchangeEntry, Source
from exchanger.model.policy_decision import Ambiguous, NoMatch
from exchanger.model.request import HeaderFields, HttpRequest
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.snapshot import PolicySnapshot
from tests.policy.examples import with_documents

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PAGES: Final = (
    *("reference/policy.md", "reference/grants.md", "how-to/give-a-team-its-hosts.md", "explanation/who-may-do-what.md"),
    "how-to/check-policies.md",
)
ISSUERS: Final = frozenset({"primary"})


def blocks(page: str) -> list[Any]:
    """Return what is in each block of YAML on ``page``."""
    return [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)]


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below ``heading``."""
    section = (DOCS / page).read_text().split(f"\n## {heading}\n")[1]
    lines = re.findall(r"^\| (.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    return [line.split(" | ") for line in lines]


def document(content: object, namespace: str = "team-orders") -> PolicyDocument:
    return parse_document(Source(namespace, "policy"), yaml.safe_dump(content), ISSUERS)


def grants_in(content: object) -> Grants:
    found = read_grants(yaml.safe_dump(content), has_labels=True)
    assert isinstance(found, Grants), found
    return found


def snapshot(content: object, grants: Grants = NO_GRANTS) -> PolicySnapshot:
    documents = [] if content is None else [document(content)]
    return with_documents(PolicySnapshot(grants=grants), *documents)


EXAMPLES: Final = [pytest.param(block, id=f"{page}-{number}") for page in PAGES for number, block in enumerate(blocks(page))]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_is_one_that_the_service_takes(example: Any) -> None:
    if "policy" in example:
        grants_in(example["policy"]["grants"])
    elif "grants" in example:
        grants_in(example)
    else:
        policy = yaml.safe_load(example["data"]["config.yaml"]) if "data" in example else example
        assert document(policy).entries
        assert document(policy).closed_scopes == ()


@pytest.mark.parametrize(
    "row", [row for row in rows("reference/grants.md", "What happens to an entry") if row[0].startswith("`{")], ids=lambda row: row[0]
)
def test_entries_become_what_the_page_says(row: list[str]) -> None:
    grants = grants_in(blocks("reference/grants.md")[0])
    policy = {"version": "v1", "entries": [{"match": yaml.safe_load(row[0].strip("`")), "action": "deny"}]}
    there = snapshot(policy, grants)
    (left,) = there.documents()
    decision = "active" if left.entries else "invalid" if left.problems else "refused"
    assert (row[1].split(",")[0], bool(left.refused)) == (decision, decision == "refused")
    if "`Segment`" in row[1]:
        (entry,) = left.entries
        host, prefix = entry.match.host, entry.match.path_prefix
        assert host is not None
        assert [there.match(host, prefix + rest, "GET") for rest in ("", "/x", "s")] == [entry, entry, NoMatch()]
    if "closes `/api` on" in row[1]:
        assert {f"`{host}`" for host in left.routes} == set(re.findall("`[^`]*`", row[1])) - {"`/api`"}


@pytest.mark.parametrize("row", rows("reference/policy.md", "Path types")[1:], ids=lambda row: row[0])
def test_path_types_cover_what_the_page_says(row: list[str]) -> None:
    path_type, covered, others = ([text.strip("`") for text in cell.split(", ")] for cell in row)
    match = {"host": "a.example", "pathPrefix": "/orders", "pathType": path_type[0]}
    policy = snapshot({"version": "v1", "entries": [{"match": match, "action": "deny"}]})
    paths = [*covered, *others]
    assert [path for path in paths if isinstance(policy.match("a.example", path, "GET"), DenyEntry)] == covered


@pytest.mark.parametrize(
    "path", ["/internal", "/internal/x", "/%69nternal", "//internal", "/a/../internal", "/internal?x", "/internal%2fx"]
)
def test_no_spelling_gets_past_the_baseline(path: str) -> None:
    grants = grants_in(blocks("reference/grants.md")[0])
    allow = {"version": "v1", "entries": [{"match": {"host": "a.example.com", "pathPrefix": "/"}, "action": "allow"}]}
    for policy in (None, allow, {"version": "v2"}):
        found = snapshot(policy, grants).match("a.example.com", path, "GET")
        assert isinstance(found, DenyEntry)
        assert found in grants.baseline
    assert isinstance(snapshot(None, grants).match("a.example.com", "/100%", "GET"), Ambiguous)
    assert isinstance(snapshot(None, grants).match("a.example.org", "/100%", "GET"), NoMatch)


@pytest.mark.parametrize(
    ("headers", "scope"),
    [
        ({"mcp-method": "tools/call", "Mcp-Name": "delete_order"}, "orders.delete"),
        ({"mcp-method": "tools/call", "mcp-name": "=?base64?ZGVsZXRlX29yZGVy?="}, "orders.delete"),
        ({"mcp-method": "tools/call", "mcp-name": "list_orders"}, "orders.read"),
        ({}, "orders.read"),
        ({"mcp-method": "tools/call", "mcp-name": "delete_order", "mcp_name": "list_orders"}, None),
        ({"mcp-method": "tools/call", "mcp-name": "delete_order,list_orders"}, None),
        ({"mcp-method": "tools/call", "mcp-name": "=?base64?!?="}, None),
    ],
)
def test_a_tool_has_the_scope_that_the_page_gives_it(headers: dict[str, str], scope: str | None) -> None:
    (policy,) = (block for block in blocks("reference/policy.md") if "Mcp-Name" in str(block))
    found = snapshot(policy).match("mcp.example.com", "/mcp", "POST", headers=HeaderFields(tuple(headers.items())))
    assert (found.target.scope if isinstance(found, ExchangeEntry) else None) == scope
    assert isinstance(found, Ambiguous if scope is None else ExchangeEntry)


def test_the_challenge_that_the_page_gives_names_metadata_that_needs_no_token() -> None:
    (policy,) = (snapshot(block) for block in blocks("reference/policy.md") if "resourceMetadata" in str(block))
    answer = begin(HttpRequest("POST", "mcp.example.com", "/mcp", None), policy, DecisionRules())
    assert isinstance(answer, Deny)
    ((name, challenge),) = answer.headers
    assert f"\n{name}: {challenge}\n" in (DOCS / "reference/policy.md").read_text()
    url = urlsplit(challenge.split('"')[-2])
    assert policy.match(url.netloc, url.path, "GET") == NoMatch()
