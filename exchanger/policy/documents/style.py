"""What the service accepts although its author probably meant something else, or would write it differently. Pure.

Entries that are all gone, methods that do not exist, ports of hosts, methods in lower case, a missing slash, texts that look like patterns
or lists.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from exchanger.formats.yaml import nodes
from exchanger.formats.yaml.nodes import Mapping, Node, Sequence, field
from exchanger.formats.yaml.reader import read_nodes
from exchanger.model.authority import port_of, read_host
from exchanger.model.codes import policy as codes
from exchanger.model.codes.problem import Problem
from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.documents.method_names import meant_method
from exchanger.util.text import MAX_QUOTED, bounded, quoted

# Notices of one document.
MAX_NOTICES: Final = 256


def style_of(document: PolicyDocument) -> tuple[Problem, ...]:
    """Return the notices on a document as its author wrote it; nothing about fields that are wrong anyway."""
    wrong = {problem.field for problem in document.findings}
    root = read_nodes(document.text) if document.text else None
    entries = field(root, "entries") if isinstance(root, Mapping) else None
    found: list[Problem] = []
    if entries is not None and nodes.is_null(entries):
        text = "entries is empty, and the policy decides nothing: write its items, or [] for none"
        found.append(Problem(codes.NO_ENTRIES, text, None, "entries", entries.line, entries.column))
    for index, entry in enumerate(entries.items if isinstance(entries, Sequence) else ()):
        if len(found) < MAX_NOTICES:
            match, exchange = field(entry, "match"), field(entry, "exchange")
            noticed = (*style_of_match(match, f"entries[{index}].match", index), *_literal(match, exchange, index))
            found += (notice for notice in noticed if notice.field not in wrong)
    return tuple(found)


def style_of_match(match: Node | None, where: str, index: int | None = None) -> Iterator[Problem]:
    """Yield the notices on the match at ``where``, of the entry ``index`` of a policy, or of a baseline."""
    prefix, methods = field(match, "pathPrefix"), field(match, "methods")
    if prefix is not None and (text := (nodes.text_of(prefix) or "").strip()) and not text.startswith("/"):
        instead = f"/{text}" if len(text) <= MAX_QUOTED and text == nodes.text_of(prefix) else ""
        message = f"{where}.pathPrefix does not begin with a slash: write {quoted(f'/{text}')}"
        yield Problem(codes.NO_SLASH, message, index, f"{where}.pathPrefix", prefix.line, prefix.column, instead=instead)
    yield from _of_methods(methods.items if isinstance(methods, Sequence) else (), f"{where}.methods", index)
    yield from _of_host(field(match, "host"), f"{where}.host", index)


def _of_methods(methods: Iterable[Node], where: str, index: int | None) -> Iterator[Problem]:
    written = [(method, nodes.text_of(method) or "") for method in methods]
    named = {text.strip().upper() for _, text in written}
    for method, text in written:
        meant = meant_method(text.strip().upper())
        if meant and meant not in named:  # beside the registered method, its neighbour is meant
            message = f"{where} has {quoted(text)}, which is not a registered HTTP method"
            yield Problem(codes.UNKNOWN_METHOD, message, index, where, method.line, method.column, hint=meant)
        elif text != text.upper():
            message = f"{where} has {quoted(text)}: write {quoted(text.upper())}"
            instead = text.upper() if len(text) <= MAX_QUOTED and text == text.strip() else ""
            yield Problem(codes.LOWER_CASE_METHOD, message, index, where, method.line, method.column, instead=instead)


def _of_host(host: Node | None, where: str, index: int | None) -> Iterator[Problem]:
    text = "" if host is None else nodes.text_of(host) or ""
    if host is not None and (port := port_of(text)):
        (name, *_) = read_host(text.strip()).hosts
        message = f"{where} has the port {bounded(port)}, and the entry covers the host on every port: write {quoted(name or '')}"
        instead = name if name is not None and len(name) <= MAX_QUOTED else ""
        yield Problem(codes.HOST_PORT, message, index, where, host.line, host.column, instead=instead)


def _literal(match: Node | None, exchange: Node | None, index: int) -> Iterator[Problem]:
    """Yield texts that look like a pattern or a list although every character is literal."""
    for name, odd, node in _plain_texts(match, exchange):
        text = nodes.text_of(node) or ""
        char = next((char for char in odd if char in text), None)
        if char is not None:
            where = f"entries[{index}].{name}"
            message = f"{where} has {quoted(text)}, in which the {quoted(char)} is literal"
            yield Problem(codes.LITERAL_TEXT, message, index, where, node.line, node.column)


def _plain_texts(match: Node | None, exchange: Node | None) -> Iterator[tuple[str, str, Node]]:
    """Yield the fields whose texts are literal, and the characters that look as if they were not."""
    headers, scope = field(match, "headers"), field(exchange, "scope")
    for header in headers.items if isinstance(headers, Sequence) else ():
        if (value := field(header, "value")) is not None:
            yield "match.headers", "*", value
    if scope is not None:
        yield "exchange.scope", "*,", scope
    for name, odd in (("audiences", "*,"), ("resources", "*")):
        listed = field(exchange, name)
        for item in listed.items if isinstance(listed, Sequence) else ():
            yield f"exchange.{name}", odd, item
