import errno
from pathlib import Path

import pytest

from exchanger.directory.folder import MAX_DEPTH, Scan, scan
from exchanger.directory.manifest import Namespace


def namespace(name: str) -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"


def names(scanned: Scan) -> list[str]:
    return [manifest.name for manifest in scanned.manifests() if isinstance(manifest, Namespace)]


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


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(namespace("a"))
    (tmp_path / "again").symlink_to(".")
    (tmp_path / "self").symlink_to("self")
    assert len(names(scan(tmp_path, Scan()))) <= MAX_DEPTH + 1


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(namespace("a"))
    first = scan(tmp_path, Scan())
    second = scan(tmp_path, first)
    assert second == first
    assert second.files[0][1] is first.files[0][1]


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


def test_a_file_without_permission_keeps_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(namespace("a"))
    first = scan(tmp_path, Scan())

    def refused(*_arguments: object, **_options: object) -> object:
        # chmod would not do: root may read every file
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
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
