"""Writes the hash-locked requirements; with ``--check``, fails when they do not fit pyproject.toml.

``image.txt`` is what the container image runs, ``build.txt`` what builds this project's own wheel for it, ``uv.txt`` what installs
``dev.txt`` ten times faster than pip, ``fastmcp.txt`` a program of the tests.

An existing lock is kept as far as it fits, so that a check does not depend on what was released meanwhile; ``--upgrade`` takes the newest.
No file names a registry: the address is the installing machine's business.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
# What the image does without: what the Kubernetes client requires for its asyncio half alone, which nothing here imports (an HTTP stack
# that nobody has to watch), and what draws tables on a terminal, which are plain text without it.
ASYNCIO_HALF: Final = ("aiohappyeyeballs", "aiohttp", "aiohttp-retry", "aiosignal", "frozenlist", "multidict", "propcache", "yarl")
NOT_IN_IMAGE: Final = (*ASYNCIO_HALF, "markdown-it-py", "mdurl", "pygments", "rich")
# What each is made from, in the words of uv, or, for ``None``, what the build system requires.
LOCKS: Final = {
    "runtime.txt": ("pyproject.toml",),
    "image.txt": ("pyproject.toml", "--extra", "otel", *(argument for name in NOT_IN_IMAGE for argument in ("--no-emit-package", name))),
    "demo.txt": ("pyproject.toml", "--extra", "demo"),
    "dev.txt": ("pyproject.toml", "--extra", "demo", "--extra", "otel", "--group", "dev"),
    "build.txt": None,
    "uv.txt": ("--group", "uv"),
    "fastmcp.txt": ("--group", "fastmcp"),
}


def compile_lock(target: Path, options: tuple[str, ...] | None, extra: tuple[str, ...]) -> None:
    """Resolve pyproject.toml into ``target``, for every platform and Python that the project supports."""
    requirements = None
    if options is None:
        build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
        requirements, options = "\n".join(build), ("-",)
    fixed = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header", "--quiet")
    command = [sys.executable, "-m", "uv", "pip", "compile", *options, "--output-file", str(target), *fixed, *extra]
    # Links that a machine offers besides its registry are not part of the lock.
    environment = {name: value for name, value in os.environ.items() if name not in {"UV_FIND_LINKS", "PIP_FIND_LINKS"}}
    subprocess.run(command, cwd=ROOT, env=environment, input=requirements, text=True, check=True)


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
