"""Namespaces and ConfigMaps of an API server as the objects that policy is made of. Total.

Must not know: how they were fetched, selectors, or what a policy document says. A ConfigMap keeps nothing but its document
and what names it.
Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/namespace-v1/ and
https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/config-map-v1/.
"""

from collections.abc import Mapping
from typing import Final

from exchanger.kube.events import Kind
from exchanger.policy.selection import DOCUMENT_KEY, NAME_LABEL, ConfigMap, Labels, Namespace, key_meant


def decode_namespace(found: Mapping[str, object]) -> Namespace | None:
    """Return the Namespace that ``found`` is, ``None`` when it is none."""
    metadata = found.get("metadata")
    labels = _labels(metadata)
    if not isinstance(metadata, dict) or labels is None:
        return None
    name = metadata.get("name")
    if not isinstance(name, str) or not name or metadata.get("namespace"):
        return None
    return Namespace(name, tuple(sorted({**dict(labels), NAME_LABEL: name}.items())))


def decode_config_map(found: Mapping[str, object]) -> ConfigMap | None:
    """Return the ConfigMap that ``found`` is, ``None`` when it is none."""
    metadata = found.get("metadata")
    labels = _labels(metadata)
    if not isinstance(metadata, dict) or labels is None:
        return None
    namespace, name, data = metadata.get("namespace"), metadata.get("name"), found.get("data")
    if not (isinstance(namespace, str) and isinstance(name, str) and namespace and name and isinstance(data, dict | None)):
        return None
    document, uid = (data or {}).get(DOCUMENT_KEY), metadata.get("uid")
    return ConfigMap(
        namespace,
        name,
        labels,
        document if isinstance(document, str) else None,
        uid if isinstance(uid, str) else "",
        key_meant(data or {}, found.get("binaryData")),
    )


def _labels(metadata: object) -> Labels | None:
    labels = metadata.get("labels") if isinstance(metadata, dict) else ()
    if labels is None:
        return ()
    if not isinstance(labels, dict) or not all(isinstance(text, str) for text in labels.values()):
        return None
    return tuple(sorted(labels.items()))


NAMESPACE: Final = Kind("Namespace", decode_namespace)
CONFIG_MAP: Final = Kind("ConfigMap", decode_config_map)
