"""Commands of kubectl and helm on any page have verbs and options that the programs know."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest

from tests.helm.chart import BRIEF
from tests.test_pages import PAGES, ROOT
from tests.tools import find_tool

pytestmark = [pytest.mark.helm]

TOOLS: Final = ("kubectl", "helm")
# Options before a verb that have a value.
WITH_VALUE: Final = frozenset({"-n", "--namespace", "--context", "--kubeconfig"})
_FENCED: Final = re.compile(r"^```(?:sh|shell|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"`((?:kubectl|helm) [^`\n]+)`")
_OPTION: Final = re.compile(r"--?[a-z][a-z-]*")
# Seconds for a page of help.
HELP_S: Final = 60.0


def lines() -> Iterator[tuple[str, str]]:
    """Yield the lines of commands on all pages, with the names of the pages."""
    for page in PAGES:
        if page.name in {"CHANGELOG.md", "NOTES.md"}:  # what was, not what to do
            continue
        text = page.read_text()
        for block in _FENCED.findall(text):
            for line in block.replace("\\\n", " ").splitlines():
                yield str(page.relative_to(ROOT)), line
        for line in _INLINE.findall(text):
            yield str(page.relative_to(ROOT)), line


def commands(tool: str) -> dict[tuple[str, ...], str]:
    """Return each command of ``tool`` as words, with the page that it is on."""
    found: dict[tuple[str, ...], str] = {}
    for page, line in lines():
        for start in re.finditer(rf"(?:^|[\s(\"{{|&;]){tool} (?=\S)", line):
            try:
                words = shlex.split(line[start.end() :].rstrip("`"), comments=True)
            except ValueError:
                words = line[start.end() :].split()
            ends = [at for at, word in enumerate(words) if set(word) & set("|&;)<>") or word in {"--", "{", "}"}]
            found.setdefault(tuple(words[: ends[0]] if ends else words), page)
    return found


@cache
def help_of(tool: str, *words: str) -> str:
    """Return what a program says, such as about a verb with ``--help``."""
    given = {"HOME": "/nonexistent", **BRIEF}
    done = subprocess.run((find_tool(tool), *words), capture_output=True, text=True, timeout=HELP_S, check=False, env=given)
    return done.stdout + done.stderr


def help_for(tool: str, words: tuple[str, ...]) -> str:
    """Return the help of the longest verb that ``words`` begin with, with the options that all verbs have; "" if there is none."""
    plain = [word for before, word in zip(("", *words), words, strict=False) if not word.startswith("-") and before not in WITH_VALUE]
    found = ""
    for length in range(1, len(plain) + 1):
        said = help_of(tool, *plain[:length], "--help")
        if not re.search(rf"Usage:\s+{' '.join([tool, *plain[:length]])}\b", said):
            break
        found = said
        if "Available Commands:" not in said:
            break
    return found and found + (help_of(tool, "options") if tool == "kubectl" else "")


def test_no_page_keeps_values_in_a_way_that_a_new_chart_refuses() -> None:
    """``--reuse-values`` leaves out values that the new chart has; the installation guide explains it."""
    assert [page for words, page in commands("helm").items() if "--reuse-values" in words and len(words) > 1] == []


@pytest.mark.parametrize("tool", TOOLS)
def test_every_option_of_a_command_on_a_page_exists(tool: str) -> None:
    wrong = []
    for words, page in commands(tool).items():
        said = help_for(tool, words)
        options = [found[0] for found in map(_OPTION.match, words) if found]
        unknown = [option for option in options if not re.search(rf"(?<![\w-]){option}(?![a-z-])", said)]
        if unknown or not said:
            wrong.append((page, words, unknown))
    assert wrong == []
