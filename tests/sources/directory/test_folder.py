import errno
import os
import time
from pathlib import Path

import pytest

from exchanger.policy.selection import Namespace
from exchanger.sources.directory.folder import MAX_DEPTH, Scan, scan


def namespace(name: str) -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"


def names(scanned: Scan) -> list[str]:
    return [manifest.name for manifest in scanned.manifests() if isinstance(manifest, Namespace)]


def _refused(*_arguments: object, **_options: object) -> object:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.fixture
def young_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read again however long a test is held up after it has written them."""
    monkeypatch.setattr("exchanger.sources.directory.folder.YOUNG_S", 3600.0)


def test_files_of_all_levels_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "a.yaml").write_text(namespace("a"))
    (tmp_path / "sub" / "b.yml").write_text(namespace("b"))
    (tmp_path / "sub" / "deep" / "c.json").write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "c"}}')
    (tmp_path / "notes.txt").write_text("no manifest")
    (tmp_path / ".hidden.yaml").write_text(namespace("hidden"))
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yaml").write_text(namespace("hidden"))
    assert names(scan(tmp_path, Scan())) == ["a", "b", "c"]


def test_scan_reads_folders_to_a_depth_and_skips_lost_and_found(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(MAX_DEPTH + 1):
        folder /= "sub"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text(namespace("too-deep"))
    (folder.parent / "a.yaml").write_text(namespace("deep"))
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / "a.yaml").write_text(namespace("lost"))
    assert names(scan(tmp_path, Scan())) == ["deep"]


def test_a_mounted_config_map_is_read_once(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "policy.yaml").write_text(namespace(f"v{version}"))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    first = scan(tmp_path, Scan())
    assert names(first) == ["v1"]
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert names(scan(tmp_path, first)) == ["v2"]


def test_links_in_a_circle_end_and_no_folder_is_read_twice(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(namespace("a"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.yaml").write_text(namespace("b"))
    for number in range(20):
        (tmp_path / f"again{number}").symlink_to(".")
        (tmp_path / f"sub{number}").symlink_to("sub")
    (tmp_path / "self").symlink_to("self")
    assert sorted(names(scan(tmp_path, Scan()))) == ["a", "b"]


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.sources.directory.folder.YOUNG_S", 0.0)
    (tmp_path / "a.yaml").write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    with monkeypatch.context() as closed:
        closed.setattr("os.open", _refused)
        second = scan(tmp_path, first)
    assert second == first
    assert second.files[0][1] is first.files[0][1]


@pytest.mark.usefixtures("young_for_long")
def test_a_young_file_is_read_again_but_understood_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    assert first.files[0][1].young
    monkeypatch.setattr("exchanger.sources.directory.folder.read_manifests", _refused)
    monkeypatch.setattr("exchanger.sources.directory.folder.YOUNG_S", 0.0)
    second = scan(tmp_path, first)
    assert not second.files[0][1].young
    assert second.files[0][1].manifests is first.files[0][1].manifests


@pytest.mark.usefixtures("young_for_long")
def test_scan_reads_a_young_file_again_even_with_an_equal_signature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.sources.directory.folder._signature", lambda _status: (0, 0, 0, 0, 0))
    path = tmp_path / "a.yaml"
    path.write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    path.write_text(namespace("b"))
    assert names(scan(tmp_path, first)) == ["b"]


@pytest.mark.usefixtures("young_for_long")
def test_a_file_without_permission_keeps_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    with monkeypatch.context() as forbidding:
        forbidding.setattr("os.open", _refused)  # chmod would not do: root may read every file
        forbidden = scan(tmp_path, first)
    assert names(forbidden) == ["a"]
    assert forbidden.problems() == {"a.yaml": "cannot be read: Permission denied"}


@pytest.mark.usefixtures("young_for_long")
def test_an_unreadable_file_that_moves_during_a_scan_keeps_what_it_said(tmp_path: Path) -> None:
    path, away = tmp_path / "a.yaml", tmp_path / ".away"
    path.write_text(namespace("a"))
    (tmp_path / "c.yaml").write_text("# read in each scan")
    first = scan(tmp_path, Scan())
    path.write_text("kind: [")
    broken = scan(tmp_path, first)
    path.rename(away)

    def move() -> float:
        if away.exists():
            away.rename(tmp_path / "b.yaml")
        return time.time()

    assert names(scan(tmp_path, broken, move)) == ["a"]


def test_a_folder_that_vanishes_while_it_is_listed_says_nothing_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.yaml").write_text(namespace("a"))
    (tmp_path / "b.yaml").write_text(namespace("b"))
    list_folder = os.scandir

    def racing(folder: Path) -> object:
        if folder.name == "sub":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return list_folder(folder)

    monkeypatch.setattr("os.scandir", racing)
    scanned = scan(tmp_path, Scan())
    assert names(scanned) == ["b"]
    assert scanned.problem is None


def test_a_file_that_was_never_readable_is_unknown_unless_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: [")
    (tmp_path / "b.yaml").symlink_to("nowhere")
    (tmp_path / "c.yaml").mkdir()
    os.mkfifo(tmp_path / "d.yaml")
    (tmp_path / "e.yaml").touch()
    found = scan(tmp_path, Scan()).unknown()
    assert sorted(found) == ["a.yaml", "b.yaml", "c.yaml", "d.yaml"]
    assert found["d.yaml"] == "cannot be read: is not a regular file"


@pytest.mark.parametrize(
    ("bound", "name", "problem"), [("MAX_FILES", "b.yaml", "manifest files"), ("MAX_ENTRIES", "b.txt", "files and folders")]
)
def test_a_crowded_folder_keeps_what_was_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, name: str, problem: str
) -> None:
    (tmp_path / "a.yaml").write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    monkeypatch.setattr(f"exchanger.sources.directory.folder.{bound}", 1)
    (tmp_path / name).touch()
    crowded = scan(tmp_path, first)
    assert (names(crowded), crowded.problem) == (["a"], f"has more than 1 {problem}")
    (tmp_path / name).unlink()
    assert scan(tmp_path, crowded).problem is None
