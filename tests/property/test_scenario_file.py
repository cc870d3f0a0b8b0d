"""A scenario file says exactly what it says: what is written is read, and whatever else is in it is told with line and field."""

import copy
import importlib.resources
import json
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from exchanger.scenarios.reader import MAX_PROBLEMS, UnusableScenarios, read_scenarios
from exchanger.scenarios.scenario import Scenario
from tests.property.strategies_scenarios import file_of, scenario_lists, text_of

PACKAGED: Final = (importlib.resources.files("exchanger.scenarios") / "builtin.yaml").read_text("utf-8")
OPTIONAL: Final = frozenset(
    {"subject", "method", "headers", "challenges", "content_type", "body", "upstream", "scope", "resources", "audiences", "at_once", "edit"}
)
WRONG: Final[dict[str, Any]] = {"nothing": None, "a number": 5.5, "a truth": True, "a list": [[]], "a mapping": {"no": "where"}}


def readable(read: tuple[Scenario, ...] | UnusableScenarios, lines: int) -> None:
    """Either scenarios whose names differ, or problems, each a line that can be shown."""
    if isinstance(read, UnusableScenarios):
        assert 0 < len(read.problems) <= MAX_PROBLEMS
        for problem in read.problems:
            assert problem.line is None or 1 <= problem.line <= lines
            assert problem.lined.isprintable()
    else:
        assert len({scenario.name for scenario in read}) == len(read) > 0


def mappings(tree: Any) -> list[dict[str, Any]]:
    """All mappings in a tree, the outer ones first."""
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return [*([tree] if isinstance(tree, dict) else []), *(found for part in inner for found in mappings(part))]


def shuffled(tree: Any, data: st.DataObject) -> Any:
    if isinstance(tree, list):
        return [shuffled(part, data) for part in tree]
    if isinstance(tree, dict):
        return {key: shuffled(tree[key], data) for key in data.draw(st.permutations(list(tree)))}
    return tree


@given(scenario_lists)
def test_what_is_written_is_read(scenarios: tuple[Scenario, ...]) -> None:
    assert read_scenarios(text_of(file_of(scenarios))) == scenarios


@given(scenario_lists, st.data())
def test_the_order_of_fields_says_nothing(scenarios: tuple[Scenario, ...], data: st.DataObject) -> None:
    assert read_scenarios(text_of(shuffled(file_of(scenarios), data))) == scenarios


@given(scenario_lists, st.data())
def test_an_unknown_field_is_told_with_its_line(scenarios: tuple[Scenario, ...], data: st.DataObject) -> None:
    tree = file_of(scenarios)
    data.draw(st.sampled_from(mappings(tree)))["surplus"] = 1
    text = text_of(tree)
    read = read_scenarios(text)
    assert isinstance(read, UnusableScenarios)
    (line,) = [number for number, line in enumerate(text.splitlines(), 1) if '"surplus"' in line]
    assert [problem.line for problem in read.problems if "surplus" in problem.text] == [line]


@given(scenario_lists, st.data())
def test_a_wrong_type_is_told_with_line_and_field(scenarios: tuple[Scenario, ...], data: st.DataObject) -> None:
    tree = file_of(scenarios)
    mapping = data.draw(st.sampled_from(mappings(tree)))
    name = data.draw(st.sampled_from(list(mapping)))
    kept = copy.deepcopy(mapping[name])
    mapping[name] = WRONG[data.draw(st.sampled_from(list(WRONG)))]
    text = text_of(tree)
    read = read_scenarios(text)
    assert isinstance(read, UnusableScenarios), (name, kept, mapping[name])
    readable(read, text.count("\n") + 1)
    assert any(name in problem.text and problem.line is not None for problem in read.problems)


@given(scenario_lists, st.data())
def test_a_field_that_is_missing_is_told_unless_it_may_be(scenarios: tuple[Scenario, ...], data: st.DataObject) -> None:
    tree = file_of(scenarios)
    mapping = data.draw(st.sampled_from(mappings(tree)))
    name = data.draw(st.sampled_from(list(mapping)))
    del mapping[name]
    read = read_scenarios(text_of(tree))
    assert isinstance(read, UnusableScenarios) == (name not in OPTIONAL)
    if isinstance(read, UnusableScenarios):
        assert name in {problem.field.rpartition(".")[2] for problem in read.problems}


@given(st.data())
def test_a_damaged_file_is_read_or_told_and_never_raises(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(PACKAGED)))
    end = begin + data.draw(st.integers(0, 40))
    text = PACKAGED[:begin] + data.draw(st.one_of(st.text(max_size=8), st.sampled_from(list("{}[]&*!|>%@`'\":-#,?\t\n")))) + PACKAGED[end:]
    # YAML's own line ends are more than \n.
    readable(read_scenarios(text), len(text.splitlines()) + 1)


@given(st.one_of(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_text_is_told_what_is_wrong_with_it(text: str) -> None:
    readable(read_scenarios(text), len(text.splitlines()) + 1)
