"""The policy files: those of the demo and no others, whole or not at all."""

import os
from pathlib import Path

import pytest

from exchanger.playground.policy_files import MAX_TEXT, Changed, NotSaved, PolicyFiles, version_of
from tests.demo.sample import write_sample_policy
from tests.playground.labs import SAMPLE, YELLOW


@pytest.fixture
def files(tmp_path: Path) -> PolicyFiles:
    write_sample_policy(tmp_path / "policy")
    return PolicyFiles(tmp_path / "policy", SAMPLE)


def test_what_is_saved_is_there_and_nothing_else_is(files: PolicyFiles) -> None:
    assert files.texts() == SAMPLE
    assert files.save("yellow.yaml", "a: ä\r\n") is None
    assert files.texts() == SAMPLE | {"yellow.yaml": "a: ä\r\n"}
    assert sorted(file.name for file in files.folder.iterdir()) == sorted(SAMPLE)


def test_a_file_that_is_put_back_is_as_it_came(files: PolicyFiles) -> None:
    files.save("yellow.yaml", "")
    assert files.reset("yellow.yaml") == YELLOW
    assert files.texts() == SAMPLE


@pytest.mark.parametrize("name", ["other.yaml", "../yellow.yaml", "", "yellow.yaml/", "/etc/passwd", ".yellow.yaml.saved"])
def test_no_other_file_is_written(name: str, files: PolicyFiles) -> None:
    assert name not in files
    with pytest.raises(KeyError):
        files.save(name, "")
    with pytest.raises(KeyError):
        files.reset(name)
    assert files.texts() == SAMPLE


@pytest.mark.parametrize(("text", "why"), [("\ud800", "characters"), ("ä" * (MAX_TEXT // 2) + "a", "longer")])
def test_what_no_file_can_hold_is_refused_and_changes_nothing(text: str, why: str, files: PolicyFiles) -> None:
    refused = files.save("yellow.yaml", text)
    assert isinstance(refused, NotSaved)
    assert why in refused.reason
    assert files.texts() == SAMPLE


def test_a_text_as_long_as_it_may_be_is_saved(files: PolicyFiles) -> None:
    assert files.save("yellow.yaml", "#" * MAX_TEXT) is None


def test_a_file_that_was_deleted_by_hand_is_empty_and_can_be_saved_again(files: PolicyFiles) -> None:
    (files.folder / "yellow.yaml").unlink()
    assert files.texts()["yellow.yaml"] == ""
    assert files.save("yellow.yaml", YELLOW) is None
    assert files.texts() == SAMPLE


def test_a_folder_that_is_gone_is_told(files: PolicyFiles) -> None:
    gone = PolicyFiles(files.folder / "absent", SAMPLE)
    assert gone.save("yellow.yaml", "a") == NotSaved("the file cannot be written: No such file or directory")
    assert isinstance(gone.reset("yellow.yaml"), NotSaved)


def test_bytes_that_are_no_text_are_shown_all_the_same(files: PolicyFiles) -> None:
    (files.folder / "yellow.yaml").write_bytes(b"a: \xff")
    assert files.texts()["yellow.yaml"] == "a: \N{REPLACEMENT CHARACTER}"


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(files: PolicyFiles) -> None:
    (files.folder / "yellow.yaml").unlink()
    os.mkfifo(files.folder / "yellow.yaml")
    assert files.texts() == SAMPLE | {"yellow.yaml": ""}
    assert files.reset("yellow.yaml") == YELLOW
    assert files.texts() == SAMPLE


def test_another_version_than_the_one_that_was_edited_is_left_alone(files: PolicyFiles) -> None:
    assert files.save("yellow.yaml", "a", version_of("something else")) == Changed()
    assert files.texts() == SAMPLE
    assert files.save("yellow.yaml", "a", version_of(YELLOW)) is None
    assert files.save("yellow.yaml", "b", version_of("a")) is None
    assert files.texts() == SAMPLE | {"yellow.yaml": "b"}
