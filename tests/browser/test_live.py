"""The live view: what comes is shown, filters leave out what does not fit, pausing loses nothing."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser import made_up
from tests.browser.conftest import PHONE, Console, Visit
from tests.browser.made_up import HEALTHY, KINDS, item

pytestmark = pytest.mark.browser

ALL = len(KINDS) + 3


def rows(page: Page) -> list[str]:
    return page.locator("#rows .row").all_inner_texts()


def test_what_the_client_got_stands_apart_from_what_the_token_endpoint_answered(page: Page, console: Console) -> None:
    call = made_up.item(100)["exchange"] | {"status": 200}
    console.emit(item(100, "deny_exchange_error", exchange=call, diagnostic="TXE-3004"), item(101), item(102, "deny_explicit_policy"))
    heads = page.get_by_role("columnheader").all_inner_texts()
    row = page.locator('#rows .row[data-key="0:100"] > span')
    expect(row.nth(heads.index("Client status"))).to_have_text("500TXE-3004")
    expect(row.nth(heads.index("Token endpoint"))).to_have_text("200")
    expect(page.locator('#rows .row[data-key="0:101"] .c-client')).to_have_text("upstream")
    expect(page.locator('#rows .row[data-key="0:102"] .c-client')).to_have_text("403")
    expect(page.locator('#rows .row[data-key="0:102"] .c-exchange')).to_have_text("–")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [("#filter-host", "RED.example", 2), ("#filter-policy", "team-red/", 2), ("#filter-text", "get digest shared", 2)],
)
def test_a_field_leaves_out_what_does_not_fit(page: Page, field: str, value: str, expected: int) -> None:
    page.fill(field, value)
    expect(page.locator("#rows .row:visible")).to_have_count(expected)
    expect(page.locator("#count")).to_have_text(f"{expected} of {ALL} requests")
    page.click("#filter-clear")
    expect(page.locator("#rows .row")).to_have_count(ALL)
    expect(page.locator("#filter-text")).to_be_focused()


def test_decisions_are_chosen_by_label_by_kind_and_by_result(page: Page) -> None:
    for value, expected in (("deny_missing_bearer", 1), ("family:token", 2), ("result:auth_denied|system_error", 8)):
        page.select_option("#filter-decision", value)
        expect(page.locator("#rows .row")).to_have_count(expected)


def test_filters_hold_for_what_comes_later(page: Page, console: Console) -> None:
    page.fill("#filter-host", "blue")
    expect(page.locator("#list-empty")).to_have_text("No request matches the filters.")
    expect(page.locator("#list")).to_be_hidden()
    console.emit(item(100), item(101, host="blue.example.com"))
    expect(page.locator("#rows .row")).to_have_count(1)


def test_the_open_row_is_still_marked_when_it_comes_back(page: Page) -> None:
    row = page.locator('#rows .row[data-key="0:3"]')
    row.click()
    page.fill("#filter-host", "red")
    expect(row).to_have_count(0)
    page.click("#filter-clear")
    expect(row).to_have_attribute("aria-selected", "true")
    expect(page.locator('#rows .row[aria-selected="true"]')).to_have_count(1)


def test_hosts_and_policies_are_suggested(page: Page) -> None:
    page.focus("#filter-host")
    assert "red.example.com" in page.locator("#hosts option").evaluate_all("options => options.map((option) => option.value)")
    page.focus("#filter-policy")
    assert "team-red/token-policy" in page.locator("#policies option").evaluate_all("options => options.map((option) => option.value)")


def test_while_paused_new_requests_wait_and_none_is_lost(page: Page, console: Console) -> None:
    page.click("#pause")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    before = rows(page)
    console.emit(item(100, path="/waits/1"), item(101, path="/waits/2"))
    expect(page.locator("#pause")).to_have_text("Resume (2 waiting)")
    assert rows(page) == before
    page.click("#pause")
    expect(page.locator("#rows .row")).to_have_count(ALL + 2)
    expect(page.locator("#rows .row").first).to_contain_text("/waits/2")
    expect(page.locator("#pause")).to_have_text("Pause")


def test_what_the_service_left_out_is_said(page: Page, console: Console) -> None:
    console.tell("lost", 1300)
    console.tell("lost", 34)
    expect(page.locator("#lost")).to_contain_text("1,334 not shown")
    page.click("#lost-done")
    expect(page.locator("#lost")).to_be_hidden()


def test_memory_and_rows_are_bounded_however_much_comes(page: Page, console: Console) -> None:
    for start in range(100, 1400, 100):
        console.emit(*(item(seq) for seq in range(start, start + 100)))
    expect(page.locator("#count")).to_have_text("1,000 requests")
    expect(page.locator("#rows .row")).to_have_count(200)
    page.click("#list-more")
    expect(page.locator("#rows .row")).to_have_count(400)


def test_new_row_is_inserted_on_top_and_other_elements_stay(page: Page, console: Console) -> None:
    page.locator("#rows .row").first.evaluate("row => row.mark = 'same'")
    console.emit(item(100, path="/brand-new"))
    expect(page.locator("#rows .row").first).to_contain_text("/brand-new")
    expect(page.locator("#rows .row")).to_have_count(ALL + 1)
    assert page.locator("#rows .row").nth(1).evaluate("row => row.mark") == "same"


def test_charts_have_figures_and_say_what_they_show(page: Page, console: Console) -> None:
    label = page.locator(".chart-rate .plot")
    expect(label).to_have_attribute("aria-label", "Decisions of the last two minutes: none.")
    expect(page.locator(".chart-rate .number")).to_have_text("0 in two minutes")
    console.tell("kinds")
    expect(label).to_have_attribute(
        "aria-label", re.compile("4 exchanged, 2 passed, 2 no valid token, 3 denied, 1 exchange failed, 2 policy unhealthy")
    )
    expect(page.locator(".chart-rate .number")).to_have_text("14 in two minutes")
    expect(page.locator(".chart-rate .key.f-refused .nums")).to_have_text("3")
    expect(page.locator(".chart-rate .hint")).to_have_text("decisions, by kind")
    expect(page.locator(".chart-saved .number")).to_contain_text("%")
    expect(page.locator(".chart-latency .plot")).to_have_attribute("aria-label", re.compile("p50 .* ms, p99 .* ms"))
    expect(page.locator(".chart-errors .number")).to_have_text("21 %")
    expect(page.locator(".chart-errors .plot")).to_have_attribute("aria-label", re.compile("3 of 14 clients got a 5xx"))


def test_a_legend_filters_by_its_kind(page: Page, console: Console) -> None:
    console.tell("kinds")
    page.click(".chart-rate .key.f-refused")
    expect(page.locator("#filter-decision")).to_have_value("family:refused")
    page.click(".chart-rate .key.f-refused")
    expect(page.locator("#filter-decision")).to_have_value("")


def test_address_with_a_trace_id_opens_its_request_when_it_arrives(visit: Visit, console: Console) -> None:
    expect(visit(f"#/live?trace={1:032x}").locator("#detail")).to_contain_text(f"trace {1:032x}")
    page = visit(f"#/live?trace={100:032x}")
    expect(page.locator("#gone")).to_contain_text("It opens when it does.")
    console.emit(item(100, path="/awaited"))
    expect(page.locator("#detail-title")).to_contain_text("/awaited")
    expect(page.locator("#gone")).to_be_empty()


def test_charts_are_full_at_once_from_what_the_service_remembers(visit: Visit, console: Console) -> None:
    counts = dict.fromkeys(KINDS, 0)
    history = [
        {
            "time": 1_769_860_000_000 + 1000 * second,
            "decisions": counts | {"allow_exchange": 90 * second, "deny_policy_unhealthy": 10 * second},
            "exchanges": second,
            "coalesced": 0,
            "errors": 10 * second,
            "latency": {"bounds": [0.001, 0.01], "counts": [99 * second, second, 0]},
        }
        for second in range(121)
    ]
    console.tell("set", {"history": history, "silent": True})
    page = visit()
    expect(page.locator(".chart-rate .number")).to_have_text("100/s")
    expect(page.locator(".chart-rate .hint")).to_have_text("decisions per second, by kind")
    expect(page.locator(".chart-rate .plot")).to_have_attribute("aria-label", re.compile("now 100/s, at most 100/s; 10,800 exchanged"))
    expect(page.locator(".chart-errors .number")).to_have_text("10 %")
    expect(page.locator(".chart-latency .number")).to_have_text("p99 1.0 ms")
    page.click(".chart-errors .key")
    expect(page.locator("#rows .row")).to_have_count(3)
    expect(page.locator("#rows .c-client", has_text="500")).to_have_count(3)


def test_rows_wait_and_are_counted_while_a_request_is_open(page: Page, console: Console) -> None:
    page.locator("#rows .row").first.click()
    before = rows(page)
    console.emit(item(100), item(101))
    expect(page.locator("#pause")).to_have_text("Resume (2 waiting)")
    expect(page.locator("#held")).to_have_text("The list waits while a request is open: 2 new ones.")
    assert rows(page) == before
    page.locator("#rows .row").nth(1).click()
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#rows .row")).to_have_count(ALL + 2)
    expect(page.locator("#held")).to_be_hidden()


def test_pausing_or_resuming_by_hand_has_the_last_word(page: Page, console: Console) -> None:
    row = page.locator("#rows .row").first
    row.click()
    page.click("#pause")
    console.emit(item(100))
    expect(page.locator("#rows .row")).to_have_count(ALL + 1)
    page.keyboard.press("Escape")
    page.click("#pause")
    row.click()
    page.keyboard.press("Escape")
    console.emit(item(101))
    expect(page.locator("#pause")).to_have_text("Resume (1 waiting)")


def test_a_page_without_requests_says_how_a_gateway_is_wired(visit: Visit, console: Console) -> None:
    console.tell("set", {"items": []})
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    empty = page.locator("#list-empty")
    for text in ("GRPC_PORT", "docs/how-to/install", "failure_mode_allow: false"):
        expect(empty).to_contain_text(text)
    empty.get_by_role("button", name="Copy the filter").click()
    expect(page.locator("#polite")).to_contain_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()").startswith("- name: envoy.filters.http.ext_authz\n")
    console.emit(item(1))
    expect(empty).to_be_hidden()
    expect(page.locator("#rows .row")).to_have_count(1)


def test_policy_banner_is_in_every_view_and_announced(page: Page, console: Console) -> None:
    banner = page.get_by_role("status").filter(has=page.locator(".banner"))
    expect(banner).to_have_count(0)
    console.tell("set", {"health": HEALTHY | {"problems": 2}})
    expect(banner).to_contain_text("2 documents have problems")
    console.tell("set", {"health": HEALTHY | {"state": "missing"}})
    expect(banner).to_contain_text(text := "no entry is active")
    banner.get_by_role("link").click()
    expect(page.locator("#view-policy")).to_be_visible()
    expect(banner).to_contain_text(text)
    console.tell("set", {"health": HEALTHY})
    expect(banner).to_have_count(0)


def test_failing_issuers_are_in_the_banner_and_the_list(page: Page, console: Console) -> None:
    banner = page.get_by_role("status").filter(has=page.locator(".banner"))
    listed = page.get_by_role("region", name="Issuers under overload protection")
    expect(listed).to_have_count(0)
    console.tell("set", {"issuers": made_up.SPARED})
    expect(banner).to_have_text("Issuer primary (issuer.example.com) is failing and not called: its exchanges are refused.")
    expect(banner.get_by_role("link")).to_have_count(0)
    expect(listed.get_by_role("listitem")).to_have_count(2)
    expect(listed.get_by_role("listitem").nth(0)).to_have_text(
        "primaryissuer.example.comnot called, because it is failing; next probe in 3.5 s"
    )
    expect(listed.get_by_role("listitem").nth(1)).to_have_text("secondsecond.example.com12 exchanges wait, 64 of 64 in progress")
    expect(listed).to_contain_text("2 more")
    console.tell("set", {"issuers": {"listed": [made_up.SPARED["listed"][1]], "more": 0}, "health": HEALTHY | {"problems": 1}})
    expect(listed.get_by_role("listitem")).to_have_count(1)
    expect(banner).to_contain_text("1 document has problems.")
    expect(banner).not_to_contain_text("primary")
    console.tell("set", {"issuers": {"listed": [], "more": 0}, "health": HEALTHY})
    expect(listed).to_have_count(0)
    expect(banner).to_have_count(0)


def test_resume_is_where_pause_was_and_moves_no_row(page: Page, console: Console) -> None:
    before, listed = (page.locator(part).bounding_box() for part in ("#pause", "#list"))
    assert before is not None
    page.click("#pause")
    console.emit(*(item(100 + number) for number in range(20)))
    expect(page.locator("#pause")).to_have_text("Resume (20 waiting)")
    after = page.locator("#pause").bounding_box()
    assert after is not None
    assert (after["x"] + after["width"], after["y"]) == (before["x"] + before["width"], before["y"])
    assert page.locator("#list").bounding_box() == listed


def test_on_a_phone_the_filters_are_behind_a_button_that_counts_them(visit: Visit, console: Console) -> None:
    page = visit("#/live?decision=family%3Atoken&host=yellow", viewport=PHONE)
    fold = page.get_by_role("button", name="Filters (2)")
    expect(fold).to_have_attribute("aria-expanded", "false")
    expect(page.locator("#rows .row")).to_have_count(2)
    for part in ("#filter-text", "#filter-decision", "#filter-host", "#filter-policy"):
        expect(page.locator(part)).to_be_hidden()
    page.get_by_role("button", name="Clear").click()
    fold = page.get_by_role("button", name="Filters", exact=True)
    expect(fold).to_be_focused()
    expect(page.locator("#rows .row")).to_have_count(ALL)
    fold.click()
    boxes = [page.locator(part).bounding_box() for part in ("#filter-text", "#filter-decision", "#filter-host", "#filter-policy")]
    assert len({(box["x"], box["width"]) for box in boxes if box is not None}) == 1
    page.fill("#filter-text", "digest")
    expect(page.get_by_role("button", name="Filters (1)")).to_have_attribute("aria-expanded", "true")
    page.get_by_role("button", name="Filters (1)").click()
    expect(page.locator("#filter-text")).to_be_hidden()
    page.keyboard.press("/")
    expect(page.locator("#filter-text")).to_be_focused()
    page.click("#pause")
    console.emit(item(100, path="/digest"))
    resume = page.get_by_role("button", name="Resume (1 waiting)")
    expect(resume).to_be_in_viewport(ratio=1)
    resume.locator("#pause-text").evaluate("node => (node.textContent = 'Resume (1,000 waiting)')")
    # At once, since the page may scroll meanwhile.
    tops = page.locator("#filter-fold, #filter-clear, #pause").evaluate_all("nodes => nodes.map(node => node.getBoundingClientRect().top)")
    assert (len(tops), len(set(tops))) == (3, 1)
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(fold).to_be_hidden()
    expect(page.locator("#filter-policy")).to_be_visible()
