"""Whatever comes from outside is text: a canary in every field of everything that the page is told is shown as it is, and runs nowhere."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser import made_up
from tests.browser.conftest import Console, Visit, Watch
from tests.browser.made_up import Json, item

pytestmark = pytest.mark.browser

CANARY = "<img src=x onerror=\"window.ran=1\"><b class='canary'>&amp;</b>\u202e'\"`${window.ran=1}"


def poisoned(value: Any, *, keys: bool = False) -> Any:
    """Return ``value`` with the canary in the place of every text, and with ``keys`` as one more key of every mapping."""
    match value:
        case str():
            return CANARY
        case list():
            return [poisoned(one, keys=keys) for one in value]
        case dict():
            more = {CANARY: CANARY, "__proto__": {"polluted": CANARY}, "constructor": CANARY} if keys else {}
            return {name: poisoned(one, keys=keys) for name, one in value.items()} | more
        case _:
            return value


def hostile_item(seq: int, decision: str) -> Json:
    made = item(seq, decision)
    bad: Json = poisoned(made) | {"log": poisoned(made["log"], keys=True)}
    bad["tokens"] = {
        "subject": {
            "header": poisoned(made_up.SUBJECT["header"], keys=True),
            "claims": poisoned(made_up.SUBJECT["claims"], keys=True),
            "signature": CANARY,
        },
        "exchanged": {"header": {}, "claims": {CANARY: [CANARY, {CANARY: CANARY}]}, "signature": CANARY},
    }
    return bad


def answer(content: object, status: int = 200) -> Callable[[Route], None]:
    return lambda route: route.fulfill(status=status, json=content)


def hostile_api(page: Page) -> None:
    """Have the API answer with canaries, whatever is asked."""
    found = made_up.documents()["team-red", "token-policy"]
    rival = {"namespace": CANARY, "name": CANARY, "entry": 0}
    document = poisoned(found) | {"revision": 9}
    for entry in document["entries"]:
        entry["conflicts"] = [rival]
    explained = poisoned(made_up.candidates("GET", "red.example.com", "/slow")) | {"revision": 9, "readings": [CANARY, CANARY]}
    page.route("**/api/policy", answer(poisoned(made_up.overview(made_up.documents(), 9))))
    page.route("**/api/policy/document?*", answer(document))
    page.route("**/api/explain?*", answer(explained))
    scenarios = poisoned(made_up.SCENARIOS)
    page.route("**/lab/scenarios", answer({"gateway": CANARY, "keycloak": True, "scenarios": scenarios[:1]}))
    result = poisoned(made_up.result(None, ["x"], ok=False), keys=False) | {"details": [CANARY]}
    page.route("**/lab/run", answer(result))
    page.route("**/lab/request", answer(result))
    page.route("**/lab/policy", answer({"files": [{"name": CANARY, "text": CANARY}], "saved": True, "problems": []}))
    problem = {"entry": 0, "line": 1, "column": 1, "reason": CANARY, "policy": CANARY}
    compared = poisoned(made_up.COMPARED) | {"why_not": ""}
    page.route("**/lab/policy/lint", answer({"documents": 1, "problems": [problem], "compared": compared}))
    page.route("**/lab/policy/reset", answer({"error": CANARY}, status=200))


def assert_harmless(page: Page, place: str) -> None:
    """The canary stands in ``place`` as text, and has become nothing else anywhere."""
    expect(page.locator(place).first).to_contain_text("<img src=x onerror=")
    assert page.evaluate(HARM) == []


# Lists what the canary has become: a script that ran, a key of every object, an element, a script from elsewhere.
HARM = """() => [
    window.ran, ({}).polluted, document.querySelector("img, .canary, iframe, object, embed")?.outerHTML,
    [...document.scripts].find((script) => !script.src.startsWith(location.origin + "/assets/"))?.src,
].filter((one) => one !== undefined)"""


@pytest.fixture
def page(visit: Visit) -> Page:
    page = visit()
    hostile_api(page)
    return page


def test_every_field_of_an_item_is_text(page: Page, console: Console) -> None:
    unknown = hostile_item(100, "deny_exchange_error")  # its decision is the canary, too
    known = [
        hostile_item(seq, decision) | {"decision": decision, "result": result}
        for seq, (decision, (result, *_)) in enumerate(made_up.KINDS.items(), 101)
    ]
    console.emit(unknown, *known)
    for one in (unknown, *known):
        page.locator(f'#rows .row[data-key="0:{one["seq"]}"]').click()
        assert_harmless(page, "#rows .row")
        for name in ("Flow", "Policy", "Tokens", "Response", "Log"):
            page.get_by_role("tab", name=name).click()
            if name == "Policy" and one["decision"] != "missing_http_attributes":
                expect(page.locator("#detail .candidates")).to_be_visible()
            assert_harmless(page, "#detail" if name != "Response" or one["result"] != "allowed" else "#detail-title")
    page.focus("#filter-host")
    assert page.locator("#hosts option").evaluate_all("options => options.map((option) => option.value)").count(CANARY) == 1


def test_every_field_of_the_policy_is_text(page: Page) -> None:
    page.get_by_role("link", name="Policy").click()
    assert_harmless(page, "#policy-tree")
    page.locator(".document").first.click()
    assert_harmless(page, "#policy-document .code")
    assert_harmless(page, "#policy-document .conflict")


def test_every_field_of_the_lab_is_text(page: Page) -> None:
    page.get_by_role("link", name="Lab").click()
    assert_harmless(page, "#lab-summary")
    page.locator(".scenarios button", has_text="Run").first.click()
    assert_harmless(page, ".scenario .sides")
    for details in page.locator(".scenario details summary").all():
        details.click()
    assert_harmless(page, ".scenario .tokens")
    page.get_by_role("button", name="Send").click()
    assert_harmless(page, ".composer-result")


def test_every_field_of_the_editor_is_text(page: Page) -> None:
    page.get_by_role("link", name="Edit").click()
    assert_harmless(page, ".files")
    assert_harmless(page, ".edit-problems")
    page.get_by_role("textbox", name="Policy file").fill(f"x: {CANARY}")
    assert_harmless(page, ".editor-copy")
    assert_harmless(page, ".text-diff")
    assert_harmless(page, ".edit-changes .changes")
    page.get_by_role("button", name="Save").click()
    assert_harmless(page, "#polite")
    page.get_by_role("button", name="Reset").click()
    assert_harmless(page, "#confirm")


def test_errors_and_the_version_are_text(visit: Visit, page: Page) -> None:
    page.unroute("**/api/policy")
    page.route("**/api/policy", answer({"error": CANARY}, status=200))
    page.route(
        "**/api/about", answer(poisoned({"version": "v", "mode": "m"}) | {"shows_tokens": True, "lab": True, "token_required": False})
    )
    page.reload()
    assert_harmless(page, "#version")


def test_an_address_is_text_too(visit: Visit, watch: Watch) -> None:
    watch.allow("404")  # the browser logs it
    page = visit("#/policy/%3Cimg%20src=x%20onerror=window.ran=1%3E/%E0%A4%A")
    hostile_api(page)
    page.reload()
    assert_harmless(page, "#policy-document .code")
    page.goto(page.url.split("#")[0] + "#/__proto__")
    expect(page.locator("#view-live")).to_be_visible()
