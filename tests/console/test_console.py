from tests.console.records import ALLOWED, DENIED, record
from tests.console.running import running


async def test_a_subscriber_gets_what_was_decided_and_what_is_decided() -> None:
    async with running() as console:
        console.console.feed.decided(record(DENIED))
        async with console.watching() as peer:
            hello = await peer.message()
            assert hello["type"] == "hello"
            assert hello["version"] == "1.2.3"
            assert [item["seq"] for item in hello["items"]] == [1]

            console.console.feed.decided(record(ALLOWED, exchange=True))
            message = await peer.message("decisions")
            assert [item["seq"] for item in message["items"]] == [2]
            assert message["lost"] == 0


async def test_counters_are_told_each_second() -> None:
    async with running() as console, console.watching() as peer:
        first, second = await peer.message("totals"), await peer.message("totals")

    assert first["decisions"] == {"allow_unmatched": 2}
    assert first["latency"] == {"bounds": [0.1, 1.0], "counts": [1, 1, 0]}
    assert first["subscribers"] == 1
    assert second["time"] - first["time"] > 900  # no more often; when exactly, ``test_broadcast.py`` tells by a clock of its own
