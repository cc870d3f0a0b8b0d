"""The page and the real service: what the fake console makes up is what the service says."""

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Watch
from tests.browser.test_accessibility import assert_accessible
from tests.e2e.service import Service, config_map, serving
from tests.ports import free_port

pytestmark = [pytest.mark.full, pytest.mark.browser]

TOKEN = "a-token-for-the-console"
SUBJECT = "canary-subject-token"
DOCUMENT = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /orders}
    action: exchange
    exchange: {issuerRef: primary, scope: read:orders}
  - match: {host: api.example.com, pathPrefix: /orders/internal}
    action: deny
  - match: {host: api.example.com, pathPrefix: /broken}
    action: exchagne
"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, port: int) -> Generator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with serving(folder, DOCUMENT, CONSOLE_ADDRESS=f"127.0.0.1:{port}") as running:
        yield running


@pytest.fixture
def page(browser: Browser, service: Service, port: int, watch: Watch) -> Generator[Page]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    url = f"http://127.0.0.1:{port}/"
    watch.follow(page, url)
    page.goto(url)
    page.wait_for_selector("#state[data-state=connected]")
    yield page
    page.close()


def decide(service: Service) -> None:
    """Ask for one decision of most kinds."""
    service.check("/public")
    service.check("/orders/1")
    service.check("/orders/1", authorization=f"Bearer {SUBJECT}")
    service.check("/orders/internal/9", authorization=f"Bearer {SUBJECT}")
    service.check("/orders/../orders/internal")
    service.check("/broken")


def test_decisions_appear_as_they_are_made(page: Page, service: Service) -> None:
    expect(page.locator("#version")).not_to_be_empty()
    decide(service)
    for word in ("No policy", "No token", "Exchange failed", "Denied", "Ambiguous", "Policy unhealthy"):
        expect(page.locator("#rows .badge", has_text=word).first).to_be_visible()
    expect(page.locator("#rows .row", has_text="TXE-1003").first).to_be_visible()
    assert SUBJECT not in page.content()
    assert_accessible(page)


def test_the_detail_says_how_it_came_about(page: Page, service: Service) -> None:
    decide(service)
    page.locator("#rows .row", has_text="/orders/internal/9").first.click()
    expect(page.locator(".steps li")).to_have_count(5)
    page.get_by_role("tab", name="Policy").click()
    lines = page.locator(".code-line.marked")
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("/orders/internal")
    expect(page.locator(".candidates tr.won")).to_have_count(1)
    expect(page.locator("#detail .note.warn")).to_have_count(0)
    page.get_by_role("tab", name="Response").click()
    expect(page.locator("#detail")).to_contain_text("policy_denied")
    page.get_by_role("tab", name="Tokens").click()
    expect(page.locator("#detail")).to_contain_text("Tokens are never shown here")
    page.get_by_role("tab", name="Log").click()
    expect(page.locator("#detail")).to_contain_text("deny_explicit_policy")


def test_the_policy_view_shows_the_service_s_own_problems(page: Page, service: Service) -> None:
    page.get_by_role("link", name="Policy").click()
    page.locator(".document").first.click()
    expect(page.locator("#policy-document h2")).to_have_text("team/policy")
    expect(page.locator(".code-line.wrong")).to_have_count(1)
    expect(page.locator(".code-line.wrong")).to_contain_text("exchagne")
    (service.folder / "policy.yaml").write_text(config_map(DOCUMENT.replace("exchagne", "deny")))
    expect(page.locator(".code-line.wrong")).to_have_count(0)
    expect(page.locator(".document .health")).to_have_text("ok")
    (service.folder / "policy.yaml").write_text(config_map(DOCUMENT))
    expect(page.locator(".code-line.wrong")).to_have_count(1)


def test_page_shows_earlier_decisions_and_policy_problems_when_it_opens(page: Page, service: Service) -> None:
    page.goto("about:blank")
    decide(service)
    page.go_back()
    expect(page.locator(".chart-rate .plot")).to_have_attribute("aria-label", re.compile(r"\d policy unhealthy"))
    banner = page.locator("#policy-banner")
    expect(banner).to_contain_text("1 document has problems.")
    (service.folder / "policy.yaml").write_text(config_map(DOCUMENT.replace("exchagne", "deny")))
    expect(banner).to_be_empty()
    (service.folder / "policy.yaml").write_text(config_map(DOCUMENT))
    expect(banner).to_contain_text("1 document has problems.")


def test_charts_follow_the_service_s_counters(page: Page, service: Service) -> None:
    plot = page.locator(".chart-rate .plot")
    expect(plot).not_to_have_attribute("aria-label", "No figures yet.")
    decide(service)
    expect(page.locator(".chart-latency .number")).to_contain_text("ms")  # of the last ten seconds; the others are of two minutes
    expect(page.locator(".chart-rate .key.f-broken")).to_be_visible()


def test_the_service_s_token_signs_in(browser: Browser, tmp_path: Path, watch: Watch) -> None:
    watch.allow("401")
    file, port = tmp_path / "token", free_port()
    file.write_text(TOKEN)
    with serving(tmp_path, DOCUMENT, CONSOLE_ADDRESS=f"127.0.0.1:{port}", CONSOLE_TOKEN_FILE=str(file)):
        page = browser.new_page()
        url = f"http://127.0.0.1:{port}/"
        watch.follow(page, url)
        page.goto(url)
        page.locator("#sign-in-token").fill("not the right token")
        page.keyboard.press("Enter")
        expect(page.locator("#sign-in-error")).to_have_text("This is not the console's token.")
        page.locator("#sign-in-token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#state")).to_have_attribute("data-state", "connected")
        page.reload()
        expect(page.locator("#state")).to_have_attribute("data-state", "connected")
        page.click("#sign-out")
        expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
        page.reload()
        expect(page.get_by_role("dialog", name="Sign in")).to_be_visible()
        page.close()
