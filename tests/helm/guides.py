"""The blocks of the install guides that are meant for a machine, by the comment before each: ``<!-- values: NAME -->`` and the like."""

import re
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

GUIDES: Final = Path(__file__).resolve().parents[2] / "docs" / "install"
BLOCK: Final = re.compile(r"^<!-- (?P<kind>[a-z]+)(?:: (?P<name>[a-z_-]+))? -->\n```yaml\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


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
    """Return the blocks of all guides, those of ``kind`` if one is given."""
    found = [
        Block(guide.name, match["kind"], match["name"] or "", tuple(yaml.safe_load_all(match["text"])))
        for guide in sorted(GUIDES.glob("*.md"))
        for match in BLOCK.finditer(guide.read_text())
    ]
    return [block for block in found if kind in {None, block.kind}]


def block(kind: str, name: str) -> Any:
    """Return the only document of a block."""
    (found,) = (block for block in blocks(kind) if block.name == name)
    (document,) = found.documents
    return document
