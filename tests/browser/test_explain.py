"""The explain view: what would happen to a request, in the words of ``exchanger explain``, and no token that leaves the page."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.conftest import Visit
from tests.browser.made_up import Json, candidates

pytestmark = [pytest.mark.full, pytest.mark.browser]


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit("#/explain")


def asked(page: Page) -> list[dict[str, list[str]]]:
    """Return a list that gets the questions that the page asks."""
    found: list[dict[str, list[str]]] = []

    def note(request: Request) -> None:
        if "/api/explain" in request.url:
            found.append(parse_qs(urlsplit(request.url).query))

    page.on("request", note)
    return found


def ask(page: Page, url: str, **fields: str) -> None:
    page.get_by_label("URL").fill(url)
    if "headers" in fields:
        page.get_by_label("Headers, one a line").fill(fields["headers"])
    if "credentials" in fields:
        page.get_by_label("Credentials").select_option(fields["credentials"])
    page.get_by_role("button", name="Explain").click()


def test_a_request_is_asked_about_as_it_is_written_and_explained(page: Page) -> None:
    questions = asked(page)
    ask(page, "https://yellow.example.com/orders/%31?x=1", headers="Mcp-Name: a\nX-Two: b:c", credentials="absent")
    expect(page.locator(".explain-decision")).to_have_text("exchange")
    expect(page.locator("#explain-result")).to_contain_text("an entry says so. team-yellow/token-policy entries[0]")
    expect(page.locator("#explain-result")).to_contain_text("issuer")
    expect(page.locator(".explain-profile dt")).to_have_text("checked")
    expect(page.locator(".explain-profile dd")).to_contain_text("issued by https://login.example.com")
    expect(page.locator("#explain-result .candidates tbody tr").first).to_contain_text("won")
    assert questions == [
        {
            "method": ["GET"],
            "host": ["yellow.example.com"],
            "path": ["/orders/%31?x=1"],
            "credentials": ["absent"],
            "assumed": ["true"],
            "header": ["Mcp-Name: a", "X-Two: b:c"],
        }
    ]


DECISIONS: tuple[tuple[Json, str, str], ...] = (
    ({"kind": "exchange", "status": None}, "exchange", "exchanged"),
    ({"kind": "allow", "status": None}, "allow", "passed"),
    ({"kind": "unmatched", "status": None}, "unmatched", "passed"),
    ({"kind": "unmatched", "status": 403}, "unmatched (403)", "refused"),
    ({"kind": "deny", "status": 403}, "deny (403)", "refused"),
    ({"kind": "refused", "status": 400}, "refused (400)", "refused"),
    ({"kind": "refused", "status": 401}, "refused (401)", "token"),
    ({"kind": "refused", "status": 500}, "refused (500)", "broken"),
)


def test_explained_decision_has_the_icon_and_colour_of_the_live_list(page: Page) -> None:
    told = candidates("GET", "yellow.example.com", "/orders") | {"revision": 7}
    answers = iter(told | {"decision": told["decision"] | decision} for decision, *_ in DECISIONS)
    page.route("**/api/explain?*", lambda route: route.fulfill(json=next(answers)))
    for _, shown, family in DECISIONS:
        ask(page, "https://yellow.example.com/orders")
        badge = page.locator(".explain-decision.badge")
        expect(badge).to_have_text(shown)
        assert badge.locator("use").get_attribute("href") == f"#i-{family}"
        colour = page.evaluate(f"getComputedStyle(document.documentElement).getPropertyValue('--{family}')")
        assert colour
        expect(badge).to_have_css("--c", colour)


def test_hosts_of_the_active_policy_are_suggested_anew_each_time(page: Page) -> None:
    suggested = page.locator("#explain-urls option")
    listed = "options => options.map((option) => option.value)"
    expect(suggested).to_have_count(2)
    assert suggested.evaluate_all(listed) == ["https://blue.example.com/", "https://yellow.example.com/"]
    assert page.get_by_label("URL").get_attribute("list") == "explain-urls"
    page.route("**/api/hosts", lambda route: route.fulfill(json={"listed": ["new.example.com"], "more": 0}))
    page.get_by_role("link", name="Live").click()
    page.get_by_role("link", name="Explain").click()
    expect(suggested).to_have_count(1)
    assert suggested.evaluate_all(listed) == ["https://new.example.com/"]


def test_the_entry_leads_to_its_document(page: Page) -> None:
    ask(page, "yellow.example.com/orders/internal/1")
    expect(page.locator(".explain-decision")).to_have_text("deny (403)")
    page.locator("#explain-result p").get_by_role("link", name="team-yellow/token-policy entries[1]").click()
    expect(page.locator("#policy-document tr.chosen")).to_contain_text("/orders/internal")


def test_what_is_no_question_is_not_asked(page: Page) -> None:
    questions = asked(page)
    ask(page, "https://a.example/", headers="Authorization: Bearer secret")
    expect(page.get_by_role("alert").filter(has_text="holds credentials, which are not sent")).to_be_visible()
    assert questions == []


@pytest.mark.parametrize("console", [("--service",)], indirect=True)
def test_the_operator_s_console_has_the_view_without_a_lab(page: Page) -> None:
    expect(page.get_by_role("link", name="Explain")).to_have_attribute("aria-current", "page")
    expect(page.locator('[data-view="lab"]')).to_be_hidden()
    ask(page, "https://nobody.example.com/")
    expect(page.locator(".explain-decision")).to_have_text("unmatched")
