"""What there is to know of the Kubernetes source from outside, as it happens."""

import re
from typing import Final, Protocol

from exchanger.kube.list_watch import ApiFailure, FailureKind
from exchanger.policy.selection import Change

# The server's sentence: configmaps is forbidden: User "…" cannot list resource "configmaps" in API group "" at the cluster scope
# (https://kubernetes.io/docs/reference/access-authn-authz/authorization/). Only the verb is taken from it; the rest is known here.
_VERB: Final = re.compile(r"cannot (list|watch) resource")


class KubernetesObserver(Protocol):
    """Learns of what happens between the source and the API server; must neither block nor raise.

    ``name`` is the resource as its ListWatch calls it: ``configmaps``, or ``configmaps in team-a``.
    """

    def listed(self, name: str, count: int, /) -> None:
        """A complete list of ``count`` objects was taken in."""

    def failed(self, name: str, failure: ApiFailure, missing_right: str, retry_in: float, /) -> None:
        """A request failed and is repeated in ``retry_in`` seconds; ``missing_right`` is "" or the right that would help."""

    def unreadable(self, namespace: str, unreadable: bool, missing_right: str, /) -> None:  # noqa: FBT001 - the name says what is true
        """A Namespace that is named may not be read, for the lack of ``missing_right``; or it may be again, or is named no longer."""

    def connected(self, name: str, connected: bool, /) -> None:  # noqa: FBT001 - the method's name says what is true
        """Changes are followed, or no longer followed."""

    def silent(self, name: str, seconds: float, /) -> None:
        """A watch was taken and has said nothing for ``seconds``, longer than servers are silent; told once until watches speak again."""

    def went_back(self, name: str, known: str, found: str, /) -> None:
        """The server's version is lower than the one known: its store was restored or emptied. A complete list follows."""

    def published(self, change: Change, /) -> None:
        """A new version is in force."""

    def stale(self, stale: bool, age: float, /) -> None:  # noqa: FBT001 - the method's name says what is true
        """What is known is too old to go by (``age`` in seconds), so nothing is in force; or this is over, and the policy is again."""


def missing_right(resource: str, namespace: str, failure: ApiFailure) -> str:
    """Say which right is missing, such as ``needs list on configmaps in every namespace``; "" when that is not what failed."""
    if failure.kind is not FailureKind.FORBIDDEN:
        return ""
    found = _VERB.search(failure.message)
    verb = found[1] if found else "list and watch"
    if resource == "namespaces":
        return f"needs {verb} on namespaces"
    return f"needs {verb} on {resource} in {f'the namespace {namespace}' if namespace else 'every namespace'}"
