"""``scripts/gke_authz_extension.py`` against a Gateway as GKE notes it; gcloud stands in, and nothing is tried at Google."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.cases import look
from tests.helm.chart import only, render
from tests.scripts.programs import Programs, script

HERE: Final = "gke_authz_extension"
PLACE: Final = ("--project", "acme-edge", "--location", "europe-west3")
BACKEND: Final = "/projects/acme-edge/regions/europe-west3/backendServices/gkegw1-1a2b-gke-gateway-gateway-ext-authz-3000-x7f2"
OTHER: Final = "/projects/acme-edge/regions/europe-west3/backendServices/gkegw1-1a2b-shop-web-8080-k3"
RULE: Final = "/projects/acme-edge/regions/europe-west3/forwardingRules/gkegw1-1a2b-gke-gateway-gateway-q8"


def gateway(backends: str = f"{OTHER}, {BACKEND}", rules: str = RULE, kind: str = "gke-l7-regional-external-managed") -> dict[str, Any]:
    annotations = {"networking.gke.io/backend-services": backends, "networking.gke.io/forwarding-rules": rules}
    return {"metadata": {"name": "gateway", "annotations": annotations}, "spec": {"gatewayClassName": kind}}


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    made = Programs(tmp_path)
    made.add("gcloud", 'for word; do case "$word" in --source=*) cp "${word#--source=}" "$HOME";; esac; done')
    knows(made, gateway())
    return made


def knows(programs: Programs, found: dict[str, Any]) -> None:
    """Let kubectl answer with this Gateway."""
    programs.add("kubectl", f"printf %s {shlex.quote(json.dumps(found))}")


def test_without_apply_everything_is_printed_and_gcloud_is_not_called(programs: Programs) -> None:
    done = programs.call(HERE, "create", *PLACE)
    assert done.returncode == 0, done.stderr
    assert programs.calls() == [
        "kubectl get gateways.gateway.networking.k8s.io gateway --namespace gke-gateway --output json",
    ]
    assert done.stdout.endswith("Nothing was changed. With --apply, this is done.\n")


def test_what_is_printed_is_what_is_applied(programs: Programs) -> None:
    printed = programs.call(HERE, "create", *PLACE).stdout
    done = programs.call(HERE, "create", *PLACE, "--apply")
    assert done.returncode == 0, done.stderr
    plan = printed.removesuffix("Nothing was changed. With --apply, this is done.\n")
    assert done.stdout.startswith(plan)
    assert [f"{call}\n" in plan for call in programs.calls("gcloud")] == [True, True]
    documents = [part.partition("EOF\n")[0] for part in plan.split("<<'EOF'\n")[1:]]
    assert [(programs.folder / f"authz-{kind}.yaml").read_text() for kind in ("extension", "policy")] == documents


def test_extension_is_created_before_the_policy_and_fails_closed(programs: Programs) -> None:
    programs.call(HERE, "create", *PLACE, "--apply", "--timeout", "1.5s")
    place = "ext-authz-token-exchange --project=acme-edge --location=europe-west3"
    assert programs.calls("gcloud") == [
        f"gcloud service-extensions authz-extensions import {place} --source=authz-extension.yaml",
        f"gcloud network-security authz-policies import {place} --source=authz-policy.yaml",
    ]
    extension, policy = (yaml.safe_load((programs.folder / f"authz-{kind}.yaml").read_text()) for kind in ("extension", "policy"))
    assert extension == {
        "name": "ext-authz-token-exchange",
        "loadBalancingScheme": "EXTERNAL_MANAGED",
        "authority": "gateway-ext-authz.gke-gateway.svc.cluster.local",
        "service": f"https://www.googleapis.com/compute/v1{BACKEND}",
        "timeout": "1.5s",
        "failOpen": False,
        "wireFormat": "EXT_AUTHZ_GRPC",
    }
    assert policy["target"] == {
        "loadBalancingScheme": "EXTERNAL_MANAGED",
        "resources": [f"https://www.googleapis.com/compute/v1{RULE}"],
    }
    (provider,) = policy["customProvider"]["authzExtension"]["resources"]
    assert provider == "projects/acme-edge/locations/europe-west3/authzExtensions/ext-authz-token-exchange"
    assert "httpRules" not in policy  # every request


@pytest.mark.helm
def test_the_callout_is_the_one_that_the_chart_makes() -> None:
    rendered = render({"gkeAuthz": {"enabled": True}}, namespace="gke-gateway")
    service = only(rendered, "Service", "gateway-ext-authz")
    options = script(HERE).parse(["create", *PLACE])
    assert (service["metadata"]["name"], look(service, "spec/ports/0/port")) == (options.service, options.port)
    tls = only(rendered, "BackendTLSPolicy")["spec"]["validation"]["hostname"]
    assert tls == f"{options.service}.{options.namespace}.svc.cluster.local"


def test_the_policy_is_deleted_before_the_extension_and_the_consequence_is_said(programs: Programs) -> None:
    said = programs.call(HERE, "delete", *PLACE).stdout
    assert "requests pass with the callers' own tokens" in said
    assert not programs.calls()
    programs.call(HERE, "delete", *PLACE, "--apply")
    assert [call.split()[2:4] for call in programs.calls()] == [["authz-policies", "delete"], ["authz-extensions", "delete"]]


def test_a_step_that_fails_is_the_last(programs: Programs) -> None:
    programs.add("gcloud", "exit 1")
    done = programs.call(HERE, "create", *PLACE, "--apply")
    assert done.returncode == 1
    assert "Later steps were not tried" in done.stderr
    assert len(programs.calls("gcloud")) == 1


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (gateway(backends=OTHER), f"no backend service of the Gateway is that of gateway-ext-authz:3000.*\n  https://.*{OTHER}"),
        (gateway(backends=""), "The Gateway's backend services: none"),
        (gateway(backends=f"{BACKEND},{BACKEND}b"), "more than one backend service"),
        (gateway(rules=""), "has no forwarding rules yet"),
        (gateway(kind="istio"), "the Gateway's class is istio, not one of gke-l7-global-external-managed"),
        (gateway(kind="gke-l7-global-external-managed"), "is global: --location europe-west3 is another's"),
    ],
    ids=["no backend", "no backends", "two backends", "no rules", "class", "location"],
)
def test_what_cannot_be_found_out_is_said_and_nothing_is_done(programs: Programs, found: dict[str, Any], said: str) -> None:
    knows(programs, found)
    done = programs.call(HERE, "create", *PLACE, "--apply")
    assert done.returncode == 1
    assert re.search(said, done.stderr, re.DOTALL), done.stderr
    assert not programs.calls("gcloud")


def test_a_backend_service_can_be_named(programs: Programs) -> None:
    knows(programs, gateway(backends=""))
    assert (
        "service: https://example.com/own" in programs.call(HERE, "create", *PLACE, "--backend-service", "https://example.com/own").stdout
    )


def test_kubectls_problem_is_shown(programs: Programs) -> None:
    programs.add("kubectl", "echo 'gateways \"gateway\" not found' >&2; exit 1")
    done = programs.call(HERE, "create", *PLACE)
    assert done.returncode == 1
    assert 'kubectl: gateways "gateway" not found' in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("create",),
        ("create", *PLACE, "--timeout", "0s"),
        ("create", *PLACE, "--timeout", "1"),
        ("create", *PLACE, "--name", "A b"),
        ("create", *PLACE, "--host", "a b"),
        ("create", *PLACE, "--backend-service", "a"),
    ],
)
def test_wrong_options_are_refused(programs: Programs, arguments: tuple[str, ...]) -> None:
    assert programs.call(HERE, *arguments, "--apply").returncode == 2
    assert not programs.calls()


def test_variables_stand_in_for_options(programs: Programs) -> None:
    variables = {"GKE_PROJECT_ID": "p", "GKE_REGION": "europe-west3", "GATEWAY": "edge", "GATEWAY_NAMESPACE": "gateways"}
    done = programs.call(HERE, "create", "--backend-service", "https://example.com/own", variables=variables)
    assert "--project=p --location=europe-west3" in done.stdout
    assert "authority: gateway-ext-authz.gateways.svc.cluster.local" in done.stdout
    assert programs.calls("kubectl get gateways.gateway.networking.k8s.io edge --namespace gateways")


def test_hosts_are_in_the_policy_as_given(programs: Programs) -> None:
    hosts = ["a.example.com", "1.5", "0x10", "null", "1e3", "-"]
    said = programs.call(HERE, "create", *PLACE, *(f"--host={host}" for host in hosts)).stdout
    (policy,) = (text for text in re.findall(r"<<'EOF'\n(.*?)EOF", said, re.DOTALL) if "httpRules" in text)
    (operation,) = yaml.safe_load(policy)["httpRules"][0]["to"]["operations"]
    assert [host["exact"] for host in operation["hosts"]] == hosts
