"""Law: whatever bytes a message of an ext_proc stream has, the route answers, or refuses with a GrpcError; it raises nothing else."""

from collections import deque

import attrs
from hypothesis import event, given
from hypothesis import strategies as st

from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from exchanger.envoy.evaluator import Evaluator
from exchanger.envoy.external_processor import PROCESS_PATH, ExternalProcessor
from exchanger.grpc.call import Call
from exchanger.grpc.methods import run_stream
from exchanger.grpc.routes import CallInfo, StreamMethod, routes_of
from exchanger.grpc.status import GrpcError
from exchanger.policy.current import CurrentPolicy
from tests.decision.examples import RULES, snapshot
from tests.envoy.test_authorization import FakeExchanger
from tests.property.strategies_envoy import processing_requests


@attrs.define(eq=False)
class Tape:
    """A line that plays ``messages`` and keeps what is sent."""

    messages: deque[bytes]
    sent: list[bytes] = attrs.field(factory=list)

    async def receive_message(self, call: Call) -> bytes | None:
        return self.messages.popleft() if self.messages else None

    async def send_message(self, call: Call, message: bytes) -> None:
        self.sent.append(message)


def damaged(message: ProcessingRequest, place: int, data: bytes) -> bytes:
    wire = message.SerializeToString()
    at = place % (len(wire) + 1)
    return wire[:at] + data + wire[at + len(data) :]


POLICY = CurrentPolicy()
POLICY.publish(snapshot())
ROUTE = routes_of(ExternalProcessor(Evaluator(POLICY, RULES, FakeExchanger(), ())).service)[PROCESS_PATH]

any_bytes = st.binary(max_size=60) | st.builds(damaged, processing_requests, st.integers(0, 1000), st.binary(max_size=4))


@given(st.lists(any_bytes, max_size=4))
async def test_answered_or_refused(messages: list[bytes]) -> None:
    assert isinstance(ROUTE, StreamMethod)
    tape = Tape(deque(messages))
    refused = False
    try:
        assert await run_stream(ROUTE, Call(1, ROUTE, CallInfo(PROCESS_PATH, 0.0, ())), tape) is None
    except GrpcError:
        refused = True
    event(f"refused {refused}")
    assert all(ProcessingResponse.FromString(answer).WhichOneof("response") for answer in tape.sent)
    # What came before the message that cannot be read was answered.
    assert len(tape.sent) <= len(messages) - len(tape.messages) - refused
