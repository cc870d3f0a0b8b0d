"""Law: no client secret shows in what observers are told, nor in the representation of anything on the way.

A value in the wrong field counts too: some files here have one.
"""

from hypothesis import given

from tests.property.strategies_issuers import Event, histories, live


@given(histories)
def test_in_any_history(history: list[Event]) -> None:
    lived = live(history)
    assert "canary" not in lived.shown
    assert "canary" not in repr(lived.it.observer.events)
