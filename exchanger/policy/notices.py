"""Mistakes that authors would not notice, because nothing is refused: objects probably meant to be policy, and grants that give too little.

Must not know: where objects come from, or who gets the notices.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from exchanger.model.codes import manifests as codes
from exchanger.model.codes.grants import GRANTED_LESS, LEFT_OUT
from exchanger.model.entry import Source
from exchanger.model.notice import Notice
from exchanger.model.selector import OneOf, Present, Selector
from exchanger.policy.documents.document import Labels
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.selection import DOCUMENT_KEY, NAME_LABEL, ConfigMap, Namespace
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.util.text import closest, is_near

# Characters of a document that are searched for the two fields that every policy begins with.
_LOOKED_AT: Final = 64 * 1024
# Labels of an object that are compared; a real object has a dozen.
_LABELS: Final = 64
_VERSION: Final = re.compile(r"""(?:^|[\s{,"'])version["']?\s*:\s*["']?v\d""")
_ENTRIES: Final = re.compile(r"""(?:^|[\s{,"'])entries["']?\s*:""")
_AFFIRMATIVE: Final = frozenset({"true", "yes", "on", "1", "enabled", "enable", "active"})
# Values of a label that opt out on purpose, which is not a mistake.
_REFUSING: Final = frozenset({"false", "no", "off", "0", "disabled", "disable", "inactive", "none", "never"})
_SEPARATORS: Final = re.compile(r"[-_.\s]+")
# Characters of a distinctive part of a domain; shorter ones (``com``, ``example``) are common.
_TELLING: Final = 8
_NO_OTHER: Final = Selector()


def looks_like_policy(text: str | None) -> bool:
    """Return whether ``text`` has the two fields that policy documents begin with."""
    head = (text or "")[:_LOOKED_AT]
    return bool(_VERSION.search(head) and _ENTRIES.search(head))


def of_namespaces(namespaces: Iterable[Namespace], selector: Selector, config_maps: Selector) -> Iterator[Notice]:
    """Yield a notice for each Namespace that is not selected although one of its labels is nearly right."""
    for namespace in namespaces:
        hint = near_label(namespace.labels, selector, config_maps)
        if hint is not None:
            remedy = f"its labels must match {selector}"
            yield Notice(f"Namespace {namespace.name}", f"is not selected: {hint}", remedy, codes.NAMESPACE_NOT_SELECTED)


def of_config_maps(
    config_maps: Iterable[ConfigMap], namespaces: Mapping[str, bool], selector: Selector, namespace_selector: Selector
) -> Iterator[Notice]:
    """Yield a notice for each ConfigMap that is not active although it was probably meant to be.

    ``namespaces`` has the Namespaces that are known, and whether they are selected or expressly not to be.
    """
    for config_map in config_maps:
        source = Source(config_map.namespace, config_map.name)
        if selector.matches(dict(config_map.labels)):
            if not namespaces.get(source.namespace, False):
                yield not_enabled(source, namespace_selector, known=source.namespace in namespaces)
            continue
        if is_declined(config_map.labels, selector):
            continue
        hint = near_label(config_map.labels, selector, namespace_selector)
        if hint is None and looks_like_policy(config_map.document):
            hint = f"its {DOCUMENT_KEY} looks like a policy, but its labels do not select it"
        if hint is not None:
            remedy = f"its labels must match {selector}"
            yield Notice(f"ConfigMap {source}", f"is not selected: {hint}", remedy, codes.CONFIG_MAP_NOT_SELECTED)


def not_enabled(source: Source, namespace_selector: Selector, *, known: bool) -> Notice:
    """Return the notice about a selected ConfigMap in a Namespace that is not selected, or not ``known`` at all."""
    why = "is not selected" if known else "is not selected, or does not exist"
    return Notice(
        f"ConfigMap {source}",
        f"is not active: its Namespace {source.namespace} {why}",
        f"the labels of the Namespace must match {namespace_selector}",
        codes.NAMESPACE_NOT_ENABLED,
    )


def not_named(source: Source) -> Notice:
    """Return the notice about a selected ConfigMap in a Namespace that is not among those that are followed by name."""
    return Notice(
        f"ConfigMap {source}",
        f"is not active: its Namespace {source.namespace} is not selected, as it is not among those that are followed by name",
        "add the name to POLICY_NAMESPACES or its file (chart: policyNamespaces)",
        codes.NAMESPACE_NOT_ENABLED,
    )


def of_snapshot(snapshot: PolicySnapshot, namespaces: str, config_maps: Selector, *, emptied: int = 0) -> Iterator[Notice]:
    """Yield a notice if nothing is active.

    ``namespaces`` says which Namespaces count; ``emptied`` documents were active until all of them went away at once.
    """
    remedy = f"policies are ConfigMaps with labels that match {config_maps}, in {namespaces}"
    if not snapshot.document_count:
        gone = f"{emptied} that were active are gone" if emptied else "nothing is selected"
        otherwise = "unless the baseline, the default or POLICY_REQUIRED refuses them"
        text = f"is not active: {gone}, and all requests pass unchanged {otherwise}"
        yield Notice("policy", text, remedy, codes.NOTHING_ACTIVE)
    elif snapshot.refused_count and not snapshot.entry_count and not snapshot.invalid_documents:
        text = "has no active entry: all are outside what their namespaces are granted"
        yield Notice("policy", text, "grant the hosts, or correct the entries", codes.NOTHING_ACTIVE)
    elif not snapshot.entry_count and not snapshot.invalid_documents:
        text = "has no active entry: the entries of every document are empty"
        yield Notice("policy", text, "write entries, or delete the documents", codes.NOTHING_ACTIVE)


def is_declined(labels: Labels, selector: Selector) -> bool:
    """Return whether ``labels`` expressly opt out, as ``enabled=false`` does."""
    given = dict(labels)
    wanted = (requirement for requirement in selector.requirements if isinstance(requirement, OneOf))
    return any(given.get(requirement.key, "").strip().lower() in _REFUSING for requirement in wanted)


def of_allowance(grants: Grants, namespace: str, descriptions: tuple[Labels, ...]) -> Iterator[Notice]:
    """Yield a notice for each item that grants nothing to ``namespace``, described by these labels, though it was meant to."""
    seen: dict[str, None] = {}
    for allowance in grants.allowances(namespace, descriptions):
        seen.update(dict.fromkeys(allowance.problems))
    for problem in seen:
        text = f"is granted less than the grants file seems to say: {problem}"
        yield Notice(f"Namespace {namespace}", text, "label the Namespace, or change the grants file", GRANTED_LESS)


def of_left_out(grants: Grants, namespace: str, labels: Labels, known: Collection[str]) -> Iterator[Notice]:
    """Yield a notice if ``namespace`` is granted nothing, and its name or a label is nearly one that a grant selects.

    ``known`` are the names of existing Namespaces.
    """
    if grants.allowance(namespace, labels).granted:
        return
    names = {name for grant in grants.grants for name in grant.namespaces or () if name not in known}
    near = closest(namespace, sorted(names))
    hint = None if near is None else f"a grant names {near}, which is probably meant to be {namespace}"
    selectors = dict.fromkeys(grant.selector for grant in grants.grants if grant.namespaces is None or namespace in grant.namespaces)
    for selector in selectors if hint is None else ():
        hint = hint or (None if selector is None else near_label(labels, selector, _NO_OTHER))
    if hint is not None:
        yield Notice(f"Namespace {namespace}", f"is granted nothing: {hint}", "correct the label, or the grants file", LEFT_OUT)


def near_label(labels: Labels, selector: Selector, other: Selector) -> str | None:
    """Say which of ``labels`` was probably meant to satisfy ``selector``; ``None`` if they do, or none comes near.

    ``other`` is the selector of the other kind of object, whose label is easily mistaken for this one.
    """
    given = dict(labels[:_LABELS])
    for requirement in selector.requirements:
        if isinstance(requirement, OneOf | Present) and not Selector((requirement,)).matches(given):
            hint = _near(given, requirement, {one.key for one in other.requirements if isinstance(one, OneOf | Present)})
            if hint is not None:
                return hint
    return None


def _near(labels: Mapping[str, str], requirement: OneOf | Present, others: set[str]) -> str | None:
    key = requirement.key
    if key == NAME_LABEL:
        return None  # a different name is not a misspelling
    wanted = key if isinstance(requirement, Present) else " or ".join(f"{key}={value}" for value in sorted(requirement.values))
    if key in labels and isinstance(requirement, OneOf):
        return f"the label {key} has another value; write {wanted}" if _is_near_value(labels[key], requirement.values) else None
    for found, value in labels.items():
        bare = isinstance(requirement, OneOf) and found == key.rpartition("/")[2] and value in requirement.values
        if value.strip().lower() not in _REFUSING and (bare or found in others or _is_near_key(found, key)):
            return f"the label {found} is probably meant to be {wanted}"
    return None


def _is_near_key(found: str, key: str) -> bool:
    """Return whether ``found`` is ``key`` misspelt as a whole, or its name under a domain that is much alike."""
    if is_near(found.casefold(), key.casefold()):
        return True
    domain, _, name = key.casefold().rpartition("/")
    found_domain, _, found_name = found.casefold().rpartition("/")
    if not domain or not is_near(found_name, name):
        return False
    parts = {part for part in domain.split(".") if len(part) >= _TELLING}
    return is_near(found_domain, domain) or not parts.isdisjoint(found_domain.split("."))


def _is_near_value(value: str, wanted: frozenset[str]) -> bool:
    if not wanted.isdisjoint(_AFFIRMATIVE):
        return value.strip().lower() not in _REFUSING
    # Other values, such as names of teams, may differ on purpose; only their spelling can be a slip.
    return _plain(value) in {_plain(text) for text in wanted}


def _plain(text: str) -> str:
    return _SEPARATORS.sub("", text.casefold())
