"""Files that change while the server runs."""

import ssl

import attrs
import pytest
import trustme
from trio.testing import wait_all_tasks_blocked

from exchanger.net.tls.certificates import CertificatesError, Known, ServerIdentity, UnusableCertificates, load
from exchanger.net.tls.rotation import Rotation
from exchanger.net.tls.x509 import Validity
from tests.lines import Lines
from tests.net.grpc.authority import Site
from tests.net.grpc.peer import routes
from tests.net.grpc.serving import serving
from tests.waiting import until

POLL = 0.01


class TestUnderConnections:
    async def test_an_authority_that_is_taken_away(self, site: Site) -> None:
        other = trustme.CA()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            site.files.client_ca.write_bytes(site.authority.cert_pem.bytes() + other.cert_pem.bytes())
            context = site.client_with(other.issue_cert("gateway.example"), version=version)
            async with serving(routes(), tls=site.files.settings(mutual=True, poll_interval=POLL)) as served:
                old = await served.connect_tls(context)
                assert (await old.ask(b"x")).status == 0
                site.files.client_ca.write_bytes(site.authority.cert_pem.bytes())
                await until(lambda served=served: len(served.certificates) == 2)  # type: ignore[misc]  # bound in the loop
                assert (await old.ask(b"still")).messages == [b"echo still"]
                new = await served.connect_tls(context, session=old.tls.session if version is ssl.TLSVersion.TLSv1_2 else None)
                await new.settle()
                assert new.eof
                assert served.server.handshakes[1] in {0, 1}
                new.socket.close()
                await wait_all_tasks_blocked()
                assert served.failures == ["CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate"]


def identity(site: Site) -> ServerIdentity:
    found = load(site.files.settings())
    assert isinstance(found, ServerIdentity)
    return found


class TestJudging:
    @pytest.fixture
    def lines(self) -> Lines:
        return Lines()

    @pytest.fixture
    def running(self, site: Site, lines: Lines) -> Rotation:
        running = Rotation(site.files.settings(), log=lines.logger)
        running.check(identity(site), 0.0)
        return running

    @pytest.mark.parametrize(
        ("looks", "rejected"),
        [
            pytest.param([("half", 0.0), ("half", 2.9), ("good", 3.0), ("half", 4.0), ("half", 6.9)], 0, id="a moment of mismatch"),
            pytest.param([("half", 4.0), ("half", 7.0), ("half", 70.0), ("known half", 80.0)], 1, id="once"),
            pytest.param([(f"half {second}", float(second)) for second in range(10)], 0, id="each version has its own time"),
            pytest.param([("half", 0.0), ("half", 3.0), ("known", 4.0), ("half", 5.0), ("half", 8.0)], 2, id="again"),
        ],
    )
    def test_a_bad_version_is_reported_when_it_stands(
        self, running: Rotation, lines: Lines, site: Site, looks: list[tuple[str, float]], rejected: int
    ) -> None:
        good = identity(site)
        found: dict[str, ServerIdentity | Known] = {"good": good, "known": Known(good.version), "known half": Known(b"half")}
        for what, when in looks:
            running.check(found.get(what) or UnusableCertificates(what.encode(), "mismatch"), when)
        assert [event for event in lines.events if event[0] == "certificates_rejected"] == [
            ("certificates_rejected", "mismatch")
        ] * rejected
        assert (running.statistics().looks, running.statistics().rejected) == (1 + len(looks), rejected)

    def test_the_end_of_a_mistake_and_an_expired_certificate_are_told(self, running: Rotation, lines: Lines, site: Site) -> None:
        good = identity(site)
        for now in (1.0, 2.0 + 3.0):
            assert not running.statistics().doubted
            running.check(UnusableCertificates(b"half", "mismatch"), now)
        assert running.statistics().doubted
        for now in (6.0, 7.0):
            running.check(Known(good.version), now)
            assert not running.statistics().doubted
        expired = attrs.evolve(good.info, validity=Validity.EXPIRED, not_after="2026-01-01T00:00:00Z")
        running.check(attrs.evolve(good, version=b"expired", info=expired), 8.0)
        told = [(line["event"], line.get("text")) for line in lines.entries]
        assert told == [
            ("tls.certificates_loaded", None),
            ("tls.certificates_rejected", "the previous certificate stays in use"),
            ("tls.certificates_loaded", None),
            ("tls.certificates_loaded", "the certificate expired at 2026-01-01T00:00:00Z: clients that verify it refuse to connect"),
        ]

    def test_nothing_to_start_with(self, site: Site, lines: Lines) -> None:
        with pytest.raises(CertificatesError, match="no certificate is loaded yet"):
            _ = Rotation(site.files.settings(), log=lines.logger).context
