"""The blocks of YAML in the install guides and the one for upgrades, by the comment before each: ``<!-- values: NAME -->`` and the like."""

import re
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

GUIDES: Final = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "install"
PAGES: Final = (*sorted(GUIDES.glob("*.md")), GUIDES.parent / "upgrade.md")
BLOCK: Final = re.compile(r"^<!-- (?P<kind>[a-z]+)(?:: (?P<name>[a-z_-]+))? -->\n```yaml\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

FENCE: Final = re.compile(r"^ *(?:`{3,}|~{3,})(.*)$", re.MULTILINE)
"""Where a block begins, with its language, or ends."""


@attrs.frozen
class Block:
    """``kind`` says what it is for; ``documents`` is what YAML makes of it."""

    guide: str
    kind: str
    name: str
    documents: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.guide}:{self.name or self.kind}"


def blocks(kind: str | None = None) -> list[Block]:
    """Return the blocks of all pages, those of ``kind`` if one is given."""
    found = [
        Block(guide.name, match["kind"], match["name"] or "", tuple(yaml.safe_load_all(match["text"])))
        for guide in PAGES
        for match in BLOCK.finditer(guide.read_text())
    ]
    return [block for block in found if kind in {None, block.kind}]


def block(kind: str, name: str) -> Any:
    """Return the only document of a block."""
    (found,) = (block for block in blocks(kind) if block.name == name)
    (document,) = found.documents
    return document
