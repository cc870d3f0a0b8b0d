"""docs/how-to/scenarios.md says what there is."""

import argparse
import re
from pathlib import Path

from exchanger.scenarios.builtin import SCENARIOS
from exchanger.scenarios.options import add_arguments
from exchanger.scenarios.reader import Unusable, read_scenarios
from exchanger.scenarios.tokens import Subject

TEXT = (Path(__file__).parents[2] / "docs" / "how-to" / "scenarios.md").read_text("utf-8")


def test_its_example_is_a_scenario_file() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    read = read_scenarios(example)
    assert not isinstance(read, Unusable)
    assert [scenario.name for scenario in read] == ["orders", "no-token"]


def test_every_option_and_no_other_is_in_its_table() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    options = {line.split()[0] for line in parser.format_help().replace("\n  --", "\n--").splitlines() if line.startswith("--")}
    rows = {option for row in re.findall(r"(?m)^\| (`--.*?) \|", TEXT) for option in re.findall(r"--[a-z-]+", row)}
    assert rows == options


def test_subjects_and_the_number_of_scenarios_are_right() -> None:
    assert f"has {len(SCENARIOS)} of them" in TEXT
    assert [subject.value for subject in Subject if f"`{subject.value}`" not in TEXT] == []
