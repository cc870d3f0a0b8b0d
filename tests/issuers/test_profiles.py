from pathlib import Path

import pytest

from exchanger.issuers.profiles import MAX_FILE_BYTES, SecretKeyRef, parse_profiles, read_bytes

FULL = b"""
issuers:
  - name: primary
    tokenEndpoint: https://issuer.example.com/oauth/token
    bearerRealm: issuer
    tokenEndpointAuthMethod: client_secret_post
    clientIDSecretRef: {name: issuer-oauth, namespace: team, key: client_id}
    clientSecretSecretRef: {name: issuer-oauth, key: client_secret}
  - {name: second, tokenEndpoint: "https://b.example/t", clientID: id, clientSecret: " spaced ", bearerRealm: null}
"""


def test_all_fields_are_read() -> None:
    profiles, problems = parse_profiles(FULL, "issuers.yaml")
    assert problems == ()
    first, second = profiles
    assert first.client_id_secret_ref == SecretKeyRef("issuer-oauth", "client_id", "team")
    assert first.client_secret_secret_ref == SecretKeyRef("issuer-oauth", "client_secret")
    assert (first.bearer_realm, first.token_endpoint_auth_method) == ("issuer", "client_secret_post")
    assert (second.client_id, second.client_secret.reveal(), second.bearer_realm) == ("id", " spaced ", "")


def test_an_empty_list_and_json_are_read() -> None:
    assert parse_profiles(b"issuers:\n", "f") == ((), ())
    ((profile,), _) = parse_profiles(b'{"issuers": [{"name": "a", "tokenEndpoint": "https://a.example/t"}]}', "issuers.json")
    assert profile.name == "a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "is empty"),
        (b"[]", "must be a mapping"),
        (b"issuers: 5", "issuers must be a list"),
        (b"issuers: []\nfoo: 1", "unknown fields: foo"),
        (b"a: [\n", "is not YAML"),
        (b"issuers: []\nissuers: []", "has duplicate keys"),
        (b"issuers: []\n---\nissuers: []", "has a second document"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"[" * 100_000, "nest"),
        ("".join(["a0: &a0 [x]\n", *(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 690))]).encode(), "nested deeper"),
        (b"!!python/object/apply:os.system [x]", "must be a mapping"),
        (b"issuers: [7]", "issuers[0] must be a mapping"),
        (b"issuers: [null]", "issuers[0] must be a mapping"),
        (b"issuers: [{tokenEndpoint: https://a}]", "issuers[0].name is required"),
        (b"issuers: [{name: a}]", "issuers[0].tokenEndpoint is required"),
        (b"issuers: [{name: a, tokenEndpoint: b, clientID: 5}]", "issuers[0].clientID must be text"),
        (
            b"issuers: [{name: a, tokenEndpoint: b, clientSecret: no}, {name: a, tokenEndpoint: b, clientSecret: 1}]",
            "issuers[1].clientSecret must be text",
        ),
        (b"issuers: [{name: a, tokenEndpoint: b, bogus: 1}]", "issuers[0] has unknown fields: bogus"),
        (b"issuers: [{name: a, tokenEndpoint: b, bogus: null}]", "issuers[0] has unknown fields: bogus"),
        (b"issuers: [{name: a, tokenEndpoint: b, clientIDSecretRef: x}]", "issuers[0].clientIDSecretRef must be a mapping"),
        (b"issuers: [{name: a, tokenEndpoint: b, clientIDSecretRef: {name: x}}]", "issuers[0].clientIDSecretRef.key is required"),
    ],
)
def test_problems_say_where(text: bytes, expected: str) -> None:
    profiles, problems = parse_profiles(text, "f")
    assert profiles == ()
    assert expected in " | ".join(problems)


def test_all_problems_are_listed_without_values() -> None:
    _, problems = parse_profiles(b"issuers: [{name: 5, tokenEndpoint: b}, {name: a, tokenEndpoint: [s3cret]}]", "f")
    assert len(problems) == 2
    assert "s3cret" not in " ".join(problems)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "issuers.yaml"
    assert read_bytes(path) == f"{path} cannot be read: No such file or directory"
    path.write_bytes(b"#" * MAX_FILE_BYTES)
    assert read_bytes(path) == b"#" * MAX_FILE_BYTES
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert read_bytes(path) == f"{path} is larger than {MAX_FILE_BYTES} bytes"
