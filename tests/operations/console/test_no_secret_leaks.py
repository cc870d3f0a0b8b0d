"""A canary in every secret, and every byte that the console sends looked at."""

from pathlib import Path
from typing import Final

import pytest

from exchanger.model.entry import Source
from exchanger.operations.console import access
from exchanger.operations.console.access import ConsoleSettings
from exchanger.operations.telemetry.decision_log import decision_line
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot
from tests.operations.console import running as console_running
from tests.operations.console.records import ALL, CANARY, EXCHANGED, SUBJECT, record
from tests.operations.console.running import opening, request, running
from tests.operations.console.test_api import ORDERS

TOKEN: Final = f"console-token-{CANARY}"
SCHEMES: Final = (f"Bearer {CANARY}", f"Bearer {SUBJECT}", f"Basic {CANARY}", f"{CANARY} x", CANARY, None)


def decide_everything(console: console_running.Running) -> int:
    count = 0
    for outcome in ALL:
        for authorization in SCHEMES:
            for exchange in (True, False):
                console.console.feed.decided(
                    record(outcome, authorization=authorization, exchange=exchange, host=f"user:{CANARY}@api.example.com")
                )
                count += 1
    return count


async def everything_said(console: console_running.Running) -> bytes:
    """Ask for all there is, with the token, without and with a wrong one, and watch decisions of every kind before and after."""
    said = bytearray()
    decide_everything(console)
    async with console.watching(f"Authorization: Bearer {TOKEN}") as peer:
        await peer.message("hello")
        count = decide_everything(console)
        seen = lost = 0
        while seen + lost < count:
            message = await peer.message()
            seen += len(message.get("items", ()))
            lost += message.get("lost", 0)
        await peer.message("totals")
        said += peer.received
    login = f'{{"token":"{TOKEN}"}}'.encode()
    for data in (
        *(
            request("GET", target, f"Authorization: Bearer {token}", "Cookie: " + CANARY)
            for token in (TOKEN, CANARY)
            for target in (
                "/api/policy",
                "/stream",
            )
        ),
        *(
            request("GET", target, f"Authorization: Bearer {TOKEN}", "Cookie: " + CANARY)
            for target in (
                "/",
                "/assets/app.js",
                "/api/about",
                f"/api/policy?{CANARY}",
                "/api/policy/document?namespace=a&name=orders",
                f"/api/policy/document?namespace={CANARY}&name=orders",
                "/api/explain?method=GET&host=api.example.com&path=/orders",
                f"/api/explain?method={CANARY * 9}&host=api.example.com&path=/orders",
                f"/{CANARY}",
            )
        ),
        request("POST", "/session", body=login),
        request("POST", "/session", body=login + CANARY.encode()),
        request("DELETE", "/session"),
        request(CANARY.replace("-", ""), "/api/policy", f"Authorization: Bearer {TOKEN}"),
        request("GET", "/", host=f"{CANARY}.example"),
        request("GET", "/", f"Origin: http://{CANARY}"),
        request("GET", "/", f"{CANARY}: \x00"),
        opening(f"Authorization: Bearer {CANARY}"),
        CANARY.encode() + b"\r\n\r\n",
    ):
        async with console.peer() as peer:
            await peer.send(data)
            await peer.stream.send_eof()
            said += await peer.rest()
    return bytes(said)


@pytest.fixture
def policy() -> CurrentPolicy:
    current, source = CurrentPolicy(), Source("a", "orders")
    current.snapshot = PolicySnapshot.EMPTY.changed({source: parse_document(source, ORDERS, frozenset({"primary"}))})
    return current


async def test_no_byte_has_a_secret(tmp_path: Path, policy: CurrentPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_running, "line", decision_line)
    monkeypatch.setattr(access, "FAILURE_S", 0.01)
    file = tmp_path / "token"
    file.write_text(TOKEN)
    async with running(ConsoleSettings(port=0, token_file=file), policy) as console:
        said = await everything_said(console)
        told = repr(console.console) + repr(console.lines.entries)

    assert b'"type":"decisions"' in said
    assert b"api.example.com" in said
    assert len(said) > 100_000
    for secret in (CANARY, SUBJECT, EXCHANGED, *SUBJECT.split(".")[:2]):
        assert secret.encode() not in said
        assert secret not in told


async def test_where_tokens_are_shown_they_are_shown_decoded_and_never_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_running, "line", decision_line)
    async with running(show_tokens=True) as console:
        decide_everything(console)
        async with console.watching() as peer:
            await peer.message("hello")
            said = bytes(peer.received)

    for claims in (b'{"sub":"alice"}', b'{"sub":"alice","aud":"orders-api"}'):
        assert b'{"header":{"alg":"RS256"},"claims":%s,"signature":"present"}' % claims in said
    for raw in (SUBJECT, EXCHANGED, f"exchanged-{CANARY}"):
        assert raw.encode() not in said
