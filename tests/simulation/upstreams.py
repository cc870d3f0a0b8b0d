"""Upstreams behind gateways with ext_proc: they accept tokens, until they do not trust some any more, and refuse some callers always."""

import itertools
from collections.abc import Iterator
from random import Random
from typing import Final, final

import attrs

from exchanger._proto.envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest
from tests.authz.envoy.test_process_codec import request_headers
from tests.simulation.gateway import Question
from tests.simulation.issuer import Issued
from tests.simulation.kernel import START
from tests.simulation.part import Every, Part

# Seconds for which an upstream may take, in the storm longer than a drain; and the part of callers that are always refused.
_TAKES: Final = 1.5
_HANGS: Final = 60.0
_NEVER_TRUSTED: Final = 0.15
# Seconds within which a token of one caller and target goes once at most.
_PAUSE: Final = 60.0
# The part of a token's life in which nobody renews it.
_YOUNG: Final = 0.5
_NEVER: Final = float("inf")
# Headers that come with a response, beside its status.
_WHOLE: Final = (("date", "Mon, 30 Nov 2026 08:00:00 GMT"), ("content-type", "text/plain"))
# What refuses a token, and what is no refusal of it.
_REFUSALS: Final[tuple[tuple[tuple[str, str], ...], ...]] = (
    (*_WHOLE, ("www-authenticate", 'Bearer realm="a, b", error="invalid_token"')),
    (("WWW-Authenticate", "Basic"), ("www-authenticate", "bearer error=invalid_token")),
    _WHOLE,
)
_OTHERS: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    ("401", (*_WHOLE, ("www-authenticate", 'Bearer error="insufficient_scope"'))),
    ("401", (("www-authenticate", 'Basic realm="error=invalid_token"'),)),
    ("401", ()),
    ("403", _REFUSALS[0]),
    ("404", _WHOLE),
    ("503", _WHOLE),
)


@final
@attrs.frozen
class Heard:
    """A question that got a token of ``issued``; and when its upstream has refused it, and the service knew of that (seconds), or never."""

    question: Question
    issuer: str
    token: str
    issued: Issued
    refused: float
    known: float

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Which caller and target the token is kept for."""
        return self.question.token, self.issuer, self.issued.scope, self.issued.audience


@final
@attrs.define(eq=False)
class Upstreams(Part):
    """From time to time, tokens that were issued before are no longer trusted: one issuer's, or one caller's.

    ``refused``: when the upstream of a question refused its token, ``known``: when the service had answered to that response (seconds).
    """

    needs = "refusals"
    refused: dict[Question, float] = attrs.field(factory=dict, init=False)
    known: dict[Question, float] = attrs.field(factory=dict, init=False)
    _revoked: set[str] = attrs.field(factory=set, init=False)

    def storm(self, every: Every) -> None:
        every(self.plan.refusals, self._distrust, "refusals")

    def _distrust(self) -> None:
        """Revoke what was issued: by an issuer, or for one caller."""
        chance = self.chance
        issuer = self.world.issuers[chance.choice(sorted(self.world.issuers))]
        subject = chance.choice(sorted({one.subject for one in issuer.issued.values()} or {""})) if chance.random() < 0.7 else ""
        self.kernel.tell("upstreams", "distrust", issuer.name, subject)
        self._revoked.update(token for token, one in issuer.issued.items() if not subject or one.subject == subject)

    # What gateways ask of it.

    def takes(self) -> float:
        """Return for how long an upstream is busy with a request."""
        longest = _HANGS if not self.quiet and self.chance.random() < 0.2 else _TAKES
        return self.chance.choice([0.0, 0.0, self.chance.uniform(0.0, longest)])

    def respond(self, question: Question) -> bytes:
        """Return the message with the headers of a response."""
        (token,) = (one.removeprefix("Bearer ") for one in question.reply.tokens) if question.reply is not None else ("",)
        refuses = token in self._revoked or (not self.quiet and Random(question.token).random() < _NEVER_TRUSTED)
        if refuses:
            self.refused[question] = self.kernel.now
            status, fields = "401", self.chance.choice(_REFUSALS)
        elif self.chance.random() < 0.1:
            status, fields = self.chance.choice(_OTHERS)
        else:
            status, fields = "200", _WHOLE
        self.kernel.tell("upstreams", "respond", token, status)
        headers = request_headers([(":status", "", status.encode()), *((name, "", value.encode()) for name, value in fields)])
        return ProcessingRequest(response_headers=headers.request_headers).SerializeToString()

    # What must hold.

    def complaints(self) -> Iterator[str]:
        yield from super().complaints()
        plan = self.plan
        heard: dict[tuple[str, str, str, str], list[Heard]] = {}
        for one in self._heard():
            heard.setdefault(one.key, []).append(one)
        for every in heard.values():
            yield from self._served_again(every)
            if not (plan.rotations or plan.jumps or plan.crowded or plan.store):
                yield from self._gone(every)

    def _heard(self) -> Iterator[Heard]:
        for question in self.world.answered:
            for token in question.reply.tokens if question.reply is not None else ():
                text = token.removeprefix("Bearer ")
                for name, issuer in self.world.issuers.items():
                    if text in issuer.issued:
                        refused, known = (of.get(question, _NEVER) for of in (self.refused, self.known))
                        yield Heard(question, name, text, issuer.issued[text], refused, known if refused < _NEVER else _NEVER)

    def _served_again(self, every: list[Heard]) -> Iterator[str]:
        """Judge the first refusal of a caller and target in each life of the service: the next request has another token."""
        first: dict[float, Heard] = {}
        for one in sorted((one for one in every if one.refused < _NEVER), key=lambda one: one.refused):
            first.setdefault(self.world.born(one.question.asked), one)
        for life, one in first.items():
            later = [other for other in every if other.question.asked > one.known and self.world.born(other.question.answered) == life]
            following = min(later, key=lambda other: other.question.asked, default=None)
            if following is not None and following.token == one.token:
                yield f"served again although it was refused at {one.refused - START:.6f}: {following.question}"

    def _gone(self, every: list[Heard]) -> Iterator[str]:
        """Judge each token that another one replaces while it is young: it was refused, and not within a minute of the one before."""
        tokens: dict[str, list[Heard]] = {}
        for one in sorted(every, key=lambda one: one.question.asked):
            tokens.setdefault(one.token, []).append(one)
        order = sorted(tokens.values(), key=lambda same: same[0].issued.at)
        went: dict[float, float] = {}
        for same, (next_one, *_) in itertools.pairwise(order):
            issued, asked, answered = same[0].issued, next_one.question.asked, next_one.question.answered
            kept, life = min(one.question.answered for one in same), self.world.born(asked)
            ends = self.world.identity.end_of(next_one.question.token) - (issued.until - issued.lifetime)
            young = asked - issued.at < _YOUNG * min(issued.kept, ends)  # no token is kept beyond its caller's
            # It was there before anybody asked for the next one, which was issued for that question.
            if not young or not kept < asked < next_one.issued.at or self.world.born(kept) != life:
                continue
            refusals = [one for one in same if one.refused < answered]
            if not refusals:
                yield f"a token went that nobody had refused, {same[0].token}: {next_one.question}"
                continue
            since = max(min(one.known, answered) for one in refusals) - went.get(life, -_NEVER)
            if since < _PAUSE:
                yield f"a token went {since:.3f} s after the one before: {next_one.question}"
            went[life] = min(one.refused for one in refusals)
