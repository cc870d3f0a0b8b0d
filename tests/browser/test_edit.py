"""The editor: checked while typing, saved, put back, and tried out."""

import re

import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from tests.browser.conftest import Console, Visit, Watch
from tests.browser.made_up import FILE_TEXT

pytestmark = [pytest.mark.full, pytest.mark.browser]

EDITOR = "Policy file"


@pytest.fixture
def page(visit: Visit) -> Page:
    page = visit("#/edit")
    expect(page.get_by_role("textbox", name=EDITOR)).to_have_value(FILE_TEXT)
    return page


def test_what_is_typed_is_checked_and_a_problem_leads_to_its_line(page: Page) -> None:
    expect(page.locator("#edit-state")).to_have_text("No problems in 1 document.")
    page.get_by_role("textbox", name=EDITOR).fill("version: v1\naction: wrong\n")
    expect(page.locator("#edit-state")).to_have_text("Not saved. 1 problem.")
    expect(page.locator(".gutter .wrong")).to_have_text("2")
    page.get_by_role("button", name="line 2, column 9").click()
    expect(page.get_by_role("textbox", name=EDITOR)).to_be_focused()
    assert page.get_by_role("textbox", name=EDITOR).evaluate("area => area.selectionStart") == len("version: v1\naction: ")


COPIED = """() => [...document.querySelectorAll(".editor-copy > div")].map((line) => line.textContent).join("")
  === document.querySelector(".editor-text").value + "\\n" """


def test_the_coloured_copy_is_what_was_typed_and_lies_behind_it(page: Page) -> None:
    area = page.get_by_role("textbox", name=EDITOR)
    expect(page.locator(".editor-copy .y-key").first).to_have_text("apiVersion")
    for text in ("a: b\n# c\n", "", "\n\n", "a: b\n\nd: 'e'\n# c", FILE_TEXT):
        area.fill(text)
        page.wait_for_function(COPIED)
    area.press("Control+Home")
    page.keyboard.type("# new\n")
    page.wait_for_function(COPIED)
    area.fill("key: value\n" * 300 + "x" * 3000)
    page.wait_for_function(COPIED)
    area.evaluate("area => area.scrollTo(area.scrollWidth, area.scrollHeight)")
    page.wait_for_function("""() => {
      const area = document.querySelector(".editor-text"), copy = document.querySelector(".editor-copy");
      const [own, other] = [area, copy].map((node) => node.getBoundingClientRect());
      return area.scrollTop > 0 && area.scrollLeft > 0
        && Math.abs(other.top - own.top + area.scrollTop) < 1 && Math.abs(other.left - own.left + area.scrollLeft) < 1
        && Math.abs(copy.scrollHeight - area.scrollHeight) < 2;
    }""")


def test_very_long_text_is_shown_without_colours(page: Page) -> None:
    area = page.get_by_role("textbox", name=EDITOR)
    area.evaluate("area => { area.value = 'a: b\\n'.repeat(6000); area.dispatchEvent(new Event('input')); }")
    expect(page.locator(".editor-copy")).to_be_hidden()
    expect(area).not_to_have_css("color", "rgba(0, 0, 0, 0)")
    area.fill("a: b\n")
    expect(page.locator(".editor-copy")).to_be_visible()


def test_an_edit_shows_the_lines_and_the_requests_that_change(page: Page) -> None:
    changes = page.locator(".edit-changes")
    expect(changes).to_have_text("Nothing: this is the saved text.")
    page.get_by_role("textbox", name=EDITOR).fill(FILE_TEXT.replace("action: deny", "action: wrong"))
    expect(changes.locator(".t-removed")).to_have_text("removed:           action: deny\n")
    expect(changes.locator(".t-added")).to_have_text("added:           action: wrong\n")
    expect(changes.get_by_role("heading", name="2 of 25 example requests change")).to_be_visible()
    rows = changes.locator("tbody tr")
    expect(rows.first).to_contain_text("GET yellow.example.com/orders/internal/1")
    expect(rows.first).to_contain_text("blocked by")
    page.get_by_role("button", name="Save").click()
    expect(changes).to_have_text("Nothing: this is the saved text.")


def test_an_answer_about_an_older_text_is_dropped(page: Page, console: Console) -> None:
    expect(page.locator("#edit-state")).to_have_text("No problems in 1 document.")  # this answer is not the slow one
    console.tell("set", {"lint_delay": 1.5})
    with page.expect_request("**/lab/policy/lint"):
        page.get_by_role("textbox", name=EDITOR).fill("wrong\nwrong\nwrong\n")
    page.get_by_role("textbox", name=EDITOR).fill("right\nwrong\n")
    expect(page.locator("#edit-state")).to_have_text("Not saved. 1 problem.")
    page.wait_for_timeout(1500)  # the slow answer would have come
    expect(page.locator("#edit-state")).to_have_text("Not saved. 1 problem.")


def test_unsaved_text_is_marked_until_ctrl_s_saves_it(page: Page) -> None:
    save = page.get_by_role("button", name="Save")
    expect(save).to_be_disabled()
    page.get_by_role("textbox", name=EDITOR).fill("version: v1\n")
    expect(page.get_by_role("link", name="Edit (not saved)")).to_be_visible()
    expect(page.get_by_role("link", name="yellow.yaml (not saved)")).to_be_visible()
    expect(save).to_be_enabled()
    page.get_by_role("textbox", name=EDITOR).press("Control+s")
    expect(save).to_be_disabled()
    expect(page.get_by_role("link", name="Edit", exact=True)).to_be_visible()
    expect(page.locator("#polite")).to_contain_text("yellow.yaml is saved.")


def test_reset_asks_first_and_brings_the_first_text_back(page: Page) -> None:
    page.get_by_role("textbox", name=EDITOR).fill("gone\n")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Reset").click()
    dialog = page.get_by_role("dialog", name="Reset yellow.yaml?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("textbox", name=EDITOR)).to_have_value("gone\n")
    expect(page.get_by_role("button", name="Reset")).to_be_focused()
    page.get_by_role("button", name="Reset").click()
    dialog.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("textbox", name=EDITOR)).to_have_value(FILE_TEXT)


def test_files_keep_what_was_typed_while_others_are_looked_at(page: Page) -> None:
    page.get_by_role("textbox", name=EDITOR).fill("typed\n")
    page.get_by_role("link", name="red.yaml").click()
    expect(page.get_by_role("textbox", name=EDITOR)).not_to_have_value("typed\n")
    page.get_by_role("link", name="yellow.yaml (not saved)").click()
    expect(page.get_by_role("textbox", name=EDITOR)).to_have_value("typed\n")


def test_enter_keeps_the_indentation_and_tab_leaves_the_editor(page: Page) -> None:
    area = page.get_by_role("textbox", name=EDITOR)
    area.fill("    entries:")
    area.press("End")
    area.press("Enter")
    expect(area).to_have_value("    entries:\n    ")
    page.keyboard.press("Control+z")
    expect(area).to_have_value("    entries:")
    page.keyboard.press("Shift+Tab")
    expect(area).not_to_be_focused()


def test_a_check_that_answers_late_does_not_hide_why_a_save_failed(page: Page, watch: Watch) -> None:
    watch.allow("413")  # the browser logs it
    page.route("**/lab/policy", lambda route: route.fulfill(status=413, json={"error": "the file is too large"}))
    area, state = page.get_by_role("textbox", name=EDITOR), page.locator("#edit-state")
    with page.expect_response("**/lab/policy/lint"):  # that of the text, a while after the last key
        area.fill("version: v1\n")
        page.keyboard.press("Control+s")
        expect(state).to_have_text("Not saved: the file is too large")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    expect(state).to_have_text("Not saved: the file is too large")
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    area.press_sequentially(" ")
    expect(state).to_have_text("Not saved. No problems in 1 document.")


def test_what_was_saved_elsewhere_is_not_overwritten_unasked(page: Page, console: Console, watch: Watch) -> None:
    watch.allow("409")  # the browser logs it
    console.tell("set", {"files": {"yellow.yaml": "theirs\n"}})
    page.get_by_role("textbox", name=EDITOR).fill("mine\n")
    page.get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog", name="Overwrite yellow.yaml?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("#edit-state")).to_have_text("Not saved: the file was changed elsewhere meanwhile")
    page.get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Overwrite").click()
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    page.get_by_role("textbox", name=EDITOR).fill("mine, once more\n")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    expect(dialog).to_be_hidden()


def test_what_was_saved_elsewhere_is_shown_when_the_view_is_shown_again(page: Page, console: Console) -> None:
    area = page.get_by_role("textbox", name=EDITOR)
    for mine, shown in (("", "theirs\n"), ("mine\n", "mine\n")):
        if mine:
            area.fill(mine)
        page.get_by_role("link", name="Live").click()
        console.tell("set", {"files": {"yellow.yaml": "theirs\n" if not mine else "theirs again\n"}})
        with page.expect_response("**/lab/policy"):
            page.get_by_role("link", name="Edit").click()
        expect(area).to_have_value(shown)


def test_save_says_whether_the_text_took_effect_and_offers_a_scenario(page: Page) -> None:
    save = page.get_by_role("button", name="Save")
    for text, note in (("host: yellow.example.com\n", "Saved, and active."), ("wrong\n", "Saved. The active policy has not changed.")):
        page.get_by_role("textbox", name=EDITOR).fill(text)
        save.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".edit-effect .note").first).to_have_text(note)  # a run adds another
        expect(save).to_be_disabled()
        expect(save).to_be_focused()
        if note == "Saved, and active.":
            page.get_by_label("Scenario").select_option("explicit-deny")
            page.get_by_role("button", name="Run it").click()
            expect(page.locator(".edit-effect")).to_contain_text("as expected")


def test_lines_are_numbered_very_many_without_an_element_for_each(page: Page) -> None:
    gutter = page.locator(".gutter-lines")
    expect(gutter.locator("span")).to_have_count(FILE_TEXT.count("\n") + 1)
    page.get_by_role("textbox", name=EDITOR).evaluate(
        "(area) => { area.value = '#\\n'.repeat(30000); area.dispatchEvent(new Event('input')); }"
    )
    assert gutter.evaluate("lines => lines.querySelectorAll('*').length") == 0
    assert gutter.evaluate("lines => lines.textContent.split('\\n').length") == 30_001


def held_saves(page: Page) -> list[Route]:
    """Return the page's saves as they are asked for. The first is held back until a test lets it go on."""
    held: list[Route] = []

    def asked(route: Route) -> None:
        if is_save(route.request):
            held.append(route)
        if len(held) != 1 or held[0] is not route:
            route.continue_()

    page.route("**/lab/policy", asked)
    return held


def is_save(request: Request) -> bool:
    return request.method == "PUT"


def begin_save(page: Page, text: str) -> tuple[list[Route], Locator, Locator]:
    """Save ``text``, which is held back; return the saves, the editor, and what it says."""
    held = held_saves(page)
    area, state = page.get_by_role("textbox", name=EDITOR), page.locator("#edit-state")
    area.fill(text)
    with page.expect_request(is_save):
        area.press("Control+s")
    expect(state).to_have_text("Saving …")
    return held, area, state


def test_saving_again_while_a_save_is_under_way_is_no_conflict(page: Page) -> None:
    held, area, state = begin_save(page, "version: v1\n")
    save = page.get_by_role("button", name="Save")
    expect(save).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_role("button", name="Reset")).to_be_disabled()  # or it could overtake the save
    area.press("Control+s")
    save.dispatch_event("click")
    with page.expect_response("**/lab/policy/lint"):
        page.keyboard.type(" ")  # what is checked meanwhile does not hide that it is being saved
        area.fill("version: v1\n")
    expect(state).to_have_text("Saving …")
    assert len(held) == 1
    held[0].continue_()
    expect(state).to_have_text(re.compile("^No problems"))
    expect(save).to_be_disabled()
    expect(page.get_by_role("button", name="Reset")).to_be_enabled()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert len(held) == 1


@pytest.mark.parametrize("text", [FILE_TEXT, "second\n"], ids=["the text before", "another text"])
def test_second_save_runs_after_the_one_in_progress(page: Page, text: str) -> None:
    held, area, _ = begin_save(page, "first\n")
    area.fill(text)
    area.press("Control+s")
    with page.expect_request(lambda request: is_save(request) and (request.post_data_json or {})["text"] == text):
        held[0].continue_()
    expect(page.get_by_role("link", name="Edit", exact=True)).to_be_visible()  # nothing is left to save
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.reload()
    expect(area).to_have_value(text)


def test_problems_of_a_save_are_dropped_if_the_text_changed(page: Page) -> None:
    held, area, state = begin_save(page, "wrong\n")
    with page.expect_response("**/lab/policy/lint"):
        area.fill("right\n")
    held[0].continue_()
    expect(page.locator("#polite")).to_contain_text("yellow.yaml is saved.")
    expect(state).to_have_text("Not saved. No problems in 1 document.")
    expect(page.locator(".gutter .wrong")).to_have_count(0)


def test_a_save_that_fails_can_be_tried_again(page: Page, watch: Watch) -> None:
    watch.allow("503")  # the browser logs it
    held = held_saves(page)
    area, save = page.get_by_role("textbox", name=EDITOR), page.get_by_role("button", name="Save")
    area.fill("version: v1\n")
    with page.expect_request(is_save):
        save.click()
    expect(save).to_have_attribute("aria-disabled", "true")
    held[0].fulfill(status=503, json={"error": "not now"})
    expect(page.locator("#edit-state")).to_have_text("Not saved: not now")
    expect(save).to_have_attribute("aria-disabled", "false")
    page.unroute("**/lab/policy")
    save.click()
    expect(save).to_be_disabled()


def test_a_file_that_is_not_there_is_said_not_to_be(page: Page) -> None:
    page.goto(page.url.split("#")[0] + "#/edit/none.yaml")
    expect(page.locator("#toast")).to_have_text("There is no file none.yaml.")
    expect(page.get_by_role("textbox", name=EDITOR)).to_have_value(FILE_TEXT)
    page.reload()
    expect(page.locator("#toast")).to_have_text("There is no file none.yaml.")


def test_the_editor_stays_where_it_is_when_many_problems_appear(visit: Visit) -> None:
    page = visit("#/edit", viewport={"width": 1280, "height": 720})
    area = page.get_by_role("textbox", name=EDITOR)
    expect(page.locator("#edit-state")).to_have_text("No problems in 1 document.")
    before = page.locator(".editor").bounding_box()
    area.fill("wrong\n" * 60)
    expect(page.locator(".edit-problems li")).to_have_count(60)
    page.get_by_role("button", name="line 60, column 1,").click()
    expect(area).to_be_focused()
    assert page.locator(".editor").bounding_box() == before


def test_file_list_follows_the_folder_and_typed_text_stays(page: Page, console: Console) -> None:
    files = page.get_by_role("navigation", name="Policy files").get_by_role("link")
    page.get_by_role("textbox", name=EDITOR).fill("mine\n")
    console.tell("set", {"files": {"green.yaml": "added: 1\n", "yellow.yaml": FILE_TEXT}, "revision": 8})
    expect(files).to_have_text(["green.yaml", "yellow.yaml (not saved)"])
    expect(page.get_by_role("textbox", name=EDITOR)).to_have_value("mine\n")
    page.get_by_role("link", name="green.yaml").click()
    expect(page.get_by_role("textbox", name=EDITOR)).to_have_value("added: 1\n")
    console.tell("set", {"files": {"yellow.yaml": FILE_TEXT, "blue.yaml": "b: 1\n"}})
    page.evaluate("dispatchEvent(new Event('focus'))")  # somebody comes back to the page; no version tells of a file without a policy
    expect(files).to_have_text(["yellow.yaml (not saved)", "blue.yaml"])
    expect(page.get_by_role("textbox", name=EDITOR)).to_have_value("mine\n")


def test_a_file_is_made_with_a_first_policy_and_deleted_again(page: Page, watch: Watch) -> None:
    watch.allow("400")  # the browser logs it
    name, create = page.get_by_label("New file"), page.get_by_role("button", name="Create")
    name.fill("../green.yaml")
    create.click()
    expect(page.get_by_role("alert").filter(has_text="must begin with a letter or digit")).to_be_visible()
    name.fill("green.yaml")
    name.press("Enter")
    area = page.get_by_role("textbox", name=EDITOR)
    expect(page.get_by_role("link", name="green.yaml")).to_have_attribute("aria-current", "true")
    expect(area).to_have_value(FILE_TEXT)
    expect(area).to_be_focused()
    expect(page.locator(".edit-effect")).to_contain_text("Saved, and active.")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete green.yaml?").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("link", name="green.yaml")).to_have_count(0)
    expect(page.get_by_role("link", name="yellow.yaml")).to_have_attribute("aria-current", "true")
    expect(page.get_by_role("button", name="Reset")).to_be_visible()


def test_deleted_file_can_be_created_again_with_the_typed_text(page: Page, console: Console, watch: Watch) -> None:
    watch.allow("404")  # the browser logs it
    area, state = page.get_by_role("textbox", name=EDITOR), page.locator("#edit-state")
    page.get_by_label("New file").fill("green.yaml")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("link", name="green.yaml")).to_have_attribute("aria-current", "true")
    area.fill("mine\n")
    console.tell("set", {"files": {"yellow.yaml": FILE_TEXT}})
    page.get_by_role("button", name="Save").click()
    expect(state).to_have_text("Not saved: the demo has no such policy file")
    page.get_by_label("New file").fill("green.yaml")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#polite")).to_contain_text("green.yaml is created.")
    expect(area).to_have_value("mine\n")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    page.reload()
    expect(page.get_by_role("link", name="green.yaml")).to_have_attribute("aria-current", "true")
    expect(area).to_have_value("mine\n")
