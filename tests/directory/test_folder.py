import errno
import os
from pathlib import Path

import pytest

from exchanger.directory.folder import MAX_DEPTH, Scan, scan
from exchanger.policy.selection import Namespace


def namespace(name: str) -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"


def names(scanned: Scan) -> list[str]:
    return [manifest.name for manifest in scanned.manifests() if isinstance(manifest, Namespace)]


def _refused(*_arguments: object, **_options: object) -> object:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.fixture
def young_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read again however long a test is held up after it has written them."""
    monkeypatch.setattr("exchanger.directory.folder.YOUNG_NS", 3600 * 10**9)


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


def test_levels_are_bounded(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(MAX_DEPTH + 1):
        folder /= "sub"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text(namespace("too-deep"))
    (folder.parent / "a.yaml").write_text(namespace("deep"))
    assert names(scan(tmp_path, Scan())) == ["deep"]


def test_a_folder_that_only_root_may_list_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / "a.yaml").write_text(namespace("lost"))
    assert scan(tmp_path, Scan()).files == ()


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.directory.folder.YOUNG_NS", 0)
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
    assert first.files[0][1].signature is None
    monkeypatch.setattr("exchanger.directory.folder.read_manifests", _refused)
    monkeypatch.setattr("exchanger.directory.folder.YOUNG_NS", 0)
    second = scan(tmp_path, first)
    assert second.files[0][1].signature is not None
    assert second.files[0][1].manifests is first.files[0][1].manifests


@pytest.mark.usefixtures("young_for_long")
def test_a_change_of_a_young_file_is_noticed_without_a_sign_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.directory.folder._signature", lambda _status: (0, 0, 0, 0, 0))
    path = tmp_path / "a.yaml"
    path.write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    path.write_text(namespace("b"))
    assert names(scan(tmp_path, first)) == ["b"]


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_file_that_was_emptied_keeps_what_it_said_until_it_is_deleted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    path.write_text(text)
    emptied = scan(tmp_path, first)
    assert names(emptied) == ["a"]
    assert "is empty" in emptied.problems()["a.yaml"]
    assert names(scan(tmp_path, emptied)) == ["a"]
    path.write_text(namespace("b"))
    filled = scan(tmp_path, emptied)
    assert names(filled) == ["b"]
    assert filled.problems() == {}
    path.write_text("# nothing")
    assert names(scan(tmp_path, filled)) == []
    path.unlink()
    assert scan(tmp_path, emptied).files == ()


def test_a_file_that_always_was_empty_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").touch()
    first = scan(tmp_path, Scan())
    assert first.problems() == {}
    assert scan(tmp_path, first).problems() == {}


def test_a_pipe_does_not_keep_the_scan_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    assert scan(tmp_path, Scan()).unknown() == {"a.yaml": "cannot be read: is not a regular file"}


def test_a_file_that_cannot_be_understood_keeps_what_it_said(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    path.write_text("kind: [")
    broken = scan(tmp_path, first)
    assert names(broken) == ["a"]
    assert "a.yaml" in broken.problems()
    assert broken.unknown() == {}
    path.write_text(namespace("b"))
    repaired = scan(tmp_path, broken)
    assert names(repaired) == ["b"]
    assert repaired.problems() == {}
    path.unlink()
    assert names(scan(tmp_path, repaired)) == []


def test_a_file_that_could_never_be_understood_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: [")
    (tmp_path / "b.yaml").symlink_to("nowhere")
    (tmp_path / "c.yaml").mkdir()
    assert sorted(scan(tmp_path, Scan()).unknown()) == ["a.yaml", "b.yaml", "c.yaml"]


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


def test_a_folder_that_is_gone_keeps_everything(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "a.yaml").write_text(namespace("a"))
    first = scan(folder, Scan())
    (folder / "a.yaml").unlink()
    folder.rmdir()
    gone = scan(folder, first)
    assert names(gone) == ["a"]
    assert "." in gone.problems()
    assert scan(folder, Scan()).problem is not None


def test_too_many_files_keep_what_was_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    monkeypatch.setattr("exchanger.directory.folder.MAX_FILES", 1)
    (tmp_path / "b.yaml").write_text(namespace("b"))
    crowded = scan(tmp_path, first)
    assert names(crowded) == ["a"]
    assert crowded.problem is not None
    (tmp_path / "b.yaml").unlink()
    assert scan(tmp_path, crowded).problem is None


def test_too_many_files_of_any_kind_keep_what_was_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    monkeypatch.setattr("exchanger.directory.folder.MAX_ENTRIES", 3)
    for number in range(3):
        (tmp_path / f"{number}.txt").touch()
    crowded = scan(tmp_path, first)
    assert names(crowded) == ["a"]
    assert "more than 3 files" in (crowded.problem or "")


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
