"""The policy view: every document with its health, and problems at their lines."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, Console, Visit, Watch
from tests.browser.made_up import HEALTHY, Json, documents, overview

pytestmark = pytest.mark.browser

RIVAL = {"namespace": "team-green", "name": "token-policy", "entry": 0}


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit("#/policy")


def test_documents_are_listed_by_namespace_with_their_health(page: Page) -> None:
    expect(page.locator("#policy-summary")).to_have_text(
        "Version 7: 4 documents, 8 entries, 2 documents have problems, 1 document is in conflict."
    )
    found = [" ".join(text.split()) for text in page.locator(".namespace").all_inner_texts()]
    assert found == [
        "team-blue token-policy conflicts 1 entry",
        "team-green token-policy 1 problem 1 entry",
        "team-red token-policy 2 problems 3 entries",
        "team-yellow token-policy ok 3 entries",
    ]


def test_the_tab_the_banner_and_the_page_count_the_same(page: Page, console: Console) -> None:
    tab = page.get_by_role("navigation", name="Views").get_by_role("link", name="Policy")
    expect(tab).to_have_accessible_name("Policy")
    console.tell("set", {"health": HEALTHY | {"problems": 2, "conflicts": 1}})
    expect(tab).to_have_accessible_name("Policy (2 documents have problems, 1 document is in conflict)")
    expect(page.locator("#policy-mark-count")).to_have_text("3")
    expect(page.locator(".banner")).to_contain_text("2 documents have problems. 1 document is in conflict.")
    expect(page.locator("#policy-summary")).to_contain_text("2 documents have problems, 1 document is in conflict.")
    assert page.locator(".document:not(.h-ok)").count() == 3
    console.tell("set", {"health": HEALTHY})
    expect(tab).to_have_accessible_name("Policy")


def test_a_document_with_more_problems_than_the_list_has_is_listed_so(visit: Visit, console: Console) -> None:
    many = [{"entry": number, "line": 1, "column": None, "reason": "here"} for number in range(20)]
    console.tell("document", {"namespace": "team-long", "name": "it", "text": "[]\n", "entries": [], "problems": many})
    expect(visit("#/policy").locator(".namespace", has_text="team-long")).to_contain_text("20 or more problems")


def test_policy_view_opens_the_document_that_needs_attention_most(visit: Visit, console: Console) -> None:
    title = "#policy-document h2"
    known = documents()
    page = visit("#/policy")
    expect(page.locator(title)).to_have_text("team-green/token-policy")
    expect(page.locator(".document[aria-current]")).to_have_count(1)
    page.goto(console.url + "#/policy/team-yellow/token-policy")
    expect(page.locator(title)).to_have_text("team-yellow/token-policy")
    page.get_by_role("link", name="Live").click()
    page.get_by_role("link", name="Policy", exact=True).click()
    expect(page.locator(title)).to_have_text("team-yellow/token-policy")  # what somebody has chosen stays
    for found in known.values():
        console.tell("document", found | {"problems": []})
    expect(visit("#/policy").locator(title)).to_have_text("team-blue/token-policy")
    console.tell("document", known["team-yellow", "token-policy"] | {"namespace": "team-aqua"})
    expect(visit("#/policy").locator(title)).to_have_text("team-blue/token-policy")
    for found in known.values():
        console.tell("document", found | {"problems": [], "entries": []})
    expect(visit("#/policy").locator(title)).to_have_text("team-aqua/token-policy")


def test_on_a_phone_a_document_that_nobody_asked_for_moves_nothing(visit: Visit) -> None:
    page = visit("#/policy", viewport=PHONE)
    expect(page.locator("#policy-document h2")).to_have_text("team-green/token-policy")
    assert page.evaluate("scrollY") == 0


def test_probable_mistakes_are_listed_with_what_to_do(page: Page) -> None:
    region = page.get_by_role("region", name="5 probable mistakes")
    expect(region.get_by_role("listitem")).to_have_count(2)
    expect(region.get_by_role("listitem").first).to_have_text(
        "variable TOKEN_EXCHANGE_DEFAULT_DENY_UNMACHED has no effect: there is no such variable; did you mean "
        "TOKEN_EXCHANGE_DEFAULT_DENY_UNMATCHED? (see the configuration reference)"
    )
    expect(region).to_contain_text("3 more are not listed.")


def test_a_name_finds_its_documents(page: Page) -> None:
    page.get_by_label("Find a namespace or document").fill("red")
    expect(page.locator(".namespace")).to_have_count(1)
    page.get_by_label("Find a namespace or document").fill("nobody")
    expect(page.locator("#policy-tree")).to_have_text("Nothing has that name.")


def test_problems_stand_at_their_lines_and_links_lead_there(page: Page) -> None:
    page.locator(".namespace", has_text="team-red").get_by_role("link").click()
    expect(page).to_have_url(re.compile("#/policy/team-red/token-policy$"))
    expect(page.locator(".code-line")).to_have_count(12)
    assert page.locator(".code-line.wrong").evaluate_all("lines => lines.map((line) => line.dataset.line)") == ["9", "11"]
    expect(page.locator(".code-note").first).to_have_text("line 9, column 13: action must be exchange or deny, not exchagne")
    page.get_by_role("button", name="line 11, column 60, entries[2]").click()
    expect(page.get_by_role("region", name="team-red/token-policy, its text")).to_be_focused()
    expect(page.locator("#policy-document tr.invalid")).to_have_count(2)


def test_conflicts_name_their_rivals(page: Page) -> None:
    page.locator(".namespace", has_text="team-blue").get_by_role("link").click()
    page.locator(".conflict").get_by_role("link", name="team-green/token-policy entries[0]").click()
    expect(page.locator("#policy-document h2")).to_have_text("team-green/token-policy")
    expect(page.locator("#policy-document")).to_contain_text("config.yaml is missing")


def test_an_entry_has_an_address_and_is_marked_there(page: Page) -> None:
    page.locator(".namespace", has_text="team-yellow").get_by_role("link").click()
    expect(page.locator(".code-line.marked")).to_have_count(0)
    page.locator("#policy-document").get_by_role("link", name="entries[1]").click()
    expect(page).to_have_url(re.compile("#/policy/team-yellow/token-policy/1$"))
    expect(page.locator(".code-line.marked")).to_have_count(4)
    assert page.locator(".code-line.marked").evaluate_all("lines => lines.map((line) => line.dataset.line)") == ["8", "9", "10", "11"]
    expect(page.locator("#policy-document tr.chosen")).to_contain_text("/orders/internal")


def test_lines_are_those_that_yaml_counts(visit: Visit, console: Console) -> None:
    text, entry = "version: v1\r# a\u2028# b\x85entries: [1]\n", documents()["team-yellow", "token-policy"]["entries"][0]
    found = {"namespace": "team-odd", "name": "it", "text": text, "entries": [entry | {"line": 4, "end_line": 4}], "problems": []}
    console.tell("document", found)
    expect(visit("#/policy/team-odd/it/0").locator(".code-line.marked")).to_have_text("entries[0]: entries: [1]\n")


def test_a_link_opens_its_document_and_one_that_is_gone_says_so(visit: Visit, watch: Watch) -> None:
    watch.allow("404")  # the browser logs it
    expect(visit("#/policy/team-yellow/token-policy").locator(".code-line")).to_have_count(15)
    expect(visit("#/policy/team-gone/x%2Fy").locator("#policy-document")).to_contain_text("This document does not exist (any more).")


def test_another_version_appears_by_itself(page: Page, console: Console) -> None:
    page.locator(".namespace", has_text="team-red").get_by_role("link").click()
    expect(page.locator(".code-line.wrong")).to_have_count(2)
    console.tell("document", documents()["team-red", "token-policy"] | {"text": "version: v1\n", "entries": [], "problems": []})
    console.tell("set", {"revision": 8})
    expect(page.locator("#policy-summary")).to_contain_text("Version 8")
    expect(page.locator(".code-line")).to_have_count(1)


def test_a_long_document_is_shown_around_what_is_wrong_in_it(visit: Visit, console: Console) -> None:
    text = "".join(f"# line {number}\n" for number in range(1, 20_001))
    problem = {"entry": 0, "line": 15_000, "column": None, "reason": "here"}
    console.tell("document", {"namespace": "team-long", "name": "it", "text": text, "entries": [], "problems": [problem]})
    page = visit("#/policy/team-long/it")
    expect(page.locator(".code-line.wrong")).to_have_text("# line 15000\n")
    expect(page.locator(".code-line")).to_have_count(4000)
    expect(page.locator(".cut")).to_have_count(2)
    expect(page.locator(".code-line.wrong")).to_be_in_viewport()


def test_of_very_many_entries_and_problems_a_part_is_listed(visit: Visit, console: Console) -> None:
    one = documents()["team-yellow", "token-policy"]["entries"][0]
    entries = [one | {"entry": number, "line": 1, "end_line": 1, "conflicts": [RIVAL]} for number in range(1200)]
    problems = [{"entry": number, "line": 1, "column": None, "reason": "here"} for number in range(1200)]
    console.tell("document", {"namespace": "team-long", "name": "it", "text": "[]\n", "entries": entries, "problems": problems})
    place = visit("#/policy/team-long/it").locator("#policy-document")
    expect(place.locator("tbody tr")).to_have_count(1000)
    expect(place).to_contain_text("200 more entries of this document are not listed.")
    expect(place.locator(".problems li")).to_have_count(201)
    expect(place.locator(".code-note")).to_have_count(200)
    expect(place.locator(".code-tag")).to_have_count(200)


@pytest.mark.parametrize(
    ("changes", "place", "text"),
    [
        ({}, "#policy-tree", "team-yellow"),
        ({"ready": False}, "#policy-summary", "not ready yet: everything is refused"),
        ({"more": 12}, "#policy-tree", "12 healthy documents more are not listed."),
    ],
    ids=["in order", "not ready", "cut short"],
)
def test_policy_list_says_what_is_missing_and_hides_an_empty_section(visit: Visit, changes: Json, place: str, text: str) -> None:
    page = visit()
    found = overview(documents(), 7) | {"notices": {"listed": [], "more": 0}} | changes
    page.route("**/api/policy", lambda route: route.fulfill(json=found))
    page.get_by_role("link", name="Policy").click()
    expect(page.locator(place)).to_contain_text(text)
    expect(page.locator("#policy-notices")).to_be_hidden()


def test_the_profiles_of_issuers_are_below_the_policy(visit: Visit) -> None:
    page = visit("#/policy")
    rows = page.locator("#profiles tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("demo issuer.example.com")
    expect(rows.nth(0)).to_contain_text("none needed")
    expect(rows.nth(1)).to_contain_text("signed assertion (ES256)")
    expect(rows.nth(1)).to_contain_text("not known yet: https://login.example.com")
    expect(rows.nth(1)).to_contain_text("grant: jwt-bearer")
    expect(page.locator("#profiles-more")).to_have_text("3 more")


def test_profiles_that_are_not_told_are_not_shown(page: Page) -> None:
    expect(page.locator("#profiles")).to_be_visible()
    page.route("**/api/issuers", lambda route: route.fulfill(json={"listed": [], "more": 0}))
    page.locator("#policy-refresh").click()
    expect(page.locator("#profiles")).to_be_hidden()
