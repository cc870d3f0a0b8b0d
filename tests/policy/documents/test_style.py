"""Notices on how a policy is written."""

from exchanger.policy.documents.document import parse_document
from exchanger.policy.documents.style import MAX_NOTICES, style_of
from tests.policy.examples import RED


def test_notices_of_one_document_are_bounded() -> None:
    entry = "\n- {action: deny, match: {host: a.example, pathPrefix: x, headers: [{name: b}]}}"
    document = parse_document(RED, "version: v1\nentries:" + entry * (MAX_NOTICES + 1), frozenset())
    assert len(style_of(document)) == MAX_NOTICES
