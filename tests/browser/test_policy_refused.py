"""The policy view tells what a Namespace is not granted, and entries that let requests pass."""

from playwright.sync_api import expect

from tests.browser.conftest import Console, Visit
from tests.browser.made_up import entry


def test_refused_and_allowed_entries_are_shown(visit: Visit, console: Console) -> None:
    allow = entry("team-new", 0, (3, 3), "allow", "login.example.com", "/login")
    allow |= {"path_type": "Segment", "headers": [{"name": "mcp-name", "value": "x"}]}
    refused = {"entry": 1, "reason": "entries[1] is outside the hosts and paths that its namespace is granted"}
    shown = {"namespace": "team-new", "name": "it", "text": "version: v1\n", "entries": [allow], "problems": [], "refused": [refused]}
    console.tell("document", shown)
    document = visit("#/policy/team-new/it").locator("#policy-document")
    expect(document).to_contain_text("1 not granted")
    expect(document.locator(".problems")).to_have_text(f"entries[1] {refused['reason']}")
    expect(document.locator("tbody .action")).to_have_text("allow")
    expect(document.locator("tbody td").first).to_contain_text("whole segments, mcp-name: x")
