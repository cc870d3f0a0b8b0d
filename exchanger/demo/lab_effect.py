"""Waits until the service has taken up what was saved, so that the very next request meets it.

The service's console numbers the versions of the policy that it decides by. Must not know: what was saved, or where.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import orjson
import trio

from exchanger.console.proxy import LoopbackProxy
from exchanger.http.message import Request

EFFECT_S: Final = 2.0
"""Seconds to wait: the service looks at its folder within one, and the machine may be busy. What changes no policy, or cannot be read,
makes no version at all."""
POLL_S: Final = 0.02
"""Seconds between two looks, each a small answer that is there already; a change is usually in force after a tenth of a second."""

Revision = Callable[[], Awaitable[int | None]]
"""Returns the number of the version in force, ``None`` when it cannot be told."""

_OK: Final = 200


def revision_of(console: LoopbackProxy) -> Revision:
    """Return what asks the service's ``console``."""

    async def revision() -> int | None:
        response = await console.forward(Request("GET", "/api/policy"))
        try:
            found = orjson.loads(response.body) if response.status == _OK else None
        except orjson.JSONDecodeError:
            return None
        number = found.get("revision") if isinstance(found, dict) else None
        return number if isinstance(number, int) else None

    return revision


async def in_force(before: int | None, revision: Revision) -> bool:
    """Return whether a version after ``before`` is in force, as soon as there is one, or when there has been none for a while."""
    if before is None:
        return False
    with trio.move_on_after(EFFECT_S):
        while True:
            now = await revision()
            if now is not None and now != before:
                return True
            await trio.sleep(POLL_S)
    return False
