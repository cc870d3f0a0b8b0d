"""Programs of a PATH that a test makes: real ones, and stand-ins for what needs Docker or the network. Each notes how it was called."""

import importlib
import io
import os
import subprocess
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from tests.helm.chart import BRIEF, ROOT
from tests.tools import find_tool

# Seconds for a script with all its commands; an idle machine takes ten.
SCRIPT_S = 240.0


@attrs.define(eq=False)
class Programs:
    """A folder for PATH, which also has a home and a kubeconfig."""

    folder: Path
    variables: dict[str, str] = attrs.Factory(dict)

    def add(self, name: str, script: str = "") -> None:
        """Add a program: after its note it does what ``script``, of the shell, says."""
        place = self.folder / name
        place.write_text(f'#!/bin/bash\necho "{name}${{*:+ $*}}" >> "{self.notes}"\n{script}\n')
        place.chmod(0o755)

    def add_real(self, name: str, before: str = "") -> None:
        """Add a tool of ``.ci/tools.py``; ``before`` may answer in its place."""
        self.add(name, f'{before}\nexec "{find_tool(name)}" "$@"')

    def checkout(self, *names: str) -> Path:
        """Return a folder with links to parts of the checkout, where a program may leave files."""
        place = self.folder / "checkout"
        place.mkdir()
        for name in names:
            (place / name).symlink_to(ROOT / name)
        return place

    @property
    def notes(self) -> Path:
        """The file with the calls."""
        return self.folder / "notes.txt"

    def calls(self, *starts: str) -> list[str]:
        """Return the calls so far, or those that start with one of ``starts``."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line for line in lines if not starts or line.startswith(starts)]

    def environment(self, variables: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a script: nothing of the user's own."""
        found = {name: os.environ[name] for name in ("XDG_CACHE_HOME", "COVERAGE_PROCESS_START") if name in os.environ}
        home = {"HOME": str(self.folder), "PATH": f"{self.folder}:/usr/bin:/bin", "LANG": "C.UTF-8"}
        return {**found, **BRIEF, **home, **self.variables, **(variables or {})}

    def run(self, *command: str | Path, variables: Mapping[str, str] | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run a script; its status is the caller's to look at."""
        return subprocess.run(
            command, cwd=cwd, env=self.environment(variables), capture_output=True, text=True, timeout=SCRIPT_S, check=False
        )

    def call(self, name: str, *arguments: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a script of ``scripts/`` in this process, and return the same as ``run``, but for what its programs print."""
        out, err, status = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for variable in os.environ:
                patch.delenv(variable)
            for variable, value in self.environment(variables).items():
                patch.setenv(variable, value)
            try:
                status = script(name).main(arguments)
            except SystemExit as ended:
                status = int(ended.code or 0)
        return subprocess.CompletedProcess((name, *arguments), status, out.getvalue(), err.getvalue())


@cache
def script(name: str) -> ModuleType:
    """Return a script of ``scripts/`` as a module, from where it finds the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "scripts")
        return importlib.import_module(name)
