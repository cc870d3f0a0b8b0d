"""Law: whatever a gateway says of a request beside its bytes, the decision is that of the bytes, or a refusal.

The model knows the bytes that the upstream gets. Each place in which a gateway can speak of them says the same, something else, or nothing.
"""

import enum
import re

import attrs
from hypothesis import event, given, settings
from hypothesis import strategies as st

from exchanger._proto.envoy.config.core.v3.base_pb2 import HeaderMap, HeaderValue
from exchanger._proto.envoy.service.auth.v3.attribute_context_pb2 import AttributeContext
from exchanger._proto.envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import HttpHeaders, ProcessingRequest
from exchanger._proto.google.protobuf.struct_pb2 import Struct, Value
from exchanger.decision.check import MISSING_HTTP, begin
from exchanger.decision.outcome import Deny, Reason
from exchanger.envoy.authorization import decode_check
from exchanger.envoy.process_codec import decode_request_headers
from exchanger.envoy.request_fields import Refused
from exchanger.policy.documents.document import PolicyDocument
from exchanger.values.request import HttpRequest
from tests.decision.examples import RULES
from tests.examples import examples
from tests.property.strategies_policy import documents, snapshot_of


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

    decoded: HttpRequest | Deny | Refused
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
    decoded: HttpRequest | Deny | Refused
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


@settings(max_examples=examples(500))
@given(parts(), st.data(), st.lists(documents(max_regions=0), min_size=1, max_size=3))
def test_bytes_decide_or_nothing_does(truth: tuple[Part, Part, Part], data: st.DataObject, policy: list[PolicyDocument]) -> None:
    question = data.draw(questions(truth))
    path, host, method = truth
    decoded = question.decoded
    if not isinstance(decoded, HttpRequest):
        event("refused")
        deny = decoded.deny if isinstance(decoded, Refused) else decoded
        assert deny is MISSING_HTTP or (deny.reason, deny.status) == (Reason.DENY_AMBIGUOUS_REQUEST, 400)
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
