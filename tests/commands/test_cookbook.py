"""Each recipe of the cookbook does what its own test expects. The page is the only source."""

import io
import re
from pathlib import Path
from typing import Final

import pytest

from exchanger.commands.offline.inputs import PolicyInputs
from exchanger.commands.testing import PASSED, run_tests
from tests.commands.check.checking import checked, config_map, rules
from tests.commands.examples import written

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "cookbook.md"
RECIPES: Final = dict(part.split("\n", 1) for part in PAGE.read_text().split("\n## ")[1:])
MODELINE: Final = re.compile(r"# yaml-language-server: \$schema=\.\./schemas/(\w+)\.schema\.json\n")


def documents(recipe: str) -> dict[str, str]:
    """Return the documents of a recipe by the names of their schemas; ConfigMaps are ``manifests``."""
    found = re.findall(r"^```yaml\n(.*?)^```", recipe, re.MULTILINE | re.DOTALL)
    return {named[1] if (named := MODELINE.match(text)) else "manifests": text for text in found}


def manifests(parts: dict[str, str]) -> str:
    return parts.get("manifests") or config_map(parts["policy"], namespace="team-orders")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_passes_its_test_which_reaches_every_entry(recipe: str, tmp_path: Path) -> None:
    parts = documents(recipe)
    inputs = PolicyInputs(grants=Path(written(tmp_path, "grants.yaml", parts["grants"])) if "grants" in parts else None)
    files = written(tmp_path, "tests.yaml", parts["tests"]), written(tmp_path, "policies/policy.yaml", manifests(parts))
    out = io.StringIO()
    assert run_tests(files[:1], files[1:], inputs, variables={}, out=out) == PASSED, out.getvalue()
    assert "No test reaches" not in out.getvalue()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_has_no_problem(recipe: str) -> None:
    parts = documents(recipe)
    assert checked(manifests(parts), by=rules(parts.get("grants", ""))).problems == ()


def test_the_page_has_as_many_recipes_as_its_title_says() -> None:
    assert "twelve" in PAGE.read_text().partition("\n")[0]
    assert len(RECIPES) == 12
