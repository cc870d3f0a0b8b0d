"""The policy files: those of the demo and no others, whole or not at all."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from exchanger.commands.playground.lint import Linted, lint
from exchanger.commands.playground.policy_files import (
    EFFECT_S,
    MAX_ADDED,
    MAX_FILES,
    MAX_TEXT,
    ChangedElsewhere,
    NotSaved,
    PolicyFiles,
    becomes_active,
    revision_of,
    version_of,
)
from exchanger.operations.console.proxy import ConsoleProxy
from exchanger.policy.snapshot import PolicySnapshot
from tests.commands.playground.labs import RULES, SAMPLE, YELLOW
from tests.commands.scenarios.stand_in import write_sample_policy
from tests.operations.console.running import dead_port, running


@pytest.fixture
def files(tmp_path: Path) -> PolicyFiles:
    write_sample_policy(tmp_path / "policy")
    return PolicyFiles(tmp_path / "policy", SAMPLE)


def test_a_saved_file_is_there_unless_another_version_was_edited(files: PolicyFiles) -> None:
    assert files.texts() == SAMPLE
    assert files.save("yellow.yaml", "a", version_of("something else")) == ChangedElsewhere()
    assert files.texts() == SAMPLE
    assert files.save("yellow.yaml", "a", version_of(YELLOW)) is None
    assert files.save("yellow.yaml", "b: ä\r\n", version_of("a")) is None
    assert files.texts() == SAMPLE | {"yellow.yaml": "b: ä\r\n"}
    assert sorted(file.name for file in files.folder.iterdir()) == sorted(SAMPLE)


OUTSIDE = (
    "../yellow.yaml",
    "",
    "yellow.yaml/",
    "/etc/passwd",
    ".yellow.yaml.saved",
    "a/b.yaml",
    ".yaml",
    "a.yaml\n",
    "a.json",
    "a\0.yaml",
    "ä.yaml",
)


@given(name=st.one_of(st.text(), st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,110}\.ya?ml\Z"), st.sampled_from(OUTSIDE)))
def test_a_new_file_is_valid_and_in_the_folder_or_refused(name: str) -> None:
    with TemporaryDirectory() as place:
        folder = Path(place) / "policy"
        write_sample_policy(folder)
        files = PolicyFiles(folder, SAMPLE)
        made = files.create(name)
        if isinstance(made, str):
            assert files.texts() == SAMPLE | {name: made}
            assert (folder / name).read_text("utf-8") == made
            assert lint(name, made, files.texts(), RULES) == Linted(1)
            assert files.create(name) == ChangedElsewhere()
            assert files.save(name, "a: b\n", version_of(made)) is None
            assert files.reset(name) is None
        else:
            assert made == ChangedElsewhere() if name in SAMPLE else isinstance(made, NotSaved)
        assert files.texts() == SAMPLE
        assert sorted(file.name for file in folder.iterdir()) == sorted(SAMPLE)
        assert [file.name for file in Path(place).iterdir()] == ["policy"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_outside_the_folder_is_refused_with_the_rule(name: str, files: PolicyFiles) -> None:
    refused = files.create(name)
    assert isinstance(refused, NotSaved)
    assert "must begin with a letter or digit" in refused.reason


def test_added_regular_files_are_listed(files: PolicyFiles, tmp_path: Path) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("outside: true\n")
    (files.folder / "green.yml").write_text("a: b\n")
    (files.folder / "linked.yaml").symlink_to(secret)
    (files.folder / "nested.yaml").mkdir()
    os.mkfifo(files.folder / "pipe.yaml")
    (files.folder / ".hidden.yaml").write_text("a: b\n")
    (files.folder / "notes.txt").write_text("a: b\n")
    (files.folder / "large.yaml").write_text("#" * (MAX_TEXT + 1))
    assert files.texts() == SAMPLE | {"green.yml": "a: b\n"}
    for name in ("linked.yaml", "nested.yaml", "pipe.yaml", "large.yaml"):
        assert name not in files
        with pytest.raises(KeyError):
            files.save(name, "")
    assert secret.read_text() == "outside: true\n"


def test_added_files_are_bounded_in_number_and_size(files: PolicyFiles) -> None:
    for number in range(MAX_FILES + 5):
        (files.folder / f"n{number:02}.yaml").write_text("a: b\n")
    listed = files.texts()
    assert len(listed) == MAX_FILES
    assert listed.keys() >= SAMPLE.keys()
    assert isinstance(files.create("one-more.yaml"), NotSaved)
    for number in range(MAX_FILES + 5):
        (files.folder / f"n{number:02}.yaml").unlink()
    assert isinstance(files.create("one-more.yaml"), str)
    for number in range(MAX_FILES // 2):
        (files.folder / f"n{number:02}.yaml").write_text("#" * MAX_TEXT)
    full = files.create("another.yaml")
    assert isinstance(full, NotSaved)
    assert "as many policy files as can be edited" in full.reason
    added = [text for name, text in files.texts().items() if name not in SAMPLE]
    assert sum(map(len, added)) <= MAX_ADDED
    assert sum(map(len, added)) > MAX_ADDED - MAX_TEXT


def test_without_a_folder_that_can_be_written_nothing_is_made(files: PolicyFiles) -> None:
    for where, why in (
        (PolicyFiles(files.folder / "absent", SAMPLE), "No such file"),
        (PolicyFiles(files.folder, {}), "cannot be edited here"),
    ):
        refused = where.create("new.yaml")
        assert isinstance(refused, NotSaved)
        assert why in refused.reason
    assert files.texts() == SAMPLE


@pytest.mark.parametrize("name", ["other.yaml", *OUTSIDE])
def test_only_known_files_of_the_folder_are_written(name: str, files: PolicyFiles) -> None:
    assert name not in files
    for write in (lambda: files.save(name, ""), lambda: files.reset(name)):
        with pytest.raises(KeyError):
            write()
    assert files.texts() == SAMPLE


def test_a_text_that_cannot_be_written_is_refused_and_changes_nothing(files: PolicyFiles) -> None:
    gone = PolicyFiles(files.folder / "absent", SAMPLE)
    for where, text, why in ((files, "\ud800", "characters"), (files, "ä" * (MAX_TEXT // 2) + "a", "longer"), (gone, "a", "No such file")):
        refused = where.save("yellow.yaml", text)
        assert isinstance(refused, NotSaved)
        assert why in refused.reason
    assert files.texts() == SAMPLE
    assert isinstance(gone.reset("yellow.yaml"), NotSaved)


def test_unreadable_file_can_be_replaced(files: PolicyFiles) -> None:
    file = files.folder / "yellow.yaml"
    file.write_bytes(b"a: \xff")
    assert files.texts()["yellow.yaml"] == "a: \N{REPLACEMENT CHARACTER}"
    file.unlink()
    assert files.texts()["yellow.yaml"] == ""
    os.mkfifo(file)
    assert files.texts()["yellow.yaml"] == "", "a pipe is not waited for"
    assert files.save("yellow.yaml", "#" * MAX_TEXT) is None
    assert files.reset("yellow.yaml") == YELLOW
    assert files.texts() == SAMPLE


async def test_the_active_version_is_that_of_the_console() -> None:
    async with running() as console:
        revision = revision_of(ConsoleProxy(console.port))
        before = await revision()
        assert before is not None
        console.policy.publish(PolicySnapshot.EMPTY)
        assert await revision() == before + 1
        assert await becomes_active(before, revision)
    with dead_port() as port:
        assert await revision_of(ConsoleProxy(port))() is None


async def test_a_new_version_is_awaited_for_a_bounded_time(autojump_clock: trio.testing.MockClock) -> None:
    begun = trio.current_time()

    async def after_half_a_second() -> int | None:
        await trio.lowlevel.checkpoint()
        return 8 if trio.current_time() - begun >= 0.5 else 7

    async def never() -> int | None:
        await trio.lowlevel.checkpoint()
        return 7

    async def hangs() -> int | None:
        await trio.sleep_forever()
        raise AssertionError

    assert not await becomes_active(None, hangs), "without a version before there is nothing to wait for"
    assert await becomes_active(7, after_half_a_second)
    assert 0.5 <= trio.current_time() - begun < 0.6
    for revision in (never, hangs):
        begun = trio.current_time()
        assert not await becomes_active(7, revision)
        assert trio.current_time() - begun < EFFECT_S + 0.1
