"""Law: the text of a selector is that selector.

Kubernetes, "Labels and Selectors": equality-based requirements are the set-based ones with a single value, and the comma is an AND.
"""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from exchanger.values.selector import Selector, parse_selector
from tests.property.strategies_selector import labels, selectors


@given(selectors)
def test_a_selector_survives_its_own_text(selector: Selector) -> None:
    assert parse_selector(str(selector)) == selector


@given(selectors, selectors, labels)
def test_the_comma_is_an_and(first: Selector, second: Selector, of: dict[str, str]) -> None:
    joined = parse_selector(",".join(filter(None, (str(first), str(second)))))

    assert joined.matches(of) == (first.matches(of) and second.matches(of))


@given(st.text() | st.text(alphabet="ab=!(),<> in"), labels)
def test_any_text_is_a_selector_or_a_value_error(text: str, of: dict[str, str]) -> None:
    with contextlib.suppress(ValueError):
        selector = parse_selector(text)
        assert parse_selector(str(selector)).matches(of) == selector.matches(of)
