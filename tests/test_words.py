"""``.ci/words.py`` finds wrong words where people read them, and nowhere else."""

import importlib.util
import subprocess
from pathlib import Path
from typing import Any

import pytest

WORDS = Path(__file__).resolve().parents[1] / ".ci" / "words.py"


@pytest.fixture(scope="module")
def words() -> Any:
    spec = importlib.util.spec_from_file_location("words", WORDS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "code",
    [
        '"""A Kept token."""',
        "x = 1  # a kept token",
        "# a kept\n    # token",
        'x = f("a kept "\n      "token")',
        'x = f"{y} kept token"',
    ],
)
def test_a_wrong_word_in_comments_and_strings_is_found(words: Any, code: str) -> None:
    assert [words for _, words, _ in words.wrong(words.prose(f"pass\n{code}\n"))] != []


@pytest.mark.parametrize("code", ["kept.token", 'f("kept", "the token")', "kept = token"])
def test_code_is_not_read_as_prose(words: Any, code: str) -> None:
    assert list(words.wrong(words.prose(f"{code}\n"))) == []


def test_names_of_tests_pages_and_the_chart_are_read(words: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "test_a_kept_token"
    planted = {
        "tests/test_a.py": f"def {name}(): ...",
        "docs/a.md": "A kept\ntoken",
        "helm/a/values.yaml": "a: 1  # A kept token",
    }
    for name, text in planted.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    monkeypatch.setattr(words, "ROOT", tmp_path)
    assert words.main() == 1
