"""Writes the hash-locked requirements; with ``--check``, fails when they do not fit pyproject.toml.

An existing lock is kept as far as it fits, so that a check does not depend on what was released meanwhile; ``--upgrade`` takes the newest.
No file names a registry: the address is the installing machine's business.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCKS: Final = {
    "runtime.txt": (),
    "demo.txt": ("--extra", "demo"),
    "dev.txt": ("--extra", "demo", "--extra", "otel", "--group", "dev"),
}


def compile_lock(target: Path, options: tuple[str, ...], extra: tuple[str, ...]) -> None:
    """Resolve pyproject.toml into ``target``, for every platform and Python that the project supports."""
    fixed = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header", "--quiet")
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--output-file", str(target), *fixed, *options, *extra]
    # Links that a machine offers besides its registry are no part of the lock.
    environment = {name: value for name, value in os.environ.items() if name not in {"UV_FIND_LINKS", "PIP_FIND_LINKS"}}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    check, extra = "--check" in arguments, ("--upgrade",) if "--upgrade" in arguments else ()
    stale = []
    with tempfile.TemporaryDirectory() as folder:
        for name, options in LOCKS.items():
            committed = ROOT / "requirements" / name
            target = Path(folder) / name if check else committed
            if check and committed.exists():
                target.write_bytes(committed.read_bytes())
            compile_lock(target, options, extra)
            if check and (not committed.exists() or target.read_bytes() != committed.read_bytes()):
                stale.append(name)
    if stale:
        print(f"requirements/ does not fit pyproject.toml: {', '.join(stale)}; run python .ci/lock.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
