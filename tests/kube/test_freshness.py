from exchanger.kube.freshness import Freshness


def test_a_followed_resource_is_current_while_silence_is_usual() -> None:
    fresh = Freshness(90.0)
    fresh.opened(100.0)
    assert fresh.current_until(100.0, 100.0) == 100.0
    assert fresh.current_until(190.0, 100.0) == 190.0
    assert fresh.current_until(200.0, 100.0) == 190.0
    assert fresh.current_until(200.0, 150.0) == 200.0


def test_a_broken_watch_was_current_up_to_then() -> None:
    fresh = Freshness(90.0)
    fresh.opened(100.0)
    fresh.lost(160.0)
    assert fresh.current_until(170.0, 105.0) == 160.0
    assert fresh.current_until(5000.0, 105.0) == 160.0


def test_a_watch_that_breaks_after_too_much_silence_was_current_for_as_long_as_silence_is_usual() -> None:
    fresh = Freshness(90.0)
    fresh.opened(100.0)
    fresh.lost(400.0)
    assert fresh.current_until(410.0, 100.0) == 190.0


def test_a_watch_that_is_opened_again_makes_it_current_although_nothing_was_heard_yet() -> None:
    fresh = Freshness(90.0)
    fresh.opened(100.0)
    fresh.lost(160.0)
    fresh.opened(1000.0)
    assert fresh.current_until(1010.0, 105.0) == 1010.0
    assert fresh.current_until(2000.0, 105.0) == 1090.0
