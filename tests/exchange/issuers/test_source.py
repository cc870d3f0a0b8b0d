from pathlib import Path
from secrets import token_hex

import pytest
import trio
from rpds import HashTrieMap
from trio.testing import MockClock, wait_all_tasks_blocked

from exchanger.exchange.issuers import referenced_files
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.secrets import POLL_S, PollingSecrets, SecretData, SecretName
from exchanger.exchange.issuers.source import IssuerSettings, IssuerSource
from exchanger.exchange.issuers.state import ROTATION_GRACE_S
from exchanger.model.secret import Secret
from tests.exchange.issuers.fakes import (
    FORBIDDEN,
    OAUTH,
    RULES,
    MemorySecrets,
    data,
    inline,
    pairs,
    profiles,
    referring,
    world,
)
from tests.reachable import holders
from tests.waiting import until

OTHER = SecretName("home", "other")
ONE = profiles(inline("one"))
# Longer than any interval of the polling.
INTERVAL = 2 * POLL_S


async def test_it_is_started_with_the_first_set(autojump_clock: MockClock) -> None:
    it = world(ONE)
    async with it.running():
        await wait_all_tasks_blocked()
        assert it.started()
        assert it.active == {"one": ("id", "canary-inline")}
        await trio.sleep(INTERVAL)
        assert len(it.sets) == 1
    assert it.log.events == [("loaded", "one")]


async def test_it_is_not_started_before_the_set_is_complete(autojump_clock: MockClock) -> None:
    it = world(profiles(referring(), referring("two", "other")), {OAUTH: data(1)})
    place = 'issuer profile "two" {}SecretRef, Secret home/other key {}'
    places = [place.format("clientID", "id"), place.format("clientSecret", "secret")]
    async with it.running():
        await trio.sleep(1000)
        assert not it.started()
        assert it.sets == []
        assert (it.source.missing, it.source.rejected) == (2, False)
        assert it.log.taken() == [("secret_problem", f"{place}: there is no such Secret") for place in places]
        it.secrets.known[OTHER] = FORBIDDEN
        await trio.sleep(100)
        assert it.log.taken() == [("secret_problem", f"{place}: needs get on secrets/oauth in home") for place in places]
        it.secrets.known[OTHER] = data(2)
        await trio.sleep(100)
        assert it.started()
        assert it.source.missing == 0
        assert it.active == {"primary": ("id-1", "canary-1"), "two": ("id-2", "canary-2")}
    assert it.log.events == [("loaded", "primary, two"), *(("secret_recovered", place) for place in places)]
    assert len(it.sets) == 1


async def test_each_good_version_of_the_file_is_a_set(autojump_clock: MockClock) -> None:
    it = world(profiles(*(inline(f"p{number}", host="") for number in range(12))))
    async with it.running():
        await trio.sleep(5)
        ((kind, reason),) = it.log.taken()
        assert (it.started(), it.sets, kind) == (False, [], "file_rejected")
        assert reason.endswith('profile "p9" tokenEndpoint has no usable host and port; and 2 more')
        it.file.text = profiles(*(inline(f"p{number}", host="") for number in range(10)))
        await trio.sleep(5)
        assert it.log.taken()[0][1].endswith('profile "p9" tokenEndpoint has no usable host and port')
        for text in (ONE, ONE + "# a comment\n"):
            it.file.text = text
            await trio.sleep(5)
        assert it.started()
        it.file.text = profiles(inline("one"), inline("two"))
        await trio.sleep(5)
        assert set(it.active) == {"one", "two"}
        for _ in range(2):  # and taken back, with the profiles of before
            it.file.text = profiles(inline("two", host=""))
            await trio.sleep(5)
            assert (set(it.active), it.source.rejected) == ({"one", "two"}, True)
            it.file.text = profiles(inline("one"), inline("two"))
            await trio.sleep(5)
            assert not it.source.rejected
        it.file.text = profiles(inline("two"))
        await trio.sleep(5)
        assert set(it.active) == {"two"}
    assert it.log.events == [
        ("loaded", "one"),
        ("loaded", "one, two"),
        *(("file_rejected", 'issuer profile "two" tokenEndpoint has no usable host and port'), ("loaded", "one, two")) * 2,
        ("loaded", "two"),
    ]
    assert len(it.sets) == 3


async def test_a_rotation_lasts_until_the_end_of_its_grace(autojump_clock: MockClock) -> None:
    it = world(profiles(referring()), {OAUTH: data(1)})
    async with it.running():
        await trio.sleep(1)
        it.secrets.known[OAUTH] = data(2)
        await trio.sleep(INTERVAL)
        issuer = it.sets[-1]["primary"]
        assert (issuer.credentials.client_id, issuer.credentials.generation) == ("id-2", 1)
        assert issuer.previous is not None
        assert (issuer.previous.client_id, issuer.previous.generation) == ("id-1", 0)
        left = it.source.previous_credentials_left("primary")
        assert left is not None
        assert ROTATION_GRACE_S - INTERVAL <= left <= ROTATION_GRACE_S
        await trio.sleep(ROTATION_GRACE_S - INTERVAL - 1)
        assert len(it.sets) == 2
        await trio.sleep(INTERVAL)
        assert it.sets[-1]["primary"].previous is None
        assert it.source.previous_credentials_left("primary") is None
        assert it.sets[-1]["primary"].credentials == issuer.credentials
    assert len(it.sets) == 3
    assert it.log.events == [("loaded", "primary"), ("rotated", "primary")]


async def test_a_secret_that_is_no_longer_needed_is_not_read(autojump_clock: MockClock) -> None:
    it = world(profiles(referring()), {OAUTH: data(1)})
    async with it.running(), trio.open_nursery() as nursery:
        await trio.sleep(1)
        scope = it.source.followed[OAUTH]  # a version that arrives after its end, which no reader can time
        it.file.text = ONE
        await trio.sleep(2)
        reads = len(it.secrets.reads)
        it.source.learned(OAUTH, scope, nursery, data(9))
        await trio.sleep(100)
        assert len(it.secrets.reads) == reads
        it.secrets.known[OAUTH] = data(2)
        it.file.text = profiles(referring())
        await trio.sleep(2)
        it.source.learned(OAUTH, scope, nursery, data(9))
        assert it.active == {"primary": ("id-2", "canary-2")}
    assert len(it.sets) == 3


async def test_an_issue_with_a_secret_that_is_no_longer_needed_is_over(autojump_clock: MockClock) -> None:
    it = world(profiles(inline(), referring("two")))
    async with it.running():
        await trio.sleep(1)
        it.file.text = profiles(inline())
        await trio.sleep(2)
        assert it.started()
    assert [kind for kind, _ in it.log.events] == [*["secret_problem"] * 2, "loaded", *["secret_recovered"] * 2]


async def start(source: IssuerSource, *, task_status: trio.TaskStatus[None]) -> None:
    await source.run(task_status=task_status)


@pytest.mark.parametrize("text", [None, ONE], ids=["no file", "a real file"])
async def test_it_follows_a_real_file_or_has_no_issuers(tmp_path: Path, text: str | None) -> None:
    path, sets = tmp_path / "issuers.yaml", list[dict[str, tuple[str, str]]]()
    if text is not None:
        path.write_text(text)
    settings = IssuerSettings(None if text is None else path, ProfileRules(), poll=0.001)
    source = IssuerSource(settings, None, lambda found: sets.append(pairs(found)))
    async with trio.open_nursery() as nursery:
        await nursery.start(start, source)
        assert [set(found) for found in sets] == [set() if text is None else {"one"}]
        if text is None:
            return
        path.write_text(profiles(inline("two")))
        await until(lambda: len(sets) == 2)
        assert set(sets[1]) == {"two"}
        nursery.cancel_scope.cancel()


def test_references_need_a_reader() -> None:
    with pytest.raises(ValueError, match="need a reader"):
        IssuerSource(IssuerSettings(rules=RULES), None, print)


async def test_a_fault_of_a_reader_ends_it(autojump_clock: MockClock) -> None:
    async def read(_secret: SecretName) -> SecretData:
        raise ZeroDivisionError

    it = world(profiles(referring()))
    it.polling.read = read
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with it.running():
            await trio.sleep(10)


async def test_a_withdrawn_secret_leaves_memory_with_its_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it was: in the profiles file, in another file, or in a Secret."""
    monkeypatch.setattr(referenced_files, "POLL_S", 0.001)
    backwards = [token_hex(24) for _ in range(3)]
    path, key, names = tmp_path / "issuers.yaml", tmp_path / "assertion", list[set[str]]()
    withdrawn = MemorySecrets({OAUTH: SecretData("1", HashTrieMap({"id": Secret("id"), "secret": Secret(backwards[2][::-1])}))})
    key.write_text(backwards[1][::-1])
    assertion = f"  - {{name: two, tokenEndpoint: 'https://a.example/t', clientAssertionFile: {{path: {key}}}}}\n"
    path.write_text(profiles(inline("one", client_secret=backwards[0][::-1]), assertion, referring("three"), inline("stays")))
    source = IssuerSource(
        IssuerSettings(path, RULES, poll=0.001),
        PollingSecrets(withdrawn.read),
        lambda found: names.append(set(found)),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(start, source)
        assert names == [{"one", "two", "three", "stays"}]
        assert all(holders(text[::-1], source) for text in backwards)  # or the test would prove nothing
        path.write_text(profiles(inline("stays")))
        await until(lambda: names[-1] == {"stays"})
        withdrawn.known.clear()
        await trio.sleep(2)
        assert [way for text in backwards for way in holders(text[::-1], source)] == []
        nursery.cancel_scope.cancel()
