"""The files of a folder, read again when they change, and the probable mistakes in them. Blocking code for a worker thread.

The last content of a file stays known while the file cannot be read. A deleted file no longer counts, unless there is a new one that cannot
be read: that may be the same under another name.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.model.codes import manifests as codes
from exchanger.model.notice import Notice, Notices
from exchanger.model.selector import Selector
from exchanger.net.network import SYSTEM
from exchanger.policy.notices import is_declined, of_config_maps, of_namespaces
from exchanger.policy.selection import ConfigMap, Namespace, PolicyObject
from exchanger.sources.directory.manifest import MAX_FILE_BYTES, Manifest, PassedOver, UnreadableFile, objects_of, read_manifests
from exchanger.util.regular_file import open_regular, unreadable
from exchanger.util.text import distance

SUFFIXES: Final = (".yaml", ".yml", ".json")
# The folder itself, among the names of its files.
FOLDER: Final = "."
# Manifest files; a scan reads the attributes of each, in a few microseconds.
MAX_FILES: Final = 20_000
# Levels of folders; manifests are never nested deeper.
MAX_DEPTH: Final = 16
# Files of any kind and folders; a folder with more was not meant for manifests, and listing it takes a good part of a second.
MAX_ENTRIES: Final = 100_000
# Scans for one state at most: of a folder that changes during each, the last one counts.
MAX_SCANS: Final = 5
# A file that changed so recently may change again without a sign of it: file systems keep times in steps of up to 2 s (FAT).
YOUNG_S: Final = 2.0
# The root of a volume has it, and only root may list it.
NO_FOLDERS: Final = frozenset({"lost+found"})
_ENDINGS: Final = ", ".join(SUFFIXES)
# A manifest's name with something after it, such as ``.txt`` or ``~``.
_WITH_MORE: Final = re.compile(r"(.*\.(?:ya?ml|json))[^a-z0-9]", re.IGNORECASE | re.DOTALL)
# Names that are nearly ours, and are those of other formats.
_OTHER_ENDINGS: Final = frozenset({".xml", ".jsonl", ".json5", ".jsonc"})

Signature = tuple[int, int, int, int, int]


@final
@attrs.frozen
class File:
    """One file: its manifests when it last was readable (``None``: never), and its current problem.

    ``signature`` is its state when it was read, ``None`` if that failed; ``digest`` is that of its bytes. ``unreadable`` has the code and
    the line of a problem in its content. ``young``: it must be read again, since it may change without another signature.
    """

    signature: Signature | None
    manifests: tuple[Manifest, ...] | None
    problem: str | None = None
    digest: bytes = attrs.field(default=b"", repr=False)
    unreadable: UnreadableFile | None = attrs.field(default=None, repr=False)
    young: bool = attrs.field(default=False, eq=False, repr=False)

    @property
    def has_objects(self) -> bool:
        """Return whether the file has an object that counts."""
        return any(True for _ in objects_of(self.manifests or ()))

    def has_objects_of(self, other: "File") -> bool:
        """Return whether the file has every object that ``other`` has."""
        own, others = ({_identity(item) for item in objects_of(file.manifests or ())} for file in (self, other))
        return own >= others


@final
@attrs.frozen
class Scan:
    """The state after a scan. ``files`` are sorted by name; ``problem`` is that of the folder itself.

    ``others`` are the sorted names of everything that is not read, folders with a slash at the end. ``leaving`` are files that were deleted
    while there was one that never could be read, the latest first: what they said counts where no other file says anything of that object.
    """

    files: tuple[tuple[str, File], ...] = ()
    problem: str | None = None
    others: tuple[str, ...] = ()
    leaving: tuple[tuple[str, File], ...] = ()

    def has_same_files(self, other: "Scan") -> bool:
        """Return whether nothing but the folder's own problem differs."""
        return (self.files, self.others, self.leaving) == (other.files, other.others, other.leaving)

    def is_edit_of(self, before: "Scan") -> bool:
        """Return whether a single file differs from ``before``, in place, and still has all objects that it had: nothing moved from it."""
        if [name for name, _ in self.files] != [name for name, _ in before.files]:
            return False
        edited = [(new, old) for (_, new), (_, old) in zip(self.files, before.files, strict=True) if new != old]
        return len(edited) == 1 and all(new.has_objects_of(old) for new, old in edited)

    def manifests(self) -> Iterator[PolicyObject]:
        """Return every known object."""
        seen = set[tuple[str, str]]()
        for _, file in self.files:
            for item in objects_of(file.manifests or ()):
                if self.leaving:
                    seen.add(_identity(item))
                yield item
        for _, file in self.leaving:
            for item in objects_of(file.manifests or ()):
                if _identity(item) not in seen:
                    seen.add(_identity(item))
                    yield item

    def passed_over(self) -> Iterator[tuple[str, PassedOver]]:
        """Return what was probably meant to count and does not, each with the name of its file."""
        for name, file in self.files:
            yield from ((name, found) for found in file.manifests or () if isinstance(found, PassedOver))

    def problems(self) -> dict[str, str]:
        """Return why files cannot be read, by name."""
        found = {name: file.problem for name, file in self.files if file.problem is not None}
        if self.leaving:
            found |= {name: f"{reason}; policies of deleted files stay active meanwhile" for name, reason in self.unknown().items()}
        return found if self.problem is None else {FOLDER: self.problem, **found}

    def unknown(self) -> dict[str, str]:
        """Return why files cannot be read that never could be."""
        return {name: file.problem for name, file in self.files if file.problem is not None and file.manifests is None}


class CrowdedError(Exception):
    """There is more in the folder than a scan goes through."""


def scan(root: Path, before: Scan, wall: Callable[[], float] = SYSTEM.wall, whole: Scan | None = None) -> Scan:
    """Return the state of the folder; files that did not change since ``before`` are not read again.

    ``whole`` is the last state that was not in the middle of a change: what its files said can stay known.

    Files that change during a scan may be of different moments: a denial that moves from a file that is read late to one that was read
    early would be in neither. So a state that differs counts once the next scan finds the same.
    """
    whole = before if whole is None else whole
    found = _scan_once(root, before, wall, whole)
    for _ in range(MAX_SCANS - 1):
        if found == before:
            break
        before, found = found, _scan_once(root, found, wall, whole)
    return found


def _scan_once(root: Path, before: Scan, wall: Callable[[], float], whole: Scan) -> Scan:
    known: dict[str, File] = {}
    for name, file in chain(before.files, before.leaving, whole.files, whole.leaving):
        known.setdefault(name, file)
    others: list[str] = []
    try:
        names = sorted(manifest_names(root, others))
    except OSError as error:
        # Its content is unknown, so the known one stays active.
        return attrs.evolve(before, problem=f"cannot be listed: {error.strerror}")
    except CrowdedError as crowded:
        return attrs.evolve(before, problem=str(crowded))
    files = tuple((name, _look(root / name, known.get(name), wall)) for name in names)
    present = frozenset(names)
    leaving = [(name, file) for name, file in known.items() if name not in present]
    if all(file.manifests is not None for _, file in files):
        leaving = []
    return Scan(files, others=tuple(sorted(others)), leaving=tuple(leaving[: MAX_FILES - len(files)]))


def _identity(item: PolicyObject) -> tuple[str, str]:
    """Return the namespace and the name of an object; a Namespace is in none."""
    return (item.namespace, item.name) if isinstance(item, ConfigMap) else ("", item.name)


def manifest_names(root: Path, others: list[str]) -> Iterator[str]:
    """Return the names of the manifest files below ``root``; ``others`` receives the names of what is not read.

    Hidden files and folders are left out. Kubernetes keeps a mounted ConfigMap in such a folder and links to it from visible names.
    """
    pending = [(root, 0)]
    seen: set[tuple[int, int]] = set()
    found = entries = 0
    while pending:
        folder, depth = pending.pop()
        for entry in _listed(folder, seen, may_be_gone=folder is not root):
            entries += 1
            if entry.name.endswith(SUFFIXES):
                found += 1
                yield str((folder / entry.name).relative_to(root))
            elif not _is_folder(entry):
                others.append(str((folder / entry.name).relative_to(root)))
            elif depth < MAX_DEPTH:
                pending.append((folder / entry.name, depth + 1))
            else:
                others.append(f"{(folder / entry.name).relative_to(root)}/")
            if found > MAX_FILES:
                raise CrowdedError(f"has more than {MAX_FILES} manifest files")
            if entries > MAX_ENTRIES:
                raise CrowdedError(f"has more than {MAX_ENTRIES} files and folders")


def _listed(folder: Path, seen: set[tuple[int, int]], *, may_be_gone: bool) -> Iterator[os.DirEntry[str]]:
    """Return the visible entries of a folder that is not among ``seen``: links may lead to the same one many times."""
    try:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            return
        seen.add(identity)
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        if not may_be_gone:
            raise


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.name not in NO_FOLDERS and entry.is_dir()
    except OSError:
        return False  # a link in a circle


def _look(path: Path, before: File | None, wall: Callable[[], float]) -> File:
    """Return ``before`` if the file did not change, else its state now; its last manifests stay while it cannot be read."""
    try:
        if before is not None and not before.young and before.signature == _signature(path.stat()):
            return before
        data, signature, young = _read(path, wall)
    except OSError as error:
        return File(None, None if before is None else before.manifests, unreadable(error))
    digest = hashlib.sha256(data).digest()
    if before is not None and before.digest == digest:
        return attrs.evolve(before, signature=signature, young=young)
    said = File(signature, None if before is None else before.manifests, digest=digest, young=young)
    return _understood(data, said, is_json=path.suffix == ".json")


def _understood(data: bytes, file: File, *, is_json: bool) -> File:
    """Return ``file``, which has the last manifests, with those in ``data``."""
    if file.has_objects and not data.strip():
        # Most likely a command is about to fill it, or has failed to. Applying it would open what its policies close.
        return attrs.evolve(file, problem="is empty; to remove what was in it, delete it")
    found = read_manifests(data, is_json=is_json)
    if isinstance(found, UnreadableFile):
        return attrs.evolve(file, problem=found.reason, unreadable=found)
    return attrs.evolve(file, manifests=found)


def _read(path: Path, wall: Callable[[], float]) -> tuple[bytes, Signature, bool]:
    """Return the bytes of a file, its signature from before they were read, and whether it is young.

    Raises:
        OSError: it cannot be read, or is not a file: a pipe would keep its reader waiting.
    """
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        young = abs(wall() - status.st_ctime) < YOUNG_S
        return file.read(MAX_FILE_BYTES + 1), _signature(status), young


def _signature(status: os.stat_result) -> Signature:
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def notices_of(scan: Scan, namespaces: Selector, config_maps: Selector) -> Notices:
    """Return the probable mistakes in a folder."""
    known = tuple(scan.manifests())
    described = tuple(item for item in known if isinstance(item, Namespace))
    settled: dict[str, bool] = {}
    for item in described:
        selected = namespaces.matches(dict(item.labels)) or is_declined(item.labels, namespaces)
        settled[item.name] = settled.get(item.name, False) or selected
    found = (item for item in known if isinstance(item, ConfigMap))
    return Notices.of(
        chain(
            _of_files(scan),
            of_namespaces((item for item in described if not settled[item.name]), namespaces, config_maps),
            of_config_maps(found, settled, config_maps, namespaces),
        )
    )


def _of_files(scan: Scan) -> Iterator[Notice]:
    read = {name for name, _ in scan.files}
    for name in scan.others:
        if name.endswith("/"):
            yield Notice(f"folder {name}", "is not read: it is nested too deeply", "move it up", codes.UNREAD_FILE)
        elif _is_meant(name, read):
            text, remedy = f"is skipped: its name does not end in {_ENDINGS}", f"rename it to end in one of {_ENDINGS}"
            yield Notice(f"file {name}", text, remedy, codes.UNREAD_FILE)
    for name, passed_over in scan.passed_over():
        yield Notice(f"file {name}", passed_over.reason, passed_over.remedy, passed_over.code)


def _is_meant(name: str, read: set[str]) -> bool:
    """Return whether ``name`` is probably that of a manifest, and not of an editor's backup (``p.yaml~``)."""
    folder, slash, base = name.rpartition("/")
    more = _WITH_MORE.match(base)
    if more is not None:
        return folder + slash + more[1] not in read
    dot = name.rfind(".")
    ending = name[dot:].lower() if dot > name.rfind("/") else ""
    return ending not in _OTHER_ENDINGS and any(distance(ending, suffix) <= 1 for suffix in SUFFIXES)
