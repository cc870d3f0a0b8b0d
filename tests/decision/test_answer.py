"""What a question is told: the words of each decision, and stand-ins in the place of credentials."""

import attrs
import pytest

from exchanger.decision.answer import STAND_INS, STAND_INS_BY_NAME, Effect, answer_of, asked_request, kind_of_credentials
from exchanger.decision.bearer import NoToken, read_bearer
from exchanger.decision.check import DENY_NO_POLICY, begin
from exchanger.policy.policy_trie import Hosts
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import BASELINE, AllowEntry, DenyEntry, MatchScope, Source
from exchanger.values.secret import Secret
from tests.decision.examples import PRIMARY, RULES, SOURCE, snapshot

BEARER = ("Authorization", "Bearer t")
PREFLIGHT = (("Origin", "https://a.example"), ("Access-Control-Request-Method", "GET"))


def test_an_exchange_says_what_is_asked_of_whom() -> None:
    found = answer_of(begin(asked_request("get", "API.example.com:443", "/orders/1", [BEARER]), snapshot(), RULES))
    assert (found.effect, found.status, found.passes) == (Effect.EXCHANGE, None, True)
    assert (found.source, found.index, found.issuer) == (SOURCE, 0, PRIMARY)
    assert found.target is not None
    assert found.target.scope == "read:orders"


@pytest.mark.parametrize(
    ("path", "headers", "method", "deny", "effect", "status", "words"),
    [
        ("/nothing", (BEARER,), "GET", False, Effect.UNMATCHED, None, "no entry applies, so"),
        ("/nothing", (BEARER,), "GET", True, Effect.UNMATCHED, 403, "denied by default"),
        ("/admin", (BEARER,), "GET", False, Effect.DENY, 403, "an entry denies"),
        ("/tie", (BEARER,), "GET", False, Effect.REFUSED, 500, "team/policy entries[4]"),
        ("/broken", (BEARER,), "GET", False, Effect.REFUSED, 500, "exchange is required"),
        ("/%zz", (BEARER,), "GET", False, Effect.REFUSED, 400, "the path cannot be read"),
        ("/orders", (), "GET", False, Effect.REFUSED, 401, "no bearer token"),
        ("/orders", (("authorization", 'Bearer "'),), "GET", False, Effect.REFUSED, 401, "cannot be one"),
        ("/orders", PREFLIGHT, "OPTIONS", False, Effect.ALLOW, None, "OPTIONS without credentials"),
    ],
)
def test_each_decision_has_words(
    path: str, headers: tuple[tuple[str, str], ...], method: str, deny: bool, effect: Effect, status: int | None, words: str
) -> None:
    rules = attrs.evolve(RULES, default_deny_unmatched=deny)
    found = answer_of(begin(asked_request(method, "api.example.com", path, headers), snapshot(), rules))
    assert (found.effect, found.status) == (effect, status)
    assert found.passes is (status is None)
    assert words in found.reason


def test_what_passes_unchanged_and_what_the_platform_denies_is_told() -> None:
    entry = AllowEntry(Source("a", "b"), 3, MatchScope("api.example.com", "/"))
    policy = PolicySnapshot(trie=PolicySnapshot().trie.with_claim(entry))
    found = answer_of(begin(asked_request("GET", "api.example.com", "/x"), policy, RULES))
    assert (found.effect, found.source, found.index, found.status) == (Effect.ALLOW, entry.source, 3, None)
    denied = policy.with_baseline(Hosts().with_claim(DenyEntry(BASELINE, 0, MatchScope(None, "/x"))))
    found = answer_of(begin(asked_request("GET", "api.example.com", "/x"), denied, RULES))
    assert (found.effect, found.source, found.status) == (Effect.DENY, BASELINE, 403)
    assert "baseline" in found.reason


def test_without_a_policy_everything_is_refused() -> None:
    found = answer_of(DENY_NO_POLICY)
    assert (found.effect, found.status, found.reason) == (Effect.REFUSED, 500, "no complete policy is known yet")


@pytest.mark.parametrize("kind", [None, *(kind for kind in NoToken if kind is not NoToken.DIFFERENT)])
def test_a_stand_in_is_of_its_kind(kind: NoToken | None) -> None:
    text = STAND_INS[kind]
    found = read_bearer(Secret(text) if text else None)
    assert found is kind if kind is not None else not isinstance(found, NoToken)
    name = "bearer" if kind is None else kind.name.lower()
    assert STAND_INS_BY_NAME[name] == text
    assert kind_of_credentials(Secret(text) if text else None) == name


def test_a_request_is_read_as_the_gateway_sends_it() -> None:
    headers = (("X-A", "1"), ("x-a", "2"), ("Host", "other.example"))
    joined, raw = (asked_request("ı", "a.example", "/", headers, raw=raw) for raw in (False, True))
    assert (joined.method, joined.host, joined.authorization) == ("ı", "other.example", None)
    assert dict(joined.fields.fields) == {"x-a": "1,2", "host": "other.example"}
    assert raw.fields.fields == (("x-a", "1"), ("x-a", "2"), ("host", "other.example"))
    assert (joined.path_is_raw, raw.path_is_raw, raw.fields.raw) == (False, True, True)
