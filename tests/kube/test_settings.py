import pytest

from exchanger.kube.settings import MIN_LIMIT_S, KubernetesSettings, ReflectorSettings, parse_namespaces
from exchanger.values.selector import Selector
from tests.kube.fake_list_watch import BOOKMARK_S


@pytest.mark.parametrize(
    ("text", "names"),
    [("", ()), (" ", ()), ("a", ("a",)), ("team-a,team-b", ("team-a", "team-b")), (" b , a1 ", ("b", "a1")), ("a" * 63, ("a" * 63,))],
)
def test_names_are_separated_by_commas(text: str, names: tuple[str, ...]) -> None:
    assert parse_namespaces(text) == names


@pytest.mark.parametrize("text", ["a,", ",", "a,,b", "A", "a b", "../a", "a/b", "a.b", "-a", "a-", "a" * 64, "ä", "a\n,b\nc"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is none"):
        parse_namespaces(text)


def test_a_name_is_there_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        parse_namespaces("a,b,a")


@pytest.mark.parametrize("limit", [1.0, 10.0, 30.0, 90.0, 224.0, 225.0, 3600.0])
def test_signs_of_life_are_due_within_the_limit(limit: float) -> None:
    reflector = KubernetesSettings(Selector(), Selector(), max_staleness=limit).reflector
    due = reflector.max_watch if reflector.is_short else BOOKMARK_S
    assert due < reflector.silence < max(limit, MIN_LIMIT_S)
    assert reflector.short_watch[1] < reflector.short_silence < max(limit, MIN_LIMIT_S)


def test_without_a_limit_bookmarks_do() -> None:
    assert KubernetesSettings(Selector(), Selector()).reflector == ReflectorSettings()
