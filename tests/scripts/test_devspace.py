"""``devspace.yaml`` as DevSpace reads it, and what each choice of profiles deploys, as the charts render it.

The version of DevSpace is one whose module can be had (``.ci/go/devspace``). Its JSON Schema is not used: it allows unknown fields, which
DevSpace refuses. What ``devspace dev`` does to a pod is not tested, since nothing runs pods here.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.helm.cases import look
from tests.helm.chart import ROOT, Manifest, of_kind, only, render
from tests.scripts.programs import Programs, script
from tests.tools import find_tool, provider

VARIABLES: Final = {
    "runtime.images.exchanger.image": "registry.example/exchanger",
    "runtime.images.exchanger.tag": "dev-1",
    "runtime.images.demo.image": "registry.example/exchanger-demo",
    "runtime.images.demo.tag": "dev-1",
    "runtime.images.dev.image": "registry.example/exchanger-dev",
    "runtime.images.dev.tag": "dev-1",
    "IMAGE": "registry.example/exchanger",
    "GATEWAY": "edge",
    "GATEWAY_NAMESPACE": "gateways",
}
INFRASTRUCTURE: Final = ["gateway-api", "istio-base", "istiod", "cert-manager", "gateway"]
# What each choice deploys.
CHOICES: Final[dict[str, list[str]]] = {
    "": ["exchanger"],
    "with-infra": [*INFRASTRUCTURE, "exchanger"],
    "local-test": ["demo", "exchanger"],
    "with-test": ["demo", "exchanger"],
    "with-infra local-test": [*INFRASTRUCTURE, "demo", "exchanger"],
    "local-test with-infra": [*INFRASTRUCTURE, "demo", "exchanger"],
    "with-keycloak": ["demo", "exchanger"],
    "ext-proc": ["exchanger"],
    "with-test ext-proc": ["demo", "exchanger"],
    "gke": ["exchanger"],
    "with-test gke": ["demo", "exchanger"],
    "gke-platform": ["demo", "exchanger"],
    "gke-app": ["app"],
}
# What each command calls, without its arguments.
COMMANDS: Final = {
    "test": [".venv/bin/python -m pytest -q"],
    "lint": [
        ".venv/bin/ruff check .",
        ".venv/bin/ruff format --check .",
        ".venv/bin/mypy exchanger tests .ci bench image scripts",
        ".venv/bin/lint-imports",
    ],
    "verify": ["bash .ci/run"],
    "ci": ["bash .ci/run"],
    "demo": [".venv/bin/exchanger demo"],
    "e2e": [".venv/bin/python -m pytest -q -m envoy or kubernetes or helm"],
    "test-e2e": [".venv/bin/python scripts/smoke.py check"],
    "smoke": ["devspace deploy -p local-test", ".venv/bin/python scripts/smoke.py check"],
    "stress-e2e": [".venv/bin/python scripts/smoke.py stress"],
    "demo-dashboard": [".venv/bin/python scripts/smoke.py dashboard"],
    "logs": ["kubectl logs --namespace exchanger --selector app.kubernetes.io/name=exchanger --prefix --tail 200"],
}
# Choices that together have every profile: what DevSpace and the charts make of them.
TRIED: Final = ("", "with-infra local-test", "with-keycloak", "with-test ext-proc", "with-test gke", "gke-platform", "gke-app")
TAKES_ARGUMENTS: Final = ("-q", "demo", "helm", "check", "stress", "dashboard", "200")


def with_profiles(names: str) -> dict[str, Any]:
    found: dict[str, Any] = script("devspace_config").with_profiles(names.split(), VARIABLES)
    return found


def rendered(deployment: Mapping[str, Any]) -> list[Manifest]:
    helm = deployment["helm"]
    files = [yaml.safe_load((ROOT / name).read_text()) for name in helm.get("valuesFiles", ())]
    chart = ROOT / helm["chart"]["name"]
    return render([*files, helm["values"]], chart=chart, release=helm["releaseName"], namespace=deployment["namespace"])


def order(pipeline: str) -> list[str]:
    """Return the names in the last loop of a pipeline."""
    (*_, names) = re.findall(r"^for name in (.*); do$", with_profiles("")["pipelines"][pipeline]["run"], re.MULTILINE)
    return str(names).split()


@pytest.mark.go
@pytest.mark.parametrize("names", TRIED)
def test_devspace_reads_the_profiles_as_the_scripts_do(names: str, tmp_path: Path) -> None:
    options = [option for name in names.split() for option in ("-p", name)]
    variables = {name: value for name, value in VARIABLES.items() if not name.startswith("runtime.")}
    programs = Programs(tmp_path)
    place = programs.checkout("devspace.yaml")
    done = programs.run(find_tool("devspace"), "print", "--skip-info", *options, variables=variables, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    found = yaml.safe_load(
        re.sub(r"\$\{(runtime[\w.]+)\}", lambda match: VARIABLES[match[1]], done.stdout[done.stdout.index("version:") :])
    )
    expected = with_profiles(names)
    for part in ("images", "deployments", "pipelines", "dev", "commands"):
        assert found.get(part, {}) == expected.get(part, {}), part


@pytest.mark.parametrize("names", CHOICES)
def test_each_choice_deploys_its_parts_in_order_and_builds_their_images(names: str) -> None:
    found = with_profiles(names)
    assert [name for name in order("deploy") if name in found["deployments"]] == CHOICES[names]
    assert set(found["deployments"]) == set(CHOICES[names])
    images = set(re.findall(r"(?<=registry.example/exchanger)\S*(?=',)", f"{found['deployments']},"))
    assert {found["images"][name]["image"].removeprefix(VARIABLES["IMAGE"]) for name in found["images"] if name != "dev"} == images
    for name, deployment in found["deployments"].items():
        assert "kubectl" in deployment or deployment["helm"]["releaseName"] == name  # DevSpace purges by the release's name


def test_what_is_deployed_first_is_purged_last() -> None:
    deployed, purged = order("deploy"), order("purge")
    assert tuple(deployed) == script("devspace_config").ORDER
    assert sorted(purged) == sorted(deployed)
    # The service goes before the Secrets that it may read.
    assert purged.index("exchanger") < purged.index("demo")
    assert [name for name in reversed(purged) if name in INFRASTRUCTURE] == INFRASTRUCTURE


def test_versions_of_the_infrastructure_are_those_whose_kinds_the_tests_know() -> None:
    known = {module: version.removeprefix("v") for module, version in provider().TOOLS["gateway-crds"].modules}
    deployments = with_profiles("with-infra")["deployments"]
    charts = {
        name: deployment["helm"]["chart"] for name, deployment in deployments.items() if name in INFRASTRUCTURE and "helm" in deployment
    }
    assert charts["istio-base"]["version"] == charts["istiod"]["version"] == known["istio.io/api"]
    assert charts["cert-manager"]["version"] == f"v{known['github.com/cert-manager/cert-manager']}"
    (definitions,) = deployments["gateway-api"]["kubectl"]["manifests"]
    bundle = re.search(r"bundle-version: (v\S+)", (find_tool("gateway-crds") / "gatewayapi-crds.yaml").read_text())
    assert bundle is not None
    assert definitions.endswith(f"?ref={bundle[1]}")


@pytest.mark.helm
@pytest.mark.parametrize("names", TRIED)
def test_each_choice_of_profiles_is_rendered(names: str) -> None:
    found, chosen = with_profiles(names)["deployments"], set(names.split())
    keycloak = "with-keycloak" in chosen
    if "exchanger" in found:
        service = rendered(found["exchanger"])
        (container,) = only(service, "Deployment")["spec"]["template"]["spec"]["containers"]
        assert container["image"] == "registry.example/exchanger:dev-1"
        filters = of_kind(service, "EnvoyFilter")
        assert bool(of_kind(service, "GCPTrafficExtension")) is bool(chosen & {"gke", "gke-platform"})
        assert bool(filters) is (bool(chosen & {"local-test", "with-test", "with-keycloak"}) and "gke" not in chosen)
        for manifest in filters:
            assert manifest["metadata"]["namespace"] == "gateways"
            assert ("ext_proc" in str(manifest)) is ("ext-proc" in chosen)
            assert look(manifest, "spec/workloadSelector/labels") == {"gateway.networking.k8s.io/gateway-name": "edge"}
        profiles = yaml.safe_load(only(service, "ConfigMap", "exchanger-issuer-profiles")["data"]["issuers.yaml"])["issuers"]
        assert ("keycloak" in {profile["name"] for profile in profiles}) is keycloak
        if "demo" in found:  # what profiles refer to is in the demo's namespace
            secrets = {
                (secret["metadata"]["namespace"], secret["metadata"]["name"]) for secret in of_kind(rendered(found["demo"]), "Secret")
            }
            assert {(profile["clientIDSecretRef"]["namespace"], profile["clientIDSecretRef"]["name"]) for profile in profiles} <= secrets
    for name in {"demo", "app"} & set(found):
        demo = rendered(found[name])
        pods = {pod["metadata"]["name"]: look(pod, "spec/template/spec/containers/0/image") for pod in of_kind(demo, "Deployment")}
        assert {image for name, image in pods.items() if name != "keycloak"} == {"registry.example/exchanger-demo:dev-1"}
        assert ("fake-token-endpoint" in pods, "echo" in pods, "keycloak" in pods) == (
            name == "demo",
            "gke-platform" not in chosen,
            keycloak,
        )
        routes = of_kind(demo, "HTTPRoute")
        assert [route["spec"]["parentRefs"] for route in routes] == [[{"name": "edge", "namespace": "gateways"}]] * ("echo" in pods)


@pytest.mark.helm
def test_gke_teams_share_no_object_and_no_namespace() -> None:
    platform, app = (
        [manifest for deployment in with_profiles(names)["deployments"].values() for manifest in rendered(deployment)]
        for names in ("gke-platform", "gke-app")
    )

    def identities(manifests: list[Manifest]) -> set[tuple[str, str, str]]:
        return {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in manifests}

    assert identities(platform) & identities(app) == set()
    own = {"team-yellow", "team-yellow-app"}
    assert {each["metadata"].get("namespace", each["metadata"]["name"]) for each in app} == own
    assert {each["kind"] for each in app if "namespace" not in each["metadata"]} == {"Namespace"}
    assert not of_kind(platform, "HTTPRoute")
    # The team's policy names an issuer of the platform.
    policy = only(app, "ConfigMap", "token-policy")["data"]["config.yaml"]
    profiles = only(platform, "ConfigMap", "exchanger-issuer-profiles")["data"]["issuers.yaml"]
    wanted = set(re.findall(r"issuerRef: ([\w-]+)", policy))
    assert wanted
    assert wanted <= {issuer["name"] for issuer in yaml.safe_load(profiles)["issuers"]}


@pytest.mark.helm
@pytest.mark.parametrize("names", ["", "gke", "gke-platform"])
def test_dev_finds_the_pod_that_was_deployed_and_fits_it(names: str) -> None:
    found = with_profiles(names)
    dev, deployment = found["dev"]["exchanger"], found["deployments"]["exchanger"]
    assert dev["namespace"] == deployment["namespace"]
    template = only(rendered(deployment), "Deployment")["spec"]["template"]
    assert template["metadata"]["labels"].items() >= dev["labelSelector"].items()
    container = look(template, f"spec/containers/{dev['container']}")
    forwarded = {port["port"] for port in dev["ports"]}
    named = {str(port["containerPort"]) for port in container["ports"] if port["name"] in {"grpc-authz", "http-metrics"}}
    # The console's is not a port of the container: it listens on loopback, where a port-forward ends.
    (console,) = (variable["value"] for variable in container["env"] if variable["name"] == "CONSOLE_ADDRESS")
    assert forwarded == named | {console.removeprefix("127.0.0.1:")}
    assert dev["args"] == container["args"]
    for patch in dev["patches"]:
        assert patch["op"] == "remove"
        assert look(template, patch["path"].replace(".", "/").replace("[0]", "/0")) is not None
    (sync,) = dev["sync"]
    local, _, remote = sync["path"].partition(":")
    assert (ROOT / local / "__main__.py").is_file()
    assert remote == f"{dev['workingDir']}/exchanger"


def test_vscode_opens_the_synchronised_folder_over_ssh() -> None:
    found = with_profiles("")
    (flag,) = found["pipelines"]["dev"]["flags"]
    assert flag["name"] == "vscode"
    started = re.search(r"start_dev exchanger --set ssh\.localHostname=(\S+)$", found["pipelines"]["dev"]["run"], re.MULTILINE)
    opened = re.search(r"code --folder-uri vscode-remote://ssh-remote\+([^/]+)(\S+)$", found["pipelines"]["dev"]["run"], re.MULTILINE)
    assert started is not None
    assert opened is not None
    assert (opened[1], opened[2]) == (started[1], found["dev"]["exchanger"]["workingDir"])


def test_images_are_stages_of_the_containerfile() -> None:
    found = with_profiles("")
    text = (ROOT / "Containerfile").read_text()
    for image in with_profiles("local-test")["images"].values():
        assert image["dockerfile"] == "./Containerfile"
        assert "target" not in image or re.search(rf"^FROM \S+ AS {image['target']}$", text, re.MULTILINE)
    stage = re.search(rf"^FROM \S+ AS {found['images']['dev']['target']}$(.*?)^FROM ", text, re.MULTILINE | re.DOTALL)
    python = Path(found["dev"]["exchanger"]["command"][0])
    assert stage is not None
    assert f"venv --without-pip {python.parent.parent}" in stage[1]
    assert found["dev"]["exchanger"]["command"][1:] == ["-m", "exchanger"]


@pytest.fixture
def checkout(tmp_path: Path) -> Programs:
    """A checkout in which every program stands in, to see what DevSpace calls."""
    made = Programs(tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "devspace.yaml").write_bytes((ROOT / "devspace.yaml").read_bytes())
    for name in ("python", "exchanger", "ruff", "mypy", "lint-imports"):
        made.add(f".venv/bin/{name}")
    made.add("bash")
    made.add("kubectl", "echo Client Version: v1.37.1")  # otherwise DevSpace would download one
    return made


@pytest.mark.go
@pytest.mark.parametrize("name", ["test", "lint"])
def test_devspace_runs_each_command_with_the_users_arguments(name: str, checkout: Programs) -> None:
    arguments = ["--only", "two words"] if COMMANDS[name][0].endswith(TAKES_ARGUMENTS) else []
    done = checkout.run(find_tool("devspace"), "run", name, *arguments, cwd=checkout.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = [call for call in checkout.calls() if not call.startswith("kubectl version")]
    assert calls == [" ".join([command, *arguments]) for command in COMMANDS[name]]


def test_each_command_is_described_and_calls_what_is_there() -> None:
    commands = with_profiles("")["commands"]
    assert {name: command["command"].replace('"', "").split(" && ") for name, command in commands.items()} == COMMANDS
    for name, command in commands.items():
        assert command["description"]
        assert command.get("appendArgs", False) is COMMANDS[name][-1].endswith(TAKES_ARGUMENTS), name
        for word in shlex.split(command["command"]):
            assert not word.startswith(("scripts/", ".ci/")) or (ROOT / word).is_file(), name
