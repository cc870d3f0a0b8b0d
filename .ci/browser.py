"""Finds Chromium, with which the tests look at the console's page, or installs Debian's package; prints where it is.

Playwright's own browsers are not used: they come from a place of their own, and would be another thing to keep current.
"""

import shutil
import sys
from typing import Final

import system_packages

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """Return the browser's command, ``None`` when there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def main() -> int:
    """Return the exit status."""
    found = find()
    if found is None:
        try:
            # The fonts are for screenshots, which should look alike everywhere.
            system_packages.install("chromium", "fonts-dejavu-core")
        except system_packages.PackageError as error:
            print(f"there is no Chromium: {error}", file=sys.stderr)
            return 1
        found = find()
    print(found or "there is no Chromium, although its system package was installed")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
