"""``exchanger explain --cluster`` with a real API server."""

import io
from pathlib import Path

import pytest

from exchanger.tools.explain import PASSES, REFUSED, ExplainOptions, run_explain
from tests.kube.cluster import deny
from tests.kube.control_plane import ADMIN_TOKEN, ControlPlane

pytestmark = pytest.mark.kubernetes

EXCHANGE = "version: v1\nentries: [{match: {host: h.example, pathPrefix: /x}, action: exchange, exchange: {issuerRef: primary, scope: s}}]"


async def explain(options: ExplainOptions, **variables: str) -> tuple[int, str]:
    out = io.StringIO()
    return await run_explain(options, variables, out), out.getvalue()


async def test_a_cluster_s_policies_are_explained(control_plane: ControlPlane, tmp_path: Path) -> None:
    admin = control_plane.admin
    admin.put_namespace("explained")
    admin.put_namespace("unselected", {})
    admin.put_config_map("explained", "orders", EXCHANGE)
    admin.put_config_map("unselected", "stray", deny("/x"))
    kubeconfig = str(control_plane.kubeconfig("explain", token=ADMIN_TOKEN))
    options = ExplainOptions("GET", "https://h.example/x/1", cluster=True, kubeconfig=kubeconfig)

    status, said = await explain(options)
    assert (status, said.splitlines()[2][:9]) == (PASSES, "exchange:")
    assert "  by        explained/orders entries[0]\n" in said
    assert "stray" not in said

    issuers = tmp_path / "issuers.yaml"
    issuers.write_text("issuers: [{name: other, tokenEndpoint: https://login.example/token, clientID: a, clientSecret: b}]")
    status, said = await explain(options, TOKEN_EXCHANGE_ISSUER_PROFILES_FILE=str(issuers))
    assert status == REFUSED
    assert "unknown issuer profile" in said

    grants = tmp_path / "grants.yaml"
    grants.write_text("version: v1\ngrants: []\nbaseline: [{match: {host: h.example, pathPrefix: /}, action: deny}]\n")
    status, said = await explain(options, POLICY_GRANTS_FILE=str(grants))
    assert status == REFUSED
    assert "  by        baseline [0]\n" in said
