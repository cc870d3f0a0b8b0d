"""Law: whatever bytes a message of an ext_proc stream has, the route answers, or refuses with a GrpcError; it raises nothing else."""

import math

from hypothesis import event, given
from hypothesis import strategies as st

from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from exchanger.envoy.evaluator import Evaluator
from exchanger.envoy.external_processor import PROCESS_PATH, ExternalProcessor
from exchanger.grpc.routes import CallInfo
from exchanger.grpc.status import GrpcError, StatusCode
from exchanger.policy.snapshot import CurrentPolicy
from tests.decision.examples import RULES, snapshot
from tests.envoy.exchangers import FakeExchanger, answered
from tests.property.strategies_envoy import processing_requests


def damaged(message: ProcessingRequest, place: int, data: bytes) -> bytes:
    wire = message.SerializeToString()
    at = place % (len(wire) + 1)
    return wire[:at] + data + wire[at + len(data) :]


POLICY = CurrentPolicy()
POLICY.publish(snapshot())
PROCESSOR = ExternalProcessor(Evaluator(POLICY, RULES, FakeExchanger(), ()))

any_bytes = st.binary(max_size=60) | st.builds(damaged, processing_requests, st.integers(0, 1000), st.binary(max_size=4))


@given(any_bytes)
async def test_answered_or_refused(message: bytes) -> None:
    try:
        answer = PROCESSOR.process(message, CallInfo(PROCESS_PATH, math.inf, ()))
    except GrpcError as error:
        event("refused")
        assert error.status is StatusCode.INTERNAL  # noqa: PT017 - both ways are fine
        return
    if answer is not None:
        answer = await answered(answer)
    if answer is None:
        assert ProcessingRequest.FromString(message).observability_mode
    else:
        assert ProcessingResponse.FromString(answer).WhichOneof("response")
