"""From a plan and what is in files to issuers: each kind of client and actor, and whom a token is about."""

import base64
import json
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rpds import HashTrieMap

from exchanger.exchange.issuers.material import subject_of
from exchanger.exchange.issuers.profile_model import Rejected
from exchanger.exchange.issuers.referenced_files import read_files
from exchanger.exchange.issuers.resolve import Found, Resolved, resolve
from exchanger.exchange.issuers.secrets import SecretData, SecretFault, SecretName, SecretProblem, secret_data
from exchanger.exchange.issuers.value_sources import FileSet, ValueSource
from exchanger.model.issuer import (
    ActorCredentials,
    ActorToken,
    Assertion,
    AssertionType,
    ClientCertificate,
    ClientProof,
    Grant,
    GrantType,
    Issuer,
    SigningAlgorithm,
    SigningKey,
)
from exchanger.model.secret import Secret
from tests.exchange.issuers.fakes import OAUTH, file, good_plan, jwt, plan_of, profiles
from tests.exchange.issuers.test_material import AUTHORITY, CHAIN, KEY
from tests.formats.jwt.issuer import P256, pem
from tests.property.strategies_jose import finite_values

FILES: Final[dict[ValueSource, Found]] = {
    FileSet(("/key",)): file(pem(P256)),
    FileSet(("/secret",)): file("p"),
    FileSet(("/token",)): file(jwt({"iss": "i", "sub": "s"})),
    FileSet(("/cert", "/key")): file(CHAIN + KEY),
    FileSet(("/ca",)): file(AUTHORITY),
    SecretName("home", "keys"): SecretData("1", HashTrieMap({"private.pem": Secret(pem(P256))})),
}


def resolved(fields: str, files: dict[ValueSource, Found] | None = None) -> Resolved:
    plan = good_plan(profiles(f"  - {{name: primary, tokenEndpoint: 'https://a.example/t', {fields}}}\n"))
    return resolve(plan, HashTrieMap(FILES if files is None else files))


def only(fields: str) -> Issuer:
    found = resolved(fields)
    assert found.complete
    assert found.issues == ()
    return found.issuers["primary"]


@pytest.mark.parametrize(
    ("fields", "proof"),
    [
        ("clientID: c, clientSecret: p", Secret("p")),
        ("clientID: c, clientSecretFile: /secret", Secret("p")),
        ("clientID: c, tokenEndpointAuthMethod: none", None),
        (
            "clientID: c, clientAssertion: {keyFile: /key, algorithm: ES256, keyID: k, audience: a}",
            SigningKey(Secret(pem(P256)), SigningAlgorithm.ES256, "k", "a"),
        ),
        (
            "clientID: c, clientAssertion: {keySecretRef: {name: keys, key: private.pem}, algorithm: ES256}",
            SigningKey(Secret(pem(P256)), SigningAlgorithm.ES256),
        ),
        (
            "clientID: c, clientAssertionFile: {path: /token, type: jwt-spiffe}",
            Assertion(Secret(jwt({"iss": "i", "sub": "s"})), AssertionType.JWT_SPIFFE, '["i", "s"]'),
        ),
        ("clientID: c, clientCertificate: {certFile: /cert, keyFile: /key}", ClientCertificate(CHAIN, Secret(KEY))),
    ],
)
def test_each_way_to_authenticate_becomes_credentials(fields: str, proof: ClientProof) -> None:
    found = only(fields)
    assert (found.credentials.client_id, found.credentials.proof) == ("c", proof)
    assert (found.credentials.generation, found.previous) == (0, None)


def test_who_has_an_assertion_needs_no_id() -> None:
    assert only("clientAssertionFile: {path: /token}").credentials.client_id == ""


SECRET: Final = "clientID: c, clientSecret: p"


@pytest.mark.parametrize(
    ("fields", "grant"),
    [
        ("", Grant()),
        ("grantType: jwt-bearer", Grant(GrantType.JWT_BEARER)),
        (
            "requestedTokenType: 'urn:x:y', parameters: {tenant: blue}",
            Grant(requested_token_type="urn:x:y", parameters=(("tenant", "blue"),)),
        ),
        (
            "actorToken: {file: /token, type: 'urn:x:y'}",
            Grant(actor=ActorToken(Secret(jwt({"iss": "i", "sub": "s"})), "urn:x:y", '["i", "s"]')),
        ),
        ("actorToken: {clientCredentials: {scope: act}}", Grant(actor=ActorCredentials("act"))),
    ],
)
def test_each_grant_type_becomes_a_grant(fields: str, grant: Grant) -> None:
    assert only(f"{SECRET}, {fields}").grant == grant


BAD_SECRETS: Final = {
    " ": "is blank",
    "\t\u00a0": "is blank",
    "canary\nsecond": "has more than one line",
    "canary\r\nsecond\n": "has more than one line",
    "canary\u2028second": "has more than one line",
    "canary\0": "has a NUL",
}


@pytest.mark.parametrize("text", BAD_SECRETS, ids=repr)
@pytest.mark.parametrize("field", ["clientID", "clientSecret"])
def test_a_profile_with_a_blank_or_multiline_client_secret_is_rejected(field: str, text: str) -> None:
    written = json.dumps({"name": "p", "tokenEndpoint": "https://a.example/t", "clientID": "c", "clientSecret": "s", field: text})
    found = plan_of(f"issuers: [{written}]")
    assert isinstance(found, Rejected)
    if field == "clientSecret":
        assert found.problems == (f'issuer profile "p" clientSecret {BAD_SECRETS[text]}',)
    assert "canary" not in repr(found)


@pytest.mark.parametrize("text", BAD_SECRETS, ids=repr)
@pytest.mark.parametrize("key", ["id", "secret"])
def test_a_kubernetes_secret_with_a_blank_or_multiline_client_secret_is_rejected(key: str, text: str) -> None:
    values = {"id": "c", "secret": "s", key: text}
    data = secret_data("1", {name: base64.b64encode(value.encode()).decode() for name, value in values.items()})
    references = ", ".join(
        f"{field}SecretRef: {{name: oauth, key: {key}}}" for field, key in (("clientID", "id"), ("clientSecret", "secret"))
    )
    found = resolved(references, {OAUTH: data})
    assert [issue.reason for issue in found.issues] == [f"its value {BAD_SECRETS[text]}"]
    assert "canary" not in repr(found)


@pytest.mark.parametrize("text", BAD_SECRETS, ids=repr)
def test_a_file_with_a_blank_or_multiline_client_secret_is_rejected(text: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(text, newline="")
    found = resolved(f"clientID: c, clientSecretFile: {path}", {FileSet((str(path),)): read_files(FileSet((str(path),)))})
    assert [issue.reason for issue in found.issues] == [f"its value {'is empty' if not text.strip() else BAD_SECRETS[text]}"]
    assert "canary" not in repr(found)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_line_end_after_a_client_secret_is_not_part_of_it(end: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"p a{end}", newline="")
    files: dict[ValueSource, Found] = {
        FileSet((str(path),)): read_files(FileSet((str(path),))),
        OAUTH: secret_data("1", {"secret": base64.b64encode(f"p a{end}".encode()).decode()}),
    }
    for field in (f"clientSecretFile: {path}", "clientSecretSecretRef: {name: oauth, key: secret}"):
        found = resolved(f"clientID: c, {field}", files)
        assert found.issuers["primary"].credentials.proof == Secret("p a")


def test_authorities_and_discovery_reach_the_issuer() -> None:
    plan = good_plan(profiles(f"  - {{name: primary, discovery: 'https://a.example', {SECRET}, caFile: /ca, errors: strict}}\n"))
    found = resolve(plan, HashTrieMap(FILES)).issuers["primary"]
    assert (found.token_endpoint, found.discovery, found.ca_pem) == ("", "https://a.example", AUTHORITY)
    assert found.address == "https://a.example"


@pytest.mark.parametrize("fields", ["caFile: /ca", "actorToken: {file: /token}"])
@pytest.mark.parametrize("content", [None, SecretProblem(SecretFault.UNREACHABLE, "it cannot be read"), file("canary canary"), file("")])
def test_a_profile_lacks_what_its_file_lacks(fields: str, content: Found | None) -> None:
    files: dict[ValueSource, Found] = {} if content is None else dict.fromkeys((FileSet(("/ca",)), FileSet(("/token",))), content)
    found = resolved(f"{SECRET}, {fields}", files)
    assert not found.complete
    assert len(found.issuers) == 0
    assert len(found.issues) == (content is not None)
    assert "canary" not in repr(found)


@given(finite_values, finite_values)
def test_an_assertion_is_about_whom_it_says(issuer: object, subject: object) -> None:
    first, renewed = (subject_of(jwt({"iss": issuer, "sub": subject, "exp": number})) for number in range(2))
    assert (first == renewed) == (isinstance(subject, str) and isinstance(issuer, str | None))
    assert subject_of(jwt({"iss": issuer, "sub": "other"})) != first or subject == "other"


@given(st.text(), st.lists(st.text("abc._-=", max_size=10), min_size=3, max_size=3).map(".".join))
def test_any_text_is_about_somebody(text: str, almost: str) -> None:
    for one in (text, almost):
        assert subject_of(one) == subject_of(one)
        assert one not in subject_of(one) or len(one) <= 64


@pytest.mark.parametrize("depth", [100, 500, 900, 990, 1000, 2000, 20_000])
def test_deep_tokens_are_told_by_their_digest(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    claims = '{"iss": ' + deep + ', "sub": "s"}'
    text = f"e30.{base64.urlsafe_b64encode(claims.encode()).decode()}.c2ln"
    assert len(subject_of(text)) == 64
