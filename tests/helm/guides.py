"""The blocks of YAML in the guides, by the comment before each: ``<!-- values: NAME -->`` and the like.

And what a real Envoy says of the configuration in them.
"""

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import attrs
import yaml

from exchanger.commands.demo.envoy import find_envoy

GUIDES: Final = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "install"
PAGES: Final = (*sorted(GUIDES.glob("*.md")), GUIDES.parent / "move-from-go.md")
BLOCK: Final = re.compile(r"^<!-- (?P<kind>[a-z]+)(?:: (?P<name>[a-z_-]+))? -->\n```yaml\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)

# Where a block begins, with its language, or ends.
FENCE: Final = re.compile(r"^ *(?:`{3,}|~{3,})(.*)$", re.MULTILINE)
VALIDATE_S: Final = 60.0


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


def guide_config(mode: str = "ext_authz") -> dict[str, Any]:
    """Return Envoy's configuration in the guide for plain Envoy."""
    config: dict[str, Any] = copy.deepcopy(block("envoy", "ext_authz"))
    if mode == "ext_proc":
        manager(config)["http_filters"][0] = block("filter", "ext_proc")
    return config


def manager(config: dict[str, Any]) -> dict[str, Any]:
    """Return the connection manager of the only listener."""
    (listener,) = config["static_resources"]["listeners"]
    found: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return found


def complaint(config: object, folder: Path) -> str:
    """Return what Envoy objects to in its configuration, nothing when it accepts it."""
    path = folder / "envoy.json"
    path.write_text(json.dumps(config).replace("/etc/envoy/tls", str(folder)))
    command = (find_envoy(), "--mode", "validate", "--config-path", path, "--log-level", "error")
    done = subprocess.run(command, capture_output=True, text=True, timeout=VALIDATE_S, check=False)
    return (done.stderr or "refused") if done.returncode else ""
