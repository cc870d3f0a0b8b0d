"""Prints a command of README.md: the fenced block below the comment ``<!-- command: NAME -->``."""

import re
import sys
from pathlib import Path


def main(name: str) -> int:
    """Return the exit status."""
    text = (Path(__file__).resolve().parent.parent / "README.md").read_text()
    found = re.search(rf"<!-- command: {re.escape(name)} -->\n+```\w*\n(.*?)```", text, re.DOTALL)
    if found is None:
        print(f"README.md has no command {name}", file=sys.stderr)
        return 1
    print(found.group(1).strip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
