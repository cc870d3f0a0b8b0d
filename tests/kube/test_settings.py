import pytest

from exchanger.kube.settings import KubernetesSettings, parse_namespaces
from exchanger.policy.selector import Selector


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


def test_silence_is_allowed_for_longer_than_two_watches_may_take_to_notice_it() -> None:
    settings = KubernetesSettings(Selector(), Selector())
    assert settings.silence > 2 * settings.reflector.silence
