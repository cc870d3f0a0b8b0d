"""What an entry lacks in style alone: methods in upper case, a slash before the path. Nothing is decided by it. Pure."""

from collections.abc import Iterator
from typing import Final

from exchanger.codes import policy as codes
from exchanger.codes.problem import Problem
from exchanger.policy.documents import yaml_nodes as nodes
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.documents.yaml_nodes import Mapping, Node, Sequence
from exchanger.policy.documents.yaml_reader import read_nodes
from exchanger.tools.check.source_map import field
from exchanger.util.text import MAX_QUOTED, quoted

# Notices of one document.
MAX_NOTICES: Final = 256


def style_of(document: PolicyDocument) -> tuple[Problem, ...]:
    """Return the notices on a document as its author wrote it; nothing about fields that are wrong anyway."""
    written = document if document.written is None else document.written
    wrong = {problem.field for region in written.problems for problem in region.problems}
    root = read_nodes(written.text or "") if written.text else None
    entries = field(root, "entries") if isinstance(root, Mapping) else None
    found: list[Problem] = []
    for index, entry in enumerate(entries.items if isinstance(entries, Sequence) else ()):
        if len(found) < MAX_NOTICES:
            found += (notice for notice in _of_match(field(entry, "match"), index) if notice.field not in wrong)
    return tuple(found)


def _of_match(match: Node | None, index: int) -> Iterator[Problem]:
    where = f"entries[{index}].match"
    prefix, methods = field(match, "pathPrefix"), field(match, "methods")
    if prefix is not None and (text := (nodes.text_of(prefix) or "").strip()) and not text.startswith("/"):
        instead = f"/{text}" if len(text) <= MAX_QUOTED and text == nodes.text_of(prefix) else ""
        message = f"{where}.pathPrefix does not begin with a slash: write {quoted(f'/{text}')}"
        yield Problem(codes.NO_SLASH, message, index, f"{where}.pathPrefix", prefix.line, prefix.column, instead=instead)
    for method in methods.items if isinstance(methods, Sequence) else ():
        text = nodes.text_of(method) or ""
        if text != text.upper():
            message = f"{where}.methods has {quoted(text)}: write {quoted(text.upper())}"
            instead = text.upper() if len(text) <= MAX_QUOTED and text == text.strip() else ""
            yield Problem(codes.LOWER_CASE_METHOD, message, index, f"{where}.methods", method.line, method.column, instead=instead)
