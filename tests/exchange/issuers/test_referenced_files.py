"""Files that profiles refer to: active soon after they change, and never half."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from exchanger.exchange.issuers import referenced_files
from exchanger.exchange.issuers.rules import ProfileRules
from exchanger.exchange.issuers.source import IssuerSettings, IssuerSource
from exchanger.model.issuer import Assertion, ClientCertificate, Issuer
from tests.exchange.issuers.fakes import jwt
from tests.exchange.issuers.test_material import CA, CHAIN, KEY
from tests.lines import Lines
from tests.waiting import until


@attrs.define(eq=False)
class World:
    folder: Path
    log: Lines = attrs.field(factory=Lines)
    sets: list[dict[str, Issuer]] = attrs.field(factory=list)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    @property
    def issuer(self) -> Issuer:
        return self.sets[-1]["primary"]

    @asynccontextmanager
    async def running(self, fields: str) -> AsyncIterator[None]:
        file = self.write("issuers.yaml", f"issuers: [{{name: primary, tokenEndpoint: 'https://issuer.example.com', {fields}}}]")
        source = IssuerSource(
            IssuerSettings(file, ProfileRules()),
            None,
            lambda new: self.sets.append(dict(new)),
            log=self.log.logger,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.run)
            yield
            nursery.cancel_scope.cancel()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(referenced_files, "POLL_S", 0.001)
    return World(tmp_path)


def token(subject: str, number: int) -> str:
    return jwt({"iss": "cluster", "sub": subject, "jti": number})


async def test_an_assertion_is_renewed_without_a_word(world: World) -> None:
    path = world.write("token", token("me", 1) + "\n")

    def shown() -> Assertion:
        proof = world.issuer.credentials.proof
        assert isinstance(proof, Assertion)
        return proof

    async with world.running(f"clientAssertionFile: {{path: {path}}}"):
        await until(lambda: bool(world.sets))
        first = shown()
        assert first.text.reveal() == token("me", 1)
        path.write_text(token("me", 2))
        await until(lambda: shown().text.reveal() == token("me", 2))
        assert shown().subject == first.subject
        assert world.log.taken() == [("loaded", "primary")]
        path.write_text(token("another", 1))
        await until(lambda: shown().subject != first.subject)
        assert world.log.taken() == [("rotated", "primary")]


async def test_an_unusable_version_takes_nothing_away(world: World) -> None:
    cert, key = world.write("tls.crt", CHAIN), world.write("tls.key", KEY)
    place = f'issuer profile "primary" clientCertificate, file {cert} and {key}'
    async with world.running(f"clientID: me, clientCertificate: {{certFile: {cert}, keyFile: {key}}}"):
        await until(lambda: bool(world.sets))
        before = world.issuer
        assert isinstance(before.credentials.proof, ClientCertificate)
        other = CA.issue_cert("client.example.com")
        key.write_bytes(other.private_key_pem.bytes())  # its certificate follows a moment later
        await until(lambda: len(world.log.events) > 1)
        assert world.log.taken()[1:] == [("secret_problem", f"{place}: the private key is not that of the first certificate")]
        assert world.issuer == before
        cert.write_bytes(other.cert_chain_pems[0].bytes())
        await until(lambda: world.issuer != before)
        assert isinstance(world.issuer.credentials.proof, ClientCertificate)
        assert world.log.taken() == [("rotated", "primary"), ("secret_recovered", place)]


async def test_a_certificate_and_its_key_may_be_in_one_file(world: World) -> None:
    both = world.write("tls.pem", CHAIN + KEY)
    async with world.running(f"clientID: me, clientCertificate: {{certFile: {both}, keyFile: {both}}}"):
        await until(lambda: bool(world.sets))
        assert isinstance(world.issuer.credentials.proof, ClientCertificate)
        assert world.log.taken() == [("loaded", "primary")]


async def test_a_file_that_is_missing_is_waited_for(world: World) -> None:
    path = world.folder / "ca.crt"
    place = f'issuer profile "primary" caFile, file {path}'
    async with world.running(f"clientID: me, clientSecret: canary, caFile: {path}"):
        await until(lambda: bool(world.log.events))
        assert world.log.taken() == [("secret_problem", f"{place}: it cannot be read: No such file or directory")]
        assert not world.sets
        path.write_bytes(CA.cert_pem.bytes())
        await until(lambda: bool(world.sets))
        assert world.issuer.ca_pem == CA.cert_pem.bytes().decode().strip()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\xff", "it is not UTF-8"), (b"a" * (referenced_files.MAX_BYTES + 1), f"it is larger than {referenced_files.MAX_BYTES} bytes")],
)
async def test_what_is_no_text_has_a_reason(world: World, content: bytes, reason: str) -> None:
    path = world.folder / "token"
    path.write_bytes(content)
    async with world.running(f"clientAssertionFile: {{path: {path}}}"):
        await until(lambda: bool(world.log.events))
        assert world.log.taken() == [("secret_problem", f'issuer profile "primary" clientAssertionFile.path, file {path}: {reason}')]
        assert not world.sets
