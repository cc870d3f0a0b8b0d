"""The upstream: answers each request with what it received, so that the exchanged token can be seen.

Must not know: policy, or what the gateway should have done.
"""

import json

import trio

from exchanger.demo.http import Headers, Request, Response, serve_http
from exchanger.demo.unsigned_jwt import bearer_of, claims_of


async def run_echo(host: str | None, port: int, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve the echo on ``host`` (``None``: all interfaces) until cancelled; ``started()`` has the port, a free one for ``port`` 0.

    Raises:
        OSError: the address cannot be bound.
    """
    await serve_http(echo, host, port, task_status=task_status)


async def echo(request: Request) -> Response:
    """Answer with ``method``, ``path`` and ``headers`` as received, and ``token_claims`` when a JWT came as bearer token.

    A header is its value, or the list of its values when it came more than once.
    """
    seen: dict[str, object] = {"method": request.method, "path": request.target, "headers": _grouped(request.headers)}
    claims = claims_of(bearer_of(request.header("authorization")))
    if claims is not None:
        seen["token_claims"] = claims
    body = json.dumps(seen, indent=2, ensure_ascii=True) + "\n"
    return Response(status=200, headers=(("Content-Type", "application/json"), ("Cache-Control", "no-store")), body=body.encode())


def _grouped(headers: Headers) -> dict[str, object]:
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}
