"""Entries that are valid and probably not what their author meant, as the whole policy shows. Pure; each look takes bounded work.

Must not know: files, or who gets the remarks.
"""

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from itertools import chain
from typing import Final, final

import attrs

from exchanger.formats.yaml.nodes import Mapping, Sequence, field
from exchanger.formats.yaml.reader import read_nodes
from exchanger.model.authority import WILDCARD
from exchanger.model.codes.code import Code, Severity
from exchanger.model.codes.manifests import DENY_WITHOUT_SLASH
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import BASELINE, AllowEntry, DenyEntry, Entry, ExchangeEntry, PathType
from exchanger.model.policy_decision import NO_MATCH
from exchanger.model.request import HeaderFields
from exchanger.policy.conflicts import named
from exchanger.policy.documents.accepted import comments_in, is_accepted
from exchanger.policy.documents.style import style_of, style_of_match
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import bounded, quoted

# Methods of one entry for which it is asked who decides.
MAX_METHODS: Final = 16

# A method, and the rest of a path and of a host, that no policy contains.
ANY_METHOD: Final = "ZZ-ANY"
REST: Final = "zz-any"


NO_ENTRY_DECIDES: Final = "no entry decides: the request passes unless unmatched requests are denied"


@final
@attrs.frozen
class Remark:
    """A problem with an entry of a snapshot; ``rivals`` are other entries that it is about.

    ``field`` is the field of the match to look at, "" if it is the entry as a whole. ``hint`` is what was probably meant.
    """

    entry: Entry
    code: Code
    text: str
    rivals: tuple[Entry, ...] = ()
    field: str = ""
    hint: str = ""

    @property
    def problem(self) -> Problem:
        """The problem of the document, at the line of the entry."""
        is_baseline = self.entry.source == BASELINE
        path = f"{'baseline' if is_baseline else 'entries'}[{self.entry.index}]"
        named_field = f"{path}.match.{self.field}" if self.field else path
        index = None if is_baseline else self.entry.index
        return Problem(self.code, f"{path} {self.text}", index, named_field, self.entry.line, hint=self.hint)


def a_host(host: str) -> str:
    """Return a host that the ``host`` of an entry covers: one that no policy names if it is a wildcard."""
    return f"{REST}.{host.removeprefix(WILDCARD)}" if host.startswith(WILDCARD) else host


def some_methods(entry: Entry) -> Iterable[str]:
    """Return methods that ``entry`` covers, at most ``MAX_METHODS``: one that no policy names if it covers every method."""
    return (ANY_METHOD,) if entry.match.methods is None else nsmallest(MAX_METHODS, entry.match.methods)


def own_headers(entry: Entry) -> HeaderFields:
    """Return the headers that a request must have for ``entry``."""
    return HeaderFields(entry.match.headers, raw=True)


def mistakes_of(document: EffectiveDocument, snapshot: PolicySnapshot) -> Iterator[Problem]:
    """Yield the warnings about valid entries of ``document`` that are probably not what was meant, without those that comments accept.

    ``snapshot`` has the document. ``exchanger check`` warns of the same.
    """
    comments = comments_in(document.text or "")
    found = (problem for problem in style_of(document.document) if problem.code.severity is Severity.WARNING)
    every = chain(found, (remark.problem for remark in open_without_slash(document.entries, snapshot)))
    yield from (problem for problem in every if not is_accepted(problem, document.document, comments))


def mistakes_of_baseline(grants: Grants, text: str) -> Iterator[Problem]:
    """Yield the same about the baseline of ``grants``, and notices about its style, at their places in ``text``."""
    listed = field(root, "baseline") if isinstance(root := read_nodes(text), Mapping) else None
    matches = [field(item, "match") for item in (listed.items if isinstance(listed, Sequence) else ())]
    for index, match in enumerate(matches):
        yield from style_of_match(match, f"baseline[{index}].match")
    for remark in open_without_slash(grants.baseline, PolicySnapshot.EMPTY.with_grants(grants)):
        place = field(matches[remark.entry.index], remark.field)
        problem = remark.problem
        yield problem if place is None else attrs.evolve(problem, line=place.line, column=place.column)


def open_without_slash(entries: Iterable[Entry], snapshot: PolicySnapshot) -> Iterator[Remark]:
    """Yield denials of a path with a trailing slash that leave the path without the slash open.

    An exact path is denied as it is written. Where an entry names the path without the slash, its author has decided about it.
    """
    for entry in entries:
        prefix = entry.match.path_prefix
        path = prefix.rstrip("/")
        if not isinstance(entry, DenyEntry) or not path or path == prefix or entry.match.path_type is PathType.EXACT:
            continue
        for method in some_methods(entry):
            found = snapshot.match(a_host(entry.match.host or ""), path, method, raw=True, headers=own_headers(entry))
            rivals: tuple[Entry, ...] = ()
            if isinstance(found, ExchangeEntry | AllowEntry) and found.match.path_prefix != path:
                what = "exchanges the token" if isinstance(found, ExchangeEntry) else "lets the request pass"
                rest, rivals = f"{named(found)} {what}", (found,)
            elif found is NO_MATCH:
                rest = "policies decide" if entry.source == BASELINE else NO_ENTRY_DECIDES
            else:
                continue
            text = f"denies {quoted(prefix)}, which does not cover {quoted(path)}: there {rest}"
            yield Remark(entry, DENY_WITHOUT_SLASH, text, rivals, "pathPrefix", f"{bounded(path)} with pathType: Segment")
            break
