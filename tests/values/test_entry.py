import pytest

from exchanger.values.entry import EVERYWHERE, FailClosedRegion, MatchScope, Source, TokenTarget


def test_a_source_is_written_as_kubernetes_does() -> None:
    assert str(Source("team", "policy")) == "team/policy"


def test_sources_are_sorted_by_namespace_and_name() -> None:
    assert sorted([Source("b", "a"), Source("a", "b"), Source("a", "a")]) == [Source("a", "a"), Source("a", "b"), Source("b", "a")]


def test_everywhere_is_every_host_path_and_method() -> None:
    assert MatchScope(host=None, path_prefix="", methods=None) == EVERYWHERE


@pytest.mark.parametrize(
    "target",
    [TokenTarget("primary", scope="s"), TokenTarget("primary", resources=("r",)), TokenTarget("primary", audiences=("a",))],
)
def test_a_target_needs_one_of_scope_resources_and_audiences(target: TokenTarget) -> None:
    assert target.issuer_ref == "primary"


def test_a_target_without_any_does_not_exist() -> None:
    with pytest.raises(ValueError, match="at least one of scope, resources and audiences is required"):
        TokenTarget("primary")


def test_a_target_without_issuer_does_not_exist() -> None:
    with pytest.raises(ValueError, match="issuer_ref is required"):
        TokenTarget("", scope="s")


def test_a_region_may_be_a_whole_document() -> None:
    region = FailClosedRegion(Source("team", "policy"), EVERYWHERE, "unreadable")

    assert region.index is None
    assert region.line is None
