"""Marks every test below this folder as an attack: an experiment that once broke a guarantee, bounded and on loopback."""

import functools
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    is_here = functools.cache(lambda path: path.is_relative_to(_HERE))  # asked for each of many tests of a file
    for item in items:
        if is_here(item.path):
            item.add_marker(pytest.mark.attack)
