"""The stream ends and comes back: nothing twice, nothing forgotten, and its state always in words."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Console, Visit, Watch
from tests.browser.made_up import all_kinds, item

pytestmark = pytest.mark.browser

ALL = len(all_kinds())
# What the browser says of a question to a service that has ended, before or after it was asked.
GONE = "net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE)"


def test_stream_after_a_break_shows_each_item_once_or_counts_it(page: Page, console: Console, watch: Watch) -> None:
    watch.allow("WebSocket connection to")
    expect(page.locator("#version")).to_have_text("1.2.3")
    console.tell("set", {"full": True})  # so that the page stays away until it has missed something
    console.tell("drop")
    expect(page.locator("#state")).not_to_have_attribute("data-state", "connected")
    console.emit(item(ALL + 1, path="/while-away"))
    console.tell("set", {"full": False, "release": "1.3.0"})
    expect(page.locator("#state")).to_have_attribute("data-state", "connected")
    expect(page.locator("#version")).to_have_text("1.3.0")
    expect(page.locator("#rows .row")).to_have_count(ALL + 1)
    expect(page.locator("#count")).to_have_text(f"{ALL + 1} requests")
    keys = page.locator("#rows .row").evaluate_all("rows => rows.map((row) => row.dataset.key)")
    assert len(set(keys)) == len(keys)
    expect(page.locator("#lost")).to_be_hidden()
    console.tell("set", {"items": [item(500)]})  # before the break, after which the page is back in a quarter of a second
    console.tell("drop")
    expect(page.locator("#lost")).to_contain_text(f"{500 - (ALL + 1) - 1} not shown")


def test_a_service_that_starts_again_counts_from_the_beginning_without_confusion(page: Page, console: Console, watch: Watch) -> None:
    watch.allow("WebSocket connection to")
    watch.allow(GONE)
    console.emit(item(100))
    expect(page.locator("#rows .row")).to_have_count(ALL + 1)
    console.stop()
    # It is called offline from the fourth attempt on, after some three seconds.
    expect(page.locator("#state-text")).to_have_text(re.compile("^(reconnecting|offline): the service cannot be reached$"))
    console.start()
    expect(page.locator("#state")).to_have_attribute("data-state", "connected", timeout=60_000)
    # What is known from before stays, below a line that says so.
    expect(page.locator("#rows .row")).to_have_count(2 * ALL + 1)
    expect(page.locator("#rows .row.restarted")).to_have_count(1)
    expect(page.locator("#lost")).to_be_hidden()
    console.emit(item(ALL + 1, path="/again"))
    expect(page.locator("#rows .row").first).to_contain_text("/again")


def test_unreachable_service_is_shown_offline_and_can_be_retried_at_once(page: Page, console: Console, watch: Watch) -> None:
    watch.allow("WebSocket connection to")
    watch.allow(GONE)
    console.stop()
    # The page's own next attempt is called off, so that it is the button that brings the connection back.
    page.wait_for_function(
        """() => {
          if (document.querySelector("#state").dataset.state !== "offline") return false;
          for (let timer = setTimeout(() => {}); timer > 0; timer -= 1) clearTimeout(timer);
          return true;
        }"""
    )
    expect(page.locator("#state-text")).to_contain_text("offline")
    console.start()
    page.click("#state-retry")
    expect(page.locator("#state")).to_have_attribute("data-state", "connected")
    expect(page.locator("#state-retry")).to_be_hidden()


def test_a_service_without_room_for_another_viewer_says_so(visit: Visit, console: Console, watch: Watch) -> None:
    watch.allow("WebSocket connection to")
    console.tell("set", {"full": True})
    page = visit(ready=False)
    expect(page.locator("#state-text")).to_contain_text("no room for another viewer")


TOKEN = "a-token-for-the-console"


def sign_in(page: Page) -> None:
    page.locator("#sign-in-token").fill(TOKEN)
    page.keyboard.press("Enter")


@pytest.mark.parametrize("console", [("--token", TOKEN)], indirect=True)
def test_a_console_with_a_token_asks_for_it_and_keeps_it_nowhere(visit: Visit, console: Console, watch: Watch) -> None:
    watch.allow("401")
    page = visit(ready=False)
    dialog = page.get_by_role("dialog", name="Sign in")
    expect(dialog).to_be_visible()
    expect(page.locator("#sign-in-token")).to_be_focused()
    for _ in range(3):  # a page can refuse only the first
        page.keyboard.press("Escape")
        expect(dialog).to_be_visible()
        expect(page.locator("#sign-in-token")).to_be_focused()
    page.locator("#sign-in-token").fill("a wrong one")
    page.keyboard.press("Enter")
    expect(page.locator("#sign-in-error")).to_have_text("This is not the console's token.")
    expect(page.locator("#sign-in-token")).to_have_value("")
    sign_in(page)
    expect(dialog).to_be_hidden()
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#rows .row")).to_have_count(ALL)
    kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, document.documentElement.outerHTML])")
    assert TOKEN not in kept
    assert page.locator("#sign-in-token").input_value() == ""
    page.click("#sign-out")
    expect(page.locator("#rows .row")).to_have_count(0)
    expect(dialog).to_be_visible()
    expect(page.locator("#state-text")).to_have_text("not connected")


@pytest.mark.parametrize("console", [("--token", TOKEN)], indirect=True)
@pytest.mark.parametrize("noticed", ["by the stream", "by a request"])
def test_ended_session_clears_the_page_and_asks_for_the_token(visit: Visit, console: Console, watch: Watch, noticed: str) -> None:
    watch.allow("401")
    watch.allow("WebSocket connection to")
    page = visit(ready=False)
    sign_in(page)
    expect(page.locator("#rows .row")).to_have_count(ALL)
    console.tell("set", {"sessions": []})
    if noticed == "by the stream":
        console.tell("drop")
    else:
        page.get_by_role("link", name="Policy").click()
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    expect(page.locator("#rows .row")).to_have_count(0)


@pytest.mark.parametrize("console", [("--token", TOKEN)], indirect=True)
@pytest.mark.parametrize("back", ["document.dispatchEvent(new Event('visibilitychange'))", "window.dispatchEvent(new Event('focus'))"])
def test_a_sign_in_on_one_page_counts_on_the_others(visit: Visit, console: Console, watch: Watch, back: str) -> None:
    watch.allow("401")
    page = visit(ready=False)
    dialog = page.get_by_role("dialog", name="Sign in")
    expect(dialog).to_be_visible()
    with page.expect_response("**/api/about"):
        page.evaluate(back)  # nobody has signed in yet
    expect(dialog).to_be_visible()
    other = page.context.new_page()
    watch.follow(other, console.url)
    other.goto(console.url)
    sign_in(other)
    expect(other.locator("#state")).to_have_attribute("data-state", "connected")
    page.locator("#sign-in-token").fill("half a tok")
    page.evaluate(back)
    expect(dialog).to_be_hidden()
    expect(page.locator("#main")).to_be_focused()
    expect(page.locator("#sign-in-token")).to_have_value("")
    expect(page.locator("#state")).to_have_attribute("data-state", "connected")
    expect(page.locator("#rows .row")).to_have_count(ALL)


def test_page_asks_about_the_console_again_after_a_failure(visit: Visit, watch: Watch) -> None:
    watch.allow("503")  # the browser logs it

    def fail_twice(page: Page) -> None:
        page.route("**/api/about", lambda route: route.fulfill(status=503, json={"error": "not now"}), times=2)

    page = visit("#/lab", prepare=fail_twice)
    expect(page.locator("#warning")).to_be_visible()
    expect(page.locator("#version")).to_have_text("1.2.3")
    expect(page.locator("#view-lab")).to_be_visible()
    expect(page.locator(".scenario")).to_have_count(5)


def test_tokens_are_shown_once_the_console_is_known_to_show_them(visit: Visit, watch: Watch) -> None:
    watch.allow("503")  # the browser logs it
    asked: list[Route] = []

    def ask(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.fulfill(status=503, json={"error": "not now"})

    page = visit(prepare=lambda page: page.route("**/api/about", ask))
    page.locator("#rows .row", has_text="/digest").first.click()
    page.get_by_role("tab", name="Tokens").click()
    expect(page.locator("#tab-panel")).to_contain_text("Tokens are never shown here")
    asked[1].continue_()
    expect(page.locator("#tab-panel .diff").first).to_be_visible()
