"""Tests of charts need helm; those that install them share the control plane of ``tests/sources/kube``."""

from pathlib import Path
from typing import Final

import pytest

from tests.helm.cluster import Cluster
from tests.sources.kube.conftest import control_plane
from tests.sources.kube.control_plane import ControlPlane
from tests.tools import find_tool

__all__ = ["control_plane"]

# Stand-ins for GKE's kinds (``crds/README.md``).
STAND_INS: Final = Path(__file__).resolve().parent / "crds" / "gke.yaml"


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Cluster:
    return Cluster(control_plane, control_plane.kubeconfig_of_admin_certificate("cluster.yaml"))


@pytest.fixture(scope="module")
def gateway_kinds(cluster: Cluster) -> None:
    """The kinds of gateways, of cert-manager and of monitors."""
    cluster.define(find_tool("gateway-crds"), STAND_INS)
