"""The built-in scenarios, read from ``builtin.yaml``.

Their paths, scopes, resources and audiences are those of the demo's policy and of its token endpoint's rules.
"""

import importlib.resources
from typing import Final

from exchanger.commands.scenarios.reader import UnusableScenarios, read_scenarios
from exchanger.commands.scenarios.scenario import Scenario


def packaged_scenarios(package: str, name: str) -> tuple[Scenario, ...]:
    """Return the scenarios in the file ``name`` of ``package``.

    Raises:
        ValueError: it is not a scenario file; the package is broken.
    """
    read = read_scenarios((importlib.resources.files(package) / name).read_text("utf-8"))
    if not isinstance(read, UnusableScenarios):
        return read
    raise ValueError(f"{name}: {'; '.join(problem.lined for problem in read.problems)}")


# The first is one request, whose success says that everything is up.
SCENARIOS: Final = packaged_scenarios("exchanger.commands.scenarios", "builtin.yaml")
