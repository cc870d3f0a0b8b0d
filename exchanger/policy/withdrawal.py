"""Why a document is no longer in force, told from the objects that are there now.

Must not know: where objects come from.
"""

import enum
from collections.abc import Iterable, Mapping

from exchanger.policy.selection import Namespace, PolicyObject
from exchanger.values.entry import UNKNOWN_NAMESPACE, Source
from exchanger.values.selector import Selector


@enum.unique
class Gone(enum.Enum):
    """Why a document went; the value is for people."""

    DELETED = "deleted"
    LABEL = "label gone"
    NAMESPACE = "namespace gone"
    NAMESPACE_LABEL = "namespace's label gone"


Reasons = Mapping[Source, Gone]


def why_gone(
    sources: Iterable[Source], objects: Iterable[PolicyObject], namespaces: Selector, config_maps: Selector, named: Iterable[str] = ()
) -> dict[Source, Gone]:
    """Return why each of ``sources`` is not in force; one that is there again has no reason, nor has one that never was a ConfigMap.

    ``named`` Namespaces count as selected without being objects.
    """
    wanted = {source for source in sources if source.namespace != UNKNOWN_NAMESPACE}
    within = {source.namespace for source in wanted}
    selected, labelled = dict.fromkeys(named, True), dict[Source, bool]()
    for item in objects:
        if isinstance(item, Namespace):
            if item.name in within:
                selected[item.name] = selected.get(item.name, False) or namespaces.matches(dict(item.labels))
        elif item.namespace in within and (source := Source(item.namespace, item.name)) in wanted:
            labelled[source] = labelled.get(source, False) or config_maps.matches(dict(item.labels))
    found: dict[Source, Gone] = {}
    for source in wanted:
        if not selected.get(source.namespace, False):
            found[source] = Gone.NAMESPACE_LABEL if source.namespace in selected else Gone.NAMESPACE
        elif not labelled.get(source, False):
            found[source] = Gone.LABEL if source in labelled else Gone.DELETED
    return found
