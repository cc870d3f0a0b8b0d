"""Law: every message of a stream gets exactly one answer, in order and of its kind; an observer's message gets none; nothing raises.

"The server must respond to this message by either sending back a matching ProcessingResponse message, or by closing the stream" unless it
comes in observability mode.
https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ext_proc/v3/external_processor.proto#service-ext-proc-v3-processingrequest
"""

import math

from hypothesis import event, given
from hypothesis import strategies as st

from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from exchanger.envoy.evaluator import Evaluator
from exchanger.envoy.external_processor import PROCESS_PATH, ExternalProcessor
from exchanger.grpc.routes import CallInfo
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.snapshot import CurrentPolicy
from tests.decision.examples import RULES
from tests.envoy.exchangers import FakeExchanger, answered
from tests.envoy.test_authorization import Records
from tests.property.strategies_envoy import processing_requests
from tests.property.strategies_policy import policies, snapshot_of


@given(policies, st.lists(processing_requests, max_size=6))
async def test_one_answer_each(policy: list[PolicyDocument], messages: list[ProcessingRequest]) -> None:
    current = CurrentPolicy()
    current.publish(snapshot_of(policy))
    records = Records()
    service = ExternalProcessor(Evaluator(current, RULES, FakeExchanger(), (records,)))

    answers = []
    for message in messages:
        result = service.process(message.SerializeToString(), CallInfo(PROCESS_PATH, math.inf, ()))
        if result is not None:
            result = await answered(result)
        if result is not None:
            answers.append(ProcessingResponse.FromString(result))

    expected = [message for message in messages if not message.observability_mode]
    assert len(answers) == len(expected)
    for message, answer in zip(expected, answers, strict=True):
        asked, given_back = message.WhichOneof("request"), answer.WhichOneof("response")
        event(f"{asked} {given_back}")
        assert given_back == asked or (asked in {None, "request_headers"} and given_back == "immediate_response")
        assert answer.HasField("mode_override") == (given_back == "request_headers")
    assert len(records.records) == sum(message.WhichOneof("request") in {None, "request_headers"} for message in expected)
