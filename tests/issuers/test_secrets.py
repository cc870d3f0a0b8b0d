import base64

from exchanger.issuers.secrets import SecretName, secret_data


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def test_values_are_decoded() -> None:
    found = secret_data("7", {"id": encoded("ä\n".encode()), "secret": encoded(b" canary \r\n"), "empty": ""})
    assert found.version == "7"
    assert {key: value.reveal() for key, value in found.values.items()} == {"id": "ä", "secret": " canary ", "empty": ""}
    assert found.undecodable == frozenset()
    assert "canary" not in repr(found)


def test_what_is_no_text() -> None:
    found = secret_data("7", {"binary": encoded(b"\xff"), "no base64": "canary!", "padding": "YQ", "accents": "ä"})
    assert found.undecodable == {"binary", "no base64", "padding", "accents"}
    assert len(found.values) == 0


def test_what_can_be_used() -> None:
    found = secret_data("7", {"full": encoded(b"x"), "empty": encoded(b"\n"), "binary": encoded(b"\xff")})
    assert [found.has(key) for key in ("full", "empty", "binary", "missing")] == [True, False, False, False]


def test_a_name() -> None:
    assert str(SecretName("team", "oauth")) == "team/oauth"
