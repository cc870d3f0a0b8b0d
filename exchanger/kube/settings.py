"""What the Kubernetes source is told: which objects count, where they are, and how old what is known of them may become."""

import re
from pathlib import Path
from typing import Final, final

import attrs

from exchanger.kube.reflector_settings import ReflectorSettings, settings_for
from exchanger.values.selector import Selector

# A Namespace's name is an RFC 1123 label (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names).
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@final
@attrs.frozen
class KubernetesSettings:
    """The two selectors, POLICY_NAMESPACES or POLICY_NAMESPACES_FILE, POLICY_MAX_STALENESS, and how requests are repeated.

    The server gets a selector as ``str`` gives it: the language is the same, so that both sides select the same objects. With
    ``namespaces`` only these are followed, each by itself; they count as selected, and Namespaces are not asked for. With
    ``namespaces_file`` these are what that file said at the start, and what it says later takes their place. ``max_staleness`` is
    in seconds, 0 means that there is no limit; one below ten seconds makes an outage of every watch that breaks. Requests are repeated as
    the limit needs it.
    """

    namespace_selector: Selector
    configmap_selector: Selector
    namespaces: tuple[str, ...] = ()
    max_staleness: float = 0.0
    reflector: ReflectorSettings = attrs.field(default=attrs.Factory(lambda made: settings_for(made.max_staleness), takes_self=True))
    namespaces_file: Path | None = None

    @property
    def where(self) -> str:
        """Which Namespaces may have policy, in words."""
        return f"the Namespaces {', '.join(self.namespaces)}" if self.namespaces else f"Namespaces that match {self.namespace_selector}"


def is_namespace(text: str) -> bool:
    """Tell whether ``text`` can be the name of a Namespace."""
    return _NAMESPACE.fullmatch(text) is not None


def parse_namespaces(text: str) -> tuple[str, ...]:
    """Read names of Namespaces that are separated by commas; blank text is none.

    Raises:
        ValueError: what stands between two commas is no name of a Namespace, or is there twice.
    """
    names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
    for name in names:
        if not is_namespace(name):
            raise ValueError(f"must be names of Namespaces separated by commas; {name!r} is none")
    if len(set(names)) != len(names):
        raise ValueError("has a name twice")
    return names
