import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.monitoring.promql import Selector, UnknownTokenError, read

NAMES = st.from_regex(r"[a-z]{3,8}_[a-z]{3,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cc", "Cs"]), max_size=20)


@given(metric=NAMES, label=NAMES, value=VALUES, group=NAMES, operator=st.sampled_from(["=", "!=", "=~", "!~"]))
def test_a_selector_is_read_from_whatever_is_around_it(metric: str, label: str, value: str, group: str, operator: str) -> None:
    selector = f'{metric}{{{label}{operator}"{value}"}}'
    for expression in (
        selector,
        f"{selector} > 1",
        f"sum by ({group}) (rate({selector}[5m]))",
        f"sum(rate({selector}[5m])) by ({group})",
        f"0.5 * max_over_time({selector}[1h] offset 5m) unless on ({group}) vector(1)",
        f"label_replace({selector}, \"a\", '$1', \"b\", '(.*)')",
    ):
        found = read(expression)

        assert found.selectors == (Selector(metric, ((label, operator, value),)),)
        assert found.labels == (frozenset({group}) if group in expression.replace(selector, "") else frozenset())


def test_metrics_without_matchers_are_found() -> None:
    assert read("absent(up) or on () up == bool 0 and count(x:y_total)").metrics == {"up", "x:y_total"}


def test_all_matchers_and_selectors_are_found() -> None:
    found = read('a_b{x="1",y=~"$z"} / on (n, p) group_left (q) c_d{} * 1e-3')

    assert found.selectors == (Selector("a_b", (("x", "=", "1"), ("y", "=~", "$z"))), Selector("c_d"))
    assert found.labels == {"n", "p", "q"}


@pytest.mark.parametrize("expression", ["a{b}", "a @@ b", 'a{b="1', "a;b"])
def test_what_cannot_be_read_is_said(expression: str) -> None:
    with pytest.raises((UnknownTokenError, ValueError)):
        read(expression)
