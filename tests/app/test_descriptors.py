import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanger.app.descriptors import RESERVED, WANTED, for_callers, for_quarantined, raise_limit

UNLIMITED = resource.RLIM_INFINITY


class Kernel:
    """Has limits, and may refuse to change them."""

    def __init__(self, soft: int, hard: int, refusal: Exception | None = None) -> None:
        self.limits, self.refusal = (soft, hard), refusal

    def get(self, _kind: int) -> tuple[int, int]:
        return self.limits

    def set(self, _kind: int, limits: tuple[int, int]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (1024, 4096, 4096),
        (1024, 2 * WANTED, WANTED),
        (1024, UNLIMITED, WANTED),
        (1024, 1024, 1024),
        (2 * WANTED, 2 * WANTED, 2 * WANTED),
        (UNLIMITED, UNLIMITED, WANTED),
    ],
)
def test_the_soft_limit_is_raised_and_the_hard_one_stays(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int) -> None:
    kernel = Kernel(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", kernel.get)
    monkeypatch.setattr(resource, "setrlimit", kernel.set)

    assert raise_limit() == raised
    assert kernel.limits == (soft if soft in {raised, UNLIMITED} else raised, hard)


@pytest.mark.parametrize("refusal", [OSError(), ValueError()])
def test_a_limit_that_cannot_be_raised_is_what_there_is(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    kernel = Kernel(256, UNLIMITED, refusal)
    monkeypatch.setattr(resource, "getrlimit", kernel.get)
    monkeypatch.setattr(resource, "setrlimit", kernel.set)

    assert raise_limit() == 256


@given(st.integers(1, 10 * WANTED))
def test_callers_leave_descriptors_for_the_rest(limit: int) -> None:
    taken = for_callers(limit)
    assert 1 <= taken <= max(1, limit)
    assert taken >= limit // 2
    assert limit - taken >= min(RESERVED, limit // 2)
    assert for_quarantined(limit) <= (limit - taken) // 2
