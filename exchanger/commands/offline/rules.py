"""From manifests, or the objects of a cluster, to the version of the policy that a service would start with.

Selected by the selectors and read by the functions of the service. There is one difference, since manifests of a pull request are seldom
complete: if the rules are not ``complete``, a Namespace that no manifest describes counts as selected.
"""

from collections.abc import Iterable, Mapping
from typing import final

import attrs

from exchanger.app.settings import Settings
from exchanger.model.entry import Source
from exchanger.model.selector import Selector
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.selection import AnyIssuer, Change, ConfigMap, DocumentText, Namespace, PolicyObject, advance, select
from exchanger.policy.snapshot import PolicySnapshot, UnreadableReach
from exchanger.sources.directory.source import DirectorySettings


@final
@attrs.frozen
class PolicyRules:
    """What counts as policy, the issuers that entries may refer to, the grants, and the reach of fail-closed scopes of unknown host.

    ``complete``: a Namespace that the manifests do not describe does not exist, as in a folder that is the service's source.
    """

    namespaces: Selector
    configmaps: Selector
    issuers: frozenset[str] = attrs.field(factory=AnyIssuer)
    grants: Grants = NO_GRANTS
    reach: UnreadableReach = UnreadableReach.UNMATCHED
    complete: bool = False

    @classmethod
    def of(cls, settings: Settings, issuers: frozenset[str]) -> "PolicyRules":
        """Return the rules of a service with these settings and issuer profiles."""
        policy, grants = settings.policy, settings.grants.grants
        complete = isinstance(policy, DirectorySettings)
        return cls(policy.namespace_selector, policy.configmap_selector, issuers, grants, settings.unreadable_reach, complete)

    def select(self, objects: Iterable[PolicyObject]) -> dict[Source, DocumentText]:
        """Return the documents of the ConfigMaps that are active."""
        found = tuple(objects)
        documents = select(found, self.namespaces, self.configmaps, self.grants.limits)
        if self.complete:
            return documents
        assumed: list[PolicyObject] = [Namespace(name, ()) for name in undescribed(found)]
        assumed += (item for item in found if isinstance(item, ConfigMap))
        return documents | select(assumed, Selector(), self.configmaps, self.grants.limits)

    def version(self, documents: Mapping[Source, DocumentText]) -> Change:
        """Return the version with ``documents``, in whose order those of the result are."""
        change = advance(PolicySnapshot.EMPTY, {}, documents, self.issuers, grants=self.grants)
        return attrs.evolve(change, snapshot=change.snapshot.reaching(self.reach))


def undescribed(objects: Iterable[PolicyObject]) -> dict[str, None]:
    """Return the namespaces of ConfigMaps that no Namespace among ``objects`` describes, in their order."""
    found = tuple(objects)
    described = {item.name for item in found if isinstance(item, Namespace)}
    return dict.fromkeys(item.namespace for item in found if isinstance(item, ConfigMap) and item.namespace not in described)
