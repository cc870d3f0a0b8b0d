"""Everything goes by keyboard: shortcuts, the list, dialogs, and where the focus goes."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console, Visit
from tests.browser.made_up import item

pytestmark = [pytest.mark.full, pytest.mark.browser]


def test_slash_leads_to_the_search_where_letters_are_letters(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.locator("#filter-text")).to_be_focused()
    page.keyboard.type("pjk?/")
    expect(page.locator("#filter-text")).to_have_value("pjk?/")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#help")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#filter-text")).not_to_be_focused()


def test_j_and_k_go_through_the_list_enter_opens_and_escape_closes(page: Page) -> None:
    rows = page.locator("#rows .row")
    page.keyboard.press("j")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_be_visible()
    page.keyboard.press("j")
    expect(rows.nth(2)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#detail")).to_be_hidden()
    expect(rows.nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Flow").focus()
    page.keyboard.press("Escape")  # from inside the panel
    expect(rows.nth(2)).to_be_focused()


def test_a_request_without_a_row_leads_to_the_nearest_one(page: Page, console: Console) -> None:
    opened = page.locator('#rows .row[aria-selected="true"]')
    console.emit(item(100, host="nearer.example.com"), item(101), item(102, host="nearer.example.com"))
    for key, nearest in (("j", "0:100"), ("k", "0:102")):
        page.locator('#rows .row[data-key="0:101"]').click()
        page.fill("#filter-host", "nearer")
        page.locator("#filter-host").blur()
        expect(page.locator("#rows .row")).to_have_count(2)
        page.keyboard.press(key)
        expect(opened).to_have_attribute("data-key", nearest)
        page.click("#filter-clear")
        expect(page.locator('#rows .row[data-key="0:101"]')).to_be_visible()


def test_evicted_request_leads_to_the_oldest_row(page: Page, console: Console) -> None:
    opened = page.locator('#rows .row[aria-selected="true"]')
    for button in ("The previous request in the list", "The next request in the list"):
        page.locator('#rows .row[data-key="0:1"]').click()
        page.fill("#filter-text", "/orders/internal")
        expect(page.locator("#rows .row")).to_have_count(1)
        page.get_by_role("button", name=button).click()
        expect(opened).to_have_attribute("data-key", "0:6")
        page.click("#filter-clear")
        expect(page.locator('#rows .row[data-key="0:1"]')).to_be_visible()


def test_the_list_is_one_tab_stop_and_arrows_move_in_it(page: Page) -> None:
    rows = page.locator("#rows .row")
    assert page.locator('#rows .row[tabindex="0"]').count() == 1
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(rows.last).to_be_focused()
    page.keyboard.press("Home")
    expect(rows.first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(rows.first).to_be_focused()
    assert page.locator('#rows .row[tabindex="0"]').count() == 1


def test_the_focus_stays_on_its_row_when_others_come(page: Page, console: Console) -> None:
    row = page.locator("#rows .row").nth(1)
    key = row.get_attribute("data-key")
    row.focus()
    console.emit(item(100), item(101))
    expect(page.locator("#rows .row").nth(3)).to_be_focused()
    assert page.evaluate("document.activeElement.dataset.key") == key


def test_the_help_lists_the_shortcuts_and_gives_the_focus_back(page: Page) -> None:
    page.locator("#help-open").focus()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    expect(page.locator("#help-keys")).to_contain_text("search the requests")
    page.keyboard.press("p")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    expect(page.locator("#help-open")).to_be_focused()


def test_single_letters_can_be_switched_off_and_stay_so(page: Page) -> None:
    page.keyboard.press("?")
    page.get_by_label("Use keys of a single letter").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("p")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "false")
    page.reload()
    page.wait_for_selector("#rows .row")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_hidden()


def test_single_keys_change_views_and_pause_but_not_with_a_modifier(page: Page) -> None:
    for key, title in (("2", "Policy"), ("3", "Explain"), ("4", "Lab"), ("5", "Edit"), ("1", "Live")):
        page.keyboard.press(key)
        expect(page).to_have_title(f"{title} · exchanger console")
    expect(page).to_have_url(re.compile("#/live$"))
    for key, paused in (("Control+p", "false"), ("Alt+p", "false"), ("p", "true"), ("p", "false")):
        page.keyboard.press(key)
        expect(page.locator("#pause")).to_have_attribute("aria-pressed", paused)


def test_the_skip_link_comes_first_and_leads_to_the_content(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#view-live")).to_be_visible()


def test_the_colours_can_be_switched_and_stay_so(visit: Visit) -> None:
    page = visit(color_scheme="light")
    root = page.locator("html")
    background = "getComputedStyle(document.body.parentElement).backgroundColor"
    light = page.evaluate(background)
    page.click("#theme")
    expect(root).to_have_attribute("data-theme", "light")
    page.click("#theme")
    expect(root).to_have_attribute("data-theme", "dark")
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")
    assert page.evaluate(background) == dark
    page.click("#theme")
    expect(root).to_have_attribute("data-theme", "auto")
    assert page.evaluate(background) == light


def test_new_requests_are_announced_politely_and_not_one_by_one(page: Page, console: Console) -> None:
    for seq in range(100, 106):
        console.emit(item(seq, "deny_explicit_policy" if seq % 2 else "allow_exchange"))
    log = page.locator("#polite")
    expect(log).to_have_text("6 new requests, 3 refused or failed.")
