"""``envoy.service.auth.v3.Authorization``: the synchronous door for Check, and the purerpc service around it."""

from typing import Final, final

import attrs

from exchanger._proto.envoy.service.auth.v3.external_auth_grpc import AuthorizationServicer
from exchanger.decision.check import DENY_UNHEALTHY
from exchanger.decision.outcome import ExchangePending, Filter
from exchanger.envoy.check_codec import EMPTY_REQUEST, decode_check, encode_check
from exchanger.envoy.evaluator import Evaluator
from exchanger.envoy.gateway_trace import with_gateway_trace
from exchanger.envoy.request_fields import Refused
from exchanger.grpc.routes import CallInfo, Immediate, Pending, Route
from exchanger.values.request import HttpRequest

CHECK_PATH: Final = b"/envoy.service.auth.v3.Authorization/Check"

_BROKEN: Final = encode_check(DENY_UNHEALTHY)


@final
@attrs.define(eq=False)
class Authorization(AuthorizationServicer):
    """Envoy's ext_authz over gRPC (https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/auth/v3/external_auth.proto)."""

    evaluator: Evaluator

    def routes(self) -> dict[bytes, Route]:
        """Return the route of Check. A fault of ours is answered with a denial: a gateway may take a gRPC error for leave to go on."""
        return {CHECK_PATH: Immediate(self.check, instead=_BROKEN)}

    def check(self, message: bytes, call: CallInfo) -> bytes | Pending:
        """Answer a serialised CheckRequest with a serialised CheckResponse, at once unless an exchange is needed.

        Raises:
            GrpcError: INTERNAL, for bytes that are no CheckRequest.
        """
        evaluator = self.evaluator
        started = evaluator.clock()
        request = decode_check(message)
        if type(request) is not HttpRequest:
            seen, deny = (request.request, request.deny) if isinstance(request, Refused) else (EMPTY_REQUEST, request)
            evaluator.decided(seen, deny, started, Filter.EXT_AUTHZ)
            return encode_check(deny)
        if evaluator.tracer is not None:
            request = with_gateway_trace(request, call)
        outcome = evaluator.begin(request, started, Filter.EXT_AUTHZ)
        if isinstance(outcome, ExchangePending):
            pending = outcome
            return Pending(lambda: self._finish(request, pending, started))
        return encode_check(outcome)

    async def _finish(self, request: HttpRequest, pending: ExchangePending, started: float) -> bytes:
        return encode_check(await self.evaluator.finish(request, pending, started, Filter.EXT_AUTHZ))
