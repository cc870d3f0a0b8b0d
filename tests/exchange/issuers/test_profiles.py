from pathlib import Path

import pytest

from exchanger.exchange.issuers.profiles import MAX_FILE_BYTES, parse_profiles, read_bytes
from exchanger.model.issuer import MAX_ENTRIES, MAX_IN_FLIGHT, CachePolicy, CallLimits


def test_texts_have_no_blanks_around_them_but_a_secret_may() -> None:
    ((profile,), problems) = parse_profiles(b'issuers: [{name: " a ", clientID: " id ", clientSecret: " spaced ", bearerRealm: null}]', "f")
    assert problems == ()
    assert (profile.name, profile.client_id, profile.client_secret.reveal()) == ("a", "id", " spaced ")
    assert (profile.bearer_realm, profile.cache, profile.limits) == ("", None, None)


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
        (b"issuers: []\nfoo: 1", "unknown fields: a text of 3 characters; there is issuers"),
        (b"issuer: []", "unknown fields: issuer (did you mean issuers?)"),
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
        (b"issuers: [{name: a, tokenEndpoint: b, clientID: 5}]", "issuers[0].clientID must be text"),
        (
            b"issuers: [{name: a, tokenEndpoint: b, clientSecret: no}, {name: a, tokenEndpoint: b, clientSecret: 1}]",
            "issuers[1].clientSecret must be text",
        ),
        (b"issuers: [{name: a, tokenEndpoint: b, bogus: 1}]", "issuers[0] has unknown fields: a text of 5 characters"),
        (b"issuers: [{name: a, tokenEndpoint: b, bogus: null}]", "issuers[0] has unknown fields: a text of 5 characters"),
        (b"issuers: [{name: a, tokenEndpoint: b, clientIDSecretRef: x}]", "issuers[0].clientIDSecretRef must be a mapping"),
        (b"issuers: [{name: a, tokenEndpoint: b, clientIDSecretRef: {name: x}}]", "issuers[0].clientIDSecretRef.key is required"),
    ],
)
def test_problems_of_a_profiles_file_say_where(text: bytes, expected: str) -> None:
    profiles, problems = parse_profiles(text, "f")
    assert profiles == ()
    assert expected in " | ".join(problems)


def test_all_problems_are_listed_without_values() -> None:
    _, problems = parse_profiles(b"issuers: [{name: 5, tokenEndpoint: b}, {name: a, tokenEndpoint: [s3cret]}]", "f")
    assert len(problems) == 2
    assert "s3cret" not in " ".join(problems)


def read(fields: str) -> tuple[CachePolicy | None, CallLimits | None] | str:
    """Return what a profile with ``fields`` keeps and limits, or what is wrong with it."""
    text = f"issuers: [{{name: a, tokenEndpoint: b, {fields}}}]"
    profiles, problems = parse_profiles(text.encode(), "f")
    assert bool(profiles) != bool(problems)
    return (profiles[0].cache, profiles[0].limits) if profiles else " | ".join(problems).replace("f: issuers[0].", "")


NO_NUMBERS = ("0", "-1", "10001", '"64"', "64.0", "6e1", "true", "064", "0x40", "0o100", "+64", "1_000", "[64]", "9" * 400, ".nan")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("cache: {maxTTL: 1s, maxEntries: 1}", (CachePolicy(1.0, 1), None)),
        ('cache: {maxTTL: " 24h ", maxEntries: 1000000}', (CachePolicy(86_400.0, MAX_ENTRIES), None)),
        ("cache: null", "cache is empty: write its fields, or remove the line"),
        ("limits: ~", "limits is empty: write {} for the defaults, or remove the line"),
        ("limits: {}", (None, CallLimits())),
        ("limits: {breaker: TRUE}", (None, CallLimits(breaker=True))),
        ("limits: {maxInFlight: 10000, breaker: false}", (None, CallLimits(MAX_IN_FLIGHT))),
        (
            "limits: {maxInFlight: null, breaker: null}",
            (
                "limits.maxInFlight is empty: write a number, or remove the line | "
                "limits.breaker is empty: write true or false, or remove the line"
            ),
        ),
        ("issuedToken: ", "issuedToken is empty: write {} for the defaults, or remove the line"),
        ("subjectToken: {introspection: }", "subjectToken.introspection is empty: write {} for the defaults, or remove the line"),
        (
            "subjectToken: {issuers: , audiences: }",
            (
                "subjectToken.issuers is empty: write its items, or remove the line | "
                "subjectToken.audiences is empty: write its items, or remove the line"
            ),
        ),
        ("subjectToken: {issuers: [null]}", "subjectToken.issuers must be a list of texts"),
        ("assertion: ", "assertion is empty: write its fields, or remove the line"),
        ("parameters: ", "parameters is empty: write {} for none, or remove the line"),
        ("caFile: ' '", "caFile is empty: write a value, or remove the line"),
        ("issuedToken: {audience: ''}", "issuedToken.audience is empty: write a value, or remove the line"),
        ("cache: {}", "cache.maxTTL is required | cache.maxEntries is required"),
        ("cache: {maxTTL: 5m}", "cache.maxEntries is required"),
        ("cache: {maxEntries: 5, maxTTL: null}", "cache.maxTTL is required"),
        ("cache: true", "cache must be a mapping"),
        ("limits: 64", "limits must be a mapping"),
        ("limits: {maxInflight: 64}", "limits has unknown fields: maxInflight (did you mean maxInFlight?); there are maxInFlight, breaker"),
        ("tokenEndpiont: b", "f: issuers[0] has unknown fields: tokenEndpiont (did you mean tokenEndpoint?)"),
        ("limits: {breaker: true, true: false}", "limits has unknown fields: a text of 4 characters; there are maxInFlight, breaker"),
        *(
            (f"cache: {{maxTTL: {text}, maxEntries: 1}}", "cache.maxTTL must be between 1s and 24h")
            for text in ("0s", "999ms", "24h1ns", '"0"')
        ),
        *(
            (f"cache: {{maxTTL: {text}, maxEntries: 1}}", "cache.maxTTL must be a duration such as 90s or 5m")
            for text in ("300", "-5m", "5 minutes", '""', "1d", "[5m]", "true", "9999999999h", ".inf")
        ),
        *(
            (f"limits: {{maxInFlight: {text}}}", "limits.maxInFlight must be a whole number from 1 to 10000, without quotes")
            for text in NO_NUMBERS
        ),
        *(
            (f"limits: {{breaker: {text}}}", "limits.breaker must be true or false, without quotes")
            for text in ("yes", "on", '"true"', "1", "0", "tRUE", "[]")
        ),
    ],
)
def test_what_is_kept_and_limited(fields: str, expected: tuple[CachePolicy | None, CallLimits | None] | str) -> None:
    assert read(fields) == expected


def test_a_profiles_file_is_a_plan_or_has_problems(tmp_path: Path) -> None:
    path = tmp_path / "issuers.yaml"
    assert read_bytes(path) == f"{path} cannot be read: No such file or directory"
    path.write_bytes(b"#" * MAX_FILE_BYTES)
    assert read_bytes(path) == b"#" * MAX_FILE_BYTES
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert read_bytes(path) == f"{path} is larger than {MAX_FILE_BYTES} bytes"
