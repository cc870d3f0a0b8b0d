"""The two kinds of Kubernetes object that policy is made of, as far as it is: names, labels and the document.

Must not know: where they come from, or what a document says.
"""

from collections.abc import Mapping
from typing import Final, final

import attrs

from exchanger.util.likeness import closest

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

    ``uid`` tells it from others that had its name, "" where that is not known. ``instead`` is the key that was probably meant to be
    ``config.yaml`` where that is missing, "" where none is. Neither is a part of what the ConfigMap says.
    """

    namespace: str
    name: str
    labels: Labels
    document: str | None = attrs.field(repr=False)
    uid: str = attrs.field(default="", eq=False)
    instead: str = attrs.field(default="", eq=False)


PolicyObject = Namespace | ConfigMap


def key_meant(data: Mapping[str, object], binary: object) -> str:
    """Return the key of ``data`` that was probably meant to be ``config.yaml``, "" where there is none.

    It is one that is spelt nearly so, or the only one there is; ``binary`` is the ConfigMap's ``binaryData``, which is not read.
    """
    if DOCUMENT_KEY in data:
        return ""
    if isinstance(binary, dict) and DOCUMENT_KEY in binary:
        return f"binaryData.{DOCUMENT_KEY}"
    return closest(DOCUMENT_KEY, data) or (next(iter(data)) if len(data) == 1 else "")
