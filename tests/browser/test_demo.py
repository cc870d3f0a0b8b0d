"""The page and the real demo: a gateway, the service, a token endpoint; what the lab shows is what happened."""

import re
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ROOT, Watch
from tests.e2e.gateway import PATIENT_DEMO

pytestmark = [pytest.mark.full, pytest.mark.browser, pytest.mark.envoy]

ALL_AS_EXPECTED = re.compile(r"^(\d+) of \1 scenarios as expected\.$")


@contextmanager
def running(*arguments: str, said: str, program: Sequence[str] = ("-m", "exchanger")) -> Generator[str]:
    """Run a command until Ctrl-C, and yield what it ``said`` of where it is."""
    with subprocess.Popen(
        [sys.executable, *program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        try:
            found = next((match for line in process.stdout if (match := re.search(said, line))), None)
            assert found is not None, "the command ended before it said where it is"
            yield found.group(1)
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.read()


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    pytest.importorskip("envoy", reason="the demo extra is not installed")
    with running(program=PATIENT_DEMO, said=r"^Console: (http://\S+)") as found:
        yield found


@pytest.fixture
def page(browser: Browser, url: str, watch: Watch) -> Generator[Page]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    watch.follow(page, url)
    page.goto(url)
    page.wait_for_selector("#state[data-state=connected]")
    yield page
    page.close()


def test_all_scenarios_come_out_as_expected(page: Page) -> None:
    page.get_by_role("link", name="Lab").click()
    progress = page.locator("#lab-progress")
    # Ten equal requests may not meet on a busy machine, nor an edit be active within a second. What is wrong is wrong each time.
    for _ in range(3):
        page.get_by_role("button", name="Run all", exact=True).click()
        expect(progress).to_have_text(re.compile(r" scenarios as expected\.$"), timeout=120_000)
        if ALL_AS_EXPECTED.match(progress.inner_text()):
            break
    expect(progress).to_have_text(ALL_AS_EXPECTED)


def test_a_run_leads_to_its_request_and_its_tokens(page: Page) -> None:
    expect(page.locator("#warning")).to_be_visible()
    page.get_by_role("link", name="Lab").click()
    page.get_by_role("button", name="Run yellow-success").click()
    page.locator(".scenario[open]").get_by_role("button", name="this request").click()
    expect(page.locator("#detail-title")).to_have_text("GET yellow.example.com/orders/1")
    page.get_by_role("tab", name="Policy").click()
    expect(page.locator(".code-line.marked").first).to_contain_text("/orders")
    page.get_by_role("tab", name="Tokens").click()
    expect(page.locator("#detail .diff").first).to_contain_text("changed")


def test_edit_takes_effect_with_the_next_request_and_can_be_reset(page: Page) -> None:
    page.get_by_role("link", name="Edit").click()
    page.get_by_role("link", name="yellow.yaml").click()
    area = page.get_by_role("textbox", name="Policy file")
    expect(area).to_have_value(re.compile("Team yellow"))
    text = area.input_value()
    area.fill(text.replace("action: deny", "action: dny"))
    expect(page.locator(".edit-problems")).to_contain_text("dny")
    expect(page.locator(".gutter .wrong")).to_be_visible()
    area.fill(text.replace("action: deny", 'action: exchange\n        exchange: {issuerRef: demo, scope: "read:orders"}'))
    expect(page.locator("#edit-state")).to_contain_text("No problems")
    area.press("Control+s")
    page.get_by_label("Scenario").select_option("explicit-deny")
    page.get_by_role("button", name="Run it").click()
    expect(page.locator(".edit-effect")).to_contain_text("not as expected")
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("dialog").get_by_role("button", name="Reset").click()
    expect(area).to_have_value(text)


def test_new_file_decides_the_next_request_until_it_is_deleted(page: Page) -> None:
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("New file").fill("green.yaml")
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".edit-effect")).to_contain_text("Saved, and active.")
    expect(page.locator("#edit-state")).to_have_text("No problems in 1 document.")
    for decision in ("deny (403)", "unmatched"):
        page.get_by_role("link", name="Explain").click()
        page.get_by_label("URL", exact=True).fill("https://green.example.com/")
        page.get_by_role("button", name="Explain").click()
        expect(page.locator(".explain-decision")).to_have_text(decision)
        page.get_by_role("link", name="Edit").click()
        if decision == "deny (403)":
            page.get_by_role("button", name="Delete").click()
            page.get_by_role("dialog").get_by_role("button", name="Delete").click()
            expect(page.get_by_role("link", name="green.yaml")).to_have_count(0)


@pytest.fixture
def foreign() -> Generator[str]:
    """The page before a gateway of somebody else, without a service's console."""
    with (
        running("echo", "--address", "127.0.0.1:0", said=r"listening on (\S+)") as gateway,
        running("demo", "--gateway", f"http://{gateway}", said=r"Console: (http://\S+)") as found,
    ):
        yield found


def test_page_before_another_gateway_offers_no_editor(foreign: str, browser: Browser, watch: Watch) -> None:
    page = browser.new_page()
    watch.follow(page, foreign)
    page.goto(foreign)
    expect(page.locator("#state")).to_have_text(re.compile("no console of the service was named"))
    expect(page.get_by_role("link", name="Lab", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="Edit")).to_be_hidden()
    page.close()
