"""The cache beside a list of everything that was ever kept.

Whatever happens, a hit is the newest token of an equal request whose ends have not come; and nothing that still counts is missing, unless the
bounds left no room for it.
"""

import math
from typing import Final, final

import attrs
from hypothesis import given
from hypothesis import strategies as st

from exchanger.oauth.cache.lifetime import MARGIN_PART, MARGIN_S
from exchanger.oauth.cache.shelves import ENTRY_BYTES, RENEWAL_PAUSE_S, Shelves
from exchanger.oauth.cache.token_cache import TokenCache
from exchanger.values.entry import TokenTarget
from exchanger.values.issuer import CachePolicy, Credentials, Issuer
from exchanger.values.secret import Secret
from exchanger.values.token import Cache, TokenRequest
from tests.oauth.cache.examples import Clocks, cache, issuer, jwt, outage, refusal, request, token

MAX_BYTES: Final = 6 * (ENTRY_BYTES + 10)
ISSUERS: Final[dict[str, list[Issuer | None]]] = {
    name: [
        issuer(name),
        issuer(name, secret="rotated"),
        issuer(name, previous=Credentials("client", Secret("s3cret"))),
        issuer(name, cache=CachePolicy(max_ttl=50.0, max_entries=2)),
        issuer(name, bearer_realm="realm"),
        issuer(name, cache=None),
        None,
    ]
    for name in ("primary", "second")
}
TARGETS: Final = (TokenTarget("primary", scope="read"), TokenTarget("primary", scope="write"))

kinds = st.tuples(st.sampled_from(list(ISSUERS)), st.integers(0, 2), st.integers(0, 1), st.sampled_from("gh"))
steps = st.one_of(
    st.tuples(st.just("find"), kinds),
    st.tuples(st.just("find"), kinds),
    st.tuples(st.just("keep"), kinds, st.none() | st.integers(-1, 400), st.floats(0.0, 2.0)),
    st.tuples(st.just("refused"), kinds, st.sampled_from([400, 401, 403, 500, 503])),
    st.tuples(st.just("fails"), kinds),
    st.tuples(st.just("wait"), st.floats(0.0, 120.0)),
    st.tuples(st.just("jump"), st.floats(-500.0, 500.0)),
    st.tuples(st.just("issuers"), st.sampled_from(list(ISSUERS)), st.integers(0, 6)),
)


@final
@attrs.define(eq=False)
class Line:
    """A token of the model. ``at`` is the steady time of its issue, ``ends`` those of either clock."""

    key: object
    issuer: str
    text: str
    at: float
    until: float
    wall_until: float


@final
@attrs.define(eq=False)
class Model:
    """All that counts, the least recently used first."""

    clocks: Clocks
    lines: list[Line] = attrs.field(factory=list)

    def find(self, key: object, max_ttl: float) -> Line | None:
        for line in self.lines:
            if line.key == key:
                self.lines.remove(line)
                if self.clocks.steady < min(line.until, line.at + max_ttl) and self.clocks.wall < line.wall_until:
                    self.lines.append(line)
                    return line
                break
        return None

    def drop(self, key: object) -> None:
        self.lines = [line for line in self.lines if line.key != key]

    def bound(self, bounds: dict[str, int]) -> None:
        for name, most in bounds.items():
            while len(own := [line for line in self.lines if line.issuer == name]) > most:
                self.lines.remove(own[0])
        while sum(len(line.text) + ENTRY_BYTES for line in self.lines) > MAX_BYTES:
            self.lines.pop(0)


def identity(one: TokenRequest) -> object:
    """What shapes the answer, by hand."""
    of = one.issuer
    credentials = (of.credentials.client_id, of.credentials.client_secret)
    return (of.name, credentials, None if of.previous is None else of.previous.client_secret, one.subject_token, one.target, one.grant_type)


def shape(of: Issuer) -> object:
    return (of.credentials.client_secret, of.previous)


@given(st.lists(steps, max_size=60))
def test_the_cache_is_a_list_with_ends(script: list[tuple]) -> None:  # type: ignore[type-arg]  # steps of any kind
    clocks = Clocks()
    in_force: dict[str, Issuer] = {name: first for name, (first, *_) in ISSUERS.items() if first is not None}
    one = cache(clocks, *in_force.values())
    one._shelves = Shelves(MAX_BYTES)
    one._issuers.clear()
    one.use_issuers(in_force)
    model = Model(clocks)
    count = 0
    renewing: dict[str, float] = {}
    for step in script:
        match step:
            case ("wait", seconds):
                clocks.advance(seconds)
                continue
            case ("jump", seconds):
                clocks.wall += seconds
                continue
            case ("issuers", name, version):
                _use(one, model, in_force, name, ISSUERS[name][version])
                continue
        name, subject, target, grant = step[1]
        of = in_force.get(name)
        asked = _request(of or issuer(name), subject, target, grant, clocks)
        keeps = of is not None and of.cache is not None
        match step:
            case ("find", _):
                found = one.find(asked)
                line = model.find(identity(asked), of.cache.max_ttl) if of is not None and of.cache is not None else None
                assert (None if found is None else found.token.access_token.reveal()) == (None if line is None else line.text)
                if found is not None:
                    assert found.token.cache is Cache.HIT
                    text = found.token.access_token.reveal()
                    if found.renew:
                        # One at a time, and another one after a pause.
                        assert clocks.steady >= renewing.get(text, -math.inf)
                        renewing[text] = clocks.steady + RENEWAL_PAUSE_S
            case ("keep", _, expires_in, duration):
                count += 1
                text = f"token {count:03}"
                one.keep(asked, token(text, expires_in, duration=duration))
                if keeps and of is not None and of.cache is not None:
                    model.drop(identity(asked))
                    end = _end(subject) - (clocks.wall - duration)
                    length = min(-math.inf if expires_in is None else expires_in, of.cache.max_ttl, end)
                    usable = length - min(MARGIN_S, MARGIN_PART * length)
                    if length > 0 and duration < usable:
                        at, wall_at = clocks.steady - duration, clocks.wall - duration
                        model.lines.append(Line(identity(asked), name, text, at, at + usable, wall_at + usable))
            case ("refused", _, status):
                one.refused(asked, refusal(status))
                if keeps and status < 500:
                    model.drop(identity(asked))
            case ("fails", _):
                one.refused(asked, outage())
        model.bound({other: issuer_.cache.max_entries for other, issuer_ in in_force.items() if issuer_.cache is not None})
        assert one.entries == len(model.lines)


def _end(subject: int) -> float:
    return math.inf if subject == 0 else 1_800_000_000.0 + 200 * subject


def _request(of: Issuer, subject: int, target: int, grant: str, clocks: Clocks) -> TokenRequest:
    text = "opaque" if subject == 0 else jwt({"exp": _end(subject)})
    return request(text, of=of, target=TARGETS[target], grant=grant)


def _use(one: TokenCache, model: Model, in_force: dict[str, Issuer], name: str, chosen: Issuer | None) -> None:
    before = in_force.pop(name, None)
    if chosen is not None:
        in_force[name] = chosen
    one.use_issuers(in_force)
    same = (
        before is not None and chosen is not None and chosen.cache is not None and before.cache is not None and shape(before) == shape(chosen)
    )
    if not same:
        model.lines = [line for line in model.lines if line.issuer != name]
    model.bound({other: issuer_.cache.max_entries for other, issuer_ in in_force.items() if issuer_.cache is not None})
