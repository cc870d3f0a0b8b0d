"""Grants that give less than their author probably meant: items that cannot be filled in, and Namespaces that a slip leaves out.

Must not know: who gets the notices.
"""

from collections.abc import Collection, Iterator
from typing import Final

from exchanger.codes import grants as codes
from exchanger.policy.documents.document import Labels
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.notices import near_label
from exchanger.util.text import closest
from exchanger.values.notice import Notice
from exchanger.values.selector import Selector

_NO_OTHER: Final = Selector()


def of_allowance(grants: Grants, namespace: str, descriptions: tuple[Labels, ...]) -> Iterator[Notice]:
    """Yield a notice for each item that grants nothing to ``namespace``, described by these labels, though it was meant to."""
    seen: dict[str, None] = {}
    for allowance in grants.allowances(namespace, descriptions):
        seen.update(dict.fromkeys(allowance.problems))
    for problem in seen:
        text = f"is granted less than the grants file seems to say: {problem}"
        yield Notice(f"Namespace {namespace}", text, "label the Namespace, or change the grants file", codes.GRANTED_LESS)


def of_left_out(grants: Grants, namespace: str, labels: Labels, known: Collection[str]) -> Iterator[Notice]:
    """Yield a notice if ``namespace`` is granted nothing, and its name or a label comes near to what a grant is for.

    ``known`` are the names of Namespaces that exist.
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
        yield Notice(f"Namespace {namespace}", f"is granted nothing: {hint}", "correct the label, or the grants file", codes.LEFT_OUT)
