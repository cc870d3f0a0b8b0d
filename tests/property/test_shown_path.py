"""Laws: a path that is shown has nothing that any server may read as a credential; a plain path is shown as it is; any text is bounded."""

import re
import sys
from unicodedata import normalize
from urllib.parse import unquote

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from exchanger.console.decision_json import DecisionJson
from exchanger.decision.outcome import Deny, Reason
from exchanger.policy.path import MalformedPath, interpretations_of
from exchanger.telemetry.decision_log import decision_line
from exchanger.telemetry.render import render_json
from exchanger.values.text import HOST_LIMIT, PATH_LIMIT, loggable_host, loggable_path
from tests.console.records import record
from tests.property.strategies_shown import CANARY, hiding, plain_paths

_USERINFO = re.compile(r"(?:^|[a-z]:)//[^/]*@", re.IGNORECASE)
_DENIED = Deny(Reason.DENY_AMBIGUOUS_REQUEST, 400, "{}")
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
def test_what_is_a_credential_in_any_reading_of_a_path_is_not_shown(before: str, after: str) -> None:
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
def test_any_text_is_bounded_and_printable_and_stays_what_it_is(text: str, times: int) -> None:
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
