import pytest

from exchanger.values.entry import Source, TokenTarget


def test_a_source_is_written_as_kubernetes_does() -> None:
    assert str(Source("team", "policy")) == "team/policy"


def test_sources_are_sorted_by_namespace_and_name() -> None:
    assert sorted([Source("b", "a"), Source("a", "b"), Source("a", "a")]) == [Source("a", "a"), Source("a", "b"), Source("b", "a")]


def test_a_target_without_any_does_not_exist() -> None:
    with pytest.raises(ValueError, match="at least one of scope, resources and audiences is required"):
        TokenTarget("primary")


def test_a_target_without_issuer_does_not_exist() -> None:
    with pytest.raises(ValueError, match="issuer_ref is required"):
        TokenTarget("", scope="s")
