"""What other connections have sent and not read does not delay a decision, counted in calls of functions."""

from pathlib import Path

import pytest
import trio
import trio.testing

from exchanger.authz.http_authz.server import HttpAuthz
from tests.authz.http_authz.asking import connect, question, running
from tests.authz.http_authz.test_server import SECRET, guarded
from tests.steps import MOST_CALLS, counted_steps

CONNECTIONS = 60
SHOWN = (b"X-Exchanger-Secret", SECRET.encode())
ASKED = question("/envoy", b"/admin", SHOWN)


async def calls_until_answered(service: HttpAuthz, request: bytes, pipelined: int) -> int:
    """Return the most calls between a request and its answer, while each of the other connections has ``pipelined`` and reads nothing."""
    most = 0
    innocent, others = connect(service), [connect(service) for _ in range(CONNECTIONS)]
    for other in others:
        await other.send_all(request * pipelined)
    async with running(service):
        with counted_steps() as steps:
            for _ in range(8):
                before = steps.total
                await innocent.send_all(ASKED)
                assert (await innocent.receive_some()).startswith(b"HTTP/1.1 403 ")
                most = max(most, steps.total - before)
        for stream in (innocent, *others):
            await trio.aclose_forcefully(stream)
        await trio.testing.wait_all_tasks_blocked()
    assert service.connections == 0
    return most


@pytest.mark.parametrize("shown", [(SHOWN,), ()], ids=["with the secret", "without it"])
async def test_pipelined_requests_of_others_do_not_delay_a_decision(shown: tuple[tuple[bytes, bytes], ...], tmp_path: Path) -> None:
    request = question("/envoy", b"/admin", *shown)
    for pipelined in (40, 600):
        assert await calls_until_answered(await guarded(tmp_path), request, pipelined) < MOST_CALLS
