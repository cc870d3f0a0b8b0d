"""Law: nothing of a version of the file that cannot be used is ever in force, and each one is told.

Every bad version here is nearly a good one, most with profiles that would do by themselves.
"""

from hypothesis import given
from hypothesis import strategies as st

from exchanger.issuers.plan import Plan, Rejected
from tests.issuers.fakes import plan_of
from tests.property.strategies_issuers import Event, Wait, Write, bad_files, histories, live


@given(histories, bad_files)
def test_in_any_history(history: list[Event], last: str) -> None:
    assert isinstance(plan_of(last), Rejected)
    whole = [*history, Write(last), Wait(30.0)]
    it = live(whole).it
    plans = [plan_of(event.text) for event in whole if isinstance(event, Write)]
    possible = [{(profile.name, profile.token_endpoint) for profile in plan.profiles} for plan in plans if isinstance(plan, Plan)]
    for issuers in it.sets:
        assert {(name, issuer.token_endpoint) for name, issuer in issuers.items()} in possible


@given(st.lists(bad_files, min_size=1, max_size=5))
def test_each_is_told_once(texts: list[str]) -> None:
    it = live([event for text in texts for event in (Write(text), Wait(30.0))]).it
    different = sum(1 for before, text in zip([None, *texts], texts, strict=False) if before != text)
    assert [kind for kind, _ in it.observer.events] == ["file_rejected"] * different
    assert not it.started()
