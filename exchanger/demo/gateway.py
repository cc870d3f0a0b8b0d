"""Sends a scenario's request through a gateway, the demo's or any other, and keeps what came back.

Each request has a trace context of its own (https://www.w3.org/TR/trace-context/), by which it is found again in logs, traces and console.

Must not know: which scenario a request belongs to, or what has to come of it.
"""

import secrets
import ssl
from typing import final

import attrs
import trio

from exchanger.demo.answer import Answer, answer_of
from exchanger.demo.client import fetch_from
from exchanger.demo.faults import NoAnswerError
from exchanger.demo.http import Headers, Response, values_of
from exchanger.demo.scenario import Call
from exchanger.demo.site import request_of
from exchanger.util.address import format_address
from exchanger.values.trace import parse_traceparent

REQUEST_TIMEOUT = 8.0  # seconds: beyond the demo's gateway's own bounds together, 1 s for the service and 5 s for the upstream

_TRACEPARENT = "traceparent"


@final
@attrs.frozen
class Gateway:
    """Where requests are sent: ``host`` and ``port`` are connected to, by TLS where ``tls`` says how; ``server_name`` "": the host."""

    host: str
    port: int
    tls: ssl.SSLContext | None = attrs.field(default=None, eq=False)
    server_name: str = ""

    @property
    def base_url(self) -> str:
        """The gateway's URL, for people."""
        return f"{'https' if self.tls else 'http'}://{format_address(self.server_name or self.host, self.port)}"


@final
@attrs.frozen
class Asked:
    """One request and what came back: a ``response``, or in ``problem`` why there is none. ``elapsed`` is in seconds.

    ``sent`` is the token that was sent, "" for none. What may hold tokens is hidden from repr.
    """

    call: Call = attrs.field(repr=False)
    trace_id: str
    sent: str = attrs.field(repr=False)
    response: Response | None = attrs.field(repr=False)
    problem: str = ""
    elapsed: float = 0.0

    def answer(self) -> Answer | str:
        """Return what the answer says, or in words why there is none."""
        return self.problem if self.response is None else answer_of(self.response, self.sent)


async def send(gateway: Gateway, call: Call, token: str, *, timeout: float = REQUEST_TIMEOUT) -> Asked:  # noqa: ASYNC109 - as fetch's
    """Send ``call`` with ``token`` ("" for none); that there was no answer is told as well. ``timeout`` is in seconds."""
    trace_id, traced = _traced(call.headers)
    request = request_of(attrs.evolve(call, headers=traced), token)
    started = trio.current_time()
    response, problem = None, ""
    try:
        response = await fetch_from(gateway.host, gateway.port, request, timeout=timeout, tls=gateway.tls, server_name=gateway.server_name)
    except NoAnswerError as error:
        problem = str(error)
    return Asked(call, trace_id, token, response, problem, trio.current_time() - started)


def _traced(headers: Headers) -> tuple[str, Headers]:
    """Return the trace id, "" where the call's own trace context has none, and the headers with a trace context."""
    own = values_of(headers, _TRACEPARENT)
    if own:
        known = parse_traceparent(",".join(own))  # as a gateway joins them, so that two are none
        return known[0] if known else "", headers
    trace_id = secrets.token_hex(16)
    # Not sampled: whether its spans are kept is for the gateway to say.
    return trace_id, (*headers, (_TRACEPARENT, f"00-{trace_id}-{secrets.token_hex(8)}-00"))
