"""The panel of one request: its tabs, and what they say."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, Console, Visit, Watch
from tests.browser.made_up import KINDS, item

pytestmark = pytest.mark.browser

TABS = ("Flow", "Policy", "Tokens", "Response", "Log")


def open_row(page: Page, text: str) -> None:
    page.locator("#rows .row", has_text=text).first.click()
    expect(page.locator("#detail")).to_be_visible()


def open_seq(page: Page, seq: int) -> None:
    page.locator(f'#rows .row[data-key="0:{seq}"]').click()
    expect(page.locator("#detail")).to_be_visible()


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def test_tabs_go_by_arrow_keys_home_and_end(page: Page) -> None:
    open_row(page, "/orders/1")
    page.get_by_role("tab", name="Flow").focus()
    for name in (*TABS[1:], TABS[0]):
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name=name)).to_be_focused()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("tabpanel")).to_have_attribute("aria-labelledby", f"tab-{name.lower()}")
    page.keyboard.press("End")
    expect(page.get_by_role("tab", name="Log")).to_be_focused()
    page.keyboard.press("Home")
    expect(page.get_by_role("tab", name="Flow")).to_be_focused()
    assert page.locator('[role=tab][tabindex="0"]').count() == 1


@pytest.mark.parametrize("decision", KINDS)
def test_every_decision_has_a_flow_drawn_and_told(page: Page, console: Console, decision: str) -> None:
    console.emit(item(100, decision))
    open_seq(page, 100)
    steps = page.locator(".steps li").all_inner_texts()
    assert len(steps) == page.locator(".flow .step").count() >= 4
    reached = KINDS[decision][0] == "allowed"
    assert "upstream" in steps[-1]
    assert ("never sees" in steps[-1]) is not reached
    lanes = page.locator(".flow .lane")
    outside = [
        lane
        for lane, reached in zip(("client", "Envoy", "exchanger", "token", "upstream"), lanes.all(), strict=True)
        if "out" in str(reached.get_attribute("class"))
    ]
    asked = decision in {"allow_exchange", "deny_exchange_error"}
    assert outside == [*([] if asked else ["token"]), *([] if reached else ["upstream"])]


def test_a_shared_exchange_names_those_that_shared_it(page: Page) -> None:
    page.locator("#rows .row").first.click()
    expect(page.locator(".steps")).to_contain_text("An equal exchange (scope read:orders) was under way at issuer.example.com")
    expect(page.locator(".sharers li")).to_have_count(2)
    expect(page.locator(".sharers")).to_contain_text("made the call")
    page.locator(".sharers button").first.click()
    expect(page.locator('#rows [aria-selected="true"]')).to_have_count(1)


def test_an_exchange_that_nobody_answered(page: Page, console: Console) -> None:
    call = {"endpoint": "issuer.example.com", "status": None, "duration_ms": 750.0, "error": "timeout", "coalesced": False}
    console.emit(item(100, "deny_exchange_error", exchange=call, diagnostic="TXE-1003", duration_ms=751.0))
    open_seq(page, 100)
    expect(page.locator(".steps")).to_contain_text("No answer came within 750 ms (TXE-1003).")
    for seq, error, text in (
        (101, "transport_error", "It could not be reached, or left"),
        (102, "read_response", "No usable answer came within"),
    ):
        console.emit(item(seq, "deny_exchange_error", exchange=call | {"error": error}, diagnostic="TXE-1003"))
        open_seq(page, seq)
        expect(page.locator(".steps")).to_contain_text(text)
    console.emit(item(103, "deny_exchange_error", exchange=call | {"duration_ms": None}, diagnostic="TXE-1005"))
    open_seq(page, 103)
    expect(page.locator(".steps")).to_contain_text("No call was made")


def test_the_policy_tab_marks_the_entry_and_says_why_others_did_not_win(page: Page) -> None:
    open_row(page, "/orders/internal/9")
    tab(page, "Policy")
    expect(page.locator(".code-line.marked")).to_have_count(4)
    assert page.locator(".code-line.marked").evaluate_all("lines => lines.map((line) => line.dataset.line)") == ["8", "9", "10", "11"]
    expect(page.locator(".code-line.marked").first).to_contain_text("the entry that decided: ")
    won = page.locator(".candidates tr.won")
    expect(won).to_contain_text("the longest pathPrefix")
    expect(page.locator(".candidates tbody tr")).to_have_count(3)
    expect(page.locator(".candidates")).to_contain_text("an entry with a longer pathPrefix matches")
    expect(page.locator("#detail .note.warn")).to_have_count(0)


def test_the_policy_tab_says_that_the_policy_has_changed_since(page: Page, console: Console) -> None:
    console.tell("set", {"revision": 9})
    open_row(page, "/orders/internal/9")
    tab(page, "Policy")
    expect(page.locator("#detail .note.warn")).to_contain_text("version 7 decided, and version 9 is shown here")


def test_a_document_that_is_gone_and_one_without_text(page: Page, console: Console, watch: Watch) -> None:
    watch.allow("404")  # the browser logs it
    gone = {"namespace": "team-gone", "name": "policy", "entry": 0}
    silent = {"namespace": "team-green", "name": "token-policy", "entry": 0}
    console.emit(item(100, policy=gone), item(101, policy=silent))
    page.locator("#rows .row", has_text="team-gone").click()
    tab(page, "Policy")
    expect(page.locator("#detail")).to_contain_text("team-gone/policy is not there any more.")
    page.locator("#rows .row", has_text="team-green").click()
    expect(page.locator("#detail")).to_contain_text("The document's text cannot be shown.")


def test_tokens_are_compared_claim_by_claim(page: Page) -> None:
    open_row(page, "/digest")
    tab(page, "Tokens")
    found = {row.locator("th").inner_text(): row.get_attribute("class") for row in page.locator(".diff").first.locator("tbody tr").all()}
    assert found == {
        "iss": "d-changed",
        "sub": "d-kept",
        "aud": "d-changed",
        "scope": "d-changed",
        "act": "d-added",
        "exp": "d-changed",
        "email": "d-removed",
    }
    expect(page.locator("#detail")).to_contain_text("not verified")


def test_a_token_that_cannot_be_decoded_is_said_to_be_opaque(page: Page, console: Console) -> None:
    console.emit(item(100, tokens={"subject": {"opaque": True}, "exchanged": None}))
    open_seq(page, 100)
    tab(page, "Tokens")
    expect(page.locator("#detail")).to_contain_text("not a JWT")


@pytest.mark.parametrize("console", [("--service",)], indirect=True)
def test_the_service_shows_no_tokens_no_lab_and_no_banner(page: Page) -> None:
    open_row(page, "/orders/1")
    tab(page, "Tokens")
    expect(page.locator("#detail")).to_contain_text("Tokens are never shown here")
    assert page.locator("#detail").inner_text().count("alice") == 0
    expect(page.locator("#warning")).to_be_hidden()
    expect(page.get_by_role("link", name="Lab")).to_be_hidden()
    page.goto(page.url.split("#")[0] + "#/lab")
    expect(page.locator("#view-live")).to_be_visible()


def test_the_demo_warns_on_the_whole_page(page: Page) -> None:
    expect(page.locator("#warning")).to_contain_text("tokens are shown decoded")
    for view in ("Policy", "Lab", "Edit"):
        page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
        expect(page.locator("#warning")).to_be_visible()


def test_the_response_tab_shows_the_answer_or_that_there_was_none(page: Page) -> None:
    open_row(page, "No token")
    tab(page, "Response")
    expect(page.locator("#detail")).to_contain_text('Bearer realm="exchanger-demo", scope="read:orders"')
    expect(page.locator("#detail .block")).to_contain_text('"error": "bearer_token_required"')
    open_row(page, "Exchange failed")
    expect(page.locator("#detail")).to_contain_text("It is not shown")
    open_row(page, "/digest")
    expect(page.locator("#detail")).to_contain_text("went on to the upstream")


def test_the_log_line_can_be_copied(visit: Visit) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    open_row(page, "Denied")
    tab(page, "Log")
    page.get_by_role("button", name="Copy as JSON").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert re.search('"decision":"deny_explicit_policy"', page.evaluate("navigator.clipboard.readText()"))


def test_the_panel_goes_through_the_list_and_keeps_its_tab_and_the_focus(page: Page) -> None:
    page.locator("#rows .row").first.click()
    tab(page, "Log")
    following = page.get_by_role("button", name="The next request in the list")
    following.click()
    expect(page.locator('#rows .row[aria-selected="true"]')).to_have_count(1)
    assert page.locator("#rows .row").nth(1).get_attribute("aria-selected") == "true"
    expect(following).to_be_focused()
    expect(page.get_by_role("tab", name="Log")).to_have_attribute("aria-selected", "true")


def test_on_a_phone_the_panel_covers_the_page_and_gives_it_back(visit: Visit) -> None:
    page = visit(viewport=PHONE)
    row = page.locator("#rows .row").nth(2)
    row.click()
    box = page.locator("#detail").bounding_box()
    assert box is not None
    assert (box["x"], box["y"], box["width"]) == (0, 0, PHONE["width"])
    assert page.locator("#main").evaluate("main => main.inert")
    expect(page.locator("#detail-close")).to_be_focused()
    page.locator("#detail-close").click()
    expect(page.locator("#detail")).to_be_hidden()
    assert not page.locator("#main").evaluate("main => main.inert")
    expect(row).to_be_focused()
