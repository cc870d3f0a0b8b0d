import pytest

from exchanger.model.bearer import NoToken, challenge, is_bearer_token, read_bearer
from exchanger.model.secret import Secret


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.parametrize("token", ["abc", "a-._~+/9==", "00D5!AQ|x:y$z", "=", "a;b=c@{}[]<>()#%&*?^`'~", "e" * 65_536])
@pytest.mark.parametrize("blank", [" ", "  ", "\t"])
def test_a_bearer_token_is_two_fields(scheme: str, blank: str, token: str) -> None:
    assert read_bearer(Secret(f" {scheme}{blank}{token} ")) == Secret(token)


@pytest.mark.parametrize("authorization", [None, "", " ", "\t"])
def test_no_credentials_at_all(authorization: str | None) -> None:
    assert read_bearer(None if authorization is None else Secret(authorization)) is NoToken.ABSENT


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Basic YTpi", "DPoP abc", "abc", "Bearerabc", "Basic bearer", "x-bearer abc", "Basic YTpi,Bearer"],
)
def test_other_credentials_are_no_bearer_token(authorization: str) -> None:
    assert read_bearer(Secret(authorization)) is NoToken.NOT_BEARER


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer a b",
        "bearer a  x",
        "Bearer a,Bearer b",
        "Bearer a, Bearer b",
        "Basic YTpi,Bearer a",
        "Basic YTpi , BEARER\ta",
        ",Bearer a",
        "x Bearer a",
    ],
)
def test_a_bearer_token_among_other_things_is_not_one(authorization: str) -> None:
    assert read_bearer(Secret(authorization)) is NoToken.NOT_ONE


@pytest.mark.parametrize("token", ["a,b", '"x"', "tökén", "a\\b", "a\x00b", "e" * 65_537, "a\x7f"])
def test_what_cannot_be_a_token_is_invalid(token: str) -> None:
    assert read_bearer(Secret(f"Bearer {token}")) is NoToken.INVALID


@pytest.mark.parametrize("beside", ["", "e" * 100])
def test_each_character_is_one_of_tokens_or_not(beside: str) -> None:
    of_tokens = {chr(code) for code in range(0x21, 0x7F)} - set(',"\\')
    every = map(chr, range(0x1_0000))  # surrogates included

    assert {character for character in every if is_bearer_token(f"{beside}{character}{beside}")} == of_tokens


@pytest.mark.parametrize(
    ("realm", "scope", "error", "expected"),
    [
        ("r", "", "", 'Bearer realm="r"'),
        ("r", "read:a b", "", 'Bearer realm="r", scope="read:a b"'),
        ("r", "s", "invalid_token", 'Bearer realm="r", scope="s", error="invalid_token"'),
        ('a"b\\c', "", "", 'Bearer realm="a\\"b\\\\c"'),
        ("r", "a\r\nSet-Cookie: x", "", 'Bearer realm="r", scope="a\\r\\nSet-Cookie: x"'),
        ("é\x01\x7f\x80\uffff\U000e0001", "", "", 'Bearer realm="é\\x01\\x7f\\u0080\\uffff\\U000e0001"'),
    ],
)
def test_the_challenge_is_quoted(realm: str, scope: str, error: str, expected: str) -> None:
    assert challenge(realm, scope, error) == expected
    assert challenge(realm, scope, error, "") == expected
    assert challenge(realm, scope, error, "https://a.example/b?c=(d)") == f'{expected}, resource_metadata="https://a.example/b?c=(d)"'


def test_no_url_ends_its_parameter() -> None:
    assert challenge("r", resource_metadata='a"b\\c\n') == 'Bearer realm="r", resource_metadata="a\\"b\\\\c\\n"'
