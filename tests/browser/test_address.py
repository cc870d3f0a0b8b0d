"""View, filter and request are in the address: what is shown can be shared, reloaded and gone back to, and nothing secret is in it."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Console, Visit
from tests.browser.made_up import item

pytestmark = [pytest.mark.full, pytest.mark.browser]


def test_an_address_leads_another_page_to_the_same_filter_and_request(page: Page, visit: Visit) -> None:
    page.fill("#filter-host", "yellow")
    page.select_option("#filter-decision", "family:refused")
    page.locator("#rows .row", has_text="/orders/internal/9").click()
    expect(page).to_have_url(re.compile("request="))
    other = visit(page.url.removeprefix(page.url.split("#")[0]))
    for one in (other, page):
        one.reload()
        expect(one.locator("#detail-title")).to_contain_text("/orders/internal/9")
        expect(one.locator('#rows .row[aria-selected="true"]')).to_contain_text("/orders/internal/9")
        expect(one.locator("#filter-host")).to_have_value("yellow")
        expect(one.locator("#filter-decision")).to_have_value("family:refused")
        expect(one.locator("#rows .row")).to_have_count(2)


def test_back_and_forward_go_through_requests_filters_and_views(page: Page) -> None:
    detail, found = page.locator("#detail"), page.locator("#rows .row")
    everything = found.count()
    page.locator("#filter-text").press_sequentially("internal")
    page.locator("#filter-text").blur()
    found.first.click()
    page.get_by_role("navigation", name="Views").get_by_role("link", name="Policy").click()
    expect(page.locator("#view-policy")).to_be_visible()
    expect(detail).to_be_hidden()
    page.go_back()
    expect(detail).to_be_visible()
    page.go_back()
    expect(detail).to_be_hidden()
    expect(found).to_have_count(1)
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "false")
    page.go_back()  # the letters are one entry
    expect(found).to_have_count(everything)
    expect(page.locator("#filter-text")).to_have_value("")
    page.go_forward()
    expect(page.locator("#filter-text")).to_have_value("internal")
    page.go_forward()
    expect(page.locator("#detail-title")).to_contain_text("/orders/internal/9")


def test_other_views_keep_the_live_filter_and_close_the_request(page: Page) -> None:
    page.fill("#filter-host", "red")
    page.locator("#rows .row").first.click()
    for view in ("Policy", "Lab", "Edit"):
        page.get_by_role("navigation", name="Views").get_by_role("link", name=view).click()
        expect(page.locator("#detail")).to_be_hidden()
    page.keyboard.press("1")
    expect(page.locator("#filter-host")).to_have_value("red")
    expect(page.locator("#detail")).to_be_hidden()
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "false")


def test_a_request_that_is_gone_says_so(visit: Visit, console: Console) -> None:
    page = visit()
    page.locator("#rows .row").first.click()
    expect(page).to_have_url(re.compile("request="))
    console.tell("set", {"items": [item(9, time="2027-01-01T00:00:00.000Z"), item(14)]})  # another life with the same numbers
    page.reload()
    gone = page.locator("#gone")
    expect(gone).to_contain_text("This request is no longer here.")
    expect(page.locator("#detail")).to_be_hidden()
    gone.get_by_role("button", name="OK").click()
    expect(gone).to_be_empty()
    expect(page).to_have_url(re.compile("#/live$"))


def test_what_looks_like_a_credential_filters_and_stays_out_of_the_address(page: Page) -> None:
    page.fill("#filter-host", "red")
    page.fill("#filter-text", "client_secret=abc")
    expect(page.locator("#list-empty")).to_have_text("No request matches the filters.")
    assert page.url.split("#")[1] == "/live?host=red"
