"""Takes pictures of the console's page with made-up data, for its documentation and for whoever changes how it looks.

    .venv/bin/python -m tests.browser.screenshots FOLDER [WORD ...]

writes one PNG for each view, theme and size; with words, only those whose name has one of them.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, ViewportSize, sync_playwright

from tests.browser import made_up
from tests.browser.conftest import ARGUMENTS, DESKTOP, PHONE, Console
from tests.tools import where

SIZES: Final[dict[str, ViewportSize]] = {
    "desktop": DESKTOP,
    "wide": {"width": 1920, "height": 1080},
    "laptop": {"width": 1280, "height": 800},
    "tablet": {"width": 1024, "height": 768},
    "phone": PHONE,
}
SCHEMES: Final = ("light", "dark")
# Decisions a second of the made-up charts.
SHARES: Final = {
    "allow_exchange": 26,
    "allow_unmatched": 9,
    "allow_options_bypass": 2,
    "deny_missing_bearer": 3,
    "deny_explicit_policy": 2,
    "deny_exchange_error": 1,
}
# Decisions a second by bucket.
LATENCY: Final = {0: 20, 1: 3, 2: 4, 3: 12, 4: 8, 5: 2, 8: 1}
# Seconds in which the token endpoint fails.
BURST: Final = range(78, 94)
BOUNDS: Final = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5]


def samples() -> list[made_up.Json]:
    """Return the totals of two minutes with waves and a burst of failures; the same each time."""
    decisions, latency = dict.fromkeys(made_up.KINDS, 0), [0] * (len(BOUNDS) + 1)
    exchanges = coalesced = 0
    found = []
    for second in range(125):
        wave = 1.15 + 0.5 * math.sin(second / 14) + 0.18 * math.sin(second * 2.3) * math.cos(second * 1.1)
        for label, share in SHARES.items():
            decisions[label] += round(share * wave)
        if second in BURST:
            decisions["deny_exchange_error"] += 14
            latency[8] += 6
        exchanges += round(30 * wave)
        coalesced += round(30 * wave * (0.12 if second in BURST else 0.34 + 0.1 * math.sin(second / 5)))
        for bucket, share in LATENCY.items():
            latency[bucket] += round(share * wave)
        found.append(
            {
                "time": 2_000_000_000_000 + second * 1000,
                "revision": 7,
                "decisions": dict(decisions),
                "exchanges": exchanges,
                "coalesced": coalesced,
                "latency": {"bounds": BOUNDS, "counts": list(latency)},
                "subscribers": 1,
            }
        )
    return found


def live(page: Page, url: str) -> None:
    """Show the list."""
    page.goto(f"{url}#/live")


def detail(tab: str, row: str) -> Callable[[Page, str], None]:
    """Return what opens the first row with this text at this tab."""

    def steps(page: Page, url: str) -> None:
        live(page, url)
        page.locator("#rows .row", has_text=row).first.click()
        page.get_by_role("tab", name=tab).click()

    return steps


def paused(page: Page, url: str) -> None:
    """Pause the list, and open a request beside it."""
    detail("Flow", "shared")(page, url)
    if page.locator("#filter-text").is_visible():  # a phone shows nothing beside the request
        for text in ("example", ""):
            page.locator("#filter-text").fill(text)


def policy(page: Page, url: str) -> None:
    """Show a document with problems."""
    page.goto(f"{url}#/policy/team-red/token-policy")


def explain(page: Page, url: str) -> None:
    """Ask what would happen to a request."""
    page.goto(f"{url}#/explain")
    page.get_by_label("URL").fill("https://yellow.example.com/orders/internal/1")
    page.get_by_role("button", name="Explain").click()
    page.locator("#explain-result .candidates").wait_for()


def lab(page: Page, url: str) -> None:
    """Run all scenarios."""
    page.goto(f"{url}#/lab")
    page.get_by_role("button", name="Run all").click()
    page.locator("#lab-progress", has_text="as expected").wait_for()


def edit(page: Page, url: str) -> None:
    """Edit a policy, and make a mistake."""
    page.goto(f"{url}#/edit")
    page.get_by_role("textbox", name="Policy file").fill(made_up.FILE_TEXT.replace("action: deny", "action: wrong"))
    page.locator(".gutter .wrong").wait_for()


VIEWS: Final[dict[str, Callable[[Page, str], None]]] = {
    "live": live,
    "paused": paused,
    "flow": detail("Flow", "shared"),
    "flow-failed": detail("Flow", "TXE-2005"),
    "flow-denied": detail("Flow", "/orders/internal"),
    "policy-tab": detail("Policy", "/orders/internal"),
    "tokens": detail("Tokens", "/digest"),
    "response": detail("Response", "No token"),
    "log": detail("Log", "No token"),
    "policy": policy,
    "explain": explain,
    "lab": lab,
    "edit": edit,
}


def take(folder: Path, words: list[str], command: Path) -> int:
    """Write the pictures and return how many."""
    taken = 0
    console = Console()
    console.start()
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=command, args=ARGUMENTS)
            for scheme in SCHEMES:
                for size, viewport in SIZES.items():
                    for name, show in VIEWS.items():
                        file = f"{name}-{size}-{scheme}.png"
                        if words and not any(word in file for word in words):
                            continue
                        # A page of its own and a console as new each time: nothing is left over from the picture before.
                        console.tell("reset")
                        console.tell("set", {"silent": True})
                        page = chromium.new_page(viewport=viewport, color_scheme="dark" if scheme == "dark" else "light", locale="en")
                        page.goto(console.url)
                        page.locator("#state[data-state=connected]").wait_for()
                        console.tell("totals", samples())
                        show(page, console.url)
                        page.wait_for_timeout(400)  # until answers are there and drawn
                        page.screenshot(path=folder / file)
                        page.close()
                        taken += 1
            chromium.close()
    finally:
        console.stop()
    return taken


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Takes pictures of the console's page.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    command = where("chromium")
    if command is None:
        parser.error("there is no Chromium; .ci/tools.py chromium installs it")
    options.folder.mkdir(parents=True, exist_ok=True)
    taken = take(options.folder, options.words, command)
    sys.stderr.write(f"{taken} pictures in {options.folder}\n")
    return 0 if taken else 1


if __name__ == "__main__":
    sys.exit(main())
