"""Credentials that many threads use while one of them reads new ones."""

from types import SimpleNamespace

import pytest

from exchanger.kube import access as module
from exchanger.kube.access import RENEWAL_PAUSE_S, Access, ClusterError, Credentials
from exchanger.kube.list_watch import ApiFailure, FailureKind
from tests.kube.scripted_server import access_to, answer, says, serving


def none_new() -> Access:
    raise ClusterError("nothing new")


async def test_a_renewal_that_takes_too_long_is_a_timeout_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_S", 0.05)
    async with serving(says(answer({}))) as server:
        connection = server.connection()
        with connection.credentials._lock:
            assert await connection.get("/") == ApiFailure(FailureKind.TIMEOUT, message="no answer in time")
        assert server.requests == []
        assert await connection.get("/") == {}
        connection.credentials.close()


def test_nobody_waits_for_ever_to_renew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_S", 0.05)
    credentials = Credentials(none_new, access_to("http://127.0.0.1:1"))
    with credentials._lock:
        assert not credentials.renew(*_present(credentials))
        assert not credentials.renew_trust(credentials._access)


def test_a_new_client_certificate_counts_as_new() -> None:
    first, second = (Access("https://127.0.0.1:1", access_to("").pools, lambda: None, identity) for identity in (b"first", b"second"))
    credentials = Credentials(lambda: second, first)
    assert credentials.renew(first, None)
    assert credentials.present() == (second, None)
    assert credentials.renewals == 1
    assert credentials.renew(first, None)  # which somebody else has done by now
    assert credentials.renewals == 1


def _access(trust: bytes, token: str = "token") -> Access:
    known = access_to("https://127.0.0.1:1", lambda: token)
    return Access(known.url, known.pools, known.authorization, trust=trust)


def test_whatever_it_is_read_for_the_configuration_is_not_read_twice_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, loads = [1000.0], list[float]()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def load() -> Access:
        loads.append(now[0])
        return _access(b"first")

    first = _access(b"first")
    credentials = Credentials(load, first)
    for _ in range(3):
        assert not credentials.renew_trust(first)
        assert not credentials.renew(*credentials.present())
        now[0] += RENEWAL_PAUSE_S / 2
    assert loads == [1000.0, 1000.0 + RENEWAL_PAUSE_S]


def test_a_new_authority_is_not_taken_from_a_configuration_that_has_lost_its_credentials() -> None:
    first, anonymous = _access(b"first"), Access("https://127.0.0.1:1", access_to("").pools, lambda: None, trust=b"second")
    credentials = Credentials(lambda: anonymous, first)
    assert not credentials.renew_trust(first)
    assert credentials.present()[0] is first


def _present(credentials: Credentials) -> tuple[Access, None]:
    return credentials._access, None
