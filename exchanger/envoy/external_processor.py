"""``envoy.service.ext_proc.v3.ExternalProcessor``: a stream on which Envoy sends the parts of a request and waits for an answer to each.

Only request headers are decided on. Nothing is remembered from one message of a stream to the next.
"""

from typing import Final, final

import attrs
from google.protobuf.message import DecodeError

from exchanger._proto.envoy.service.ext_proc.v3.external_processor_grpc import ExternalProcessorServicer
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from exchanger.decision.check import DENY_UNHEALTHY, MISSING_REQUEST
from exchanger.decision.outcome import Deny, ExchangePending, Filter
from exchanger.envoy.evaluator import Evaluator, WaitingRequest
from exchanger.envoy.process_codec import CONTINUED, decode_request_headers, encode_request_headers
from exchanger.envoy.request_fields import EMPTY_REQUEST, RefusedRequest, with_gateway_trace
from exchanger.grpc.routes import CallInfo, Deferred, ImmediateStream, Route
from exchanger.values.request import HttpRequest

PROCESS_PATH: Final = b"/envoy.service.ext_proc.v3.ExternalProcessor/Process"

_BROKEN: Final = encode_request_headers(DENY_UNHEALTHY)


@final
@attrs.define(eq=False)
class ExternalProcessor(ExternalProcessorServicer):
    """Envoy's ext_proc (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ext_proc/v3/external_processor.proto)."""

    evaluator: Evaluator

    def routes(self) -> dict[bytes, Route]:
        """Return the route of Process. A fault of ours is answered with a denial: a gateway may let requests pass on a gRPC error."""
        return {PROCESS_PATH: ImmediateStream(self.process, instead=_BROKEN)}

    def process(self, message: bytes, call: CallInfo) -> bytes | Deferred | None:
        """Answer a serialised ProcessingRequest with a serialised ProcessingResponse, at once unless an exchange is needed.

        ``None`` if Envoy waits for no answer. Bytes that are not a ProcessingRequest are denied: callers can cause that, by text that is
        not UTF-8 in an attribute, and a gateway may let requests pass on a gRPC error.
        """
        try:
            request = ProcessingRequest.FromString(message)
        except DecodeError:
            return self._refuse(MISSING_REQUEST, self.evaluator.clock())
        if request.observability_mode:
            return None
        kind = request.WhichOneof("request")
        if kind == "request_headers":
            return self._decide(request, call)
        # A message of an unknown kind may be about a request that has not been decided.
        return CONTINUED.get(kind) or self._refuse(MISSING_REQUEST, self.evaluator.clock())

    def _decide(self, message: ProcessingRequest, call: CallInfo) -> bytes | Deferred:
        evaluator = self.evaluator
        started = evaluator.clock()
        request = decode_request_headers(message, with_headers=evaluator.needs_headers())
        if isinstance(request, RefusedRequest):
            return self._refuse(request.deny, started, request.request)
        if isinstance(request, Deny):
            return self._refuse(request, started)
        if evaluator.tracer is not None:
            request = with_gateway_trace(request, call)
        outcome = evaluator.begin(request, started, Filter.EXT_PROC)
        if isinstance(outcome, ExchangePending):
            waiting = WaitingRequest(evaluator, request, outcome, started, Filter.EXT_PROC, encode_request_headers)
            return waiting.begin(call.deadline)
        return encode_request_headers(outcome)

    def _refuse(self, deny: Deny, started: float, request: HttpRequest = EMPTY_REQUEST) -> bytes:
        self.evaluator.decided(request, deny, started, Filter.EXT_PROC)
        return encode_request_headers(deny)
