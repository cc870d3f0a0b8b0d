"""The explain view: what would happen to a request, in the words of ``exchanger explain``, and no token that leaves the page."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser


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
    expect(page.locator(".explain-profile dt")).to_have_text("judged")
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


def test_of_headers_that_may_hold_tokens_it_is_only_said_which_hold_the_same(page: Page) -> None:
    questions = asked(page)
    tokens = "X-Forwarded-Access-Token: canary\nX-Other: eyJcanary\nX-Same-Token: canary\nX-Id-Token: canary with blanks\nX-Key:"
    ask(page, "https://yellow.example.com/orders", headers=tokens)
    expect(page.locator(".explain-decision")).to_be_visible()
    assert questions[0]["token"] == ["X-Forwarded-Access-Token: 1", "X-Other: 2", "X-Same-Token: 1", "X-Id-Token: invalid", "X-Key: absent"]
    assert "canary" not in str(questions)


def test_the_entry_leads_to_its_document(page: Page) -> None:
    ask(page, "yellow.example.com/orders/internal/1")
    expect(page.locator(".explain-decision")).to_have_text("deny (403)")
    page.locator("#explain-result p").get_by_role("link", name="team-yellow/token-policy entries[1]").click()
    expect(page.locator("#policy-document tr.chosen")).to_contain_text("/orders/internal")


@pytest.mark.parametrize(
    ("url", "headers", "said"),
    [
        ("https://a.example/", "Authorization: Bearer secret", "holds credentials, which are not sent"),
        ("https://a.example/", "Cookie: session=secret", "holds credentials, which are not sent"),
        ("https://a.example/", "no colon", "no name and value"),
        ("https://me:secret@a.example/", "", "user information"),
        ("https://a.example/x#part", "", "fragment"),
        ("ftp://a.example/", "", "another scheme"),
        ("/orders", "", "no host"),
    ],
)
def test_what_is_no_question_is_not_asked(page: Page, url: str, headers: str, said: str) -> None:
    questions = asked(page)
    ask(page, url, headers=headers)
    expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible()
    assert questions == []


@pytest.mark.parametrize("console", [("--service",)], indirect=True)
def test_the_operator_s_console_has_the_view_without_a_lab(page: Page) -> None:
    expect(page.get_by_role("link", name="Explain")).to_have_attribute("aria-current", "page")
    expect(page.locator('[data-view="lab"]')).to_be_hidden()
    ask(page, "https://nobody.example.com/")
    expect(page.locator(".explain-decision")).to_have_text("unmatched")
