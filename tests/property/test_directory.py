"""Law: after any edits, a scan knows of each file what it said when it last could be read.

It knows nothing of files that are gone, unless they went while there was one that never could be read: that may be one of them, renamed.

"An unreadable file at the start closes everything; later it keeps what it said": so the way by which a folder came to its state shows only
in files that are unreadable now, and a scan that goes on from an earlier one is a fresh scan everywhere else.

What moves to another file while files are read, and is written there first, is in the result.
"""

import tempfile
import time
from itertools import count
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.selection import PolicyObject
from exchanger.sources.directory.folder import Scan, scan
from exchanger.sources.directory.manifest import Manifest, UnreadableFile, objects_of, read_manifests

NAMES = ("a.yaml", "b.yml", "sub/c.yaml")
NOTHING = "# nothing\n"
MOVED = "apiVersion: v1\nkind: Namespace\nmetadata: {name: one}\n"
READABLE = (
    MOVED,
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: two}\n",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: p, namespace: one}\ndata: {config.yaml: text}\n",
    NOTHING,
)
UNREADABLE = ("kind: [", "a: 1\na: 2\n", "text")
EMPTY = ""

names = st.sampled_from(NAMES)


@attrs.frozen
class Write:
    name: str
    text: str


@attrs.frozen
class Delete:
    name: str


@attrs.frozen
class Rename:
    name: str
    to: str


@attrs.frozen
class Look:
    """A scan between two edits: only what it sees is known."""


Edit = Write | Delete | Rename | Look

edits: st.SearchStrategy[list[Edit]] = st.lists(
    st.one_of(
        st.builds(Write, names, st.sampled_from((*READABLE, *UNREADABLE, EMPTY))),
        st.builds(Delete, names),
        st.builds(Rename, names, names),
        st.builds(Look),
        st.builds(Look),
    ),
    max_size=20,
)


def apply(edit: Edit, root: Path) -> None:
    match edit:
        case Write(name, text):
            (root / name).write_text(text)
        case Delete(name):
            (root / name).unlink(missing_ok=True)
        case Rename(name, to):
            if (root / name).exists():
                (root / name).replace(root / to)
        case Look():
            pass


def read(text: str) -> tuple[PolicyObject, ...] | None:
    """Return what a text says, ``None`` if it is unreadable."""
    found = read_manifests(text.encode(), is_json=False)
    return None if isinstance(found, UnreadableFile) else objects(found)


def objects(found: tuple[Manifest, ...] | None) -> tuple[PolicyObject, ...] | None:
    return None if found is None else tuple(objects_of(found))


def identity(found: PolicyObject) -> tuple[type, str, str]:
    return type(found), getattr(found, "namespace", ""), found.name


Said = tuple[PolicyObject, ...] | None


@given(edits)
def test_a_scan_knows_what_each_file_said_last(sequence: list[Edit]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "sub").mkdir()
        scanned, said, gone = Scan(), dict[str, Said](), dict[str, Said]()
        for edit in (*sequence, Look()):
            apply(edit, root)
            if not isinstance(edit, Look):
                continue
            scanned = scan(root, scanned)
            texts = {name: (root / name).read_text() for name in NAMES if (root / name).exists()}
            before = {**said, **{name: of for name, of in gone.items() if name not in said}}  # the latest to go first
            kept = {name: text == EMPTY and bool(before.get(name)) for name, text in texts.items()}
            broken = {name for name, text in texts.items() if read(text) is None or kept[name]}
            said = {name: before.get(name) if name in broken else read(text) for name, text in texts.items()}
            gone = {name: of for name, of in before.items() if name not in texts} if None in said.values() else {}

            assert {name: objects(file.manifests) for name, file in scanned.files} == said
            assert set(scanned.problems()) == broken
            assert dict(scanned.leaving).keys() == gone.keys()
            expected = [one for of in said.values() for one in of or ()]
            for one in (one for of in gone.values() for one in of or ()):
                if not any(identity(one) == identity(other) for other in expected):
                    expected.append(one)
            assert list(scanned.manifests()) == expected
            assert set(scanned.unknown()) == {name for name in broken if said[name] is None}

        fresh = dict(scan(root, Scan()).files)
        readable = {name for name, file in scanned.files if file.problem is None}
        assert {name: objects(fresh[name].manifests) for name in readable} == {name: said[name] for name in readable}


@given(names, st.lists(st.tuples(st.integers(0, 12), names), max_size=3))
def test_what_moves_between_files_during_a_scan_is_not_missed(place: str, moves: list[tuple[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, reads = Path(folder), count()
        (root / "sub").mkdir()

        def replace(name: str, text: str) -> None:
            (root / "new").write_text(text)
            (root / "new").replace(root / name)

        def move() -> float:
            nonlocal place
            number = next(reads)
            for to in (name for at, name in moves if at == number and name != place):
                replace(to, MOVED)
                replace(place, NOTHING)
                place = to
            return time.time()

        for name in NAMES:
            replace(name, MOVED if name == place else NOTHING)
        before = scan(root, Scan())
        assert set(scan(root, before, move).manifests()) == set(before.manifests())
