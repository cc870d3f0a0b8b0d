"""Issuer profiles' Secrets as the API server gives them, or does not."""

from typing import Any, cast

import attrs
import pytest
import trio

from exchanger.app.secrets import ApiSecrets
from exchanger.issuers.secrets import SecretData, SecretFault, SecretName, SecretProblem
from exchanger.kube.connection import ApiConnection
from exchanger.kube.list_watch import ApiFailure, FailureKind

NAME = SecretName("team", "issuer-oauth")
METADATA = {"name": "issuer-oauth", "namespace": "team", "resourceVersion": "7"}
SECRET: dict[str, object] = {"kind": "Secret", "apiVersion": "v1", "metadata": METADATA}


@attrs.define(eq=False)
class FakeConnection:
    answer: dict[str, object] | ApiFailure
    asked: list[str] = attrs.field(factory=list)

    async def get(self, path: str, query: tuple[tuple[str, str], ...] = ()) -> dict[str, object] | ApiFailure:
        await trio.lowlevel.checkpoint()
        self.asked.append(path)
        return self.answer


async def read(answer: dict[str, object] | ApiFailure) -> SecretData | SecretProblem:
    connection = FakeConnection(answer)
    found = await ApiSecrets(cast("ApiConnection", connection)).read(NAME)
    assert connection.asked == ["/api/v1/namespaces/team/secrets/issuer-oauth"]
    return found


async def test_a_secret() -> None:
    found = await read({**SECRET, "data": {"client_id": "Y2xpZW50", "broken": "?", "odd": 5}})
    assert isinstance(found, SecretData)
    assert (found.version, found.has("client_id"), found.undecodable) == ("7", True, frozenset({"broken"}))
    assert found.values["client_id"].reveal() == "client"


async def test_a_secret_without_data() -> None:
    found = await read(SECRET)
    assert isinstance(found, SecretData)
    assert len(found.values) == 0


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {**SECRET, "metadata": []},
        {**SECRET, "metadata": {**METADATA, "resourceVersion": 7}},
        {**SECRET, "metadata": {**METADATA, "name": "another"}},
        {**SECRET, "metadata": {**METADATA, "namespace": "another"}},
        {**SECRET, "data": [1]},
        {**SECRET, "kind": "ConfigMap"},
        {**SECRET, "apiVersion": "v2"},
        {"metadata": METADATA},
    ],
)
async def test_what_is_no_secret(answer: dict[str, Any]) -> None:
    assert await read(answer) == SecretProblem(SecretFault.MALFORMED, "is not what a Secret should be")


@pytest.mark.parametrize(
    ("kind", "fault", "text"),
    [
        (FailureKind.NOT_FOUND, SecretFault.MISSING, "there is no Secret team/issuer-oauth"),
        (FailureKind.FORBIDDEN, SecretFault.FORBIDDEN, "needs list and watch on secrets/issuer-oauth in the namespace team"),
        (FailureKind.TIMEOUT, SecretFault.UNREACHABLE, "the API server did not give it: timeout"),
        (FailureKind.UNAUTHORIZED, SecretFault.UNREACHABLE, "the API server did not give it: unauthorized"),
    ],
)
async def test_why_there_is_none(kind: FailureKind, fault: SecretFault, text: str) -> None:
    assert await read(ApiFailure(kind, 500, "the server's words, which differ each time")) == SecretProblem(fault, text)
