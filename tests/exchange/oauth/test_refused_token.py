"""What an upstream's response says about the token that it was sent."""

import re
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchanger.exchange.oauth.refused_token import is_token_refused

INVALID: Final = 'Bearer error="invalid_token"'


def refused(*challenges: str, status: str = "401", whole: bool = False) -> bool:
    return is_token_refused(status, challenges, headers_are_whole=whole)


REFUSING: Final = [
    *(INVALID, "bearer error=invalid_token", 'BEARER realm="a, b", ERROR = "invalid_token"'),
    r'Bearer realm="say \"a\", Basic x", error="invalid\_token"',
    *(f'Basic realm="x", {INVALID}', f"Negotiate, Basic YWJj==, {INVALID}, DPoP", f", ,{INVALID} ,"),
    *(f"{INVALID}, error_description=The token is not known", f'Bearer error="insufficient_scope", {INVALID}'),
]


@pytest.mark.parametrize("value", REFUSING)
def test_a_bearer_challenge_with_invalid_token_refuses_the_token(value: str) -> None:
    assert refused(value)
    assert refused('Basic realm="x"', value)
    assert not any(refused(value, status=status, whole=True) for status in ("200", "400", "403", "407", "500", "", "0401"))


OTHERS: Final = [
    *("", "Bearer", 'Bearer realm="x"', 'error="invalid_token"', 'BearerX error="invalid_token"'),
    *(f'Bearer error="{code}"' for code in ("insufficient_scope", "INVALID_TOKEN", "invalid_token ")),
    *('Bearer error_description="invalid_token"', 'Bearer realm="error=\\"invalid_token\\""'),
    *('Basic realm="x, Bearer error=invalid_token"', 'Basic realm="\\", Bearer error=invalid_token"'),
    *(f'Bearer realm="x", {rest}error="invalid_token"' for rest in ("DPoP ", "Digest a b, ", "Basic YWJj, ")),
    *(f'Basic realm="unclosed, {INVALID}', 'Bearer error="invalid_request", error="invalid_token"', f"{INVALID}, realm={'x' * 4096}"),
]


@pytest.mark.parametrize("value", OTHERS)
def test_any_other_challenge_refuses_something_else(value: str) -> None:
    assert not refused(value, whole=True)


def test_without_a_challenge_it_counts_where_none_can_be_missing() -> None:
    assert refused(whole=True)
    assert not refused(whole=False)
    assert not refused(status="403", whole=True)


def test_so_many_values_are_read() -> None:
    assert refused(*["Basic"] * 7, INVALID)
    assert not refused(*["Basic"] * 8, INVALID)


# Law: of challenges that are written down, it finds in what was meant, however they are written and joined.

quoted = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12).map(
    lambda text: '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
)
tokens = st.sampled_from(["x", "invalid_token", "insufficient_scope", "Bearer"])
values = tokens | tokens.map(lambda text: f'"{text}"') | tokens.map(lambda text: '"' + "".join(f"\\{char}" for char in text) + '"') | quoted
parameters = st.dictionaries(st.sampled_from(["error", "Error_Description", "realm", "scope"]), values, max_size=4)
written = st.tuples(st.sampled_from(["Bearer", "bEARER", "Basic", "DPoP"]), parameters | st.sampled_from(["", "YWJj", "YWJj=="]))
commas = st.sampled_from([",", ", ", " ,\t", ",,", " , , "])


@given(st.lists(written, max_size=4), commas)
def test_challenges_mean_the_same_however_they_are_joined(found: list[tuple[str, dict[str, str] | str]], comma: str) -> None:
    texts, meant = [], False
    for scheme, rest in found:
        pairs = rest if isinstance(rest, dict) else {}
        texts.append(
            f"{scheme} {rest}".strip() if isinstance(rest, str) else f"{scheme} " + comma.join(f"{k}={v}" for k, v in pairs.items())
        )
        error = pairs.get("error", "")
        plain = re.sub(r"\\(.)", r"\1", error[1:-1]) if error.startswith('"') else error
        meant = meant or (scheme.lower() == "bearer" and plain == "invalid_token")
    assert refused(*texts) == refused(comma.join(texts)) == meant if texts else True


@given(
    st.lists(st.sampled_from(["Bearer", "error", "invalid_token", "=", '"', "\\", ",", " ", "\t", "\xe9", "x"]), max_size=30).map("".join)
)
@example('"' * 4000)
@example("a " * 2000)
def test_any_text_has_a_meaning(value: str) -> None:
    if refused(value):
        assert "invalid_token" in value.replace("\\", "")
        assert "bearer" in value.lower()
