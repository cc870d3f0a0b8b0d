"""The demo's scenarios, read from the packaged file, beside the values that they are made of.

Paths, scopes, resources and audiences are those of the sample policy (``policy/``) and of the token endpoint's rules.

Must not know: ports, sockets, or how a scenario is run.
"""

import importlib.resources

from exchanger.demo.scenario import EDIT_BOUND, Call, EqualRequests, OneRequest, PolicyEdit, Scenario, Subject
from exchanger.demo.scenario_reader import Unusable, read_scenarios

__all__ = [
    "EDIT_BOUND",
    "READINESS",
    "SCENARIOS",
    "Call",
    "EqualRequests",
    "OneRequest",
    "PolicyEdit",
    "Scenario",
    "Subject",
    "packaged_scenarios",
]


def packaged_scenarios(name: str) -> tuple[Scenario, ...]:
    """Return the scenarios in the packaged file ``name``.

    Raises:
        ValueError: it is no scenario file, which is a fault of the package.
    """
    text = (importlib.resources.files("exchanger.demo") / name).read_text("utf-8")
    read = read_scenarios(text)
    if not isinstance(read, Unusable):
        return read
    raise ValueError(f"{name}: {'; '.join(str(problem) for problem in read.problems)}")


def _first(scenarios: tuple[Scenario, ...]) -> OneRequest:
    first = scenarios[0]
    if not isinstance(first, OneRequest):
        raise TypeError("the first scenario tells readiness, and has to be one request")
    return first


SCENARIOS: tuple[Scenario, ...] = packaged_scenarios("scenarios.yaml")
READINESS = _first(SCENARIOS)
"""What tells that everything is up."""
