import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.util.text import MAX_QUOTED, NEAR, closest, distance, is_near, quoted

texts = st.text("abc", max_size=7)


def slow(left: str, right: str) -> int:
    """The optimal string alignment distance by its definition."""
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) + 1):
        for j in range(len(right) + 1):
            if not i or not j:
                table[i][j] = i + j
                continue
            same = left[i - 1] == right[j - 1]
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (not same))
            if i > 1 and j > 1 and left[i - 1] == right[j - 2] and left[i - 2] == right[j - 1]:
                table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
    return table[-1][-1]


@given(texts, texts)
def test_the_distance_is_that_of_the_definition_as_far_as_it_goes(left: str, right: str) -> None:
    assert distance(left, right) == min(slow(left, right), NEAR + 1)
    assert is_near(left, right) == (slow(left, right) <= NEAR)


@pytest.mark.parametrize(
    ("left", "right", "edits"),
    [
        ("enabled", "enable", 1),
        ("enabled", "enabeld", 1),
        ("enabled", "anablet", 2),
        ("enabled", "disabled", 3),
        ("true", "false", 3),
        ("x" * 321, "x" * 321, 3),
    ],
)
def test_distances(left: str, right: str, edits: int) -> None:
    assert distance(left, right) == edits


def test_closest_ignores_case_and_prefers_the_first_of_equals() -> None:
    assert closest("CONFIG.YML", ["config.yaml", "other"]) == "config.yaml"
    assert closest("port", ["part", "ports", "post"]) == "part"
    assert closest("port", ["pxxt", "ports"]) == "ports"
    assert closest("something", ["else"]) is None


def test_a_long_text_is_cut() -> None:
    assert quoted("a" * MAX_QUOTED) == f'"{"a" * MAX_QUOTED}"'
    assert quoted("a" * (MAX_QUOTED + 1)) == f'"{"a" * (MAX_QUOTED - 1)}…"'


def test_control_characters_are_replaced() -> None:
    assert quoted("a\x1b[2J\nb\u202e") == '"a\ufffd[2J\ufffdb\ufffd"'
