"""What entries request of their issuers, compared with the profiles: what a grant cannot express, and what a proof cannot check. Pure."""

from collections.abc import Callable, Iterator
from typing import Any, final

import attrs

from exchanger.commands.check.files import CheckedDocument, PlacedProblem
from exchanger.commands.check.source_map import Place
from exchanger.formats.yaml import nodes
from exchanger.formats.yaml.nodes import field
from exchanger.formats.yaml.reader import read_nodes
from exchanger.model.codes.code import Code
from exchanger.model.codes.issuers import (
    NOTHING_TO_PROVE,
    OTHER_AUDIENCE,
    SCOPE_ALONE,
    SUBJECT_OPAQUE,
    SUBJECT_UNREADABLE,
    UNREQUESTED_AUDIENCE,
)
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import ExchangeEntry, TokenTarget
from exchanger.model.issuer import Issuer
from exchanger.util.text import quoted


@final
@attrs.frozen
class CheckedProfiles:
    """The issuers that entries refer to. Their profiles are in ``file``, where ``place`` finds the field that a message is about."""

    file: str
    issuers: tuple[Issuer[Any], ...]
    place: Callable[[str], Place]


def of_targets(documents: tuple[CheckedDocument, ...], profiles: CheckedProfiles) -> Iterator[PlacedProblem]:
    """Yield what is wrong between entries and ``profiles``, at the place of either."""
    known = {issuer.name: issuer for issuer in profiles.issuers}
    targets: dict[str, list[TokenTarget]] = {name: [] for name in known}
    for document in documents:
        exchanges = [one for one in document.policy.entries if isinstance(one, ExchangeEntry) and one.target.issuer_ref in known]
        for entry in exchanges:
            targets[entry.target.issuer_ref].append(entry.target)
        wrong = [(entry, *problem) for entry in exchanges for problem in _of_target(entry.target, known[entry.target.issuer_ref])]
        root = read_nodes(document.policy.text or "") if wrong else None
        entries = field(root, "entries") if isinstance(root, nodes.Mapping) else None
        items = entries.items if isinstance(entries, nodes.Sequence) else ()
        for entry, code, name, why in wrong:
            exchange = field(items[entry.index], "exchange") if entry.index < len(items) else None
            found = field(exchange, name) if name else exchange
            where = f"entries[{entry.index}].exchange{name and f'.{name}'}"
            line, column = (entry.line, None) if found is None else (found.line, found.column)
            problem = Problem(code, f"{where} {why}", entry.index, where, line, column)
            source = None if document.bare else document.policy.source
            yield PlacedProblem(problem, document.file.name, document.place(line, column), source)
    for issuer in profiles.issuers:
        for code, why in _of_proof(issuer, targets[issuer.name]):
            problem = Problem(code, f'issuer profile "{issuer.name}" issuedToken.{why}')
            yield PlacedProblem(problem, profiles.file, profiles.place(problem.text))


def _of_target(target: TokenTarget, issuer: Issuer[Any]) -> Iterator[tuple[Code, str, str]]:
    """Yield what cannot be requested or checked, with the field of the entry's exchange that it is about."""
    name = quoted(issuer.name)
    for field_name in issuer.unrequestable(target):
        if issuer.assertion is None:
            yield SCOPE_ALONE, field_name, f"cannot be requested: the grant of the issuer {name} accepts only a scope"
        else:
            yield OTHER_AUDIENCE, field_name, f"cannot be requested: the issuer {name} gets an assertion, which determines the audience"
    if issuer.issued is not None and not (issuer.issued.audiences or target.audiences or target.resources):
        yield NOTHING_TO_PROVE, "", f"names no audience and no resource, by which the issuer {name} could prove its tokens"


def _of_proof(issuer: Issuer[Any], targets: list[TokenTarget]) -> Iterator[tuple[Code, str]]:
    """Yield what the proof of ``issuer`` allows or compares in vain."""
    rules = issuer.issued
    if rules is None:
        return
    requested = [target.audiences or target.resources for target in targets]
    # An issuer chooses the audience itself if an entry names none. Without any entry there is nothing to compare.
    if requested and all(requested):
        named = {name for names in requested for name in names}
        for number, audience in enumerate(rules.audiences):
            if audience not in named:
                yield UNREQUESTED_AUDIENCE, f"audience[{number}] accepts tokens for {quoted(audience)}, which no policy requests"
    compared = "subject is compared with that of the caller's token, which need not be a JWT"
    if rules.subject and issuer.subject.introspection is not None:
        yield SUBJECT_OPAQUE, f"{compared}: subjectToken.introspection accepts opaque ones"
    elif rules.subject and not issuer.subject.issuers:
        yield SUBJECT_UNREADABLE, f"{compared}: subjectToken.issuers is missing"
