"""No view breaks a rule that axe knows, in either theme, on a desktop and on a phone; nothing scrolls sideways on a phone.

What axe cannot see (keyboard, focus, announcements) is in ``test_keyboard.py``.
"""

import importlib.resources
from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests.browser import made_up
from tests.browser.conftest import PHONE, Console, Visit
from tests.browser.made_up import CONFLICT, FILE_TEXT, KINDS, item

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE: Final = (importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
BACKGROUND: Final = "getComputedStyle(document.documentElement).backgroundColor"
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def assert_accessible(page: Page, *, contrast_alone: bool = False) -> None:
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE)  # by the debugger, which the page's policy does not concern
    only = {"type": "rule", "values": ["color-contrast"]} if contrast_alone else {"type": "tag", "values": RULES}
    found = page.evaluate("(only) => axe.run(document, {runOnly: only, resultTypes: ['violations']})", only)
    assert [f"{rule['id']}: {node['target']} {node['failureSummary']}" for rule in found["violations"] for node in rule["nodes"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


def live(page: Page, console: Console) -> None:
    console.tell("kinds")
    console.tell("lost", 3)
    console.tell("totals", [{"time": 2e12 + i, "revision": 7, "decisions": dict.fromkeys(KINDS, i), "exchanges": i, "coalesced": 1,
                             "latency": {"bounds": [0.001, 1.0], "counts": [i, i, 1]}, "subscribers": 1} for i in range(3)])  # fmt: skip
    expect(page.locator("#lost")).to_be_visible()
    page.fill("#filter-host", "example")
    page.locator("#filter-fold").evaluate("button => button.click()")  # a phone has it


def empty(page: Page, _console: Console) -> None:
    page.fill("#filter-text", "nothing of the kind")
    expect(page.locator("#list-empty")).to_be_visible()


def unwired(page: Page, console: Console) -> None:
    refused = {"state": "loading", "age_s": None, "unreadable": {"listed": ["team-with-a-long-name-a", "team-b"], "more": 3}}
    console.tell("set", {"items": [], "health": made_up.HEALTHY | refused})
    page.goto(page.url.split("#")[0] + "#/live?request=1-1")
    page.reload()
    for place in ("#policy-banner .bad", "#gone .note", "#list-empty pre"):
        expect(page.locator(place)).to_be_visible()


def unhealthy(page: Page, console: Console) -> None:
    console.tell("set", {"health": made_up.HEALTHY | {"problems": 2, "conflicts": 1}})
    expect(page.locator("#policy-banner .warn")).to_be_visible()
    page.locator("#rows .row").first.click()
    console.tell("kinds")
    expect(page.locator("#held")).to_be_visible()


def spared(page: Page, console: Console) -> None:
    console.tell("set", {"issuers": made_up.SPARED})
    expect(page.locator("#policy-banner .warn")).to_be_visible()
    expect(page.locator("#issuers li")).to_have_count(2)


def detail(name: str, row: str) -> Callable[[Page, Console], None]:
    def steps(page: Page, _console: Console) -> None:
        page.locator("#rows .row", has_text=row).first.click()
        page.get_by_role("tab", name=name).click()
        if name == "Policy":
            expect(page.locator("#detail .candidates")).to_be_visible()

    return steps


def policy(page: Page, _console: Console) -> None:
    page.goto(page.url.split("#")[0] + "#/policy/team-red/token-policy")
    expect(page.locator(".code-line.wrong")).to_have_count(2)


def conflicts(page: Page, _console: Console) -> None:
    page.goto(page.url.split("#")[0] + "#/policy/team-blue/token-policy")
    expect(page.locator(".conflict")).to_have_count(1)


def rivals(page: Page, console: Console) -> None:
    console.emit(item(100, "deny_policy_unhealthy", host="blue.example.com", path="/reports", policy=None, conflict=True, detail=CONFLICT))
    detail("Policy", "blue.example.com/reports")(page, console)


def changes(page: Page, _console: Console) -> None:
    page.goto(page.url.split("#")[0] + "#/edit")
    page.get_by_role("textbox", name="Policy file").fill(FILE_TEXT.replace("action: deny", "action: wrong # &x"))
    expect(page.locator(".edit-changes tbody tr")).to_have_count(2)


def explain(page: Page, _console: Console) -> None:
    page.goto(page.url.split("#")[0] + "#/explain")
    page.get_by_label("URL").fill("https://yellow.example.com/orders/1")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("#explain-result .candidates")).to_be_visible()


def lab(page: Page, console: Console) -> None:
    console.tell("set", {"bad": ["timeout"]})
    page.goto(page.url.split("#")[0] + "#/lab")
    page.get_by_role("button", name="Run all").click()
    expect(page.locator("#lab-progress")).to_contain_text("4 of 5 scenarios")
    page.locator("#lab-body").evaluate("body => body.querySelectorAll('details').forEach((one) => (one.open = true))")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".composer-result .result")).to_be_visible()


def edit(page: Page, _console: Console) -> None:
    page.goto(page.url.split("#")[0] + "#/edit")
    page.locator("#new-file-error").evaluate("node => (node.textContent = 'The name must end in .yaml.')")
    page.get_by_role("textbox", name="Policy file").fill("yellow.example.com\nwrong\n")
    expect(page.locator(".gutter .wrong")).to_be_visible()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Run it")).to_be_visible()


def help_dialog(page: Page, _console: Console) -> None:
    page.click("#help-open")


VIEWS: Final[dict[str, Callable[[Page, Console], None]]] = {
    "live": live,
    "explain": explain,
    "empty": empty,
    "unwired": unwired,
    "unhealthy": unhealthy,
    "spared": spared,
    "flow": detail("Flow", "/digest"),
    "flow of a failure": detail("Flow", "TXE-2005"),
    "policy tab": detail("Policy", "/orders/internal"),
    "tokens": detail("Tokens", "/digest"),
    "response": detail("Response", "No token"),
    "log": detail("Log", "No token"),
    "policy": policy,
    "conflicts": conflicts,
    "lab": lab,
    "edit": edit,
    "changes": changes,
    "rivals": rivals,
    "blocked": detail("Policy", "red.example.com/slow"),
    "help": help_dialog,
}


# Views that the quick tier looks at: one of each kind of content.
QUICK: Final = frozenset({"live", "flow of a failure", "policy", "lab", "edit"})


@pytest.mark.parametrize("view", [pytest.param(view, marks=() if view in QUICK else pytest.mark.full) for view in VIEWS])
def test_axe_finds_nothing_in_either_size_and_theme(visit: Visit, console: Console, view: str) -> None:
    page = visit(color_scheme="light")
    VIEWS[view](page, console)
    assert_accessible(page)
    background = page.evaluate(BACKGROUND)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(BACKGROUND) != background
    assert_accessible(page, contrast_alone=True)  # a theme changes nothing else
    page.set_viewport_size(PHONE)
    assert_accessible(page)


@pytest.mark.parametrize("console", [("--token", "a-token-for-the-console")], indirect=True)
def test_axe_finds_nothing_in_the_sign_in(visit: Visit) -> None:
    page = visit(ready=False, color_scheme="light")
    expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
    assert_accessible(page)
    page.emulate_media(color_scheme="dark")
    assert_accessible(page, contrast_alone=True)


def test_with_forced_colours_everything_is_still_there(visit: Visit) -> None:
    page = visit(forced_colors="active")
    page.locator("#rows .row").first.click()
    expect(page.locator(".flow")).to_be_visible()
    assert_accessible(page)
    borders = page.locator(".views a:visible").evaluate_all("links => links.map((link) => getComputedStyle(link).borderBottomColor)")
    canvas = page.evaluate(BACKGROUND)
    assert [border == canvas for border in borders] == [False, True, True, True, True], "which view it is cannot be seen"
    page.get_by_role("tab", name="Tokens").click()
    borders = page.get_by_role("tab").evaluate_all("tabs => tabs.map((tab) => getComputedStyle(tab).borderBottomColor)")
    assert [border == canvas for border in borders] == [True, True, False, True, True], "which tab it is cannot be seen"
    expect(page.locator("#tab-panel .warning")).to_have_css("border-top-width", "2px")
    assert_accessible(page)


def test_the_font_comes_with_the_page(page: Page) -> None:
    loaded = page.evaluate("async () => [...(await document.fonts.ready)].map(({ family, status }) => `${family} ${status}`)")
    assert loaded == ["Inter loaded"]


def test_with_reduced_motion_nothing_moves(visit: Visit) -> None:
    page = visit(reduced_motion="reduce")
    page.locator("#state").evaluate("state => state.dataset.state = 'reconnecting'")
    assert page.locator(".dot").evaluate("dot => dot.getAnimations().length") == 0


@pytest.mark.full
@pytest.mark.parametrize("width", [320, 760, 1000])
def test_no_width_scrolls_sideways(visit: Visit, width: int) -> None:
    page = visit(viewport={"width": width, "height": 700})
    for route, part in (
        ("#/live", "#rows .row"),
        ("#/policy/team-red/token-policy", ".code-line.wrong"),
        ("#/lab", ".scenario"),
        ("#/edit", ".gutter-lines span"),
    ):
        page.goto(page.url.split("#")[0] + route)
        page.wait_for_selector(part)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), route
    page.goto(page.url.split("#")[0] + "#/live")
    page.locator("#rows .row").first.click()
    for name in ("Flow", "Policy", "Tokens", "Response", "Log"):
        page.get_by_role("tab", name=name).click()
        if name == "Policy":
            page.wait_for_selector("#detail .candidates")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
