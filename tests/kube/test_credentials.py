"""Credentials that many threads use while one of them reads new ones."""

import pytest

from exchanger.kube import credentials as module
from exchanger.kube.credentials import Access, ClusterError, Credentials
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


def test_a_new_client_certificate_counts_as_new() -> None:
    first, second = (Access("https://127.0.0.1:1", access_to("").pools, lambda: None, identity) for identity in (b"first", b"second"))
    credentials = Credentials(lambda: second, first)
    assert credentials.renew(first, None)
    assert credentials.present() == (second, None)
    assert credentials.renewals == 1
    assert credentials.renew(first, None)  # which somebody else has done by now
    assert credentials.renewals == 1


def _present(credentials: Credentials) -> tuple[Access, None]:
    return credentials._access, None
