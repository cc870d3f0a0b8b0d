"""Rights that namespaces have lost before their routes are built again: what a look-up finds is checked against the new allowances.

Must not know: requests, or how entries are found.
"""

from typing import final

import attrs
from rpds import HashTrieMap

from exchanger.model.entry import UNKNOWN_NAMESPACE, AllowEntry, DenyEntry, Entry
from exchanger.policy.grants.allowance import UNLIMITED, Allowance, missing
from exchanger.policy.scope import is_below
from exchanger.policy.table import VirtualHosts


@final
@attrs.frozen
class Revocation:
    """The new ``allowances`` of namespaces that may no longer do all that they could, and the new baseline, ``denials``.

    A namespace may do what all of its allowances grant.

    ``enforced``: if false, grants restrict nothing but what lets requests pass. ``keeps_denials``: denials stay as they are.
    """

    allowances: "HashTrieMap[str, tuple[Allowance, ...]]" = attrs.field(factory=HashTrieMap)
    denials: VirtualHosts | None = None
    enforced: bool = True
    keeps_denials: bool = False

    def beside(self, other: "Revocation | None") -> "Revocation":
        """Return what takes away all that this one and ``other`` do."""
        if other is None:
            return self
        allowances = self.allowances
        for name, own in other.allowances.items():
            allowances = allowances.insert(name, (*allowances.get(name, ()), *own))
        return attrs.evolve(self, allowances=allowances, enforced=self.enforced or other.enforced)

    def permits(self, entry: Entry, path: str) -> bool:
        """Return whether ``entry`` may still decide about ``path``, which it covers. Costs the grants of its path."""
        if self.keeps_denials and isinstance(entry, DenyEntry):
            return True
        return all(self._permits(entry, path, allowance) for allowance in self.allowances.get(entry.source.namespace, ()))

    def _permits(self, entry: Entry, path: str, allowance: Allowance) -> bool:
        is_free = not self.enforced or allowance is UNLIMITED or entry.source.namespace == UNKNOWN_NAMESPACE
        if is_free and not isinstance(entry, AllowEntry):
            return True
        covering = allowance.near(entry.match.host).there.covering(entry.match)
        if not covering or any(True for _ in missing(entry, covering)):
            return False
        # A plain prefix that is granted as whole segments keeps these at once, and what else it keeps with the next build.
        return any(one.paths.covers(entry.match) for one in covering) or is_below(path, entry.match.path_prefix)
