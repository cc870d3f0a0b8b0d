"""The policy files: those of the demo and no others, whole or not at all."""

import os
from pathlib import Path

import pytest
import trio
import trio.testing

from exchanger.console.proxy import LoopbackProxy
from exchanger.playground.policy_files import EFFECT_S, MAX_TEXT, Changed, NotSaved, PolicyFiles, in_force, revision_of, version_of
from exchanger.policy.snapshot import PolicySnapshot
from tests.console.running import dead_port, running
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


def test_a_file_that_was_deleted_or_holds_no_text_or_is_a_pipe_can_be_saved_again(files: PolicyFiles) -> None:
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


def test_a_folder_that_is_gone_is_told(files: PolicyFiles) -> None:
    gone = PolicyFiles(files.folder / "absent", SAMPLE)
    assert gone.save("yellow.yaml", "a") == NotSaved("the file cannot be written: No such file or directory")
    assert isinstance(gone.reset("yellow.yaml"), NotSaved)


def test_another_version_than_the_one_that_was_edited_is_left_alone(files: PolicyFiles) -> None:
    assert files.save("yellow.yaml", "a", version_of("something else")) == Changed()
    assert files.texts() == SAMPLE
    assert files.save("yellow.yaml", "a", version_of(YELLOW)) is None
    assert files.save("yellow.yaml", "b", version_of("a")) is None
    assert files.texts() == SAMPLE | {"yellow.yaml": "b"}


async def test_the_service_s_console_tells_the_version() -> None:
    async with running() as console:
        revision = revision_of(LoopbackProxy(console.port))
        before = await revision()
        assert before is not None
        console.policy.publish(PolicySnapshot.EMPTY)
        assert await revision() == before + 1
        assert await in_force(before, revision)
    with dead_port() as port:
        assert await revision_of(LoopbackProxy(port))() is None


async def test_a_version_is_waited_for_and_not_longer_than_one_takes(autojump_clock: trio.testing.MockClock) -> None:
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
