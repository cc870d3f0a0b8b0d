"""The policy files: those of the demo and no others, whole or not at all."""

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from exchanger.console.proxy import ConsoleProxy
from exchanger.playground.policy_files import EFFECT_S, MAX_TEXT, ChangedElsewhere, NotSaved, PolicyFiles, in_force, revision_of, version_of
from exchanger.policy.snapshot import PolicySnapshot
from tests.console.running import dead_port, running
from tests.playground.labs import SAMPLE, YELLOW
from tests.scenarios.stand_in import write_sample_policy


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


@pytest.mark.parametrize("name", ["other.yaml", "../yellow.yaml", "", "yellow.yaml/", "/etc/passwd", ".yellow.yaml.saved"])
def test_no_other_file_is_written(name: str, files: PolicyFiles) -> None:
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


def test_a_deleted_file_a_pipe_and_bytes_that_are_not_text_can_be_replaced(files: PolicyFiles) -> None:
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


async def test_the_version_in_force_is_that_of_the_console() -> None:
    async with running() as console:
        revision = revision_of(ConsoleProxy(console.port))
        before = await revision()
        assert before is not None
        console.policy.publish(PolicySnapshot.EMPTY)
        assert await revision() == before + 1
        assert await in_force(before, revision)
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

    assert not await in_force(None, hangs), "without a version before there is nothing to wait for"
    assert await in_force(7, after_half_a_second)
    assert 0.5 <= trio.current_time() - begun < 0.6
    for revision in (never, hangs):
        begun = trio.current_time()
        assert not await in_force(7, revision)
        assert trio.current_time() - begun < EFFECT_S + 0.1
