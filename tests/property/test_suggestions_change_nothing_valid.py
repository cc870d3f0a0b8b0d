"""Laws: a check is total and agrees with the service; what it proposes changes no valid entry, leaves fewer problems, and then no more."""

from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.policy.documents.document import parse_document
from exchanger.policy.selection import AnyIssuer
from exchanger.tools.check.suggest import mended, suggest
from exchanger.values.entry import Source
from tests.check.checking import checked, codes, config_map, rules
from tests.examples import examples

FIELDS = st.sampled_from(["action", "acton", "Action", "match", "mach", "exchange", "exchnage", "other", "clientSecret"])
MATCH_FIELDS = st.sampled_from(
    ["host", "hots", "pathPrefix", "pathprefix", "path", "methods", "method", "caseInsensitive", "pathType", "x"]
)
WORDS = (
    "deny Deny denny allow alow exchange a.example https://a.example/ /orders orders 'x' \"/y\" 1 true \"true\" [GET] GET [] {} ~ '' "
    "Segment segment *a 'it''s' \"\\u0061\""
)
VALUES = st.sampled_from([*WORDS.split(), "[get, 1]", "&a b", "a b"])
FIELD = st.builds("{}: {}".format, MATCH_FIELDS, VALUES)
MATCH = st.lists(FIELD, max_size=4).map(lambda fields: "{" + ", ".join(["host: a.example, pathPrefix: /o"] * (not fields) + fields) + "}")


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = ["version: v1", "entries:"]
    for _ in range(draw(st.integers(0, 4))):
        lines.append(f"- match: {draw(MATCH)}")
        for _ in range(draw(st.integers(0, 3))):
            value = draw(VALUES | st.just("{issuerRef: p, scope: 1}"))
            lines.append(f"  {draw(FIELDS)}: {value}" + draw(st.sampled_from(["", "  # why"])))
    return "\n".join(lines) + "\n"


@settings(max_examples=examples(60))
@given(documents())
def test_what_is_proposed_changes_nothing_valid_and_is_accepted(document: str) -> None:
    text = config_map(document)
    before = checked(text)
    after_text = mended(before.files[0], before, rules())
    after = checked(after_text)
    valid = {entry for one in before.documents for entry in one.policy.entries}
    assert valid <= {entry for one in after.documents for entry in one.policy.entries}
    assert len(before.documents) == len(after.documents)
    if after_text != text:
        proposed = {one.problem for one in before.problems if one.problem.instead}
        assert proposed - {one.problem for one in after.problems}
    assert suggest(after, rules()) == ""


@settings(max_examples=examples(60))
@given(documents() | st.text(max_size=100))
def test_a_check_finds_wrong_what_the_service_finds_wrong(document: str) -> None:
    text = config_map(document)
    if any("\ud800" <= char <= "\udfff" for char in text):
        return
    result = checked(text)
    lines = text.count("\n") + sum(text.count(end) for end in "\r\x85\u2028\u2029") + 1
    for one in result.problems:
        assert one.place.line is None or 1 <= one.place.line <= lines
        assert one.problem.text
    for found in result.documents:
        said = parse_document(Source("team", "policy"), getattr(found.object.value, "document", None), AnyIssuer())
        wrong = {region.index for region in said.problems}
        assert wrong == {problem.entry for problem in found.policy.findings}
        assert bool(wrong) is any(name.startswith(("POL-10", "POL-11", "POL-12", "POL-13", "POL-14")) for name in codes(result))
