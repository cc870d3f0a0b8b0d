"""Tests of charts need helm; those that install them share a control plane, where they leave nothing but Namespaces and kinds."""

from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

from tests.helm.cluster import Cluster
from tests.kube.conftest import control_plane_programs
from tests.kube.control_plane import ControlPlane, Programs, running
from tests.tools import find_tool

__all__ = ["control_plane_programs"]

# Stand-ins for GKE's kinds (``crds/README.md``).
STAND_INS: Final = Path(__file__).resolve().parent / "crds" / "gke.yaml"


@pytest.fixture(scope="session")
def control_plane(control_plane_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Generator[ControlPlane]:
    with running(tmp_path_factory.mktemp("control_plane"), programs=control_plane_programs) as plane:
        yield plane


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> Cluster:
    return Cluster(control_plane, control_plane.kubeconfig_of_admin_certificate("cluster.yaml"))


@pytest.fixture(scope="session")
def gateway_kinds(cluster: Cluster) -> None:
    """The kinds of gateways, of cert-manager and of monitors."""
    cluster.define(find_tool("gateway-crds"), STAND_INS)
