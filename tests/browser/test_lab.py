"""The lab: scenarios are run, results stand side by side, and lead to the stream."""

import json

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import DESKTOP, PHONE, Console, Visit, Watch, bodies_of
from tests.browser.made_up import SCENARIOS, result

pytestmark = [pytest.mark.full, pytest.mark.browser]


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit("#/lab")


def test_scenarios_say_what_to_watch_and_what_is_expected(page: Page) -> None:
    expect(page.locator("#lab-summary")).to_contain_text("5 scenarios through the gateway at http://127.0.0.1:10000")
    expect(page.locator(".scenario")).to_have_count(len(SCENARIOS))
    page.locator(".scenario summary", has_text="coalescing").click()
    opened = page.locator(".scenario[open]")
    expect(opened).to_contain_text("10 × GET yellow.example.com/digest")
    expect(opened).to_contain_text("Expected: 200, exchanged; one call")
    expect(opened.locator(".curl")).to_contain_text("curl -s -H 'Host: yellow.example.com'")


def test_one_scenario_is_run_and_leads_to_its_request_in_the_stream(page: Page) -> None:
    page.get_by_role("button", name="Run yellow-success").click()
    opened = page.locator(".scenario[open]")
    expect(opened).to_contain_text("as expected")
    expect(opened.locator(".sides")).to_contain_text("200, exchanged for read:orders")
    opened.get_by_text("Tokens", exact=True).click()
    expect(opened).to_contain_text("Verified. Signed by the realm's key")
    page.set_viewport_size(PHONE)
    expect(opened.locator(".tokens > :first-child")).to_have_text("Demo: tokens are shown decoded. Do not use it with real tokens.")
    page.set_viewport_size(DESKTOP)
    opened.get_by_text("Answer", exact=True).click()
    expect(opened).to_contain_text("Status 200")
    opened.get_by_role("button", name="this request").click()
    expect(page.locator("#detail-title")).to_have_text("GET yellow.example.com/orders/1")
    expect(page.locator("#view-live")).to_be_visible()
    page.go_back()
    expect(opened.get_by_role("button", name="this request")).to_be_visible()
    expect(page.locator("#detail")).to_be_hidden()


def test_failures_come_first_those_with_the_same_answer_together_and_collapsed(page: Page, console: Console) -> None:
    console.tell("set", {"bad": ["timeout", "unmatched"]})
    page.get_by_role("button", name="Run all").click()
    expect(page.locator("#lab-progress")).to_have_text("3 of 5 scenarios as expected.")
    expect(page.locator("#polite")).to_contain_text("3 of 5 scenarios as expected.")
    expect(page.locator(".scenario .outcome.good")).to_have_count(3)
    group = page.locator(".failures")
    expect(group.locator("> summary")).to_have_text("2 not as expectedgot: 200, the original tokenunmatched, timeout")
    expect(group.locator(".scenario").first).to_be_hidden()
    group.locator("> summary").click()
    expect(group.locator(".scenario .outcome.bad")).to_have_count(2)
    expect(group.locator(".scenario[open]")).to_have_count(0)
    console.tell("set", {"bad": []})
    page.get_by_role("button", name="Run all").click()
    expect(page.locator("#lab-progress")).to_have_text("5 of 5 scenarios as expected.")
    expect(group).to_have_count(0)


def test_a_run_that_fails_says_why_and_the_others_go_on(page: Page, watch: Watch) -> None:
    watch.allow("503")  # the browser logs it
    page.route("**/lab/run", lambda route: route.fulfill(status=503, json={"error": "too many runs at once"}))
    page.get_by_role("button", name="Run unmatched").click()
    expect(page.locator(".scenario[open]")).to_contain_text("too many runs at once")
    page.unroute("**/lab/run")
    page.get_by_role("button", name="Run explicit-deny").click()
    expect(page.locator(".scenario .outcome.good")).to_have_count(1)


def test_own_token_is_sent_without_its_scheme_and_stored_nowhere(page: Page) -> None:
    bodies = bodies_of(page)
    own, run = page.get_by_label("Own bearer token"), page.get_by_role("button", name="Run unmatched")
    own.fill("bEARER  my-own-token \n")
    run.click()
    expect(page.locator(".scenario .outcome.good")).to_have_count(1)
    assert bodies == ['{"name":"unmatched","token":"my-own-token"}']
    form = page.get_by_role("region", name="A request of your own")
    form.get_by_label("Token").select_option("own")
    form.get_by_role("button", name="Send").click()
    expect(page.locator(".composer-result")).to_contain_text("200 for GET /")
    assert json.loads(bodies[-1])["token"] == "my-own-token"
    assert "my-own-token" not in page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.documentElement.outerHTML])"
    )
    own.fill("")
    with page.expect_response("**/lab/run"):
        run.click()
    assert bodies[-1] == '{"name":"unmatched"}'


def test_a_request_of_ones_own_is_sent_and_answered(page: Page) -> None:
    bodies = bodies_of(page)
    form = page.get_by_role("region", name="A request of your own")
    form.get_by_label("Method").select_option("POST")
    form.get_by_label("Path").fill("/orders/77")
    form.get_by_label("Token").select_option("none")
    form.get_by_label("Headers").fill("X-One: 1\nnonsense")
    form.get_by_role("button", name="Send").click()
    expect(page.locator(".composer-result")).to_contain_text("Line 2 of the headers")
    form.get_by_label("Headers").fill("X-One: 1\n\nX-Two:  a:b ")
    form.get_by_role("button", name="Send").click()
    expect(page.locator(".composer-result")).to_contain_text("200 for POST /orders/77")
    assert bodies == [
        '{"method":"POST","host":"yellow.example.com","path":"/orders/77","headers":[["X-One","1"],["X-Two","a:b"]],"subject":"none"}'
    ]


@pytest.mark.parametrize(("name", "path"), [("Run unmatched", "run"), ("Send", "request")])
def test_disabled_button_keeps_the_focus_and_ignores_presses(page: Page, name: str, path: str) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(f"**/lab/{path}", hold)
    pressed = page.get_by_role("button", name=name)
    pressed.focus()
    with page.expect_request(f"**/lab/{path}"):
        page.keyboard.press("Enter")
    expect(pressed).to_be_disabled()
    page.keyboard.press("Enter")
    held[0].continue_()
    expect(pressed).to_be_enabled()
    expect(pressed).to_be_focused()
    assert len(held) == 1


def test_skipped_scenarios_are_neither_good_nor_bad(page: Page) -> None:
    skipped = {**result("coalescing", [], ok=None), "got": "skipped: it needs the demo's own token endpoint"}
    page.route("**/lab/run", lambda route: route.fulfill(json=skipped))
    page.get_by_role("button", name="Run all").click()
    expect(page.locator("#lab-progress")).to_have_text("0 of 5 scenarios as expected, 5 skipped.")
    expect(page.locator(".scenario .outcome").first).to_have_text("skipped")


def test_request_missing_from_the_stream_is_announced_each_time(page: Page) -> None:
    page.route("**/lab/run", lambda route: route.fulfill(json=result("unmatched", ["f" * 32], ok=True)))
    page.get_by_role("button", name="Run unmatched").click()
    told = page.get_by_role("status").filter(has_text="This request has not arrived yet.")
    for _ in range(2):
        page.get_by_role("button", name="this request").click()
        expect(told).to_be_visible()
        page.go_back()
        expect(told).to_have_count(0)
