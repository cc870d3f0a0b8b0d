"""The commands of the runbooks: the blocks of each page, and the functions that the three set-ups define for them."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import attrs

from tests.monitoring.sources import RUNBOOKS

INDEX: Final = RUNBOOKS / "README.md"
GUIDES: Final = (RUNBOOKS / "triage.md", RUNBOOKS / "break-glass.md")
PAGES: Final = tuple(sorted(RUNBOOKS.glob("*.md")))
# Pages of alerts.
RUNBOOK_PAGES: Final = tuple(page for page in PAGES if page != INDEX and page not in GUIDES)
SETUPS: Final = ("cluster", "systemd", "compose")
_BLOCK: Final = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SETUP: Final = re.compile(r"^<!-- setup: (\w+) -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DEFINED: Final = re.compile(r"^(\w+)\(\) ", re.MULTILINE)
_EXPORTED: Final = re.compile(r"\b([A-Z][A-Z_]+)=")


@attrs.frozen
class Block:
    """Commands of a page, and the paragraph before them. ``cluster``: they are for a cluster alone, which the paragraph says."""

    page: Path
    text: str
    before: str

    @property
    def cluster(self) -> bool:
        return "n a cluster" in self.before or "the kubelet" in self.before


@cache
def setups() -> dict[str, str]:
    """Return the block of each way to run the service."""
    return dict(_SETUP.findall(INDEX.read_text()))


def functions(setup: str) -> frozenset[str]:
    """Return the functions that a set-up defines."""
    return frozenset(_DEFINED.findall(setups()[setup]))


def variables(text: str) -> frozenset[str]:
    """Return the variables that commands set."""
    return frozenset(_EXPORTED.findall(text))


def blocks(page: Path) -> list[Block]:
    """Return the blocks of commands on a page, without set-ups."""
    text = _SETUP.sub("", page.read_text())
    return [Block(page, found[1], text[: found.start()].rstrip().rpartition("\n\n")[2]) for found in _BLOCK.finditer(text)]


def code_lines(page: Path) -> Iterator[str]:
    for block in blocks(page):
        yield from block.text.splitlines()


def commands(line: str) -> Iterator[list[str]]:
    """Yield the commands of a line: those of a pipe, and what ``run`` runs."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, "|"]:
        if set(word) <= set("|&;"):
            if words:
                yield words
            if words[:1] == ["run"]:
                yield words[1:]
            words = []
        else:
            words.append(word)


def ticked(page: Path) -> list[str]:
    """Return what a page has between backticks, outside blocks."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)
