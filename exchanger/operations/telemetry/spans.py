"""Spans, made from records after the fact. Pure.

Names and attributes follow OpenTelemetry's conventions where these exist; our own begin with ``exchanger.``. Of a
request only method and host are read, never its path, its query, a token or a header's value; of a token endpoint only host and port.

Sources: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/, https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

import enum
from typing import Final, final

import attrs

from exchanger.authz.decision.outcome import Allow, DecisionRecord, Filter, Result
from exchanger.model.text import ISSUER_LIMIT, METHOD_LIMIT, POLICY_LIMIT, loggable_host
from exchanger.model.token import ErrorKind, ExchangeRecord
from exchanger.model.trace import SpanContext, TraceContext
from exchanger.util.text import printable

Attribute = tuple[str, str | int | bool]

_METHODS: Final = {
    Filter.EXT_AUTHZ: "envoy.service.auth.v3.Authorization/Check",
    Filter.EXT_PROC: "envoy.service.ext_proc.v3.ExternalProcessor/Process",
    Filter.HTTP: "authorize",
}
_HTTP_OK: Final = 200
_NANOSECONDS: Final = 1_000_000_000


@enum.unique
class SpanKind(enum.Enum):
    """Which side of a call: one answered here, or one made from here."""

    SERVER = "server"
    CLIENT = "client"


@final
@attrs.frozen
class FinishedSpan:
    """One span, whole. Times are nanoseconds since the epoch; ``error`` "" means that nothing failed; ``link`` is another span's trace."""

    kind: SpanKind
    name: str
    context: SpanContext
    start: int
    end: int
    attributes: tuple[Attribute, ...]
    error: str = ""
    link: TraceContext | None = None


def decision_span(record: DecisionRecord, context: SpanContext, start: int, leader: TraceContext | None = None) -> FinishedSpan:
    """Return the server span of an answered request; ``leader`` is the trace of the request whose exchange it shared.

    Refusals are answers like others; what fails on our side is an error.
    """
    request, outcome = record.request, record.outcome
    method = _METHODS[record.asked_by]
    result = outcome.result
    attributes: list[Attribute] = [
        *((("rpc.system.name", "grpc"), ("rpc.method", method)) if record.asked_by is not Filter.HTTP else ()),
        ("exchanger.decision", outcome.reason.value),
        ("exchanger.result", result.value),
        ("exchanger.request.method", printable(request.method, METHOD_LIMIT)),
        ("exchanger.request.host", loggable_host(request.host)),
    ]
    if outcome.source is not None:
        attributes.append(("exchanger.policy", printable(str(outcome.source), POLICY_LIMIT)))
    if leader is not None:
        attributes.append(("exchanger.exchange.coalesced", True))
    diagnostic = ""
    if isinstance(outcome, Allow):
        attributes.append(("exchanger.response.status_code", _HTTP_OK))
    else:
        attributes.append(("exchanger.response.status_code", outcome.status))
        if outcome.diagnostic is not None:
            diagnostic = outcome.diagnostic.value
            attributes.append(("exchanger.code", diagnostic))
    error = ""
    if result is Result.SYSTEM_ERROR:
        error = diagnostic or outcome.reason.value
        attributes.append(("error.type", error))
    return FinishedSpan(SpanKind.SERVER, method, context, start, _end(start, record.duration), tuple(attributes), error, leader)


def exchange_span(record: ExchangeRecord, context: SpanContext, start: int) -> FinishedSpan:
    """Return the client span of a token endpoint call. It is named by method alone: the endpoint's path is not in it."""
    attributes: list[Attribute] = [("http.request.method", "POST"), ("server.address", loggable_host(record.endpoint_host))]
    if record.port is not None:
        attributes.append(("server.port", record.port))
    if record.http_status is not None:
        attributes.append(("http.response.status_code", int(record.http_status)))
    if record.introspects:
        attributes.append(("exchanger.introspection", True))
    if record.leg:
        attributes.append(("exchanger.leg", printable(record.leg, ISSUER_LIMIT)))
    error = ""
    if record.kind is not None:
        attributes.append(("exchanger.exchange.error_kind", record.kind.value))
    if record.kind is not None and record.kind is not ErrorKind.SUBJECT_INACTIVE:  # which is the endpoint's answer
        # By convention the status says what went wrong, where it does.
        error = str(int(record.http_status)) if record.kind is ErrorKind.HTTP_STATUS and record.http_status else record.kind.value
        attributes.append(("error.type", error))
    return FinishedSpan(SpanKind.CLIENT, "POST", context, start, _end(start, record.duration), tuple(attributes), error)


def _end(start: int, duration: float) -> int:
    return start + int(duration * _NANOSECONDS)
