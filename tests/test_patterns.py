"""House rule: a regular expression means the same on every supported Python, and its time grows with its text, not with the square of it.

Possessive quantifiers of groups are out. CPython before 3.11.5 matches them wrongly (https://github.com/python/cpython/issues/106052), and
before 3.12.8 and 3.13.1 they fail with groups that capture (https://github.com/python/cpython/issues/101955). Those of a single character
or class are right everywhere, and so are atomic groups.
"""

import math
import re
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.model.text import PATH_LIMIT
from exchanger.util.text import MAX_QUOTED
from tests.patterns import (
    ANCHORED,
    FOLDERS,
    ROOT,
    Matcher,
    Samples,
    Text,
    TooManyStepsError,
    Used,
    has_possessive_group,
    package_patterns,
    parsed,
    written_patterns,
)
from tests.tiers import mostly_full

PATTERNS: Final = package_patterns()
# Repetitions in a text that attacks a pattern. Twice as many take twice the steps, or four times.
SIZE: Final = 100
# Steps a character up to which growth does not count: it is that of the first characters.
FEW_STEPS: Final = 12
# Patterns that read a text again, and the most characters that their users pass to them.
BOUNDED: Final = {
    "util.duration._PART": 32,
    "values.shown_path._find_userinfo": PATH_LIMIT + 1,
    "yaml.syntax._SENSITIVE": MAX_QUOTED,
}
# Steps for such a text: a few milliseconds.
MOST_STEPS: Final = 300_000


def found_by(used: Used, method: str, text: Text) -> list[tuple[tuple[int, int], ...]]:
    if method in ANCHORED:
        found = getattr(used.pattern, method)(text)
        return [] if found is None else [found.regs]
    return [found.regs for found in used.pattern.finditer(text)]


def ways_of(used: Used) -> set[str]:
    """Return the methods as ``Matcher`` knows them."""
    return {method if method in ANCHORED else "finditer" for method in used.methods}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("(?:ab)*+", True), ("(a|b)++c", True), ("(?:x(?:ab?)?+)*", True), ("(?=(?:ab){1,2}+)", True), ("a|(?<!(?:ab)?+)", True),
        ("(?:a)*+", False), ("[ab]++", False), (".{2,3}+", False), ("(?:[^-]*+-)*", False), ("(?>(?:ab?)*)", False),
    ],
)  # fmt: skip
def test_a_possessive_quantifier_counts_if_it_repeats_a_group(pattern: str, expected: bool) -> None:
    assert has_possessive_group(parsed(pattern.replace("(?<!(?:ab)?+)", "(?!(?:ab)?+)"))) is expected


def test_no_kept_pattern_repeats_a_group_possessively() -> None:
    assert [str(used) for used in PATTERNS if has_possessive_group(parsed(used.pattern.pattern, used.pattern.flags))] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_written_pattern_repeats_a_group_possessively(folder: str) -> None:
    files = [file for file in sorted((ROOT / folder).rglob("*.py")) if file != Path(__file__)]
    written = [
        (f"{file}:{line}", pattern)
        for file in files
        for line, pattern, is_kept in written_patterns(file)
        if folder != "exchanger" or not is_kept
    ]
    assert [place for place, pattern in written if has_possessive_group(parsed(pattern))] == []


def test_patterns_of_modules_are_kept_by_name() -> None:
    """Others are not among ``PATTERNS``, and only their constant parts are checked."""
    kept = {used.pattern.pattern for used in PATTERNS}
    files = sorted((ROOT / "exchanger").rglob("*.py"))
    constant = {pattern for file in files for _, pattern, is_kept in written_patterns(file) if is_kept and "x" not in str(pattern)}
    assert len(PATTERNS) > 150
    assert constant - kept == set()


@given(st.integers(0, 2**32))
def test_interpreter_matches_as_plain_backtracking_does(seed: int) -> None:
    for used in PATTERNS:
        text = Samples(used.pattern, Random(f"{used}{seed}")).text()
        for method in ways_of(used):
            assert Matcher(used.pattern).spans(text, method) == found_by(used, method, text), (str(used), method, text)


def growth(used: Used, method: str, short: Text, long: Text) -> float:
    """Return by how much steps a character grow; 1 if there are few."""
    few, many = Matcher(used.pattern), Matcher(used.pattern)
    try:
        many.spans(long, method)
    except TooManyStepsError:
        return math.inf
    if many.steps <= FEW_STEPS * (len(long) + 1):
        return 1.0
    few.spans(short, method)
    return many.steps / (few.steps + 1) * (len(short) + 1) / (len(long) + 1)


@pytest.mark.parametrize("pattern", mostly_full(["a*b", r"\s+$", "(?:a|ab)*c", "(?:a+)+b"], ["a*b", r"\s+$"]))
def test_steps_a_character_grow_with_a_text_that_is_read_again(pattern: str) -> None:
    used = Used("", re.compile(pattern), frozenset({"finditer"}))
    attacks = list(Samples(used.pattern, Random(1)).attacks(SIZE))
    assert max(growth(used, "finditer", *pair) for pair in attacks) > 1.5


@given(st.integers(0, 2**32))
def test_no_text_takes_steps_with_the_square_of_its_length(seed: int) -> None:
    used = PATTERNS[seed % len(PATTERNS)]
    for short, long in Samples(used.pattern, Random(f"{used}{seed}")).attacks(SIZE):
        for method in ways_of(used):
            if (limit := BOUNDED.get(str(used))) is None:
                assert growth(used, method, short, long) < 1.5, (str(used), method, long)
            else:
                matcher = Matcher(used.pattern)
                matcher.spans((long * (1 + limit // (len(long) + 1)))[:limit], method)
                assert matcher.steps < MOST_STEPS
