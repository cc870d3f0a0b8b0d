"""Law: for the same HTTP request and policy, ext_proc and ext_authz answer the same, and record the same.

Requests are evaluated by one engine; what differs is the form of question and answer: ext_authz headers go in ``value``, ext_proc headers
in ``raw_value``. Where ext_proc's path came byte for byte, ext_authz is asked with raw headers, too.
"""

import math

import attrs
from hypothesis import event, given, settings
from hypothesis import strategies as st

from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest, ProcessingResponse
from exchanger.decision.outcome import DecisionRecord, Filter
from exchanger.envoy.authorization import Authorization
from exchanger.envoy.evaluator import Evaluator
from exchanger.envoy.external_processor import ExternalProcessor
from exchanger.errors import Diagnostic
from exchanger.grpc.routes import CallInfo, Deferred
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.snapshot import CurrentPolicy
from exchanger.values.secret import Secret
from exchanger.values.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome
from tests.decision.examples import RULES
from tests.envoy.exchangers import FakeExchanger, answered
from tests.envoy.test_authorization import Records
from tests.examples import examples
from tests.property.strategies_envoy import Asked, check_request, processing_requests_of, requests
from tests.property.strategies_policy import documents, rarely, snapshot_of

outcomes: st.SearchStrategy[TokenOutcome] = st.one_of(
    st.just(ExchangedToken(Secret("new"))),
    st.builds(
        lambda status, body, challenges: ExchangeFailure(Diagnostic.OAUTH_ERROR, ErrorKind.HTTP_STATUS, status, body, challenges, 400),
        st.sampled_from([400, 401, 500]),
        st.sampled_from(['{"error":"invalid_target"}', "ü", ""]),
        st.lists(st.sampled_from(["Basic", 'Bearer realm="ü"']), max_size=2).map(tuple),
    ),
)


@attrs.frozen
class Answer:
    """What the caller or the upstream gets."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...]
    credentials: tuple[tuple[str, str], ...]


def of_check(response: CheckResponse) -> Answer:
    if response.WhichOneof("http_response") == "ok_response":
        return Answer(0, "", (), tuple((option.header.key, option.header.value) for option in response.ok_response.headers))
    denied = response.denied_response
    return Answer(denied.status.code, denied.body, tuple((option.header.key, option.header.value) for option in denied.headers), ())


def of_process(response: ProcessingResponse) -> Answer:
    if response.WhichOneof("response") == "request_headers":
        options = response.request_headers.response.header_mutation.set_headers
        return Answer(0, "", (), tuple((option.header.key, option.header.raw_value.decode()) for option in options))
    immediate = response.immediate_response
    options = immediate.headers.set_headers
    return Answer(
        immediate.status.code,
        immediate.body.decode(),
        tuple((option.header.key, option.header.raw_value.decode()) for option in options),
        (),
    )


INFO = CallInfo(b"", math.inf, ())  # which neither of them reads


async def completed(answer: bytes | Deferred | None) -> bytes:
    if answer is not None:
        answer = await answered(answer)
    assert answer is not None
    return answer


def known(record: DecisionRecord) -> DecisionRecord:
    """Return ``record`` without what only one side knows: who asked, when, for how long, and the authority of an absolute-form target."""
    request = attrs.evolve(record.request, target_authority="")
    return attrs.evolve(record, started=0.0, duration=0.0, asked_by=Filter.EXT_AUTHZ, request=request)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Asked, ProcessingRequest]:
    asked = draw(requests)
    return asked, draw(processing_requests_of(asked))


@settings(max_examples=examples(300))  # the reasons that need a match, a token and an issuer have to turn up
@given(
    st.lists(rarely(documents(), documents(max_regions=0), one_in=8), min_size=1, max_size=3),
    questions(),
    outcomes,
    st.booleans(),
    st.booleans(),
)
async def test_equal(
    policy: list[PolicyDocument], question: tuple[Asked, ProcessingRequest], outcome: TokenOutcome, default_deny: bool, options: bool
) -> None:
    asked, message = question
    current = CurrentPolicy()
    current.publish(snapshot_of(policy))
    rules = attrs.evolve(RULES, default_deny_unmatched=default_deny, allow_unauthenticated_options=options)
    checked, processed = Records(), Records()
    check = Authorization(Evaluator(current, rules, FakeExchanger(outcome), (checked,)))
    process = ExternalProcessor(Evaluator(current, rules, FakeExchanger(outcome), (processed,)))

    raw = any(header.key.lower() == ":path" and header.raw_value for header in message.request_headers.headers.headers)
    expected = CheckResponse.FromString(await completed(check.check(check_request(asked, raw=raw), INFO)))
    answer = ProcessingResponse.FromString(await completed(process.process(message.SerializeToString(), INFO)))

    event(checked.records[0].outcome.reason.value)
    assert of_process(answer) == of_check(expected)
    assert ({record.asked_by for record in checked.records}, {record.asked_by for record in processed.records}) == (
        {Filter.EXT_AUTHZ},
        {Filter.EXT_PROC},
    )
    assert [known(record) for record in processed.records] == [known(record) for record in checked.records]
