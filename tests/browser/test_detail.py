"""The panel of one request: its tabs, and what they say."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import PHONE, Console, Visit, Watch
from tests.browser.made_up import BLUE_TEXT, CONFLICT, Json, documents, item
from tests.browser.test_accessibility import assert_accessible

pytestmark = [pytest.mark.full, pytest.mark.browser]

TOPMOST = """node => {
  const {left, top, width, height} = node.getBoundingClientRect();
  return node.contains(document.elementFromPoint(left + width / 2, top + height / 2));
}"""
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


def test_the_flow_is_drawn_with_its_lanes_and_told_step_by_step(page: Page, console: Console) -> None:
    console.emit(item(100, "deny_explicit_policy"))
    open_seq(page, 100)
    assert len(page.locator(".steps li").all_inner_texts()) == page.locator(".flow .step").count() == 5
    expect(page.locator(".steps li").last).to_contain_text("The upstream never sees the request.")
    expect(page.locator(".flow .lane")).to_have_count(5)
    expect(page.locator(".flow .lane.out")).to_have_count(2)


def test_a_shared_exchange_names_those_that_shared_it(page: Page) -> None:
    page.locator("#rows .row").first.click()
    expect(page.locator(".steps")).to_contain_text("An equal exchange (scope read:orders) was in progress at issuer.example.com")
    expect(page.locator(".sharers li")).to_have_count(2)
    expect(page.locator(".sharers")).to_contain_text("made the call")
    page.locator(".sharers button").first.click()
    expect(page.locator('#rows [aria-selected="true"]')).to_have_count(1)


def test_what_was_issued_stands_beside_what_was_requested(page: Page, console: Console) -> None:
    sides = {
        "requested": {"iss": "https://a.example", "aud": '["orders"]', "scope": ""},
        "issued": {"iss": "https://a.example", "aud": '["<b>payments</b>"]', "scope": "admin"},
    }
    call = {"endpoint": "issuer.example.com", "status": 200, "duration_ms": 11.8, "error": None, "coalesced": False}
    console.emit(item(100, "deny_exchange_error", exchange=call, diagnostic="TXE-3006", mismatch={"claim": "aud", **sides}))
    open_seq(page, 100)
    table = page.locator("table.diff")
    expect(table.locator("caption")).to_have_text("Requested and issued: aud is wrong")
    expect(table.locator("tbody tr .change-mark")).to_have_text(["kept", "changed", "added"])
    expect(table.locator("tbody tr td:last-child")).to_have_text(["https://a.example", '["<b>payments</b>"]', "admin"])


def test_policy_tab_marks_the_entry_and_names_the_losing_candidates(page: Page, console: Console) -> None:
    open_row(page, "/orders/internal/9")
    tab(page, "Policy")
    expect(page.locator(".code-line.marked")).to_have_count(4)
    assert page.locator(".code-line.marked").evaluate_all("lines => lines.map((line) => line.dataset.line)") == ["8", "9", "10", "11"]
    expect(page.locator(".code-line.marked").first).to_contain_text("the entry that decided: ")
    won = page.locator(".candidates tr.won")
    expect(won).to_contain_text("the longest pathPrefix")
    expect(page.locator(".candidates tbody tr")).to_have_count(2)
    expect(page.locator(".candidates")).to_contain_text("an entry with a longer pathPrefix matches")
    expect(page.locator("#detail .note.warn")).to_have_count(0)
    console.tell("set", {"revision": 9})
    open_row(page, "/orders/internal/9")
    expect(page.locator("#detail .note.warn")).to_contain_text("version 7 decided, and version 9 is shown here")
    expect(page.locator(".code-line.marked").first).to_contain_text("the entry that decides now: ")


def test_a_position_of_another_version_is_not_marked(page: Page, console: Console) -> None:
    """Another entry has taken the position of the one that decided, and nothing can be asked about a path that is shown cut."""
    console.emit(item(100, "deny_explicit_policy", path_cut=True))
    console.tell("set", {"revision": 8})
    open_seq(page, 100)
    tab(page, "Policy")
    expect(page.locator(".code-line")).to_have_count(15)
    expect(page.locator(".code-line.marked")).to_have_count(0)
    expect(page.locator("#detail .note.warn")).to_contain_text("version 7 decided, and version 8 is shown here")


def test_answers_of_two_versions_are_asked_for_again(page: Page) -> None:
    answers: list[Json] = []

    def older_at_first(route: Route) -> None:
        answers.append(route.fetch().json())
        route.fulfill(json=answers[-1] | ({"revision": 6, "entries": []} if len(answers) == 1 else {}))

    page.route("**/api/policy/document?*", older_at_first)
    open_row(page, "/orders/internal/9")
    tab(page, "Policy")
    expect(page.locator(".code-line.marked")).to_have_count(4)
    assert len(answers) == 2


def test_both_rivals_of_a_conflict_are_marked_and_none_has_won(page: Page, console: Console) -> None:
    green = documents()["team-green", "token-policy"]
    green["entries"][0] |= {"line": 3, "end_line": 5}
    console.tell("document", green | {"text": BLUE_TEXT, "problems": []})
    console.emit(item(100, "deny_policy_unhealthy", host="blue.example.com", path="/reports", policy=None, conflict=True, detail=CONFLICT))
    open_seq(page, 100)
    expect(page.locator(".steps li").nth(2)).to_have_text(f"Conflict: {CONFLICT}.")
    tab(page, "Policy")
    boxes = page.locator("#detail .code")
    expect(boxes).to_have_count(2)
    for box in boxes.all():
        expect(box.locator(".code-line.marked.m-warn")).to_have_count(3)
        expect(box.locator('.code-tag[data-tag="conflict"]')).to_have_count(1)
    expect(page.locator(".candidates .verdict")).to_have_text(["conflict", "conflict"])


def test_unreadable_document_is_marked_at_its_line(page: Page, console: Console) -> None:
    where = {"namespace": "team-red", "name": "token-policy", "entry": None}
    problem = {"entry": None, "line": 2, "column": 5, "reason": "the document is not YAML"}
    console.tell("document", documents()["team-red", "token-policy"] | {"entries": [], "problems": [problem], "text": "version: v1\n- [\n"})
    console.emit(item(100, "deny_policy_unhealthy", policy=where, path="/else", path_cut=True))
    open_seq(page, 100)
    tab(page, "Policy")
    expect(page.locator(".code-line.m-bad")).to_have_attribute("data-line", "2")
    expect(page.locator(".code-tag")).to_have_attribute("data-tag", "blocked by")


def test_what_is_broken_blocks_and_has_not_won(page: Page, console: Console) -> None:
    console.emit(item(100, "deny_policy_unhealthy"))
    open_seq(page, 100)
    expect(page.locator(".steps li").nth(2)).to_contain_text("Blocked by team-red/token-policy, entries[1]: ")
    tab(page, "Policy")
    expect(page.locator(".code-line.marked.m-bad")).to_have_count(3)
    expect(page.locator(".candidates .verdict").first).to_have_text("blocked by")
    expect(page.locator("#tab-panel")).not_to_contain_text(re.compile(r"\bwon\b"))


def test_a_document_that_is_gone_and_one_without_text(page: Page, console: Console, watch: Watch) -> None:
    watch.allow("404")  # the browser logs it
    gone = {"namespace": "team-gone", "name": "policy", "entry": 0}
    silent = {"namespace": "team-green", "name": "token-policy", "entry": 0}
    console.emit(item(100, policy=gone), item(101, policy=silent))
    page.locator("#rows .row", has_text="team-gone").click()
    tab(page, "Policy")
    expect(page.locator("#detail")).to_contain_text("team-gone/policy no longer exists.")
    page.locator("#rows .row", has_text="team-green").click()
    expect(page.locator("#detail")).to_contain_text("The document's text cannot be shown.")


def test_a_path_that_is_shown_cut_is_not_asked_about_again(page: Page, console: Console) -> None:
    old = item(102, "deny_explicit_policy", path="/orders/internal/old")
    del old["path_cut"]  # as a service before it says it
    console.emit(item(100, "deny_explicit_policy", path_cut=True), item(101, "allow_unmatched", path_cut=True), old)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    text = "The path is not shown completely, so it cannot be explained again."
    open_seq(page, 100)
    tab(page, "Policy")
    expect(page.locator("#tab-panel")).to_contain_text(text)
    expect(page.locator("#tab-panel h3").first).to_contain_text("team-yellow/token-policy entries[1]")
    expect(page.locator(".code-line.marked")).to_have_count(4)
    open_seq(page, 101)
    expect(page.locator("#tab-panel")).to_contain_text("No document decided this request.")
    expect(page.locator("#tab-panel")).to_contain_text(text)
    assert not [url for url in asked if "api/explain" in url]
    open_seq(page, 102)
    expect(page.locator(".candidates tr.won")).to_have_count(1)
    expect(page.locator("#tab-panel")).not_to_contain_text(text)


def test_tokens_are_compared_claim_by_claim_or_said_to_be_opaque(page: Page, console: Console) -> None:
    open_row(page, "/digest")
    tab(page, "Tokens")
    found = (
        page.locator(".diff")
        .first.locator("tbody tr")
        .evaluate_all("rows => rows.map((row) => row.querySelector('th').innerText + ' ' + row.className)")
    )
    assert sorted(found) == [
        *("act d-added", "aud d-changed", "email d-removed", "exp d-changed", "iss d-changed", "scope d-changed", "sub d-kept")
    ]
    expect(page.locator("#detail")).to_contain_text("not verified")
    page.keyboard.press("Escape")
    console.emit(item(100, tokens={"subject": {"opaque": True}, "exchanged": None}))
    open_seq(page, 100)
    expect(page.locator("#detail")).to_contain_text("not a JWT")


@pytest.mark.parametrize("console", [("--service",)], indirect=True)
def test_the_service_shows_no_tokens_no_lab_and_no_banner(page: Page) -> None:
    open_row(page, "/orders/1")
    tab(page, "Tokens")
    expect(page.locator("#detail")).to_contain_text("Tokens are never shown here")
    assert page.locator("#detail").inner_text().count("alice") == 0
    expect(page.locator(".warning:visible")).to_have_count(0)
    expect(page.get_by_role("link", name="Lab")).to_be_hidden()
    page.goto(page.url.split("#")[0] + "#/lab")
    expect(page.locator("#view-live")).to_be_visible()


@pytest.mark.parametrize("size", [(844, 390), (390, 844)], ids=["lying", "standing"])
def test_beside_a_long_path_in_a_short_window_everything_can_be_read(visit: Visit, console: Console, size: tuple[int, int]) -> None:
    console.emit(item(100, path="/" + "a" * 511), item(101))
    page = visit(viewport={"width": size[0], "height": size[1]})
    open_seq(page, 100)
    last = page.locator(".steps li").last
    last.scroll_into_view_if_needed()
    expect(last).to_be_in_viewport(ratio=1)
    assert last.evaluate(TOPMOST)
    assert page.locator("#tab-panel").evaluate("panel => panel.clientHeight") > 100
    assert_accessible(page)
    tab(page, "Tokens")
    expect(page.locator("#tab-panel .warning")).to_be_in_viewport(ratio=1)
    assert page.locator("#tab-panel .warning").evaluate(TOPMOST)
    # The path scrolls by itself, and is a stop of the keyboard only where it does.
    title = page.locator("#detail-title")
    title.focus()
    page.keyboard.press("End")
    expect(title).to_be_focused()
    page.wait_for_function("title => title.scrollTop > 0", arg=title.element_handle())
    page.get_by_role("button", name="The previous request in the list").click()
    expect(title).to_have_text("GET yellow.example.com/orders/1")
    expect(title).not_to_have_attribute("tabindex", "0")


def test_the_response_tab_shows_the_answer_or_that_there_was_none(page: Page) -> None:
    open_row(page, "No token")
    tab(page, "Response")
    expect(page.locator("#detail")).to_contain_text('Bearer realm="exchanger-demo", scope="read:orders"')
    expect(page.locator("#detail .block")).to_contain_text('"error": "bearer_token_required"')
    open_row(page, "Exchange failed")
    expect(page.locator("#detail")).to_contain_text("It is not shown")
    open_row(page, "/digest")
    expect(page.locator("#detail")).to_contain_text("was passed on to the upstream")


def test_the_log_line_can_be_copied(visit: Visit) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    open_row(page, "Denied by policy")
    tab(page, "Log")
    button = page.get_by_role("button", name="Copy as JSON")
    # The button says so for two seconds, and may be looked at later than that.
    button.evaluate(
        "button => new MutationObserver(() => (window.said ??= button.innerText)).observe(button, {subtree: true, childList: true})"
    )
    button.click()
    page.wait_for_function("() => window.said === 'Copied'")
    assert re.search('"decision":"deny_explicit_policy"', page.evaluate("navigator.clipboard.readText()"))


def test_panel_keeps_its_tab_and_focus_while_it_steps_through_requests(page: Page) -> None:
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


def test_on_a_phone_back_and_links_lead_out_of_the_panel(visit: Visit) -> None:
    page = visit("#/lab", viewport=PHONE)
    detail, live = page.locator("#detail"), page.locator("#view-live")
    page.get_by_role("link", name="Live").click()
    row = page.locator("#rows .row").first
    row.click()
    expect(detail).to_be_visible()
    page.go_back()
    expect(live).to_be_visible()
    expect(detail).to_be_hidden()
    expect(row).to_be_focused()
    assert not page.locator("#main").evaluate("main => main.inert")
    open_row(page, "/orders/internal/9")
    tab(page, "Policy")
    page.get_by_role("link", name="Open the document").click()
    expect(page.locator("#policy-document h2")).to_be_visible()
    expect(detail).to_be_hidden()
    expect(page.locator("#main")).to_be_focused()
    # An address that names a request leads to it.
    page.evaluate(f"location.hash = '#/live?trace={1:032x}'")
    expect(page.locator("#detail-close")).to_be_focused()
