"""The two kinds of Kubernetes object that policy is made of, as far as it is: names, labels and the document.

Must not know: where they come from, or what a document says.
"""

from typing import Final, final

import attrs

DOCUMENT_KEY: Final = "config.yaml"
NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""Every Namespace has it (https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name)."""

Labels = tuple[tuple[str, str], ...]


@final
@attrs.frozen
class Namespace:
    """A Namespace."""

    name: str
    labels: Labels


@final
@attrs.frozen
class ConfigMap:
    """A ConfigMap; ``document`` is its ``config.yaml``, ``None`` when that is missing or no text.

    ``uid`` tells it from others that had its name, "" where that is not known; it is no part of what the ConfigMap says.
    """

    namespace: str
    name: str
    labels: Labels
    document: str | None = attrs.field(repr=False)
    uid: str = attrs.field(default="", eq=False)


PolicyObject = Namespace | ConfigMap
