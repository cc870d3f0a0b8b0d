"""The files of a folder, read again when they changed. Blocking code for a worker thread; one scan at a time.

What a file said last stays known while the file cannot be read; a file that is gone says nothing any more. Must not know: selectors or
policy documents.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.directory.manifest import MAX_FILE_BYTES, Manifest, UnreadableFile, read_manifests

SUFFIXES: Final = (".yaml", ".yml", ".json")
MAX_FILES: Final = 20_000
"""Manifest files; a scan reads the attributes of each, which takes some microseconds."""
MAX_DEPTH: Final = 16
"""Levels of folders, so that links in a circle end."""

Signature = tuple[int, int, int, int]


@final
@attrs.frozen
class File:
    """One file: its state when it was read, what it said when it last could be read (``None``: never), and what is wrong with it now."""

    signature: Signature | None
    manifests: tuple[Manifest, ...] | None
    problem: str | None = None


@final
@attrs.frozen
class Scan:
    """What is known after a scan. ``files`` are sorted by name; ``problem`` is what is wrong with the folder itself."""

    files: tuple[tuple[str, File], ...] = ()
    problem: str | None = None

    def manifests(self) -> Iterator[Manifest]:
        """Return every object that is known."""
        for _, file in self.files:
            yield from file.manifests or ()

    def problems(self) -> dict[str, str]:
        """Return what cannot be read and why, by name; "." is the folder itself."""
        found = {name: file.problem for name, file in self.files if file.problem is not None}
        return found if self.problem is None else {".": self.problem, **found}

    def unknown(self) -> dict[str, str]:
        """Return what cannot be read and never could, and why."""
        return {name: file.problem for name, file in self.files if file.problem is not None and file.manifests is None}


def scan(root: Path, before: Scan) -> Scan:
    """Return what the folder says now; files that did not change since ``before`` are not read again."""
    known = dict(before.files)
    try:
        names = sorted(_names(root))
    except OSError as error:
        # Nobody can tell what was meant by it, so what was known stays in force.
        return attrs.evolve(before, problem=f"cannot be listed: {error.strerror}")
    if len(names) > MAX_FILES:
        return attrs.evolve(before, problem=f"has more than {MAX_FILES} manifest files")
    return Scan(tuple((name, _read(root / name, known.get(name))) for name in names))


def _names(root: Path) -> Iterator[str]:
    """Return the names of the manifest files below ``root``.

    Hidden files and folders are left out. Kubernetes keeps a mounted ConfigMap in such a folder and links to it from visible names.
    """
    pending = [(root, 0)]
    found = 0
    while pending:
        folder, depth = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = folder / entry.name
                if entry.name.endswith(SUFFIXES):
                    found += 1
                    yield str(path.relative_to(root))
                elif depth < MAX_DEPTH and _is_folder(entry):
                    pending.append((path, depth + 1))
                if found > MAX_FILES:
                    return


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link in a circle


def _read(path: Path, before: File | None) -> File:
    """Read a file unless it is as it was; what it said before stays where it cannot be read."""
    known = None if before is None else before.manifests
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            signature = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            if before is not None and before.signature == signature:
                return before
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        return File(None, known, f"cannot be read: {error.strerror}")
    found = read_manifests(data, is_json=path.suffix == ".json")
    if isinstance(found, UnreadableFile):
        return File(signature, known, found.reason)
    return File(signature, found)
