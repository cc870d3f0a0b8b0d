"""Scripts are also tried on the control plane of ``tests/sources/kube`` and on the demo's gateway of ``tests/e2e``."""

from tests.e2e.conftest import ext_authz_demo
from tests.helm.conftest import cluster, control_plane, gateway_kinds

__all__ = ["cluster", "control_plane", "ext_authz_demo", "gateway_kinds"]
