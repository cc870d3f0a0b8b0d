from exchanger.kube.reflector_settings import ReflectorSettings, settings_for
from exchanger.kube.signs import Signs


def test_a_watch_that_is_taken_is_a_sign_unless_there_is_doubt() -> None:
    signs = Signs(ReflectorSettings())
    assert signs.taken(10.0)
    assert signs.last == 10.0
    signs.left(85.0)
    assert signs.quiet == 75.0
    assert signs.fell_silent()
    assert not signs.fell_silent()
    assert not signs.taken(90.0)
    assert signs.last == 10.0


def test_silence_adds_up_over_watches_until_one_speaks() -> None:
    signs = Signs(ReflectorSettings())
    for began in (0.0, 100.0, 200.0):
        assert signs.taken(began)
        signs.left(began + 40.0)
    assert (signs.quiet, signs.silence) == (120.0, 30.0)
    signs.taken(300.0)
    signs.spoken(310.0)
    assert (signs.quiet, signs.silence, signs.last) == (0.0, 75.0, 310.0)


def test_a_list_of_everything_begins_anew() -> None:
    signs = Signs(ReflectorSettings())
    signs.taken(0.0)
    signs.left(70.0)
    signs.listed(71.0)
    assert (signs.quiet, signs.last) == (0.0, 71.0)


def doubting(settings: ReflectorSettings) -> Signs:
    signs = Signs(settings)
    signs.fell_silent()
    signs.taken(100.0)
    return signs


def test_in_doubt_an_end_in_good_order_counts_and_what_came_with_it_does_not_end_the_doubt() -> None:
    signs = doubting(ReflectorSettings())
    signs.spoken(130.0)
    signs.ended(130.5)
    assert (signs.doubted, signs.last) == (True, 130.5)
    assert signs.taken(131.0)
    assert signs.by_ends


def test_what_came_before_the_end_ends_the_doubt() -> None:
    signs = doubting(ReflectorSettings())
    signs.spoken(120.0)
    signs.ended(130.0)
    assert not signs.doubted
    assert not signs.by_ends


def test_where_watches_are_short_anyway_an_end_is_enough() -> None:
    signs = doubting(settings_for(30.0))
    signs.ended(108.0)
    assert not signs.doubted
    assert signs.by_ends
