"""What must hold in every world; each judge yields sentences about what does not."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from exchanger.authz.audit.log import FLUSH_S
from exchanger.model.entry import AllowEntry, DenyEntry, ExchangeEntry
from tests.property.policy_model import CLOSED, DISPUTED, UNMATCHED, Answer
from tests.simulation.audit import SLOW
from tests.simulation.chain import FIRST
from tests.simulation.gateway import BREAKER_OPEN, LEFT, LOST, TIMED_OUT, Question, Reply
from tests.simulation.grammar import Request
from tests.simulation.introspection import INACTIVE, UNAVAILABLE
from tests.simulation.issuer import SLOW as LATE_IN_TIME
from tests.simulation.issuer import Issued, SimulatedIssuer
from tests.simulation.plan import WAYS
from tests.simulation.proof import CODES
from tests.simulation.world import World

# The part of its life for which another replica takes a token from the store, less what it may take itself.
_SHAREABLE: Final = 0.9
# Seconds until a token is in the store.
_STORED: Final = 0.1
# Seconds after the storm until every replica has a connection to the store again: the longest pause, and an attempt.
_RECONNECTED: Final = 25.0
# Seconds until a set of keys that has left is what tokens are verified by.
_FETCHED: Final = 0.5
# Seconds after a failed fetch of keys within which there is another one.
_KEYS_LATE: Final = 90.0
# Seconds from a second SIGTERM until the service has ended: it may be starting, or writing the rest of its log; and more for the audit log.
_HURRIED: Final = 0.5
_HURRIED_BY_A_DISK: Final = FLUSH_S + _HURRIED
# Seconds until the service answers although it does not know for how long the gateway waits: its own limit of a call to an issuer, and what
# the way to and fro may take.
_OWN_LIMIT: Final = 0.85
# The same without the way to and fro: for an exchange, the question about its caller's token before it, and their turns.
_OWN_TIME: Final = 0.75
# The longest that an exchange takes from the first question that shares it: the question about the token before it has the same time.
_LONGEST_SHARED: Final = 2.0 * _OWN_TIME
# Seconds until an answer that no permit is free for an exchange has arrived.
_REFUSED_AT_ONCE: Final = 0.1
# Seconds from a token's issue until the service has it; and from a question.
_ON_ITS_WAY: Final = 0.1
_ARRIVED: Final = 0.03
# Seconds more until the last of a crowd have arrived: their batch of bytes comes in pieces.
_CROWD: Final = 0.15
# Seconds that a TLS handshake takes at most, of which the service does not know that its gateway waits already.
_HANDSHAKE: Final = 0.02
# Seconds that tokens may have been issued before a question if they are not kept.
_SHARED: Final = 10.0

Judge = Callable[[World], Iterator[str]]


def in_time(world: World) -> Iterator[str]:
    """Yield questions whose answer comes late, or not within the gateway's time."""
    for question in world.questions:
        took = question.answered - question.asked - (_HANDSHAKE if question.waits else 0.0)
        if question.gone == TIMED_OUT:
            yield from _not_answered(world, question)
        elif question.gone in LOST and not _may_be_lost(world, question):
            yield f"{question.gone}, although it was not ending: {question}"
        elif not question.gone and took > question.patience:
            yield f"late by {took - question.patience:.6f} s: {question}"
        elif (
            not question.gone
            and took > _OWN_LIMIT + (_CROWD if world.plan.crowds else 0.0)
            and question.door != "ext_authz"
            and question.ahead is None
        ):
            yield f"answered after {took:.6f} s: {question}"


def _not_answered(world: World, question: Question) -> Iterator[str]:
    """Judge a gateway that waits in vain for as long as the service does not know. With ext_proc, a stream is answered in its order."""
    if question.patience > _OWN_LIMIT and question.ahead is None:
        yield f"no answer in {question.patience} s: {question}"
    elif not _has_no_time(world, question) and not any(_is_held_up(world, one) for one in _with_those_ahead(question)):
        yield f"no answer in {question.patience} s, without a reason: {question}"


def _with_those_ahead(question: Question | None) -> Iterator[Question]:
    while question is not None:
        yield question
        question = question.ahead


def _has_no_time(world: World, question: Question) -> bool:
    """Tell whether a stream's exchanges, one after the other, take longer than the gateway waits although all is well."""
    exchanges = sum(any(isinstance(said, ExchangeEntry) for said in _said(world, one)) for one in _with_those_ahead(question))
    return exchanges * world.plan.longest_call > question.patience


def _said(world: World, question: Question) -> Iterator[Answer]:
    return world.authors.answers(question.request, question.asked, question.answered, world.born(question.asked))


def _is_held_up(world: World, question: Question) -> bool:
    names = [one.target.issuer_ref for one in _said(world, question) if isinstance(one, ExchangeEntry)]
    return any(_in_trouble(world, name, question, "") for name in names) or _may_wait(world, question, names, "")


def answers(world: World) -> Iterator[str]:
    """Yield what is wrong with an answer: it has another's token, or is not what policy says."""
    for question in world.answered:
        if question.status != "0":
            if not world.was_cut(question.asked, question.answered):
                yield f"gRPC status {question.status}: {question}"
            continue
        said = list(_said(world, question))
        if found := list(_judged(world, question, said)):
            about = question.request, question.asked, question.answered, world.born(question.asked)
            found = list(_judged(world, question, [*said, *world.authors.answers_between(*about)]))
        yield from found


def _judged(world: World, question: Question, said: list[Answer]) -> Iterator[str]:
    match question.reply:
        case None:
            yield f"answered, but not what was asked: {question}"
        case Reply(0, tokens=(token,)):
            yield from _allowed(world, question, token, [one for one in said if isinstance(one, ExchangeEntry)])
        case Reply(0, tokens=()):
            if not any(map(_passes, said)):
                yield f"passed unchanged, which no version allows: {question}"
        case Reply(0, tokens=tokens):
            yield f"{len(tokens)} tokens: {question}"
        case reply:
            yield from _denied(world, question, reply, said)


def _passes(said: Answer) -> bool:
    return said == UNMATCHED or isinstance(said, AllowEntry)


def _may_be_lost(world: World, question: Question) -> bool:
    """Tell whether nobody had to accept a question's connection, or the service was made to end it."""
    begins, ends = question.asked, question.answered
    return world.was_cut(begins, ends) or (ends in world.network.refused and not world.listens(ends))


def _issued(world: World, header: str) -> tuple[SimulatedIssuer, Issued] | None:
    token = header.removeprefix("Bearer ")
    return next(((issuer, issuer.issued[token]) for issuer in world.issuers.values() if token in issuer.issued), None)


def _allowed(world: World, question: Question, header: str, entries: list[ExchangeEntry]) -> Iterator[str]:
    if (by := _issued(world, header)) is None:
        yield f"a token that nobody issued, {header!r}: {question}"
        return
    found, issued = by
    for part in world.parts:
        yield from (f"{accusation}: {question}" for accusation in part.accuses(found.name, question, issued))
    if issued.lie:
        yield f"a token that is wrong in its {issued.lie}: {question}"
    if issued.subject != question.token:
        yield f"another user's token, that of {issued.subject}: {question}"
    if world.plan.verified and world.identity.known_to_be_gone(found.name, question.key, question.asked - _FETCHED):
        yield f"a token of {question.key}, which was removed: {question}"
    targets = {(entry.target.issuer_ref, entry.target.scope, *(entry.target.audiences or ("",))) for entry in entries}
    if (found.name, issued.scope, issued.audience) not in targets:
        yield f"a token for {(found.name, issued.scope, issued.audience)}, where policy says {sorted(targets)}: {question}"
    # The service sees when a token arrives, and counts from the request by the steady clock alone.
    until = issued.until + sum(seconds for at, seconds in world.jumps if seconds > 0 and 0 <= at - issued.at < _ON_ITS_WAY)
    if question.asked > issued.at + issued.lifetime or min(question.walls) > until:
        yield f"a token of {question.asked - issued.at:.3f} s before, that ends after {issued.lifetime} s: {question}"
    if not world.plan.cache and issued.at < question.asked - _SHARED:
        yield f"a token of {question.asked - issued.at:.3f} s before, where none is kept: {question}"


def _denied(world: World, question: Question, reply: Reply, said: list[Answer]) -> Iterator[str]:
    if reply.code:
        yield from _failed(world, question, reply, [one.target.issuer_ref for one in said if isinstance(one, ExchangeEntry)])
    elif "policy_denied" in reply.body:
        if not any(isinstance(one, DenyEntry) for one in said):
            yield f"denied, which no version does: {question}"
    elif not any(one in (CLOSED, DISPUTED) for one in said) and len({str(one) for one in said}) < 2 and world.has_policy(question.asked):
        yield f"closed, which no version is ({reply.status} {reply.body}): {question}"


def _failed(world: World, question: Question, reply: Reply, issuers: list[str]) -> Iterator[str]:
    """Judge a failed exchange with one of ``issuers``, which policy may have asked."""
    code, said = reply.code, f"{reply.status} {reply.body}"
    if not issuers:
        yield f"an exchange failed that no version asks for ({said}): {question}"
    elif code == "TXE-4001":
        if not world.identity.has_ended(question) and not any(_key_in_doubt(world, name, question) for name in issuers):
            yield f"a good token is refused ({said}): {question}"
    elif code == "TXE-4002":
        if not any(abs(at - question.asked) < _KEYS_LATE for at in world.identity.troubles):
            yield f"the keys were there ({said}): {question}"
    elif code in {*CODES, INACTIVE}:
        if not any(part.excuses(name, question, code) for part in world.parts for name in issuers):
            yield f"the token that was asked for is refused ({said}): {question}"
    elif not any(_in_trouble(world, name, question, code) for name in issuers) and not _may_wait(world, question, issuers, code):
        yield f"denied without a reason ({said}): {question}"


def _may_wait(world: World, question: Question, issuers: list[str], code: str) -> bool:
    """Tell whether the turn of an exchange may have come too late, or not, because one of its ``issuers`` had all the calls it may have."""
    plan, permits = world.plan, world.plan.permits
    refused = code in {"TXE-1007", UNAVAILABLE}
    if not permits or not (refused or not code or _time_was_up(world, question)):
        return False
    since = question.answered - (_REFUSED_AT_ONCE if refused and question.ahead is None else _LONGEST_SHARED)
    around = plan.links.connecting[1] + WAYS * plan.links.delay[1]
    return any(
        world.issuers[name].most_calls(since, question.answered, around, introspections=asks) >= (max(permits // 2, 1) if asks else permits)
        for name in (*issuers, *([FIRST] if plan.chained else []))
        for asks in ((False, True) if plan.introspected else (False,))
    )


def _time_was_up(world: World, question: Question) -> bool:
    """Tell whether a question had waited for as long as it could, or one of its token, with which it may share what issuers are asked."""
    if question.answered - question.asked > 0.9 * min(question.patience, _OWN_TIME):
        return True
    shared = (one.asked for one in world.questions if one.token == question.token and one.asked < question.asked)
    return any(0.9 * _OWN_TIME < question.answered - asked < _LONGEST_SHARED for asked in shared)


def _key_in_doubt(world: World, profile: str, question: Question) -> bool:
    """Tell whether the key is too new for the profile to know it, or gone."""
    fetches, name = world.identity.fetches.get(profile, []), question.key
    since = next((at for at, names in fetches if name in names), question.asked)
    return question.asked < since + 1.0 or not all(name in names for at, names in fetches if at >= since)


def _in_trouble(world: World, name: str, question: Question, code: str) -> bool:
    return any(
        kind != LATE_IN_TIME or code == BREAKER_OPEN or _time_was_up(world, question)
        for kind in world.issuers[name].struck(question, question.since(code, world.quiet))
    ) or any(part.excuses(name, question, code) for part in world.parts)


def ends(world: World) -> Iterator[str]:
    """Yield what is left when everybody is gone."""
    if world.crash:
        yield world.crash
        return
    end = max((life.ended for life in world.lives), default=0.0)
    for question in world.questions:
        if not question.answered and question.asked <= end:  # who asks later has no time left to hear that nobody is there
            yield f"never answered: {question}"
    again = sum(issuer.carried_again for issuer in world.issuers.values())
    if again and world.plan.single_use:
        yield f"{again} requests over connections that had carried one before, where none is used again"
    if world.at_rest:
        yield f"held although everybody is gone: {world.at_rest}"
    hurried = _HURRIED_BY_A_DISK if world.plan.audited and SLOW in world.plan.disk_faults else _HURRIED
    for life in world.lives:
        if life.ended - life.hurried > hurried:
            yield f"ended {life.ended - life.hurried:.3f} s after a second SIGTERM"
    if world.left_open:
        yield f"left open: {world.left_open}"
    if world.calm < world.terminated and not world.serving:
        yield "not SERVING although the storm is over"


def recovers(world: World) -> Iterator[str]:
    """Yield questions of the quiet after the storm that the newest version answers otherwise."""
    for question in world.answered:
        if question.asked >= world.calm and question.status == "0":
            said = world.authors.newest_answer(question.request)
            if isinstance(said, ExchangeEntry) and question.key and _key_in_doubt(world, said.target.issuer_ref, question):
                continue
            passed = question.reply is not None and question.reply.status == 0
            if passed != (_passes(said) or isinstance(said, ExchangeEntry)):
                yield f"not recovered, {said if isinstance(said, str) else type(said).__name__} expected: {question}"


def shares(world: World) -> Iterator[str]:
    """Yield questions of the quiet for which one replica exchanged, although another one had just kept a token in the store."""
    if world.plan.replicas == 1:
        return
    kept: dict[tuple[int, Request], tuple[Issued, float]] = {}
    for question in sorted((one for one in world.answered if one.asked >= world.calm), key=lambda one: one.asked):
        asked = question.user, question.request
        for token in question.reply.tokens if question.reply is not None else ():
            if (by := _issued(world, token)) is None:
                continue  # see ``answers``
            issued, (before, since) = by[1], kept.get(asked, (by[1], question.asked))
            if since + _STORED < question.asked < min(before.at + _SHAREABLE * before.kept - 1.0, issued.at):
                yield f"not shared: {question}"
            if issued.at > world.quiet + _RECONNECTED:  # before, there may have been no store
                kept[asked] = issued, question.answered


def records(world: World) -> Iterator[str]:
    """Yield what the log and the metrics do not agree on, and secrets in the log."""
    if world.crash:
        return
    yield from world.lines.wrong
    lost = world.lines.lost + sum(life.supervisor.logging.writer.dropped for life in world.lives)
    decided = [line for line in world.lines.lines if line["event"] == "check.decided"]
    logged, counted = Counter(line["decision"] for line in decided), world.decisions
    if logged - counted or counted.total() > logged.total() + lost:
        yield f"{dict(logged)} decisions logged, {dict(counted)} counted, {lost} lines lost"
    answered = sum(question.status == "0" for question in world.answered)
    if not answered <= counted.total() <= len(world.questions):
        yield f"{answered} answers, {counted.total()} decisions counted, {len(world.questions)} questions"
    yield from _each_has_its_line(world, decided, lost)


def _each_has_its_line(world: World, decided: list[dict[str, Any]], lost: int) -> Iterator[str]:
    lines = Counter((line["host"], line["path"], line["decision"], line.get("code", "")) for line in decided)
    replies = [(one, one.reply) for one in world.answered if one.reply is not None]
    heard = Counter((one.host, one.path, reply.decision, reply.code) for one, reply in replies if reply.decision)
    unnamed = Counter((one.host, one.path) for one, reply in replies if not reply.decision)
    # The service has seen each of these, so it has a line, too; and there is none for what nobody has asked.
    left = Counter((one.host, one.path) for one in world.questions if one.gone and _was_seen(world, one))
    asked = Counter((one.host, one.path) for one in world.questions)
    told = Counter((host, path) for host, path, _, _ in lines.elements())
    known = Counter((host, path) for host, path, _, _ in heard.elements()) + left + unnamed
    for what, missing in ("answers more than lines", heard - lines), ("decisions without a line", known - told):
        if missing.total() > lost:
            yield from (f"{count} {what}: {key}" for key, count in missing.items())
    yield from (f"{count} lines more than questions: {key}" for key, count in (told - asked).items())


def _was_seen(world: World, question: Question) -> bool:
    """Tell whether the service had a question that its gateway gave up. Behind a crowd, it may not have left the gateway."""
    given_up = question.gone in {LEFT, TIMED_OUT} and not world.plan.crowds
    return given_up and question.ahead is None and question.answered - question.asked > _ARRIVED


def parts(world: World) -> Iterator[str]:
    """Yield what the world's parts complain about."""
    if not world.crash:
        for part in world.parts:
            yield from part.complaints()


JUDGES: Final[tuple[Judge, ...]] = (ends, in_time, answers, recovers, shares, records, parts)


def complaints(world: World) -> list[str]:
    """Return everything that is wrong, the first 20 of each judge."""
    found: list[str] = []
    for judge in JUDGES:
        found += (f"{judge.__name__}: {complaint}" for complaint in islice(judge(world), 20))
    return found
