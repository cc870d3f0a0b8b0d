"""Writes what ``exchanger serve --help`` says of variables, from the reference; ``--check`` only says whether it is up to date.

The page is the one source: a test holds it to the variables that the service reads, and its defaults to those that apply.
"""

import re
import sys
import textwrap
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "reference" / "configuration.md"
FILE: Final = ROOT / "exchanger" / "app" / "serve_help.txt"
WIDTH: Final = 79
INDENT: Final = "      "
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def plain(markdown: str) -> str:
    """Return the text of a cell without links and backticks."""
    return _LINK.sub(r"\1", markdown).replace("`", "").replace("\\|", "|").strip()


def text_of(page: str) -> str:
    """Return the help."""
    introduction, *sections = page.split("\n## ")
    paragraphs = introduction.split("\n\n")[1:]
    lines = [line for paragraph in paragraphs for line in textwrap.wrap(plain(paragraph.replace("\n", " ")), WIDTH)]
    for section in sections:
        title, _, body = section.partition("\n")
        lines += ["", f"{title}:"]
        for row in re.findall(r"^\| (`.*) \|$", body, re.MULTILINE):
            names, default, meaning = (plain(cell) for cell in re.split(r"(?<!\\) \| ", row))
            ends = meaning if meaning.endswith(".") else f"{meaning}."
            said = ends if default == "–" else f"{ends} Default: {default}"
            lines += [
                *textwrap.wrap(names, WIDTH, initial_indent="  ", subsequent_indent="  "),
                *textwrap.wrap(said, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False),
            ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    wanted = text_of(PAGE.read_text())
    if not arguments:
        FILE.write_text(wanted)
    elif FILE.read_text() != wanted:
        print(f"{FILE.relative_to(ROOT)} is not up to date: run python .ci/serve_help.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
