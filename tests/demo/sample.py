"""The demo's policy in a folder."""

from pathlib import Path

from exchanger.demo.service import sample_policy


def write_sample_policy(folder: Path) -> None:
    """Write the demo's policy files into the new ``folder``."""
    folder.mkdir()
    for file in sample_policy():
        (folder / file.name).write_text(file.read_text("utf-8"), "utf-8")
