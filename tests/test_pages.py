"""What the pages point at exists: links and their anchors, the tests that docs/security.md names, and pages from their indexes."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("helm/*/README.md")])
SECURITY: Final = ROOT / "docs" / "security.md"


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the files that ``page`` links to, each with its anchor or an empty text."""
    found = re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", page.read_text())
    return [((page.parent / path).resolve() if path else page, anchor) for path, anchor in found]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub makes them: lower case, hyphens for blanks, no signs but ``-`` and ``_``."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [(path.name, anchor) for path, anchor in links(page) if not path.exists() or (anchor and anchor not in anchors(path))]
    assert broken == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[^`]*)`", SECURITY.read_text()))))
def test_every_proof_exists(name: str) -> None:
    assert list(ROOT.glob(name.removesuffix("/")))


def test_proofs_have_their_whole_path() -> None:
    assert re.findall(r"`test_[^`]*`", SECURITY.read_text()) == []


def test_every_attack_is_named() -> None:
    text = SECURITY.read_text()
    assert [path.name for path in ROOT.glob("tests/attack/test_*.py") if f"`tests/attack/{path.name}`" not in text] == []


@pytest.mark.parametrize(("index", "folder"), [("docs/install/README.md", "docs/install"), ("README.md", "docs")])
def test_an_index_names_each_page(index: str, folder: str) -> None:
    linked = {path for path, _ in links(ROOT / index)}
    assert [page.name for page in (ROOT / folder).glob("*.md") if page.name != "README.md" and page not in linked] == []
