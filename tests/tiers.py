"""Which tests a run leaves out, and how many examples it tries of each law.

``quick`` is what the README's command runs, ``rest`` what it leaves to ``.ci/run``, and ``full`` is both at once. A run that leaves real
parts out, as for coverage and with other Pythons, tries few examples in any tier.
"""

from collections.abc import Container, Iterable
from enum import StrEnum
from typing import Final

import attrs
import pytest
from hypothesis import settings


class Tier(StrEnum):
    """A part of the tests."""

    QUICK = "quick"
    REST = "rest"
    FULL = "full"


OPTION: Final = "--tier"
# Of tests that the quick tier leaves out.
MARKER: Final = "full"
# What Hypothesis marks laws with.
LAW: Final = "hypothesis"
_HELP: Final = (
    "quick: neither tests marked full nor many examples of a law, which is the default without paths; "
    "rest: what quick leaves out; full: everything, which is the default with paths"
)
_KEY: Final = "left"


def add_option(parser: pytest.Parser) -> None:
    """Let the command line choose a tier."""
    parser.addoption(OPTION, choices=[str(tier) for tier in Tier], help=_HELP)


def tier_of(config: pytest.Config) -> Tier:
    """Return the tier that was chosen: by the option, or by whether paths are named."""
    chosen: str | None = config.getoption(OPTION)
    if chosen is not None:
        return Tier(chosen)
    return Tier.FULL if config.args_source is pytest.Config.ArgsSource.ARGS else Tier.QUICK


def load_tier(config: pytest.Config) -> None:
    """Choose the examples of laws, before those are imported, and the tests."""
    tier = tier_of(config)
    if tier is Tier.QUICK or "not real" in config.option.markexpr:
        settings.load_profile("quick")
    config.pluginmanager.register(_Choice(config, tier))


@attrs.define(eq=False)
class _Choice:
    """Chooses the tests of a tier, and says what was left out."""

    config: pytest.Config
    tier: Tier
    left: tuple[int, int] = attrs.field(default=(0, 0), init=False)

    @pytest.hookimpl(trylast=True)  # after Hypothesis has marked the laws
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests of this tier."""
        if self.tier is Tier.FULL:
            return
        marked = [item for item in items if item.get_closest_marker(MARKER)]
        laws = [item for item in items if item.get_closest_marker(LAW) and not item.get_closest_marker(MARKER)]
        rest = {*marked, *laws}
        away = marked if self.tier is Tier.QUICK else [item for item in items if item not in rest]
        if away:
            self.config.hook.pytest_deselected(items=away)
            gone = {*away}
            items[:] = [item for item in items if item not in gone]
        self.left = len(marked), len(laws)

    def pytest_sessionfinish(self) -> None:
        """Tell the process that reports."""
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput[_KEY] = self.left

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Learn what a process left out, which is the same in each."""
        self.left = tuple(getattr(node, "workeroutput", {}).get(_KEY, self.left))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what the quick tier left out."""
        if self.tier is Tier.QUICK and any(self.left):
            tests, laws = self.left
            terminalreporter.write_line(
                f"quick tier: {tests:,} tests and most examples of {laws:,} laws are left to .ci/run; to run them: "
                f".venv/bin/pytest -q -n auto {OPTION} {Tier.REST}"
            )


def mostly_full(values: Iterable[object], quick: Container[object]) -> list[object]:
    """Leave all values of a parameter but ``quick`` to ``.ci/run``. Values of several parameters are tuples."""
    return [
        value if value in quick else pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.full)
        for value in values
    ]
