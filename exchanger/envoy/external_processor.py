"""``envoy.service.ext_proc.v3.ExternalProcessor``: the stream on which Envoy sends the parts of a request, and waits for an answer to each.

Only request headers are decided on, each by itself; nothing is remembered from one message of a stream to the next.
"""

from collections.abc import AsyncIterator
from typing import Final, final

import attrs

from exchanger._proto.envoy.service.ext_proc.v3.external_processor_grpc import ExternalProcessorServicer
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from exchanger.decision.check import MISSING_REQUEST
from exchanger.decision.outcome import Deny, ExchangePending
from exchanger.envoy.check_codec import EMPTY_REQUEST
from exchanger.envoy.evaluator import Evaluator
from exchanger.envoy.process_codec import CONTINUED, decode_request_headers, encode_request_headers
from exchanger.grpc.routes import Pending
from exchanger.values.request import HttpRequest

PROCESS_PATH: Final = b"/envoy.service.ext_proc.v3.ExternalProcessor/Process"


@final
@attrs.frozen
class ProcessAnswer:
    """A serialised ProcessingResponse, as what streaming methods send. It may carry a token, so that its repr shows nothing of it."""

    _data: bytes = attrs.field(repr=False)

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Return the message in wire format."""
        return self._data


@final
@attrs.define(eq=False)
class ExternalProcessor(ExternalProcessorServicer):
    """Envoy's ext_proc (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ext_proc/v3/external_processor.proto)."""

    evaluator: Evaluator

    # A method sends whatever has a wire format, and answers that repeat are serialised already.
    async def Process(  # type: ignore[override]  # noqa: N802 - the name of the RPC
        self, input_messages: AsyncIterator[ProcessingRequest]
    ) -> AsyncIterator[ProcessAnswer]:
        """Answer every message in turn until the peer has sent its last one. The call's scope is the way out of a pending exchange."""
        async for message in input_messages:
            answer = self.answer(message)
            if isinstance(answer, Pending):
                answer = await answer.run()
            if answer is not None:
                yield ProcessAnswer(answer)

    def answer(self, message: ProcessingRequest) -> bytes | Pending | None:
        """Answer one message with a serialised ProcessingResponse, at once unless an exchange is needed.

        ``None`` where Envoy waits for no answer.
        """
        if message.observability_mode:
            return None
        kind = message.WhichOneof("request")
        if kind == "request_headers":
            return self._decide(message)
        # A message of a kind that is not known here may be about a request that nobody has decided on.
        return CONTINUED.get(kind) or self._refuse(MISSING_REQUEST, self.evaluator.clock())

    def _decide(self, message: ProcessingRequest) -> bytes | Pending:
        evaluator = self.evaluator
        started = evaluator.clock()
        request = decode_request_headers(message)
        if isinstance(request, Deny):
            return self._refuse(request, started)
        outcome = evaluator.begin(request, started)
        if isinstance(outcome, ExchangePending):
            pending = outcome
            return Pending(lambda: self._finish(request, pending, started))
        return encode_request_headers(outcome)

    def _refuse(self, deny: Deny, started: float) -> bytes:
        self.evaluator.decided(EMPTY_REQUEST, deny, started)
        return encode_request_headers(deny)

    async def _finish(self, request: HttpRequest, pending: ExchangePending, started: float) -> bytes:
        return encode_request_headers(await self.evaluator.finish(request, pending, started))
