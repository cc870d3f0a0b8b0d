"""Kubeconfig files."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from exchanger.sources.kube.api.client import ClusterConfigSource


def inline(content: bytes) -> str:
    """Return a certificate or a key as it is part of a kubeconfig file."""
    return base64.b64encode(content).decode()


def write_kubeconfig(path: Path, server: str, user: object, **cluster: object) -> Path:
    """Write a kubeconfig file with one user of one cluster; its other context has no user."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "c", "user": "u"}}, {"name": "nobody", "context": {"cluster": "c"}}],
    }
    path.write_text(json.dumps(content))
    return path


def origin_of(path: Path, environment: Mapping[str, str] | None = None) -> ClusterConfigSource:
    """Return where a client looks that is in no pod."""
    return ClusterConfigSource(kubeconfig=str(path), environment=environment or {}, token_file=str(path.with_name("no-token")))
