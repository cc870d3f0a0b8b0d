"""From Kubernetes objects to the active policy documents, and from one such state to the next.

Must not know: where the objects come from.
"""

from collections.abc import Iterable, Mapping
from typing import Final, final

import attrs

from exchanger.model.codes.code import Code
from exchanger.model.codes.manifests import FOUND_TWICE, MANY_DOCUMENTS, UNREADABLE_FILE
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import FailClosedScope, Source
from exchanger.model.selector import Selector
from exchanger.policy.documents.document import UNREADABLE_REACH, Labels, PolicyDocument, parse_document
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.limits import NamespaceLimits
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.quota import NamespaceQuota, over_quota
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import closest, printable

DOCUMENT_KEY: Final = "config.yaml"
# Every Namespace has it (https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name).
NAME_LABEL: Final = "kubernetes.io/metadata.name"

# Characters of a ConfigMap's key (https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-object).
KEY_LIMIT: Final = 253

# Bytes of a ConfigMap's labels that count for nothing: twenty long ones have 2 KiB, and a server allows a megabyte.
USUAL_LABELS: Final = 4096


def bytes_of(text: str) -> int:
    """Return the bytes of ``text`` in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@final
class AnyIssuer(frozenset[str]):
    """All possible names: for reading policies when the profiles are not known."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return True


@final
@attrs.frozen
class Namespace:
    """A Namespace. ``uid`` distinguishes it from earlier ones of its name, "" if unknown; equality ignores it."""

    name: str
    labels: Labels
    uid: str = attrs.field(default="", eq=False)


@final
@attrs.frozen
class ConfigMap:
    """A ConfigMap; ``document`` is its ``config.yaml``, ``None`` if that is missing or not text.

    ``uid`` distinguishes it from earlier ones of its name, "" if unknown. ``instead`` is the key that was probably meant to be a missing
    ``config.yaml``, or "". Equality ignores both. ``over_quota`` is why its document and labels are not kept, "" if they are.
    """

    namespace: str
    name: str
    labels: Labels
    document: str | None = attrs.field(repr=False)
    uid: str = attrs.field(default="", eq=False)
    instead: str = attrs.field(default="", eq=False)
    over_quota: str = attrs.field(default="", kw_only=True)

    @property
    def size(self) -> int:
        """The bytes that count for its namespace: those of its document, and of its labels beyond the usual."""
        labels = sum(bytes_of(text) for label in self.labels for text in label)
        return bytes_of(self.document or "") + max(0, labels - USUAL_LABELS)


PolicyObject = Namespace | ConfigMap


def labels_of(namespace: Namespace) -> Labels:
    """Return the labels that count for grants, sorted; one of them is the name, as servers set it."""
    return tuple(sorted({**dict(namespace.labels), NAME_LABEL: namespace.name}.items()))


@final
@attrs.frozen
class Text:
    """A selected ConfigMap's document, ``None`` without one; ``instead`` is the key that probably holds it.

    ``namespace_labels`` has the labels of its Namespace, once for each description of it; empty if they are unknown.
    """

    text: str | None = attrs.field(repr=False)
    instead: str = ""
    namespace_labels: tuple[Labels, ...] = ()

    @classmethod
    def of(cls, config_map: ConfigMap, namespace_labels: tuple[Labels, ...] = ()) -> "Text":
        """Return the document of ``config_map``."""
        return cls(config_map.document, config_map.instead, namespace_labels)


@final
@attrs.frozen
class UnknownText:
    """What should be active here is unknown, so nothing may pass. ``namespace_labels`` are as in ``Text``, ``line`` is that of a file."""

    reason: str
    namespace_labels: tuple[Labels, ...] = ()
    code: Code = attrs.field(default=UNREADABLE_FILE, repr=False)
    line: int | None = None


DocumentText = Text | UnknownText


def document_of(config_map: ConfigMap, namespace_labels: tuple[Labels, ...] = ()) -> DocumentText:
    """Return the document of ``config_map``."""
    if config_map.over_quota:
        return UnknownText(config_map.over_quota, namespace_labels, MANY_DOCUMENTS)
    return Text.of(config_map, namespace_labels)


_TWICE: Final = "the ConfigMap is in more than one file, with different documents"


@final
@attrs.frozen
class Change:
    """A new version of the policy; ``documents`` are new or changed in it, ``removed`` ones are gone."""

    snapshot: PolicySnapshot
    documents: tuple[EffectiveDocument, ...]
    removed: tuple[Source, ...]


def descriptions_of(objects: Iterable[PolicyObject]) -> dict[str, tuple[Labels, ...]]:
    """Return the labels of each Namespace, sorted: several where files describe it differently."""
    described: dict[str, set[Labels]] = {}
    for item in objects:
        if isinstance(item, Namespace):
            described.setdefault(item.name, set()).add(labels_of(item))
    return {name: tuple(sorted(descriptions)) for name, descriptions in described.items()}


def select(
    objects: Iterable[PolicyObject], namespaces: Selector, configmaps: Selector, limits: NamespaceLimits = NO_GRANTS.limits
) -> dict[Source, DocumentText]:
    """Return the documents of the ConfigMaps that are selected and in a selected Namespace; documents over ``limits`` are unknown."""
    found = tuple(objects)
    # A Namespace that two files describe differently is selected if either selects it: otherwise what its policies close would open.
    selected = {item.name for item in found if isinstance(item, Namespace) and namespaces.matches(dict(item.labels))}
    labels = descriptions_of(found)
    documents: dict[Source, DocumentText] = {}
    sizes: dict[tuple[str, str], int] = {}
    for item in found:
        if isinstance(item, ConfigMap) and item.namespace in selected and configmaps.matches(dict(item.labels)):
            source, document = Source(item.namespace, item.name), document_of(item, labels[item.namespace])
            twice = documents.get(source, document) != document
            documents[source] = UnknownText(_TWICE, labels[item.namespace], FOUND_TWICE) if twice else document
            sizes[item.namespace, item.name] = max(item.size, sizes.get((item.namespace, item.name), 0))
    for namespace, name in over_quota(((*key, size) for key, size in sizes.items()), limits):
        documents[Source(namespace, name)] = UnknownText(NamespaceQuota(limits).reason, labels[namespace], MANY_DOCUMENTS)
    return documents


def advance(
    snapshot: PolicySnapshot,
    before: Mapping[Source, DocumentText],
    after: Mapping[Source, DocumentText],
    issuers: frozenset[str],
    *,
    afresh: bool = False,
    grants: Grants = NO_GRANTS,
) -> Change:
    """Return the version after ``snapshot``; only documents that differ between ``before`` and ``after`` cost anything.

    With ``afresh`` all of them are read again, because ``issuers`` changed.
    """
    removed = tuple(source for source in before if source not in after)
    changed = {source: text for source, text in after.items() if afresh or before.get(source) != text}
    read_now = {source: read(source, text, issuers, known_document(snapshot, source)) for source, text in changed.items()}
    labels = {source.namespace: text.namespace_labels for source, text in after.items()}
    snapshot = snapshot if grants is snapshot.grants else snapshot.with_grants(grants)
    snapshot = snapshot.changed({**dict.fromkeys(removed), **read_now}, labels)
    return Change(snapshot, tuple([document for source in changed if (document := snapshot.document(source)) is not None]), removed)


def known_document(snapshot: PolicySnapshot, source: Source) -> PolicyDocument | None:
    """Return the document of ``source`` as its author wrote it, ``None`` if it is not in ``snapshot``, or only its text is kept."""
    known = snapshot.document(source)
    return None if known is None or known.is_over_quota else known.document


def read(source: Source, document: DocumentText, issuers: frozenset[str], known: PolicyDocument | None = None) -> PolicyDocument:
    """Parse a document; ``issuers`` are the profiles that its entries may refer to.

    ``known`` is the previous document of the source, returned if its text and ``issuers`` are the same.
    """
    if known is not None and known.text is not None and (known.text, known.issuers) == (_text(document), issuers):
        return known
    return _written(source, document, issuers)


def _text(document: DocumentText) -> str | None:
    return document.text if isinstance(document, Text) else None


def _written(source: Source, document: DocumentText, issuers: frozenset[str]) -> PolicyDocument:
    if isinstance(document, UnknownText):
        problem = Problem(document.code, document.reason, line=document.line)
        closed_scope = FailClosedScope(source, UNREADABLE_REACH, document.reason, line=document.line, problems=(problem,))
        return PolicyDocument(source, closed_scopes=(closed_scope,))
    parsed = parse_document(source, document.text, issuers)
    if document.text is not None or not document.instead:
        return parsed
    meant = f"; the ConfigMap has {printable(document.instead, KEY_LIMIT)}, which was probably meant: rename it to {DOCUMENT_KEY}"
    (closed_scope,) = parsed.closed_scopes
    problems = tuple(attrs.evolve(problem, text=problem.text + meant) for problem in closed_scope.problems)
    return attrs.evolve(parsed, closed_scopes=(attrs.evolve(closed_scope, reason=closed_scope.reason + meant, problems=problems),))


def key_meant(data: Mapping[str, object], binary: object) -> str:
    """Return the key of ``data`` that was probably meant to be ``config.yaml``: a similar one, or the only one; otherwise "".

    ``binary`` is the ConfigMap's ``binaryData``, which is not read.
    """
    if DOCUMENT_KEY in data:
        return ""
    if isinstance(binary, dict) and DOCUMENT_KEY in binary:
        return f"binaryData.{DOCUMENT_KEY}"
    return closest(DOCUMENT_KEY, data) or (next(iter(data)) if len(data) == 1 else "")
