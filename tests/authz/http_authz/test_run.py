"""The authorization port on a real socket: it follows the files of its certificate and its secret."""

import ssl
from pathlib import Path

import attrs
import pytest
import trio
import trustme

from exchanger.authz.http_authz.settings import HttpAuthzSettings
from exchanger.net.http.token_file import TokenFileError
from exchanger.net.tls.certificates import CertificatesError
from tests.authz.http_authz.asking import message, port, responses, running
from tests.net.grpc.authority import Site
from tests.waiting import until


async def status(number: int, context: ssl.SSLContext, secret: str) -> int:
    """Return the status of the answer about health; 0 if the server's certificate is not trusted."""
    stream = trio.SSLStream(await trio.open_tcp_stream("127.0.0.1", number), context, server_hostname="localhost", https_compatible=True)
    async with stream:
        try:
            await stream.send_all(
                message(b"/healthz", (b"Host", b"h"), (b"X-Exchanger-Secret", secret.encode()), (b"Connection", b"close"))
            )
        except trio.BrokenResourceError:
            return 0
        (answer,) = responses(b"".join([bytes(chunk) async for chunk in stream]))
        return answer.status


async def test_certificate_and_secret_are_followed_until_it_is_drained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exchanger.util.follow_file.POLL_S", 0.02)
    monkeypatch.setattr("exchanger.util.follow_file.SETTLE_S", 0.01)
    site, secret = Site.at(tmp_path), tmp_path / "secret"
    secret.write_text("the-first-secret")
    told = list[bool]()
    tls = attrs.evolve(site.files.settings(poll_interval=0.02), protocols=("http/1.1",))
    service = port(settings=HttpAuthzSettings("127.0.0.1", tls=tls, secret_file=secret), told=told)
    async with running(service), trio.open_nursery() as until_drained:
        number = await until_drained.start(service.run)
        assert await status(number, site.client(protocols=()), "the-first-secret") == 200
        assert told == [True]
        assert await status(number, site.client(protocols=()), "the-second-secret") == 403
        secret.write_text("bad")
        await until(lambda: service.unreadable)
        assert service.unreadable == ("HTTP_AUTHZ_SECRET_FILE",)
        secret.write_text("the-second-secret")
        await until(lambda: not service.unreadable)
        other = trustme.CA()
        site.files.write(other.issue_cert("localhost"))
        await until(lambda: service.certificate is not None and service.certificate.loaded == 2)
        assert await status(number, site.client(protocols=()), "the-second-secret") == 0
        other.configure_trust(context := ssl.create_default_context())
        assert await status(number, context, "the-second-secret") == 200
        assert told == [True, True]
        await service.http.drain(10.0)


async def test_without_certificate_or_secret_it_does_not_start(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    site = Site.at(tmp_path)
    site.files.key.unlink()
    with pytest.raises(CertificatesError):
        await port(settings=HttpAuthzSettings("127.0.0.1", tls=site.files.settings(poll_interval=0.02))).run()
    with pytest.raises(TokenFileError):
        await port(settings=HttpAuthzSettings("127.0.0.1", secret_file=tmp_path / "missing")).run()
