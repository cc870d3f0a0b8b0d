"""``envoy.service.ext_proc.v3.ExternalProcessor``: a stream on which Envoy sends the parts of a request and waits for an answer to each.

Only request headers are decided on. From one message of a stream to the next, only a cached token that was given to a request is
remembered, so that it is forgotten if the response's headers say that the upstream refuses it.
"""

from functools import partial
from typing import Final, final

import attrs
from google.protobuf.message import DecodeError

from exchanger._proto.envoy.service.ext_proc.v3.external_processor_grpc import ExternalProcessorServicer
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from exchanger.authz.decision.check import DENY_UNHEALTHY, MISSING_REQUEST
from exchanger.authz.decision.outcome import Allow, Deny, ExchangePending, Filter, Outcome
from exchanger.authz.envoy.process_codec import (
    CONTINUED,
    MODE_WITH_RESPONSE,
    decode_request_headers,
    decode_response_headers,
    encode_request_headers,
)
from exchanger.authz.envoy.request_fields import RefusedRequest, with_gateway_trace
from exchanger.authz.evaluation.evaluator import Evaluator, WaitingRequest
from exchanger.authz.evaluation.fields import EMPTY_REQUEST
from exchanger.exchange.interfaces import TokenRecall
from exchanger.exchange.oauth.refused_token import is_token_refused
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import Cache, TokenRequest
from exchanger.net.deferred import Deferred
from exchanger.net.grpc.routes import CallInfo, ImmediateStream, Route, StreamContinuation

PROCESS_PATH: Final = b"/envoy.service.ext_proc.v3.ExternalProcessor/Process"

# The first digit of statuses with which an upstream has accepted a token: others may be about the token, or the gateway's own.
_ACCEPTED: Final = ("2", "3")
_BROKEN: Final = encode_request_headers(DENY_UNHEALTHY)


@final
@attrs.define(eq=False)
class _Stream:
    """A stream on which a request got a cached token. ``given``: that request and token, until the response's headers come.

    Envoy has a stream for each request. Should others have several at a time on one, nothing tells which of them a response belongs to;
    they are ``mixed`` then, and no response is believed.
    """

    given: tuple[TokenRequest, Secret] | None = None
    mixed: bool = False

    def begin(self) -> None:
        """Another request has come."""
        self.mixed = self.mixed or self.given is not None
        self.given = None


@final
@attrs.define(eq=False)
class ExternalProcessor(ExternalProcessorServicer):
    """Envoy's ext_proc (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ext_proc/v3/external_processor.proto).

    ``recall``: learns whether upstreams accept cached tokens; without one, responses are not looked at.
    """

    evaluator: Evaluator
    recall: TokenRecall | None = None

    def routes(self) -> dict[bytes, Route]:
        """Return the route of Process. A fault of ours is answered with a denial: a gateway may let requests pass on a gRPC error."""
        return {PROCESS_PATH: ImmediateStream(self.process, instead=_BROKEN)}

    def process(self, message: bytes, call: CallInfo, stream: _Stream | None = None) -> bytes | Deferred | StreamContinuation | None:
        """Answer a serialised ProcessingRequest with a serialised ProcessingResponse, at once unless an exchange is needed.

        ``None`` if Envoy waits for no answer. Bytes that are not a ProcessingRequest are denied: callers can cause that, by text that is
        not UTF-8 in an attribute, and a gateway may let requests pass on a gRPC error. ``stream`` is that of an earlier answer, which was
        ``StreamContinuation``.
        """
        try:
            request = ProcessingRequest.FromString(message)
        except DecodeError:
            return self._refuse(MISSING_REQUEST, self.evaluator.clock())
        if request.observability_mode:
            return None
        kind = request.WhichOneof("request")
        if kind == "request_headers":
            return self._decide(request, call, stream)
        if kind == "response_headers" and stream is not None:
            self._learn(request, stream)
        answer = CONTINUED.get(kind)
        if answer is None:  # it may be about a request that has not been decided
            return self._refuse(MISSING_REQUEST, self.evaluator.clock())
        return answer if stream is None or stream.given is None else StreamContinuation(answer, partial(self.process, stream=stream))

    def _decide(self, message: ProcessingRequest, call: CallInfo, stream: _Stream | None) -> bytes | Deferred | StreamContinuation:
        evaluator = self.evaluator
        started = evaluator.clock()
        if stream is not None:
            stream.begin()
        request = decode_request_headers(message, with_headers=evaluator.needs_headers())
        if isinstance(request, RefusedRequest):
            return self._refuse(request.deny, started, request.request)
        if isinstance(request, Deny):
            return self._refuse(request, started)
        if evaluator.tracer is not None:
            request = with_gateway_trace(request, call)
        outcome = evaluator.begin(request, started, Filter.EXT_PROC)
        if not isinstance(outcome, ExchangePending):
            return encode_request_headers(outcome)
        asked, recall = outcome.token_request, self.recall
        if recall is None or asked.issuer.cache is None or not asked.issuer.cache.evict_rejected:
            waiting = WaitingRequest(evaluator, request, outcome, started, Filter.EXT_PROC, encode_request_headers)
            return waiting.begin(call.deadline)
        encode = partial(self._encode, recall, asked, stream or _Stream())
        return WaitingRequest(evaluator, request, outcome, started, Filter.EXT_PROC, encode).begin(call.deadline)

    def _encode(self, recall: TokenRecall, asked: TokenRequest, stream: _Stream, outcome: Outcome) -> bytes | StreamContinuation:
        """Return the answer. If its token was kept, ask for the response's headers, unless they would change nothing."""
        token = outcome.access_token if outcome.cache is Cache.HIT and isinstance(outcome, Allow) else None
        if token is None or stream.mixed or not recall.asks_upstream(asked):
            return encode_request_headers(outcome)
        stream.given = asked, token
        return StreamContinuation(encode_request_headers(outcome, MODE_WITH_RESPONSE), partial(self.process, stream=stream))

    def _learn(self, message: ProcessingRequest, stream: _Stream) -> None:
        """Report whether the upstream accepts the token that the request of ``stream`` got, if the status says so."""
        given, stream.given = stream.given, None
        if given is None or self.recall is None:
            return
        head = decode_response_headers(message)
        refused = is_token_refused(head.status, head.challenges, headers_are_whole=head.whole)
        if refused or head.status[:1] in _ACCEPTED:
            self.recall.upstream_answered(*given, refused=refused)

    def _refuse(self, deny: Deny, started: float, request: HttpRequest = EMPTY_REQUEST) -> bytes:
        self.evaluator.decided(request, deny, started, Filter.EXT_PROC)
        return encode_request_headers(deny)
