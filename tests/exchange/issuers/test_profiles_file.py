"""The profiles file that is followed, on a real file system."""

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from exchanger.exchange.issuers import profiles_file as module
from exchanger.exchange.issuers.profile_model import Plan, Rejected
from exchanger.exchange.issuers.profiles import MAX_FILE_BYTES, read_plan
from exchanger.exchange.issuers.profiles_file import ProfilesFile, check_file
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.util.follow_file import SETTLE_S
from tests.exchange.issuers.fakes import inline, profiles
from tests.waiting import at_once

ONE, TWO, BAD = profiles(inline("one")), profiles(inline("two")), profiles("  - {}\n")


def names(found: Plan | Rejected | None) -> list[str] | None:
    return [profile.name for profile in found.profiles] if isinstance(found, Plan) else None


def write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "issuers.yaml"
    path.write_text(ONE)
    return path


@pytest.fixture
def file(path: Path) -> ProfilesFile:
    return ProfilesFile(path, ProfileRules(), at_once)


async def rest_follows(path: Path, text: str) -> None:
    await trio.sleep(SETTLE_S / 2)
    write(path, text)


async def test_the_first_version_counts_at_once_and_another_when_it_stands(
    path: Path, file: ProfilesFile, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    parsed: list[bytes] = []

    def read(data: bytes, name: str, rules: ProfileRules) -> Plan | Rejected:
        parsed.append(data)
        return read_plan(data, name, rules)

    monkeypatch.setattr(module, "read_plan", read)

    assert [names(await file.look()) for _ in range(3)] == [["one"], None, None]
    write(path, profiles(inline("two")))  # half of it
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rest_follows, path, profiles(inline("one"), inline("two")))
        assert await file.look() is None
    assert [names(await file.look()) for _ in range(2)] == [["one", "two"], None]
    assert len(parsed) == 3
    assert "canary" not in repr(file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BAD, "issuers[0].name is required"),
        ("", "is empty"),
        (profiles(inline(host="")), "tokenEndpoint has no usable host and port"),
        ("#" * (MAX_FILE_BYTES + 1), "larger than"),
        (None, "cannot be read: No such file or directory"),
    ],
)
async def test_a_bad_version_is_returned_once_and_a_good_one_after_it(
    path: Path, file: ProfilesFile, text: str | None, expected: str, autojump_clock: MockClock
) -> None:
    assert names(await file.look()) == ["one"]
    if text is None:
        await trio.Path(path).unlink()
    else:
        write(path, text)
    found = await file.look()
    assert isinstance(found, Rejected)
    assert expected in found.problems[0]
    assert "canary" not in repr(found)
    assert await file.look() is None
    write(path, ONE)
    assert [names(await file.look()) for _ in range(2)] == [["one"], None]


def test_the_check_at_the_start(path: Path) -> None:
    assert check_file(path, ProfileRules()) == ()
    path.write_text(profiles(inline(host=""), inline()))
    assert check_file(path, ProfileRules()) == (
        'issuer profile "primary" tokenEndpoint has no usable host and port',
        'issuer profile "primary" is defined twice',
    )
    path.write_text(BAD)
    assert "is required" in check_file(path, ProfileRules())[0]
    path.unlink()
    assert "cannot be read" in check_file(path, ProfileRules())[0]
