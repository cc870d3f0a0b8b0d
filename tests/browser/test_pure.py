"""The page's pure modules, asked without a page: in the JavaScript runner that Playwright brings along."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser

from tests.browser import flows
from tests.browser.conftest import Console
from tests.browser.made_up import HEALTHY, KINDS, Json, all_kinds, item
from tests.browser.modules import modules


@pytest.fixture(scope="module")
def ask() -> Iterator[Any]:
    """Return what a function of a module returns, called with these arguments."""
    with modules() as ask:
        yield ask


def test_the_words_of_each_flow_are_the_recorded_ones(ask: Any) -> None:
    assert flows.text(ask) == flows.FILE.read_text()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            {"sub": "a", "aud": ["x", "y"], "gone": None, "same": {"a": 1, "b": [2]}},
            {"sub": "b", "aud": ["y", "x"], "act": {"sub": "s"}, "same": {"b": [2], "a": 1}},
            [["sub", "changed"], ["aud", "changed"], ["act", "added"], ["gone", "removed"], ["same", "kept"]],
        ),
        (None, {"__proto__x": 1, "a": 2}, [["__proto__x", "added"], ["a", "added"]]),
        ({"toString": 1}, None, [["toString", "removed"]]),
        ({"toString": 1}, {}, [["toString", "removed"]]),
        (None, None, []),
    ],
)
def test_claims_are_added_removed_changed_or_kept(ask: Any, before: Json | None, after: Json | None, expected: list[object]) -> None:
    assert ask("detail/claims.js", "(a, b) => m.diffClaims(a, b).map(({name, kind}) => [name, kind])", before, after) == expected


def lines(size: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=size).map("\n".join)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines(8) | lines(60), lines(8) | lines(60))
def test_a_difference_leads_from_one_text_to_the_other(ask: Any, before: str, after: str) -> None:
    found = ask("edit/diff.js", "m.diffLines", before, after)
    assert bool(found) is (before != after)
    for text, other in ((before, "added"), (after, "removed")):
        rest = text.split("\n")
        for line in found:
            if line["kind"] == "gap":
                continue
            if line["kind"] != other:
                while rest[0] != line["text"] or line["kind"] == "skipped":
                    rest.pop(0)  # left out in a gap
                rest.pop(0)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a\nb\nc\nd\ne\nf\ng\nh", "a\nb\nc\nd\ne\nX\ng\nh", "⋯ d e -f +X g h"),
        ("a\nb", "b", "-a b"),
        ("a", "", "-a +"),
        ("a\n" * 3000, "b\n" * 3000, 3000 * "-a " + 3000 * "+b "),
    ],
    ids=["gap", "removed", "emptied", "too much to compare"],
)
def test_a_difference_is_short_and_bounded(ask: Any, before: str, after: str, expected: str) -> None:
    signs = {"kept": "", "added": "+", "removed": "-", "gap": "⋯"}
    found = ask("edit/diff.js", "m.diffLines", before, after)
    assert " ".join(signs[line["kind"]] + line["text"] for line in found) == expected


@pytest.mark.parametrize(
    ("counts", "q", "expected"),
    [
        ([0, 0, 0, 0], 0.5, None),
        ([4, 0, 0, 0], 0.5, {"value": 0.5, "open": False}),
        ([2, 2, 0, 0], 0.5, {"value": 1.0, "open": False}),
        ([1, 1, 2, 0], 0.75, {"value": 3.0, "open": False}),
        ([1, 0, 0, 1], 0.99, {"value": 4.0, "open": True}),
        ([0, 0, 0, 3], 0.5, {"value": 4.0, "open": True}),
        ([0, 10, 0, 0], 0.0, {"value": 1.0, "open": False}),
    ],
)
def test_a_quantile_is_linear_within_its_bucket(ask: Any, counts: list[int], q: float, expected: Json | None) -> None:
    assert ask("series.js", "m.quantile", [1.0, 2.0, 4.0], counts, q) == expected


def totals(time: int, decided: int, exchanges: int = 0, coalesced: int = 0, counts: tuple[int, ...] = (0, 0, 0)) -> Json:
    latency = {"bounds": [0.001, 0.01], "counts": list(counts)}
    return {"time": time, "decisions": {"allow_exchange": decided}, "exchanges": exchanges, "coalesced": coalesced, "latency": latency}


SERIES = """(samples) => {
  const s = new m.Series();
  samples.forEach((one) => s.push(one));
  return [s.rates(), s.latency(), s.saved(), s.sums()];
}"""


def test_rates_are_by_the_second_also_when_totals_come_late(ask: Any) -> None:
    rates, latency, saved, sums = ask(
        "series.js", SERIES, [totals(0, 0), totals(1000, 10, 4, 1, (10, 0, 0)), totals(3000, 50, 8, 3, (10, 40, 0))]
    )
    assert [one["total"] for one in rates] == [10, 20]
    assert [one["families"]["exchanged"] for one in rates] == [10, 20]
    assert latency[0]["p50"] == {"value": 0.5, "open": False}
    assert latency[1]["p50"]["value"] == pytest.approx(1 + 9 * 15 / 40)
    assert [one["share"] for one in saved] == [0.25, 0.375]
    assert (sums["exchanges"], sums["coalesced"]) == (8, 3)


def test_a_service_that_starts_again_makes_no_negative_rate(ask: Any) -> None:
    rates, *_ = ask("series.js", SERIES, [totals(0, 100), totals(1000, 110), totals(2000, 3), totals(3000, 5)])
    assert [one["total"] for one in rates] == [2]


def test_the_newest_of_the_history_may_come_once_more(ask: Any) -> None:
    samples = [totals(i * 1000, 10 * i, 4 * i) for i in range(3)]
    filled = """(samples) => { const s = new m.Series(); s.fill(samples); s.push(samples.at(-1)); return s.sums(); }"""
    sums = ask("series.js", filled, samples)
    assert (sums["decided"], sums["exchanges"], sums["errors"]) == (20, 8, 0)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.0004, "< 0.1 %"), (0.0123, "1.2 %"), (0.5, "50 %"), (0.9999, "99.9 %"), (1, "100 %")]
)
def test_a_share_is_neither_nothing_nor_all_unless_it_is(ask: Any, share: float, text: str) -> None:
    assert ask("format.js", "m.percent", share) == text


def test_two_minutes_are_kept(ask: Any) -> None:
    rates, *_ = ask("series.js", SERIES, [totals(i * 1000, i) for i in range(500)])
    assert len(rates) == 120
    assert rates[-1]["time"] == 499_000


STORE = """(messages) => {
  const s = new m.Store();
  const taken = messages.map(([kind, message]) => s[kind](message));
  return {taken, keys: s.newest(() => true, 9999).found.map(({key}) => key), lost: s.lost};
}"""


def hello(*items: Json) -> list[object]:
    return ["hello", {"items": items}]


def more(*items: Json, lost: int = 0) -> list[object]:
    return ["decisions", {"items": items, "lost": lost}]


@pytest.mark.parametrize(
    "after", [[], [item(1, time="2027-01-01T00:00:00.000Z")], [item(n, time="2027-01-01T00:00:00.000Z") for n in range(1, 9)]]
)
def test_a_service_that_starts_again_is_noticed(ask: Any, after: list[Json]) -> None:
    found = ask("store.js", STORE, [hello(item(1), item(2), item(3)), hello(*after), more(item(20))])
    assert found["keys"] == ["1:20", *(f"1:{one['seq']}" for one in reversed(after)), "0:3", "0:2", "0:1"]
    assert found["lost"] == 0


def test_what_waits_is_bounded_and_counted(ask: Any) -> None:
    found = ask(
        "store.js",
        """(items) => {
          const s = new m.Store();
          s.pause();
          s.decisions({items});
          const waiting = s.waiting;
          const shown = s.size;
          const before = s.lost;
          s.resume();
          return [waiting, shown, before, s.size, s.waiting, s.lost];
        }""",
        [item(n) for n in range(1500)],
    )
    assert found == [1500, 0, 0, 1000, 0, 500]


def test_delays_grow_are_bounded_and_differ(ask: Any) -> None:
    delays = ask("stream.js", "() => [0, 1, 2, 9, 50].map((n) => [m.delay(n, () => 0), m.delay(n, () => 1)])")
    assert delays == [[250, 500], [500, 1000], [1000, 2000], [7500, 15_000], [7500, 15_000]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("  # all of it", [[None, " "], ["comment", " # all of it"]]),
        ("host: a#b", [["key", "host"], ["mark", ":"], [None, " a#b"]]),
        (
            '- scope: "read:orders" # why',
            [["mark", "-"], [None, " "], ["key", "scope"], ["mark", ":"], [None, " "], ["string", '"read:orders"'], ["comment", " # why"]],
        ),
        ("", []),
    ],
)
def test_yaml_is_taken_apart_without_losing_a_character(ask: Any, line: str, expected: list[list[str | None]]) -> None:
    parts = ask("code.js", "m.yamlParts", line)
    assert parts == expected
    assert "".join(text for _, text in parts) == line


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ""), (" a.b.c\n", "a.b.c"), ("Bearer a.b", "a.b"), ("bearer\ta.b ", "a.b"), ("Bearer", ""), ("bearertoken", "bearertoken")],
)
def test_a_token_is_bare_of_what_stands_around_it(ask: Any, text: str, expected: str) -> None:
    assert ask("lab/composer.js", "m.bareToken", text) == expected


@pytest.mark.parametrize(
    ("a", "b", "expected"), [("0:10", "0:9", True), ("0:9", "0:9", False), ("1:1", "0:9", True), ("0:9", "1:1", False)]
)
def test_keys_tell_which_item_is_newer(ask: Any, a: str, b: str, *, expected: bool) -> None:
    assert ask("store.js", "m.isNewer", a, b) is expected


def test_numbers_are_written_for_people(ask: Any) -> None:
    assert ask("format.js", "() => [null, 0.001, 0.021, 3.14, 12.345, 250.4, 12345].map(m.took)") == [
        "–", "0 ms", "0.02 ms", "3.1 ms", "12.3 ms", "250 ms", "12.3 s",
    ]  # fmt: skip
    assert ask("format.js", "() => [m.rate(0), m.rate(0.25), m.rate(1234.5), m.plural(1, 'entry', 'entries'), m.plural(1e3, 'item')]") == [
        "0/s", "0.3/s", "1,235/s", "1 entry", "1,000 items",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("messages", "taken", "keys", "lost"),
    [
        ([hello(item(1), item(2)), more(item(2), item(3)), hello(item(2), item(3), item(4))], [2, 1, 1], [4, 3, 2, 1], 0),
        ([hello(item(1)), more(item(5), lost=3), hello(item(9))], [1, 1, 1], [9, 5, 1], 3 + 3),
        ([hello(item(1), item(3)), hello(item(1), item(3), item(4), item(500), item(900))], [2, 3], [900, 500, 4, 3, 1], 900 - 3 - 3),
        ([hello(item(1), item(3)), hello(item(1), item(3))], [2, 0], [3, 1], 0),
    ],
    ids=["twice", "between connections", "gaps", "the same gap"],
)
def test_store_takes_each_item_once_and_counts_lost_ones(
    ask: Any, messages: list[object], taken: list[int], keys: list[int], lost: int
) -> None:
    assert ask("store.js", STORE, messages) == {"taken": taken, "keys": [f"0:{key}" for key in keys], "lost": lost}


@pytest.mark.browser
def test_banner_ignores_brief_changes_and_is_not_announced_again(browser: Browser, console: Console) -> None:
    page = browser.new_page()
    page.clock.install(time=0)
    page.goto(console.url)
    page.clock.pause_at(3600)  # a clock that is only installed goes on by itself
    page.evaluate(
        """async () => {
            const {Banner} = await import(new URL("assets/banner.js", location.href));
            const place = document.querySelector("#policy-banner");
            window.changes = 0;
            new MutationObserver((found) => (window.changes += found.length)).observe(place, {childList: true, subtree: true});
            const banner = new Banner();
            window.take = (health, time) => banner.take(health, time);
        }"""
    )

    def told(health: Json, seconds: int, age: int | None = None) -> tuple[int, str]:
        for second in range(seconds):
            now = {"age_s": None if age is None else age + second}
            page.evaluate(
                "([health, time]) => take(health, time)", [HEALTHY | health | now, 1_769_860_000_000 + 1000 * (second + (age or 0))]
            )
            page.clock.run_for(900)
        found = page.evaluate("[changes, document.querySelector('#policy-banner').innerText.trim()]")
        page.evaluate("window.changes = 0")
        return found[0], found[1]

    good, bad = {"problems": 0}, {"problems": 1}
    for _ in range(5):
        assert told(bad, 1) == told(good, 1) == (0, "")
    changes, text = told(bad, 3)
    assert (changes, text[:26]) == (1, "1 document has problems. R")
    for _ in range(5):
        assert told(good, 4)[0] == told(bad, 1)[0] == 0
    assert told(good, 8) == (1, "")
    assert told({}, 60, age=200)[0] == 1  # its age grows
    page.close()


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ({"breaker_open": True, "retry_in_s": 0.0}, "not called, because it is failing; a probe is due"),
        (
            {"breaker_open": True, "retry_in_s": 59.96, "queued": 1, "in_flight": 0},
            "not called, because it is failing; next probe in 60.0 s; 1 exchange waits, 0 in progress",
        ),
        ({"queued": 1200, "in_flight": 1000, "max_in_flight": 1000}, "1,200 exchanges wait, 1,000 of 1,000 in progress"),
    ],
)
def test_what_is_said_of_an_issuer(ask: Any, issuer: Json, expected: str) -> None:
    assert ask("issuers.js", "m.sentence", issuer) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], None),
        (["a"], "Issuer a (a.example) is failing and not called: its exchanges are refused."),
        (
            list("abcde"),
            "Issuers a (a.example), b (b.example), c (c.example) and 2 more are failing and not called: their exchanges are refused.",
        ),
    ],
)
def test_a_banner_names_a_few_issuers(ask: Any, names: list[str], expected: str | None) -> None:
    issuers = {"listed": [{"name": name, "endpoint": f"{name}.example", "breaker_open": True} for name in names], "more": 0}
    found = ask("banner.js", "([health, issuers]) => m.warning(health, 0, issuers)", [HEALTHY, issuers])
    assert found == (expected and {"severity": "warn", "text": expected, "policy": False})


UNHEALTHY = (
    ({"state": "loading", "age_s": None, "unreadable": {"listed": ["team-a"], "more": 2}}, "bad", "No policy is loaded yet"),
    (
        {"state": "loading", "age_s": None, "unreadable": {"listed": ["team-a"], "more": 2}},
        "bad",
        "may not read Namespaces team-a and 2 more.",
    ),
    ({"state": "too_old", "age_s": 900}, "bad", "too old"),
    ({"state": "missing"}, "bad", "no entry is active"),
    ({"age_s": 300}, "warn", "stays active"),
    ({"problems": 2}, "warn", "2 documents have problems"),
    ({"conflicts": 1}, "warn", "1 document is in conflict"),
    ({"unreadable": {"listed": ["team-a"], "more": 0}}, "warn", "may not read Namespace team-a"),
    ({"unreadable_objects": {"listed": ["a.yaml"], "more": 0}}, "warn", "File a.yaml cannot be read: the service would start without"),
    ({"unreadable_objects": {"listed": ["a.yaml", "b.yaml"], "more": 2}}, "warn", "Files a.yaml, b.yaml and 2 more cannot be read"),
)


@pytest.mark.parametrize(("health", "severity", "said"), UNHEALTHY, ids=range(len(UNHEALTHY)))
def test_banner_names_what_is_wrong_with_the_policy(ask: Any, health: Json, severity: str, said: str) -> None:
    found = ask("banner.js", "(health) => m.warning(health, 0, null)", HEALTHY | health)
    assert (found["severity"], found["policy"]) == (severity, True)
    assert said in found["text"]


def test_banner_says_nothing_of_a_healthy_policy(ask: Any) -> None:
    assert ask("banner.js", "(health) => m.warning(health, 0, null)", HEALTHY | {"age_s": 100}) is None


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"host": "RED.example"}, 2),
        ({"policy": "team-red/"}, 2),
        ({"text": "txe-2005"}, 1),
        ({"text": "get digest shared"}, 2),
        ({"text": f"{3:032x}"}, 1),
        ({"text": "no such thing"}, 0),
        ({"decision": "deny_missing_bearer"}, 1),
        ({"decision": "family:token"}, 2),
        ({"decision": "result:system_error"}, 3),
        ({"decision": "result:auth_denied|system_error"}, 8),
        ({"decision": "allow_exchange"}, 4),
        ({"decision": "allow_exchange", "text": "shared"}, 2),
    ],
    ids=str,
)
def test_filter_leaves_out_what_does_not_fit(ask: Any, filters: dict[str, str], expected: int) -> None:
    fitting = "(items, filters) => items.filter(m.matcher({ ...m.NOTHING, ...filters })).length"
    assert ask("filter.js", fitting, all_kinds(), filters) == expected


def test_each_decision_has_a_word_of_its_own(ask: Any) -> None:
    words = ask("decisions.js", "(labels) => labels.map((label) => m.describe(label).word)", [*KINDS])
    assert all(words)
    assert len(set(words)) == len(KINDS)


JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


@pytest.mark.parametrize("text", ["a&b=c#d?e", "100 %", "%25+ %zz", "ümlaut 日本", "txe-3004", f"00-{3:016x}", f"{3:032x}", "<b>"])
def test_address_gives_back_the_filter_and_the_request(ask: Any, text: str) -> None:
    filters = {"text": text, "decision": "", "host": text, "policy": ""}
    round_trip = "(filter) => { const query = m.queryOf(m.liveHash(filter, '1-2')); return [m.filterOf(query), query.get('request')]; }"
    assert ask("address.js", round_trip, filters) == [filters, "1-2"]


@pytest.mark.parametrize("secret", [JWT, f"Bearer {JWT[:12]}", "client_secret=abc", "x" * 39 + "1", "f0oBarBazQux12345678Z"])
def test_address_leaves_out_what_looks_like_a_credential(ask: Any, secret: str) -> None:
    assert ask("address.js", "(text) => m.liveHash({ text, host: 'red' }, null)", secret) == "#/live?host=red"
    assert ask("address.js", "(text) => m.liveHash({ text }, null)", secret) == "#/live"


@pytest.mark.parametrize(
    ("function", "text", "said"),
    [
        ("readHeaders", "Authorization: Bearer secret", "holds credentials, which are not sent"),
        ("readHeaders", "X-One: 1\ncookie: session=secret", "Header 2 holds credentials"),
        ("readHeaders", "no colon", "no name and value"),
        ("readUrl", "https://me:secret@a.example/", "user information"),
        ("readUrl", "https://a.example/x#part", "fragment"),
        ("readUrl", "ftp://a.example/", "another scheme"),
        ("readUrl", "/orders", "no host"),
    ],
)
def test_explain_refuses_what_cannot_be_asked(ask: Any, function: str, text: str, said: str) -> None:
    assert said in ask("explain.js", f"(text) => {{ try {{ m.{function}(text); }} catch (error) {{ return error.message; }} }}", text)


def test_explain_tells_of_headers_with_tokens_only_which_hold_the_same(ask: Any) -> None:
    tokens = (
        "X-Forwarded-Access-Token: canary\nX-Other: eyJcanary\nX-Same-Token: canary\nX-Id-Token: canary with blanks\nX-Key:\nMcp-Name: a"
    )
    assert ask("explain.js", "m.readHeaders", tokens) == [
        ["token", "X-Forwarded-Access-Token: 1"],
        ["token", "X-Other: 2"],
        ["token", "X-Same-Token: 1"],
        ["token", "X-Id-Token: invalid"],
        ["token", "X-Key: absent"],
        ["header", "Mcp-Name: a"],
    ]
