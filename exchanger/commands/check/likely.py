"""What entries are to each other: conflicts, duplicates, and probable mistakes. Pure; each look takes bounded work."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from heapq import nsmallest
from itertools import islice
from typing import Final

from exchanger.commands.check.files import CheckedDocument, PlacedProblem
from exchanger.formats.yaml.nodes import Node, Sequence, field
from exchanger.formats.yaml.reader import UnreadableYaml, read_nodes
from exchanger.model.codes import manifests as codes
from exchanger.model.entry import BASELINE, AllowEntry, DenyEntry, Entry, ExchangeEntry, PathType, Source
from exchanger.model.policy_decision import NO_MATCH
from exchanger.policy.conflicts import Conflict, conflicts_with, named
from exchanger.policy.lookup import Trace
from exchanger.policy.mistakes import ANY_METHOD, MAX_METHODS, REST, Remark, a_host, open_without_slash, own_headers, some_methods
from exchanger.policy.prefix import fold
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import bounded, distance, quoted

# Problems between entries that are reported.
MAX_FOUND: Final = 1_000
# Entries that are compared with each other; more are generated, without slips.
MAX_ENTRIES: Final = 20_000
# Hosts that are compared, and characters of one: each has as many neighbours as characters.
MAX_HOSTS: Final = 2_000
MAX_HOST: Final = 100


def between_entries(snapshot: PolicySnapshot, documents: Mapping[Source, CheckedDocument]) -> Iterator[PlacedProblem]:
    """Yield the problems between the entries of ``snapshot``, at the places that ``documents`` know."""
    entries = [entry for document in snapshot.documents() for entry in document.entries]
    if len(entries) > MAX_ENTRIES:
        return
    overridden = list(islice(_overridden(entries, snapshot), MAX_FOUND))
    known = {remark.entry for remark in overridden if remark.entry.match.methods == frozenset({"HEAD"})}
    found = (
        *islice(_conflicts(entries, snapshot), MAX_FOUND),
        *overridden,
        *islice(_unreachable((entry for entry in entries if entry not in known), snapshot), MAX_FOUND),
        *islice(_near_prefixes(entries), MAX_FOUND),
        *islice(_near_hosts(entries), MAX_FOUND),
        *islice(_denied_by_header(entries, snapshot), MAX_FOUND),
        *islice(open_without_slash(entries, snapshot), MAX_FOUND),
        *islice(_uncovered(entries, snapshot), MAX_FOUND),
    )
    roots: dict[Source, Node | UnreadableYaml] = {}
    for remark in found:
        entry = remark.entry
        document = documents[entry.source]
        place = document.place(*_spot(remark, document, roots))
        rivals = tuple((documents[rival.source].file.name, documents[rival.source].place(rival.line, None)) for rival in remark.rivals)
        yield PlacedProblem(remark.problem, document.file.name, place, None if document.bare else entry.source, rivals)


def _spot(remark: Remark, document: CheckedDocument, roots: dict[Source, Node | UnreadableYaml]) -> tuple[int | None, int | None]:
    """Return line and column of a remark in its document. ``roots`` caches parsed documents, and receives this one."""
    source = remark.entry.source
    if remark.field and source not in roots:
        roots[source] = read_nodes(document.policy.text or "")
    root = roots.get(source) if remark.field else None
    entries = None if root is None or isinstance(root, UnreadableYaml) else field(root, "entries")
    items = entries.items if isinstance(entries, Sequence) else ()
    index = remark.entry.index
    found = field(field(items[index], "match"), remark.field) if index < len(items) else None
    return (remark.entry.line, None) if found is None else (found.line, found.column)


def _conflicts(entries: Iterable[Entry], snapshot: PolicySnapshot) -> Iterator[Remark]:
    for entry in entries:
        rivals = conflicts_with(entry, snapshot)
        if not rivals:
            continue
        same = [rival for rival in rivals if _says(rival) == _says(entry)]
        if same:
            text = f"is the same as {named(same[0])}: requests that they cover are refused"
            yield Remark(entry, codes.DUPLICATE, text, tuple(same))
        if len(same) < len(rivals):
            others = tuple(rival for rival in rivals if rival not in same)
            sentence = str(Conflict(entry, others)).removeprefix(f"entries[{entry.index}] ")
            yield Remark(entry, codes.CONFLICT, sentence, others)


def _says(entry: Entry) -> tuple[object, ...]:
    return (type(entry), entry.match, (entry.target, entry.resource_metadata) if isinstance(entry, ExchangeEntry) else None)


def _unreachable(entries: Iterable[Entry], snapshot: PolicySnapshot) -> Iterator[Remark]:
    """Yield entries that decide none of the requests that should be theirs.

    An entry covers its prefix, its continuation, and what follows a slash. A text that no policy contains represents the rest, so that
    others decide there only if they decide everywhere.
    """
    for entry in entries:
        if len(entry.match.methods or ()) > MAX_METHODS:
            continue
        others: dict[Entry, None] = {}
        for host, path, method in _witnesses(entry):
            decision = snapshot.match(host, path, method, raw=True, headers=own_headers(entry))
            if not isinstance(decision, DenyEntry | ExchangeEntry | AllowEntry) or _is_of(decision, entry):
                break
            others[decision] = None
        else:
            names = ", ".join(named(other) for other in islice(others, 3))
            known = tuple(other for other in others if snapshot.document(other.source) is not None)
            yield Remark(entry, codes.UNREACHABLE, f"decides nothing: {names} decide all that it covers", known)


def _overridden(entries: Iterable[Entry], snapshot: PolicySnapshot) -> Iterator[Remark]:
    """Yield entries for HEAD that would decide it, if the decision for GET were not stricter."""
    for entry in entries:
        if "HEAD" not in (entry.match.methods or ()):
            continue
        for host, path, method in _witnesses(entry, ("HEAD",)):
            decision = snapshot.match(host, path, method, raw=True, headers=own_headers(entry))
            if not isinstance(decision, DenyEntry | ExchangeEntry | AllowEntry) or _is_of(decision, entry) or decision.source == BASELINE:
                continue
            if _decides_head_itself(entry, snapshot, host, path):
                text = f"is for HEAD, which gets the stricter decision that {named(decision)} makes for GET"
                yield Remark(entry, codes.HEAD_OVERRIDDEN, text, (decision,), "methods")
                break


def _is_of(found: Entry, entry: Entry) -> bool:
    """Return whether ``found`` is ``entry``, or what grants leave of it on a host."""
    return (found.source, found.index) == (entry.source, entry.index)


def _decides_head_itself(entry: Entry, snapshot: PolicySnapshot, host: str, path: str) -> bool:
    """Return whether ``entry`` would decide HEAD if it were not looked up as GET as well."""
    trace = Trace()
    snapshot.match(host, path, "HEAD", raw=True, headers=own_headers(entry), trace=trace)
    own = (look.found for look in trace.looks if look.method == "HEAD" and look.reading.path == path)
    return any(isinstance(found, Entry) and _is_of(found, entry) for found in own)


def _witnesses(entry: Entry, methods: Iterable[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield requests that ``entry`` covers, with its own methods or ``methods``."""
    scope = entry.match
    host = a_host(scope.host or "")
    prefix = scope.path_prefix
    paths = [prefix or "/"]
    if scope.path_type is not PathType.EXACT:
        paths.append(f"{prefix.rstrip('/')}/{REST}")
    if scope.path_type is PathType.PREFIX:
        paths.append(f"{prefix}{REST}")
    for method in methods or some_methods(entry):
        for path in paths:
            yield host, path, method


def _near_prefixes(entries: Iterable[Entry]) -> Iterator[Remark]:
    """Yield entries whose prefix is that of an earlier one but for a trailing slash, or for the case of letters."""
    first: dict[tuple[str | None, str], Entry] = {}
    for entry in entries:
        scope = entry.match
        key = (scope.host, fold(scope.path_prefix).rstrip("/"))
        other = first.setdefault(key, entry)
        mine, theirs = scope.path_prefix, other.match.path_prefix
        if not key[1] or mine == theirs or scope.case_insensitive or other.match.case_insensitive:
            continue
        what = "a trailing slash" if fold(mine) != fold(theirs) else "the case of letters"
        text = f"has the pathPrefix {quoted(mine)}, which differs from {quoted(theirs)} of {named(other)} by {what} alone"
        yield Remark(entry, codes.NEAR_PREFIX, text, (other,), "pathPrefix")


def _near_hosts(entries: Iterable[Entry]) -> Iterator[Remark]:
    """Yield each entry that alone names its host, if that is one edit away from a host that more entries name, or an earlier one."""
    count: Counter[str] = Counter()
    first: dict[str, Entry] = {}
    for entry in entries:
        host = entry.match.host
        if host is not None and len(host) <= MAX_HOST:
            count[host] += 1
            first.setdefault(host, entry)
    if len(count) > MAX_HOSTS:
        return
    ranked = [host for host, _ in count.most_common()]
    neighbours: dict[str, list[int]] = defaultdict(list)
    for rank, host in enumerate(ranked):
        near = sorted({other for shorter in _shortened(host) for other in neighbours[shorter]}) if count[host] == 1 else ()
        for shorter in _shortened(host):
            neighbours[shorter].append(rank)
        common = next((ranked[other] for other in near if _is_slip(host, ranked[other])), None)
        if common is not None:
            text = f"has the host {bounded(host)}, which is one character away from {bounded(common)} of {named(first[common])}"
            yield Remark(first[host], codes.NEAR_HOST, text, (first[common],), "host", bounded(common))


def _shortened(host: str) -> set[str]:
    """Return ``host``, and ``host`` without each single character. Two that are one edit apart have one of these in common."""
    return {host, *(host[:at] + host[at + 1 :] for at in range(len(host)))}


def _is_slip(host: str, other: str) -> bool:
    """Return whether the hosts are one edit apart, except in digits: these number hosts."""
    if distance(host, other) != 1:
        return False
    plain, others = ("".join(char for char in text if not char.isdigit()) for text in (host, other))
    return plain != others


def _denied_by_header(entries: Iterable[Entry], snapshot: PolicySnapshot) -> Iterator[Remark]:
    """Yield denials that callers evade by leaving a header out."""
    for entry in entries:
        if not isinstance(entry, DenyEntry) or not entry.match.headers:
            continue
        decisions = [snapshot.match(host, path, method, raw=True) for host, path, method in _witnesses(entry)]
        other = next((decision for decision in decisions if isinstance(decision, ExchangeEntry | AllowEntry)), None)
        if other is not None:
            what = "exchanges the token" if isinstance(other, ExchangeEntry) else "lets the request pass"
            yield Remark(entry, codes.DENY_BY_HEADER, f"denies by header, and without the header {named(other)} {what}", (other,))
        elif NO_MATCH in decisions:
            text = "denies by header, and without the header no entry decides: the request passes unless unmatched requests are denied"
            yield Remark(entry, codes.DENY_BY_HEADER, text)


def _uncovered(entries: Iterable[Entry], snapshot: PolicySnapshot) -> Iterator[Remark]:
    """Yield the first entry of each host with paths that no entry covers, for any method that the host's entries name."""
    of_hosts: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.match.host is not None:
            of_hosts[entry.match.host].append(entry)
    for name, own in of_hosts.items():
        host = a_host(name)
        methods = {ANY_METHOD, *(method for entry in own for method in nsmallest(MAX_METHODS, entry.match.methods or ()))}
        if all(snapshot.match(host, f"/{REST}", method, raw=True) is NO_MATCH for method in methods):
            closing = f"{{match: {{host: {quoted(name) if name.startswith('*') else bounded(name)}, pathPrefix: /}}, action: deny}}"
            where = f"covers a part of {bounded(name)}, and no entry covers the rest"
            what = "requests there pass with the caller's token unless unmatched requests are denied"
            yield Remark(own[0], codes.UNCOVERED_PATHS, f"{where}: {what}; {closing} closes the rest", field="pathPrefix")
