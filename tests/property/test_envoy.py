"""Laws of what a gateway says: the request line, and ext_proc beside ext_authz."""

import enum
import math
import re

import attrs
from hypothesis import event, given, settings
from hypothesis import strategies as st

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue, HeaderValueOption
from exchanger._proto.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse, OkHttpResponse
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import (
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    HttpHeaders,
    ProcessingRequest,
    ProcessingResponse,
)
from exchanger._proto.google.protobuf.struct_pb2 import Struct, Value
from exchanger._proto.google.protobuf.wrappers_pb2 import BoolValue
from exchanger._proto.google.rpc.status_pb2 import Status
from exchanger.authz.decision.check import MISSING_HTTP, begin
from exchanger.authz.decision.outcome import Allow, DecisionReason, DecisionRecord, Deny, Filter
from exchanger.authz.envoy.authorization import Authorization, decode_check, encode_check
from exchanger.authz.envoy.external_processor import PROCESS_PATH, ExternalProcessor
from exchanger.authz.envoy.process_codec import decode_request_headers, encode_request_headers
from exchanger.authz.envoy.request_fields import RefusedRequest
from exchanger.authz.evaluation.evaluator import Evaluator
from exchanger.model.errors import Diagnostic
from exchanger.model.request import HttpRequest
from exchanger.model.secret import Secret
from exchanger.model.token import ErrorKind, ExchangedToken, ExchangeFailure, TokenOutcome
from exchanger.net.deferred import Deferred
from exchanger.net.grpc.routes import CallInfo, StreamContinuation
from exchanger.net.grpc.status import GrpcError, StatusCode
from exchanger.policy.current import CurrentPolicy
from exchanger.policy.documents.document import PolicyDocument
from tests.authz.decision.examples import RULES, snapshot
from tests.authz.envoy.exchangers import FakeExchanger, answered
from tests.authz.envoy.test_authorization import Records
from tests.authz.envoy.test_process_codec import ONLY_REQUEST_HEADERS
from tests.examples import examples
from tests.property.strategies_envoy import Asked, check_request, processing_requests, processing_requests_of, requests
from tests.property.strategies_policy import documents, policies, rarely, snapshot_of

# Law: whatever a gateway says of a request beside its bytes, the decision is that of the bytes, or a refusal.
#
# The model knows the bytes that the upstream gets. Each place in which a gateway can speak of them says the same, something else, or
# nothing.


class Says(enum.Enum):
    """What one place says of one part."""

    NOTHING = enum.auto()
    TRUTH = enum.auto()
    OTHERWISE = enum.auto()


@attrs.frozen
class Part:
    """One part of the request line. ``same`` are texts that mean the bytes, ``other`` is one that does not."""

    name: str
    truth: bytes
    same: tuple[str, ...]
    other: str


def masked(data: bytes) -> str:
    """Return ``data`` as Envoy's text fields have it: ``!`` for each byte that is not part of a UTF-8 character."""
    text = ""
    while data:
        for size in (1, 2, 3, 4):
            try:
                text += data[:size].decode()
            except UnicodeDecodeError:
                continue
            data = data[size:]
            break
        else:
            text, data = text + "!", data[1:]
    return text


pieces = st.sampled_from(
    [b"/", b"a", b"b", b"/a", b"/b", b"!", b"%61", b"?", b"\xff", b"\xc3", b"\xc3\xa9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90"]
)
paths = st.lists(pieces, max_size=5).map(lambda parts: b"/" + b"".join(parts))
hosts = st.sampled_from([b"a.example", b"b.example", b"c.example", b"a\xff.example", b"a.example,b.example", b""])
methods = st.sampled_from([b"GET", b"PUT", b"OPTIONS", b"G\xffT"])


@st.composite
def parts(draw: st.DrawFn) -> tuple[Part, Part, Part]:
    path, host, method = draw(paths), draw(hosts), draw(methods)
    spelled = masked(host)
    same = {masked(path), masked(path).partition("?")[0]}  # an attribute of ext_proc may lack the query
    return (
        Part(":path", path, (masked(path),), draw(st.sampled_from(["/other", "/a!", "/"]).filter(lambda text: text not in same))),
        Part(":authority", host, (spelled, spelled.upper(), f"{spelled}:8443"), "other.example"),
        Part(":method", method, (masked(method), masked(method).lower()), "POST"),
    )


def text_of(draw: st.DrawFn, part: Part, said: Says) -> str:
    if said is Says.NOTHING:
        return ""
    return draw(st.sampled_from(part.same)) if said is Says.TRUTH else part.other


raw_says = st.sampled_from([Says.TRUTH, Says.TRUTH, Says.NOTHING])
plain_says = st.sampled_from([Says.TRUTH, Says.TRUTH, Says.NOTHING, Says.OTHERWISE])
ATTRIBUTES = {":path": "request.path", ":authority": "request.host", ":method": "request.method"}


@attrs.frozen
class Question:
    """A decoded question, the parts whose bytes it had, and all that was said of each part.

    ``twice``: a pseudo-header came twice. ``beside``: text headers were there, too.
    """

    decoded: HttpRequest | Deny | RefusedRequest
    raw: frozenset[str]
    said: tuple[frozenset[Says], ...]
    twice: bool
    beside: bool


@st.composite
def questions(draw: st.DrawFn, truth: tuple[Part, Part, Part]) -> Question:
    fields, said, raw, plain, beside = [], [], set(), {}, {}
    is_check = draw(st.booleans())
    for part in truth:
        in_map, in_attribute = draw(raw_says), draw(plain_says)
        in_headers = draw(plain_says) if is_check and draw(st.integers(0, 3)) == 0 else Says.NOTHING
        if in_map is Says.TRUTH:
            raw.add(part.name)
            name = part.name.title() if draw(st.booleans()) else part.name
            fields.append(HeaderValue(key=name, raw_value=part.truth))
        plain[part.name] = text_of(draw, part, in_attribute)
        if in_headers is not Says.NOTHING:
            beside[part.name.title() if draw(st.booleans()) else part.name] = text_of(draw, part, in_headers)
        # Empty text says nothing, whatever it is meant to be.
        heard = {
            in_map,
            in_attribute if plain[part.name] else Says.NOTHING,
            in_headers if any(beside.get(n) for n in (part.name, part.name.title())) else Says.NOTHING,
        }
        said.append(frozenset(heard))
    twice = bool(fields) and draw(st.integers(0, 9)) == 0
    header_map = HeaderMap(headers=draw(st.permutations(fields + fields[:1] if twice else fields)))
    decoded: HttpRequest | Deny | RefusedRequest
    if is_check:
        http = AttributeContext.HttpRequest(
            method=plain[":method"], path=plain[":path"], host=plain[":authority"], headers=beside, header_map=header_map
        )
        decoded = decode_check(CheckRequest(attributes=AttributeContext(request=AttributeContext.Request(http=http))).SerializeToString())
    else:
        attributes = {ATTRIBUTES[name]: Value(string_value=text) for name, text in plain.items() if text}
        named = {"envoy.filters.http.ext_proc": Struct(fields=attributes)} if attributes else {}
        decoded = decode_request_headers(ProcessingRequest(request_headers=HttpHeaders(headers=header_map), attributes=named))
    return Question(decoded, frozenset(raw), tuple(said), twice, bool(beside))


def exact(part: Part) -> str:
    return part.truth.decode("utf-8", "surrogateescape")


@settings(max_examples=examples(300))
@given(parts(), st.data(), st.lists(documents(max_closed_scopes=0), min_size=1, max_size=3))
def test_bytes_decide_or_nothing_does(truth: tuple[Part, Part, Part], data: st.DataObject, policy: list[PolicyDocument]) -> None:
    question = data.draw(questions(truth))
    path, host, method = truth
    decoded = question.decoded
    if not isinstance(decoded, HttpRequest):
        event("refused")
        deny = decoded.deny if isinstance(decoded, RefusedRequest) else decoded
        assert deny is MISSING_HTTP or (deny.reason, deny.status) == (DecisionReason.DENY_AMBIGUOUS_REQUEST, 400)
        return
    event("decided")
    assert not question.twice
    assert not any(Says.OTHERWISE in said and Says.TRUTH in said for said in question.said)
    assert decoded.path_is_raw == (":path" in question.raw)
    if question.raw >= {":path", ":authority", ":method"}:
        bytes_alone = HttpRequest(exact(method).upper(), exact(host), exact(path), path_is_raw=True)
        snapshot = snapshot_of(policy)
        assert begin(decoded, snapshot, RULES) == begin(bytes_alone, snapshot, RULES)
    for part, found in ((path, decoded.path), (host, decoded.host), (method, decoded.method)):
        if part.name in question.raw:
            assert found == (exact(part).upper() if part is method else exact(part))
            assert part is path or found.isprintable()  # a host or method with such bytes has been refused


@given(parts(), st.data())
def test_what_agrees_is_not_refused(truth: tuple[Part, Part, Part], data: st.DataObject) -> None:
    question = data.draw(questions(truth))
    readable = all(re.fullmatch(rb"[A-Za-z.]+", part.truth) for part in truth[1:])
    if readable and not question.twice and not question.beside and not any(Says.OTHERWISE in said for said in question.said):
        known = all(Says.TRUTH in said for said in question.said[1:])
        assert isinstance(question.decoded, HttpRequest) or (question.decoded is MISSING_HTTP and not known)


# Law: every message of a stream gets exactly one answer, in order and of its kind; an observer's message gets none; nothing raises.
#
# "The server must respond to this message by either sending back a matching ProcessingResponse message, or by closing the stream" unless it
# comes in observability mode.
# https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/ext_proc/v3/external_processor.proto#service-ext-proc-v3-processingrequest


@given(policies, st.lists(processing_requests, max_size=6))
async def test_each_message_of_a_stream_gets_one_answer(policy: list[PolicyDocument], messages: list[ProcessingRequest]) -> None:
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


# Law: whatever bytes a message of an ext_proc stream has, the route answers, or refuses with a GrpcError; it raises nothing else.


def damaged(message: ProcessingRequest, place: int, data: bytes) -> bytes:
    wire = message.SerializeToString()
    at = place % (len(wire) + 1)
    return wire[:at] + data + wire[at + len(data) :]


POLICY = CurrentPolicy()
POLICY.publish(snapshot())
PROCESSOR = ExternalProcessor(Evaluator(POLICY, RULES, FakeExchanger(), ()))

any_bytes = st.binary(max_size=60) | st.builds(damaged, processing_requests, st.integers(0, 1000), st.binary(max_size=4))


@given(any_bytes)
async def test_any_bytes_of_a_message_are_answered_or_refused(message: bytes) -> None:
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


# Law: for the same HTTP request and policy, ext_proc and ext_authz answer the same, and record the same.
#
# Requests are evaluated by one engine; what differs is the form of question and answer: ext_authz headers go in ``value``, ext_proc headers
# in ``raw_value``. Where ext_proc's path came byte for byte, ext_authz is asked with raw headers, too.


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


async def completed(answer: bytes | Deferred | StreamContinuation | None) -> bytes:
    assert answer is not None
    return await answered(answer)


def known(record: DecisionRecord) -> DecisionRecord:
    """Return ``record`` without what only one side knows: who asked, when, for how long, and the authority of an absolute-form target."""
    request = attrs.evolve(record.request, target_authority="")
    return attrs.evolve(record, started=0.0, duration=0.0, asked_by=Filter.EXT_AUTHZ, request=request)


@st.composite
def equal_questions(draw: st.DrawFn) -> tuple[Asked, ProcessingRequest]:
    asked = draw(requests)
    return asked, draw(processing_requests_of(asked))


@settings(max_examples=examples(300))  # the reasons that need a match, a token and an issuer have to turn up
@given(
    st.lists(rarely(documents(), documents(max_closed_scopes=0), one_in=8), min_size=1, max_size=3),
    equal_questions(),
    outcomes,
    st.booleans(),
    st.booleans(),
)
async def test_ext_proc_decides_as_ext_authz(
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


# Law: an exchanged token takes the place of all credentials, in bytes that Envoy reads, whatever their length.

names_of_headers = st.lists(st.from_regex(r"[a-z][a-z-]{0,30}", fullmatch=True), max_size=6, unique=True).map(tuple)
# Where a length takes another byte, or the tables of lengths end.
lengths = st.sampled_from([100, 128, 4096, 16384]).flatmap(lambda length: st.integers(max(1, length - 70), length + 3)) | st.just(1)


@given(lengths, names_of_headers, st.none() | st.integers(0, 2**32))
def test_an_exchanged_token_replaces_all_credentials(length: int, removed: tuple[str, ...], expires_at: int | None) -> None:
    token = "t" * length
    allow = Allow(DecisionReason.ALLOW_EXCHANGE, None, Secret(token), removed=removed, expires_at=expires_at)
    value = f"Bearer {token}"

    def replacing(header: HeaderValue) -> HeaderValueOption:
        return HeaderValueOption(header=header, append=BoolValue(value=False), append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)

    check = CheckResponse.FromString(encode_check(allow))
    assert {"decision", "cache"} <= check.dynamic_metadata.fields.keys()
    check.ClearField("dynamic_metadata")
    option = replacing(HeaderValue(key="authorization", value=value))
    ok = OkHttpResponse(headers=[option], headers_to_remove=removed)
    assert check == CheckResponse(status=Status(code=StatusCode.OK), ok_response=ok)

    response = ProcessingResponse.FromString(encode_request_headers(allow))
    option = replacing(HeaderValue(key="authorization", raw_value=value.encode()))
    common = CommonResponse(header_mutation=HeaderMutation(set_headers=[option], remove_headers=removed), clear_route_cache=True)
    assert response.dynamic_metadata.fields.keys()
    response.ClearField("dynamic_metadata")
    assert response == ProcessingResponse(request_headers=HeadersResponse(response=common), mode_override=ONLY_REQUEST_HEADERS)
