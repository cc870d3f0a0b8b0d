"""Laws of values: selectors, and paths as they are shown."""

import contextlib
import re
import sys
from typing import Final
from unicodedata import normalize
from urllib.parse import unquote

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from exchanger.authz.decision.outcome import DecisionReason, Deny
from exchanger.model.codes.policy import NOT_YAML
from exchanger.model.codes.problem import Problem, coded, reason_of
from exchanger.model.selector import Above, Absent, Below, NoneOf, OneOf, Present, Requirement, Selector, parse_selector
from exchanger.model.text import HOST_LIMIT, PATH_LIMIT, loggable_host, loggable_path
from exchanger.operations.console.decision_json import DecisionJson
from exchanger.operations.telemetry.decision_log import decision_line
from exchanger.operations.telemetry.render import render_json
from exchanger.policy.path import MalformedPath, interpretations_of
from tests.operations.console.records import record

# Strategies for label selectors and labels; few keys and values, so that selectors and labels meet.


keys = st.sampled_from(["a", "in", "notin", "example.com/a", "A_b.c-d"])
values = st.sampled_from(["", "b", "in", "notin", "7", "0", "42", "B_c.d-e"])
value_sets = st.frozensets(values, min_size=1, max_size=4)
bounds = st.integers(min_value=0, max_value=2**63 - 1) | st.sampled_from([6, 7, 8])

requirements: st.SearchStrategy[Requirement] = st.one_of(
    st.builds(OneOf, keys, value_sets),
    st.builds(NoneOf, keys, value_sets),
    st.builds(Present, keys),
    st.builds(Absent, keys),
    st.builds(Above, keys, bounds),
    st.builds(Below, keys, bounds),
)
selectors = st.builds(Selector, st.lists(requirements, max_size=4).map(tuple))
labels = st.dictionaries(keys, values)


# Law: the text of a selector is that selector.
#
# Kubernetes, "Labels and Selectors": equality-based requirements are the set-based ones with a single value, and the comma is an AND.


@given(selectors)
def test_a_selector_survives_its_own_text(selector: Selector) -> None:
    assert parse_selector(str(selector)) == selector


@given(selectors, selectors, labels)
def test_the_comma_is_an_and(first: Selector, second: Selector, of: dict[str, str]) -> None:
    joined = parse_selector(",".join(filter(None, (str(first), str(second)))))

    assert joined.matches(of) == (first.matches(of) and second.matches(of))


@given(st.text() | st.text(alphabet="ab=!(),<> in"), labels)
def test_any_text_is_a_selector_or_a_value_error(text: str, of: dict[str, str]) -> None:
    with contextlib.suppress(ValueError):
        selector = parse_selector(text)
        assert parse_selector(str(selector)).matches(of) == selector.matches(of)


# Law: whatever a problem repeats of a document, its sentences print, and what a tool writes into the file stays as it is.


@given(st.text(), st.text(), st.text(), st.text(), st.none() | st.text(), st.text())
def test_a_problem_prints_whatever_it_repeats(text: str, field: str, hint: str, advice: str, summary: str | None, instead: str) -> None:
    problem = Problem(NOT_YAML, text, field=field, line=1, hint=hint, instead=instead, advice=advice, summary=summary)

    shown = [problem.text, problem.field, problem.lined, problem.remedy, str(problem), reason_of([problem]), coded([problem])]
    assert all(one.isprintable() for one in shown)
    assert problem.instead == instead


# Paths with a canary where some server finds a credential: a query, a parameter, a fragment, user information.


CANARY: Final = "c4n4ry"

_PLAIN: Final = "abz019._~$&'()*+,=-"
names = st.text(_PLAIN, min_size=1, max_size=6)
plain_paths = (
    st.lists(names, min_size=1, max_size=4)
    .map("/{}".format)
    .flatmap(lambda _: st.lists(names, min_size=1, max_size=4))
    .map(lambda segments: "/" + "/".join(segments))
)
_noise = st.text(_PLAIN + ":", max_size=6)


@st.composite
def escaped(draw: st.DrawFn, char: str) -> str:
    """Return ``char`` as it is, in another form of Unicode, or escaped up to four times, digits in any case and escaped in their turn."""
    others = {"?": "\uff1f\ufe56", "#": "\uff03\ufe5f", ";": "\uff1b\u037e", "@": "\uff20\ufe6b", "/": "\\\uff0f", ":": "\uff1a"}
    text: str = draw(st.sampled_from([char, char, *others.get(char, "")]))
    for _ in range(draw(st.integers(0, 4))):
        octets = [f"%{octet:02X}" for octet in text.encode()]
        chosen = [draw(st.booleans()) or not part.isascii() for part in text]
        if text.isascii():
            text = "".join(octet if choice else part for octet, choice, part in zip(octets, chosen, text, strict=True))
        else:
            text = "".join(octets)
        text = "".join(part.lower() if draw(st.booleans()) else part for part in text)
    if "%" in text and draw(st.booleans()):  # as a gateway masks a byte, and as lax decoders drop one
        at = text.index("%") + 1
        text = text[:at] + draw(st.sampled_from(["!", "%ff", "\t"])) + text[at:]
    return text


@st.composite
def hiding_delimiters(draw: st.DrawFn) -> str:
    """Return a path with the canary behind a delimiter."""
    delimiter = draw(st.sampled_from("?#;").flatmap(escaped) | st.sampled_from(["%u003f", "%U003B", "%c0%bf", "%E0%80%BB"]))
    tail = draw(st.text(_PLAIN + "/%@:;?#", max_size=8))
    return f"{draw(plain_paths)}{delimiter}{draw(st.sampled_from(['', 'access_token=', 'a/b=']))}{CANARY}{tail}"


@st.composite
def hiding_userinfo(draw: st.DrawFn) -> str:
    """Return a path with the canary before a host: after two slashes in any form, after a scheme, or, with a name, where slashes merged."""
    slash = st.just("/").flatmap(escaped)
    double = st.tuples(slash, st.sampled_from(["", "", "%20", "!", "%09"]), slash).map("".join)
    first = st.just("/") | slash
    named = st.tuples(names, st.just(":").flatmap(escaped)).map("".join)
    beginning = draw(
        st.one_of(
            st.tuples(double, named | _noise),
            st.tuples(plain_paths, double, named | _noise),
            st.tuples(first, named),
            st.tuples(plain_paths, st.just("/"), named),
            st.tuples(st.sampled_from(["http:/", "/https:/", "/proxy/http:/", "/x/https:%2f"]), named | _noise),
        )
    )
    password = draw(st.sampled_from(["", "%2f", "\\", "%3f", "%23", "%3B", "%40"]))
    return f"{''.join(beginning)}{CANARY}{password}{draw(_noise)}{draw(st.just('@').flatmap(escaped))}host{draw(plain_paths)}"


hiding = hiding_delimiters() | hiding_userinfo()


# Laws: a path that is shown has nothing that any server may read as a credential; a plain path is shown as it is; any text is bounded.


_USERINFO = re.compile(r"(?:^|[a-z]:)//[^/]*@", re.IGNORECASE)
_DENIED = Deny(DecisionReason.DENY_AMBIGUOUS_REQUEST, 400, "{}")
pieces = st.lists(
    st.sampled_from(
        [
            *"/%?#;@:\\.!aF253 ",
            "%2f",
            "%3F",
            "%40",
            "%25",
            "//",
            "/..",
            "http:",
            "%09",
            "%253a",
            "%252f",
            "\uff20",
            "\ufe13",
            "\u2047",
            "%ef%bc%9f",
        ]
    ),
    max_size=24,
).map("".join)


def is_shown(text: str) -> bool:
    """Tell whether the canary is in ``text``, however it is decoded."""
    for _ in range(6):
        if CANARY in text:
            return True
        text = unquote(text)
    return False


@given(hiding)
@example(f"/o%3Faccess_token={CANARY}")
@example(f"/o%25253faccess_token={CANARY}")
@example(f"/o%%33%46access_token={CANARY}")
@example(f"/o;access_token={CANARY}/x")
@example(f"/o%3baccess_token={CANARY}")
@example(f"//user:{CANARY}@x/y")
@example(f"/\\user:{CANARY}@x/y")
@example(f"/%5cuser:{CANARY}@x/y")
@example(f"%2F%2Fuser%3A{CANARY}%40x/y")
@example(f"/x/..//{CANARY}@host")
@example(f"/%20/{CANARY}@host")
@example(f"/user:{CANARY}@x")
@example(f"/user:a\\\\{CANARY}@x")
@example(f"/user:a%3F{CANARY}@x")
@example(f"//{CANARY}{'p' * PATH_LIMIT}@x")
@example(f"/user:{CANARY}{'p' * PATH_LIMIT}%40x")
def test_a_credential_in_a_path_is_shown_nowhere(path: str) -> None:
    assert not is_shown(loggable_path(path))
    told = record(_DENIED, path=path)
    assert CANARY.encode() not in render_json(decision_line(told, ""))
    item = DecisionJson(decision_line).item((1, 0.0, told, 1))
    assert CANARY.encode() not in orjson.dumps(item)


@given(pieces, pieces)
def test_a_loggable_path_hides_credentials_under_every_interpretation(before: str, after: str) -> None:
    path = f"/{before}{CANARY}{after}"
    interpretations = interpretations_of(path.partition("?")[0])
    for interpretation in () if isinstance(interpretations, MalformedPath) else interpretations:
        userinfo = _USERINFO.match(interpretation)
        if re.search("[?#;].*" + CANARY, interpretation):
            assert CANARY not in loggable_path(path)
        if userinfo is not None and CANARY in userinfo[0]:
            assert CANARY not in loggable_path(path)


@given(plain_paths)
def test_a_plain_path_is_shown_as_it_is(path: str) -> None:
    assert loggable_path(path) == loggable_path(f"{path}?{CANARY}") == path


@given(st.text(st.characters()) | pieces, st.integers(0, 300))
def test_any_text_is_shown_bounded_and_printable_and_a_second_time_unchanged(text: str, times: int) -> None:
    for path in (text, text * times):
        shown = loggable_path(path)
        assert len(shown) <= PATH_LIMIT
        assert shown.isprintable()
        assert loggable_path(shown) == shown
        assert len(loggable_host(path)) <= HOST_LIMIT


def test_each_character_that_normalises_to_a_delimiter_ends_what_is_shown() -> None:
    hiding_characters = {
        char for char in map(chr, range(0x80, sys.maxunicode + 1)) if not set(normalize("NFKC", char)).isdisjoint("%/:;?@#\\")
    }
    for char in hiding_characters:
        assert loggable_path(f"/a{char}b").strip("/a") == "…"
        escaped = "".join(f"%{octet:02X}" for octet in char.encode())
        assert loggable_path(f"/a{escaped}b") == "/…"
