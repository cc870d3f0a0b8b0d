"""Writes the output of commands into the documentation, where they are shown; ``--check`` only says whether it is up to date.

A block of ``console`` in a page below docs/ has commands after ``$ ``, each followed by its output. Those that begin with ``exchanger`` are
run in docs/examples, one after the other, without any variable of this process but those that Python needs.
"""

import difflib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
EXAMPLES: Final = DOCS / "examples"
# Seconds for one command; it reads a few small files.
TIMEOUT_S: Final = 60
_BLOCK: Final = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.MULTILINE | re.DOTALL)
_COMMAND: Final = re.compile(r"^\$ (exchanger .*)$", re.MULTILINE)


def output_of(command: str) -> str:
    """Return what the command line prints, to either stream."""
    arguments = [sys.executable, "-m", *shlex.split(command)]
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120"}
    pipe, same = subprocess.PIPE, subprocess.STDOUT
    done = subprocess.run(arguments, cwd=EXAMPLES, env=environment, stdout=pipe, stderr=same, text=True, timeout=TIMEOUT_S, check=False)
    return done.stdout.rstrip("\n")


def current(page: str) -> str:
    """Return the page with the output that its commands have now."""
    return _BLOCK.sub(lambda block: _current_block(block[1]), page)


def _current_block(block: str) -> str:
    commands = _COMMAND.findall(block)
    if not commands:
        return block
    return "\n".join(f"$ {command}\n{output_of(command)}\n" for command in commands)


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    stale = []
    for path in sorted(DOCS.rglob("*.md")):
        before = path.read_text()
        after = current(before)
        if before != after:
            stale.append(path.relative_to(ROOT))
            if not arguments:
                path.write_text(after)
            else:
                print("".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(path), "now")), file=sys.stderr)
    if stale and arguments:
        print(f"not up to date: {', '.join(map(str, stale))}; run python .ci/doc_output.py", file=sys.stderr)
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
