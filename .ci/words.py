"""Finds words that are wrong wherever they stand here, and says what to write.

Read are pages, the chart, comments and strings of Python code, and names of tests. Only words without false alarms are listed; a phrase is
also found where a line ends within it.
"""

import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
# NOTES.md and the changelog quote names that were.
PAGES: Final = ("*.md", "helm/*.yaml", "helm/*.tpl", "helm/*.json", ":!NOTES.md", ":!CHANGELOG.md", ":!docs/reference/codes.md")
WORDS: Final = {
    r"kept tokens?": "cached token",
    r"keeps? tokens?": "cache tokens",
    r"the (former|latter)": "the noun again",
    r"by (HTTP|gRPC)(?!['’])": "over HTTP, over gRPC",
    r"whoever": "the caller, anyone who",
    r"in force": "active, effective; takes effect",
    r"in doubt": "ambiguous, unclear",
    r"issuers in a row": "chained issuers",
    r"as usual": "nothing, or what happens",
    r"what becomes of": "the noun",
    r"those beyond": "the noun, over the limit",
    r"stays? what (it is|they are)": "does not change",
    r"\w*unauthoris\w+": "unauthorized, as HTTP spells it",
}
# What may be between two words of a phrase: a line's end with the marks of comments and strings.
_GAP: Final = r"""[\s#"']+"""
_WORDS: Final = [(re.compile(rf"\b(?:{words.replace(' ', _GAP)})\b", re.IGNORECASE), say) for words, say in WORDS.items()]
_TEST: Final = re.compile(r"(?<=def )test_\w+")


def prose(code: str) -> str:
    """Return Python ``code`` with everything but comments and strings blanked out."""
    lines = code.splitlines(keepends=True)
    starts = [0, *accumulate(len(line) for line in lines)]
    kept = [char if char.isspace() else "\0" for char in code]
    for token in tokenize.generate_tokens(iter(lines).__next__):
        if tokenize.tok_name[token.type] in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
            (row, column), (last_row, end) = token.start, token.end
            begin, stop = starts[row - 1] + column, starts[last_row - 1] + end
            kept[begin:stop] = code[begin:stop]
    return "".join(kept)


def wrong(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, words and what to write, for each wrong word in ``text``."""
    for pattern, say in _WORDS:
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, re.sub(_GAP, " ", match[0]), say


def texts() -> Iterator[tuple[str, str]]:
    """Yield each file that is read, and what of it."""
    command = ["git", "ls-files", *PAGES, "exchanger/*.py", "tests/*.py"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        text = (ROOT / name).read_text()
        if name.startswith("tests/"):
            # One name a line, where it stands.
            yield name, "\n".join(" ".join(_TEST.findall(line)).replace("_", " ") for line in text.splitlines())
        else:
            yield name, prose(text) if name.endswith(".py") else text


def main() -> int:
    """Print each wrong word with its place; return 1 if there is any."""
    found = [f"{name}:{line}: {words!r}: say {say}" for name, text in texts() for line, words, say in wrong(text)]
    print("\n".join(found or ["no wrong words"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
