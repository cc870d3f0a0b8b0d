"""Token endpoints without sockets and tasks: over HTTP/1.1 and HTTP/2, honest, and with the faults that real ones have."""

import json
import ssl
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from random import Random
from typing import Final, final
from urllib.parse import parse_qs

import attrs
import h11
import ngh2
from cryptography import x509

from exchanger.authz.decision.check import TOKEN_EXCHANGE_GRANT
from exchanger.model.issuer import ID_JAG
from exchanger.model.token import ACCESS_TOKEN_TYPE
from tests.simulation.gateway import Question
from tests.simulation.kernel import Kernel
from tests.simulation.network import Connection, Conversation, HttpConversation, Peer, Remote
from tests.simulation.tls import Secured


@final
@attrs.frozen
class Fault:
    """What a request for a token may meet, and for how many ``seconds`` around it an exchange may fail for that reason.

    It is a response with ``status`` and ``body``, or none where ``status`` is 0. ``http2``: only connections with HTTP/2 have it.
    """

    seconds: float = 1.0
    status: int = 0
    body: bytes = b""
    http2: bool = False


REQUEST_FAULTS: Final = {
    "reset": Fault(),
    "close": Fault(),
    "cut": Fault(),
    "late": Fault(2.5),
    "503": Fault(status=503, body=b'{"error": "temporarily_unavailable"}'),
    "429": Fault(4.0, 429, b"{}"),
    "refusal": Fault(status=400, body=b'{"error": "invalid_grant"}'),
    "no type": Fault(),
    "assertion": Fault(),
    "html": Fault(status=200, body=b"<html>sign in</html>"),
    "other type": Fault(),
    "goaway": Fault(http2=True),
    "reset stream": Fault(http2=True),
}
# A response that comes late, but within the service's own time for it.
SLOW: Final = "late in time"
# A response that begins, and never ends; and what a client gets whose credentials the issuer does not know.
STALL: Final = "stall"
UNKNOWN_CLIENT: Final = "unknown client"
_ALL_FAULTS: Final = {
    **REQUEST_FAULTS,
    STALL: Fault(2.5),
    SLOW: Fault(),
    UNKNOWN_CLIENT: Fault(status=401, body=b'{"error": "invalid_client"}'),
}
# Of these, those whose response has a token that must not be used, for any grant and for a token exchange.
_UNUSABLE: Final = ("other type",)
_UNUSABLE_IN_AN_EXCHANGE: Final = (*_UNUSABLE, "no type", "assertion")
# What it may meet and must not notice, unless its gateway waits for less.
HARMLESS_FAULTS: Final = ("interim", "slow bytes", "chunks", "no lifetime", SLOW)
# What happens to a connection between requests.
IDLE_FAULTS: Final = ("surplus", "stray close", "408 while idle")
CONNECT_FAULTS: Final = {"refused": 1.0, "silent": 3.0}
FAULTS: Final = (*REQUEST_FAULTS, *HARMLESS_FAULTS, *IDLE_FAULTS, *CONNECT_FAULTS)

# The longest time for which profiles let tokens be kept (seconds).
MAX_TTL: Final = 60
# Seconds within which a surplus answer comes, less than the shortest quarantine, minus what the network may add.
_SURPLUS_WITHIN: Final = 0.085
# The same where no connection is used again, so that no wait is too long.
_LATE_SURPLUS: Final = 2.0
# Seconds that an answer takes which is late in time.
_SLOW: Final = (0.15, 0.4)


@final
@attrs.frozen
class Client:
    """Who asks for a token: by which ``path``, and with which secret or assertion."""

    path: str
    proof: str = attrs.field(repr=False)


@final
@attrs.frozen
class Issued:
    """A token: for whom and what it was asked, when (seconds), for how long, and until when it is good by the wall clock.

    ``client`` is who asked for it; ``lie`` is what is wrong with it, "" if nothing is.
    """

    subject: str
    scope: str
    audience: str
    at: float
    lifetime: float
    until: float
    client: "Client"
    lie: str = ""

    @property
    def kept(self) -> float:
        """The longest time for which it is kept (seconds)."""
        return min(self.lifetime, MAX_TTL)


@final
@attrs.frozen
class Trouble:
    """Something that an exchange may have failed from, between two times (seconds): anybody's, or one of that ``subject``."""

    begins: float
    ends: float
    kind: str
    subject: str = ""


@final
@attrs.define(eq=False)
class SimulatedIssuer:
    """One issuer and its host. ``quiet``: the storm is over, and nothing strikes any more. A ``hated`` token gets no answer, ever.

    ``context``: it speaks TLS. ``proves`` returns whose an assertion is, ``knows`` whether that client is known. ``writes`` makes tokens
    that say something, and ``introspects`` says something about callers' tokens. ``takes`` sees each request, and returns what it is as one
    with a caller's token, perhaps with the ``error`` to answer. ``single_use``: no connection is to carry another request;
    ``carried_again`` counts those that came all the same.
    """

    kernel: Kernel
    name: str
    faults: frozenset[str]
    often: float
    latency: tuple[float, float]
    http2: bool = False
    hated: str = ""
    context: ssl.SSLContext | None = None
    proves: Callable[[str], str] = str
    knows: Callable[[Client], bool] = lambda _client: True
    writes: "Callable[[SimulatedIssuer, Issued, int], tuple[str, dict[str, object], Issued]] | None" = None
    introspects: "Callable[[SimulatedIssuer, str], bytes] | None" = None
    takes: "Callable[[SimulatedIssuer, Mapping[str, str], Call], Mapping[str, str]]" = lambda _issuer, fields, _call: fields
    single_use: bool = False
    quiet: bool = False
    requests: int = 0
    carried_again: int = 0
    issued: dict[str, Issued] = attrs.field(factory=dict)
    troubles: list[Trouble] = attrs.field(factory=list)
    busy: list[tuple[float, float, bool]] = attrs.field(factory=list)
    chance: Random = attrs.field(init=False)
    _calls: list["Call"] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = self.kernel.random(f"issuer {self.name}")

    def under_way(self) -> tuple["Call", ...]:
        """Return the calls that wait for an answer now."""
        self._calls = [call for call in self._calls if not call.answered and not call.given_up]
        return tuple(self._calls)

    @property
    def host(self) -> str:
        return f"{self.name}.example.com"

    def strikes(self, *kinds: str) -> str:
        """Return the fault of these that strikes now, or ""."""
        return self.kernel.strike(self.name, [kind for kind in kinds if kind in self.faults and not self.quiet], self.often)

    def trouble(self, kind: str, seconds: float) -> None:
        """Remember why exchanges may fail for so long."""
        self.troubles.append(Trouble(self.kernel.now, self.kernel.now + seconds, kind))

    def struck(self, question: Question, since: float) -> Iterator[str]:
        """Yield the kinds of trouble since then that may be why an exchange for ``question`` failed."""
        for one in self.troubles:
            if one.begins <= question.answered and one.ends >= since and one.subject in {"", question.token}:
                yield one.kind

    def refuses(self) -> str:
        kind = self.strikes(*CONNECT_FAULTS)
        if kind:
            self.trouble(kind, CONNECT_FAULTS[kind])
        return kind

    def connected(self, remote: Remote) -> Peer:
        if self.context is None:
            return self._conversation(remote)
        secured = Secured(remote, self.context)
        secured.peer = self._conversation(secured)
        return secured

    def _conversation(self, remote: Connection) -> "Http1 | Http2":
        return Http2(remote, self) if self.http2 else Http1(remote, self)

    def asked(self, body: bytes, answer: "Call") -> None:
        """Take a request, whose answer leaves later."""
        fields = self.takes(self, {name: values[0] for name, values in parse_qs(body.decode()).items()}, answer)
        self.requests += 1
        self._calls.append(answer)
        answer.conversation.requests += 1
        self.carried_again += answer.conversation.requests > 1
        fault = self._meets(fields, answer)
        wait = self.chance.uniform(*{"late": (0.3, 1.8), SLOW: _SLOW}.get(fault, self.latency))
        self.busy.append((self.kernel.now, self.kernel.now + wait, "token" in fields))
        self.kernel.after(wait, self._answer, fields, fault, answer)

    def _meets(self, fields: Mapping[str, str], call: "Call") -> str:
        """Return the fault that a request meets, or ""."""
        if not self.knows(call.client(fields)):
            self.kernel.tell(self.name, "does not know the client")
            return UNKNOWN_CLIENT
        http2 = isinstance(call.conversation, Http2)
        fault = self.strikes(*(kind for kind in (*REQUEST_FAULTS, STALL) if http2 or not _ALL_FAULTS[kind].http2), *HARMLESS_FAULTS)
        if self.hated and fields["subject_token"] == self.hated:
            # Over HTTP/2, the end of the connection would be everybody's trouble.
            fault = "reset stream" if http2 else "reset"
            self.troubles.append(Trouble(self.kernel.now, self.kernel.now + REQUEST_FAULTS[fault].seconds, "hated", self.hated))
            return fault
        if fault in _ALL_FAULTS:
            self.trouble(fault, _ALL_FAULTS[fault].seconds)
        about = fields.get("token")
        asked = ("for", *map(fields.get, ("subject_token", "scope", "audience"))) if about is None else ("about", about)
        self.kernel.tell(self.name, "is asked", *asked)
        return fault

    def most_calls(self, since: float, until: float, around: float, *, introspections: bool) -> int:
        """Return how many calls, or questions about callers' tokens, there were at once at most between two times, if each took so many
        seconds more before and after.
        """
        spans = [(begins - around, ends + around) for begins, ends, asks in self.busy if asks or not introspections]
        met = [(max(begins, since), ends) for begins, ends in spans if begins <= until and ends >= since]
        return max((sum(begins <= at <= ends for begins, ends in met) for at, _ in met), default=0)

    def _answer(self, fields: Mapping[str, str], fault: str, call: "Call") -> None:
        call.answered = True
        if call.conversation.over:
            return
        if fault in {"reset", "close"}:
            call.conversation.end(abort=fault == "reset")
        elif (response := _ALL_FAULTS.get(fault, Fault())).status:
            more = [("Retry-After", str(self.chance.choice([0, 1, 2])))] if response.status == HTTPStatus.TOO_MANY_REQUESTS else []
            call.respond(response.status, response.body, fault, *more)
        elif error := fields.get("error", ""):
            call.respond(400, json.dumps({"error": error}).encode(), fault)
        elif self.introspects is not None and "token" in fields:
            call.respond(200, self.introspects(self, fields["token"]), fault)
        else:
            call.respond(200, self._issue(fields, call.client(fields), fault), fault)

    def _issue(self, fields: Mapping[str, str], client: Client, fault: str) -> bytes:
        number = len(self.issued)
        token = f"{self.name}-{number}-{self.chance.getrandbits(48):012x}"
        lifetime = self.chance.choice([5, 30, 300])
        now = self.kernel.now
        issued = Issued(
            fields["subject_token"],
            fields.get("scope", ""),
            fields.get("audience", ""),
            now,
            lifetime,
            self.kernel.wall() + lifetime,
            client,
        )
        if fault in (_UNUSABLE_IN_AN_EXCHANGE if fields.get("grant_type") == TOKEN_EXCHANGE_GRANT else _UNUSABLE):
            issued = attrs.evolve(issued, lie=fault)
        more: dict[str, object] = {}
        if self.writes is not None:
            token, more, issued = self.writes(self, issued, number)
        self.issued[token] = issued
        body: dict[str, object] = {
            "access_token": token,
            "token_type": "mac" if fault == "other type" else "Bearer",
            "issued_token_type": ID_JAG if fault == "assertion" else ACCESS_TOKEN_TYPE,
            "expires_in": lifetime,
            **more,
        }
        left_out = {"no type": "issued_token_type", "no lifetime": "expires_in"}.get(fault, "")
        return json.dumps({name: value for name, value in body.items() if name != left_out}).encode()


@final
@attrs.define(eq=False)
class Call:
    """A request that waits for its answer."""

    conversation: "Http1 | Http2"
    path: str
    authorization: str
    stream: int = 0
    answered: bool = False

    def client(self, fields: Mapping[str, str]) -> Client:
        """Return who asks: RFC 6749 section 2.3.1, RFC 7523 section 2.2, or RFC 8705 section 2."""
        remote = self.conversation.remote
        if isinstance(remote, Secured) and remote.shown:
            (name,) = x509.load_der_x509_certificate(remote.shown).subject
            return Client(self.path, str(name.value))
        if assertion := fields.get("client_assertion", ""):
            return Client(self.path, self.conversation.issuer.proves(assertion))
        return Client(self.path, b64decode(self.authorization.removeprefix("Basic ")).decode().partition(":")[2])

    @property
    def given_up(self) -> bool:
        """Whether the client expects no answer any more."""
        return self.conversation.over or (isinstance(self.conversation, Http2) and not self.conversation.has(self.stream))

    def respond(self, status: int, body: bytes, fault: str, *fields: tuple[str, str]) -> None:
        """Answer, in the way that ``fault`` says."""
        self.conversation.respond(self.stream, status, body, fault, fields)


@final
@attrs.define(eq=False)
class Http1(HttpConversation):
    """One connection over HTTP/1.1."""

    issuer: SimulatedIssuer
    requests: int = attrs.field(default=0, init=False)

    def received(self, data: bytes) -> None:
        try:
            super().received(data)
        except h11.RemoteProtocolError:
            self.end(abort=True)

    def asked(self) -> None:
        assert self.head is not None
        self.issuer.asked(self.body, Call(self, self.target, dict(self.head.headers).get(b"authorization", b"").decode()))

    def respond(self, _stream: int, status: int, body: bytes, fault: str, fields: tuple[tuple[str, str], ...]) -> None:
        chance, kernel = self.issuer.chance, self.issuer.kernel
        length = ("Transfer-Encoding", "chunked") if fault == "chunks" else ("Content-Length", str(len(body)))
        cut = chance.randrange(len(body) + 1)
        said = b""
        if fault == "interim":
            said += self.codec.send(h11.InformationalResponse(status_code=103, headers=[])) or b""
        said += self.response(status, [("Content-Type", "application/json"), length, *fields], body[:cut], body[cut:])
        if fault == "cut":
            self.remote.write(said[: chance.randrange(1, len(said))])
            self.end()
            return
        if fault == STALL:
            self.remote.write(said[: len(said) - chance.randrange(1, len(body) + 1)])
            return
        if fault == "slow bytes":
            half = chance.randrange(1, len(said))
            self.remote.write(said[:half])
            kernel.after(chance.uniform(0.0, 0.05), self._rest, said[half:])
            return
        self.remote.write(said)
        self._next(said)

    def _rest(self, said: bytes) -> None:
        if not self.over:
            self.remote.write(said)
            self._next(b"")

    def _next(self, said: bytes) -> None:
        """Be ready for another request, or for what happens to a connection in between."""
        chance, kernel = self.issuer.chance, self.issuer.kernel
        if self.codec.our_state is h11.DONE:
            self.codec.start_next_cycle()
        match self.issuer.strikes(*IDLE_FAULTS):
            case "surplus" if said:
                kernel.after(chance.uniform(0.0, _LATE_SURPLUS if self.issuer.single_use else _SURPLUS_WITHIN), self._again, said)
            case "stray close":
                kernel.after(chance.uniform(0.0, 3.0), self._idle_end, b"")
            case "408 while idle":
                kernel.after(chance.uniform(0.0, 3.0), self._idle_end, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        self.read()

    def _again(self, said: bytes) -> None:
        if not self.over:
            self.remote.write(said)

    def _idle_end(self, said: bytes) -> None:
        if not self.over and self.codec.our_state is h11.IDLE:
            self.issuer.trouble("closed while idle", 0.3)  # a request may be on its way
            self.remote.write(said)
            self.end()


@final
@attrs.define(eq=False)
class Http2(Conversation):
    """One connection over HTTP/2, with prior knowledge."""

    issuer: SimulatedIssuer
    requests: int = attrs.field(default=0, init=False)
    _codec: ngh2.Connection = attrs.field(factory=lambda: ngh2.Connection(ngh2.Role.SERVER), init=False)
    _bodies: dict[int, bytes] = attrs.field(factory=dict, init=False)
    _heads: dict[int, tuple[str, str]] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._codec.initiate_connection({})
        self._flush()

    def received(self, data: bytes) -> None:
        if self.over:
            return
        try:
            self._codec.receive_data(data)
        except ngh2.NGH2Error:
            self.end(abort=True)
            return
        for event in self._codec.events():
            if isinstance(event, ngh2.RequestReceived):
                self._bodies[event.stream_id] = b""
                fields = dict(event.headers)
                self._heads[event.stream_id] = fields[b":path"].decode(), fields.get(b"authorization", b"").decode()
            elif isinstance(event, ngh2.DataReceived) and event.stream_id in self._bodies:
                self._bodies[event.stream_id] += event.data
                if event.end_stream:
                    self.issuer.asked(self._bodies[event.stream_id], Call(self, *self._heads[event.stream_id], event.stream_id))
            elif isinstance(event, ngh2.StreamReset | ngh2.StreamClosed):
                self._bodies.pop(event.stream_id, None)
                self._heads.pop(event.stream_id, None)
            elif isinstance(event, ngh2.ConnectionClosed):
                self.end()
                return
        self._flush()

    def has(self, stream: int) -> bool:
        return stream in self._bodies

    def respond(self, stream: int, status: int, body: bytes, fault: str, fields: tuple[tuple[str, str], ...]) -> None:
        if stream not in self._bodies:  # the client has left it
            return
        chance, codec = self.issuer.chance, self._codec
        head = [(b":status", b"%d" % status), (b"content-type", b"application/json")]
        head += [(name.lower().encode(), value.encode()) for name, value in fields]
        if fault == "reset stream":
            codec.reset_stream(stream)
        elif fault == "cut":
            codec.send_response(stream, head, end_stream=False)
            codec.send_data(stream, body[: chance.randrange(len(body))], end_stream=False)
            self._flush()
            self.end()
            return
        else:
            codec.send_response(stream, head, end_stream=not body)
            if body:
                codec.send_data(stream, body[:1] if fault == STALL else body, end_stream=fault != STALL)
        if fault == "goaway":
            codec.send_goaway()
        self._flush()
        if fault == "goaway":
            self.issuer.kernel.after(chance.uniform(0.0, 0.5), self.end)

    def _flush(self) -> None:
        if data := self._codec.data_to_send():
            self.remote.write(data)
