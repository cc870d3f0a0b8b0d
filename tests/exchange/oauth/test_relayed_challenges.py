"""A token endpoint's challenges: what a caller gets of them with ``errors: reference``."""

from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exchanger.exchange.oauth.relayed_challenges import relayed_challenges
from exchanger.exchange.oauth.token_response import TokenResponseRules, decode_response
from exchanger.model.token import ExchangeFailure

ELSEWHERE: Final = 'resource_metadata="https://evil.example.net/.well-known/oauth-protected-resource"'
PARAMETERS: Final = st.sampled_from(
    ['realm="x"', "scope=a", 'error="invalid_token"', 'error_description="a, \\"b\\""', ELSEWHERE, "Resource_Metadata=e", 'AS_URI = "e"']
)
LISTS: Final = st.lists(
    st.tuples(st.sampled_from(["Bearer", "DPoP"]), st.lists(PARAMETERS, max_size=4)).map(
        lambda found: f"{found[0]} " + ", ".join(found[1])
    ),
    max_size=3,
).map(", ".join)
# Whatever a client may still find a name in.
SLOPPY: Final = st.lists(
    st.sampled_from(["resource_metadata", "RESOURCE_METADATA", "=", '"', "\\", ",", " ", "\t", "Bearer", "a"]), max_size=12
).map("".join)


def relayed(status: int, *challenges: str) -> tuple[str, ...]:
    failure = decode_response(status, challenges, b'{"error":"invalid_grant"}', TokenResponseRules())
    assert isinstance(failure, ExchangeFailure)
    return failure.www_authenticate


@pytest.mark.parametrize("status", [400, 403, 407, 429, 500, 502, 503])
def test_they_are_relayed_on_401_alone(status: int) -> None:
    assert relayed(status, 'Bearer realm="issuer"') == ()
    assert relayed(401, 'Bearer realm="issuer"') == ('Bearer realm="issuer"',)


@given(st.lists(LISTS | SLOPPY | st.text(st.characters(min_codepoint=32, max_codepoint=126)), max_size=3))
@example(['Bearer realm="a\\", resource_metadata=\\"https://evil.example.net"'])
@example(['Bearer realm="a", x="resource_metadata="https://evil.example.net"'])
def test_none_says_where_to_sign_in_and_others_are_as_they_were(challenges: list[str]) -> None:
    found = relayed(401, *challenges)
    assert not any("resource_metadata" in value.lower() or "as_uri" in value.lower() for value in found)
    untouched = [value for value in challenges if value and "resource_metadata" not in value.lower() and "as_uri" not in value.lower()]
    assert set(untouched) <= set(found)
    assert relayed_challenges(found) == found


@pytest.mark.parametrize(
    ("challenge", "left"),
    [
        (f'Bearer realm="x", {ELSEWHERE}, error="e"', 'Bearer realm="x", error="e"'),
        (f'Bearer {ELSEWHERE}, realm="y", Basic realm=z', 'Bearer realm="y", Basic realm=z'),
        (f"Bearer {ELSEWHERE}", "Bearer"),
        (f"Bearer {ELSEWHERE}, Basic abc==", "Bearer, Basic abc=="),
        ("Bearer resource_metadata*=UTF-8''e, realm=y", "Bearer realm=y"),
        ('Bearer authorization_uri="https://evil.example.net", realm=y', "Bearer realm=y"),
        ('UMA realm="x", as_uri="https://evil.example.net", ticket="t"', 'UMA realm="x", ticket="t"'),
        (", ,Bearer realm=x,, resource_metadata=y", "Bearer realm=x"),
    ],
)
def test_the_others_of_its_parameters_stay(challenge: str, left: str) -> None:
    assert relayed(401, challenge) == (left,)


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="a, resource_metadata="https://evil.example.net"',
        "Bearer realm=x\tresource_metadata=y",
        'Bearer realm="resource_metadata"',
        "resource_metadata",
        "resource_metadata=x",
    ],
)
def test_what_cannot_be_told_from_the_rest_takes_it_along(challenge: str) -> None:
    assert relayed(401, challenge) == ()
