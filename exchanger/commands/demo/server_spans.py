"""Server spans for the demo's token endpoint and upstream: the caller's trace is continued, and exported as the service exports its own.

Names and attributes follow https://opentelemetry.io/docs/specs/semconv/http/http-spans/. No path, header or body is in a span.
"""

from collections.abc import Mapping
from typing import Final, Self, final

import attrs
import trio

from exchanger import __version__
from exchanger.app.otel_environment import read_otel
from exchanger.model.text import METHOD_LIMIT
from exchanger.model.trace import TraceContext
from exchanger.net.http.message import Handler, Request, Response
from exchanger.net.network import SYSTEM
from exchanger.operations.telemetry.otlp.encoding import encode_span
from exchanger.operations.telemetry.otlp.exports import Exports
from exchanger.operations.telemetry.spans import FinishedSpan, SpanKind
from exchanger.util.text import printable

# Failures of the server, which make the span an error; a refusal is an answer.
_SERVER_ERROR: Final = 500
_NAME: Final = "OTEL_SERVICE_NAME"


@final
@attrs.frozen
class ServerSpans:
    """The spans of one server. ``notes`` list variables without effect."""

    _exports: Exports
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, variables: Mapping[str, str], service_name: str) -> Self:
        """Return them as OTEL_ variables specify; the server is called ``service_name``, unless OTEL_SERVICE_NAME is set."""
        reading = read_otel({**variables, _NAME: variables.get(_NAME) or service_name})
        notes = tuple(f"{variable}: {text}" for variable, text in reading.notes)
        return cls(Exports.of(attrs.evolve(reading.settings, metrics=None), __version__, lambda: ()), notes)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Export until cancelled, and then the rest."""
        await self._exports.run(task_status=task_status)

    def around(self, handler: Handler) -> Handler:
        """Return ``handler`` with a span for each request whose trace is recorded."""
        tracing = self._exports.tracing
        if tracing is None:
            return handler

        async def traced(request: Request) -> Response:
            context = tracing.contexts.recorded_below(_trace_of(request))
            if context is None:
                return await handler(request)
            started = _now()
            response = await handler(request)
            method = printable(request.method, METHOD_LIMIT)
            failed = response.status >= _SERVER_ERROR
            attributes: list[tuple[str, str | int | bool]] = [
                ("http.request.method", method),
                ("http.response.status_code", response.status),
                *((("error.type", str(response.status)),) if failed else ()),
            ]
            error = str(response.status) if failed else ""
            span = FinishedSpan(SpanKind.SERVER, method, context, started, max(started, _now()), tuple(attributes), error)
            tracing.queue.put(encode_span(span))
            return response

        return traced


def _trace_of(request: Request) -> TraceContext:
    # Two values of traceparent are invalid (section 3.2); lists may be split (section 3.3.1): https://www.w3.org/TR/trace-context/
    state, baggage = (",".join(request.values(name)) for name in ("tracestate", "baggage"))
    return TraceContext(request.value("traceparent"), state, baggage)


def _now() -> int:
    return int(SYSTEM.wall() * 1e9)
