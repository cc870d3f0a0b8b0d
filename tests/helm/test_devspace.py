"""``devspace.yaml`` has only fields that DevSpace documents, and each profile deploys what the charts can render.

DevSpace itself is not run: there is no package of it among those that the tests are built from. So its own reading of the file is not
tested, nor what ``devspace dev`` does to a pod. Fields: https://www.devspace.sh/docs/configuration/reference
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from exchanger.cli import _parser
from tests.helm.cases import look
from tests.helm.chart import ROOT, Manifest, of_kind, only, render

FILE: Final = ROOT / "devspace.yaml"
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

# Fields that DevSpace documents; ``*`` is a name that the file chooses, and values of charts are the charts' to check.
FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "vars.*": ("source", "default"),
    "images.*": ("image", "dockerfile", "target"),
    "pipelines.*": ("run",),
    "deployments.*": ("namespace", "updateImageTags"),
    "deployments.*.helm": ("releaseName", "upgradeArgs", "values", "valuesFiles"),
    "deployments.*.helm.chart": ("name",),
    "dev.*": ("namespace", "container", "devImage", "workingDir", "command", "args"),
    "dev.*.labelSelector": ("*",),
    "dev.*.sync": ("path", "excludePaths", "disableDownload", "startContainer"),
    "dev.*.sync.onUpload": ("restartContainer",),
    "dev.*.ports": ("port",),
    "dev.*.logs": ("enabled",),
    "dev.*.patches": ("op", "path"),
    "commands.*": ("description", "command", "appendArgs"),
    "profiles": ("name", "parent"),
}
NAMED: Final = frozenset({"vars", "images", "deployments", "pipelines", "dev", "commands", "labelSelector"})
# Of the functions that pipelines have, those that the file uses.
FUNCTIONS: Final = frozenset({"build_images", "create_deployments", "run_pipelines", "start_dev"})
CHOICES: Final = ((), ("with-test",), ("with-keycloak",), ("ext-proc",), ("with-test", "ext-proc"), ("gke",), ("with-test", "gke"))


def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def fields(node: Any, path: str = "") -> Iterator[str]:
    """Return the fields of ``node`` as ``FIELDS`` has them; a profile merges what may be in the file itself."""
    if isinstance(node, list) and node and isinstance(node[0], dict):
        for element in node:
            yield from fields(element, path)
    elif not isinstance(node, dict) or path.endswith(".values"):
        yield path.removeprefix("profiles.merge.")
    else:
        for name, value in node.items():
            chosen = "*" if path.rpartition(".")[2] in NAMED else name
            yield from fields(value, f"{path}.{chosen}" if path else chosen)


def merged(target: Any, patch: Any) -> Any:
    """Return ``target`` with ``patch`` merged into it, as profiles are (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        result[name] = merged(result.get(name), value)
    return result


def with_profiles(*names: str) -> dict[str, Any]:
    """Return what DevSpace makes of the file with profiles, and with its variables filled in."""
    result = config()
    profiles = {profile["name"]: profile for profile in result.pop("profiles")}

    def apply(name: str) -> None:
        nonlocal result
        if "parent" in profiles[name]:
            apply(profiles[name]["parent"])
        result = merged(result, profiles[name]["merge"])

    for name in names:
        apply(name)
    filled: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{([\w.]+)\}", lambda found: VARIABLES[found[1]], yaml.safe_dump(result)))
    return filled


def rendered(deployment: Mapping[str, Any]) -> list[Manifest]:
    helm = deployment["helm"]
    files = [yaml.safe_load((ROOT / name).read_text()) for name in helm.get("valuesFiles", ())]
    chart = ROOT / helm["chart"]["name"]
    return render([*files, helm["values"]], chart=chart, release=helm["releaseName"], namespace=deployment["namespace"])


def steps(found: Mapping[str, Any], pipeline: str) -> list[list[str]]:
    return [shlex.split(line) for line in found["pipelines"][pipeline]["run"].splitlines()]


def test_every_field_is_one_that_devspace_documents() -> None:
    assert set(fields(config())) == {"version", "name"} | {f"{place}.{name}" for place, names in FIELDS.items() for name in names}
    assert config()["version"] == "v2beta1"


def test_pipelines_do_what_there_is_and_the_demo_comes_before_the_service_whose_profiles_refer_to_it() -> None:
    for names in CHOICES:
        found = with_profiles(*names)
        for pipeline in found["pipelines"]:
            assert {function for function, *_ in steps(found, pipeline)} <= FUNCTIONS
        created = [arguments[0] for function, *arguments in steps(found, "deploy") if function == "create_deployments"]
        assert created == (["demo", "exchanger"] if {"with-test", "with-keycloak"} & set(names) else ["exchanger"])
        assert set(created) == set(found["deployments"])
        calls = [call for pipeline in found["pipelines"] for call in steps(found, pipeline)]
        built = {image for function, *images in calls if function == "build_images" for image in images}
        assert built == set(found["images"])


@pytest.mark.helm
@pytest.mark.parametrize("names", CHOICES, ids=lambda names: " ".join(names) or "none")
def test_each_choice_of_profiles_is_rendered(names: tuple[str, ...]) -> None:
    found = with_profiles(*names)
    service = rendered(found["deployments"]["exchanger"])
    (container,) = only(service, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/exchanger:dev-1"
    filters = of_kind(service, "EnvoyFilter")
    extensions = of_kind(service, "GCPTrafficExtension")
    assert bool(extensions) is ("gke" in names)
    assert bool(filters) is (names[:1] in {("with-test",), ("with-keycloak",)} and "gke" not in names)
    for manifest in filters:
        assert manifest["metadata"]["namespace"] == "gateways"
        assert ("ext_proc" in str(manifest)) is ("ext-proc" in names)
        assert look(manifest, "spec/workloadSelector/labels") == {"gateway.networking.k8s.io/gateway-name": "edge"}
    profiles = yaml.safe_load(only(service, "ConfigMap", "exchanger-issuer-profiles")["data"]["issuers.yaml"])["issuers"]
    assert ("keycloak" in {profile["name"] for profile in profiles}) is ("with-keycloak" in names)
    if "demo" in found["deployments"]:
        demo = rendered(found["deployments"]["demo"])
        images = {look(pod, "spec/template/spec/containers/0/image") for pod in of_kind(demo, "Deployment")}
        assert {image for image in images if "keycloak" not in image} == {"registry.example/exchanger-demo:dev-1"}
        assert only(demo, "HTTPRoute")["spec"]["parentRefs"] == [{"name": "edge", "namespace": "gateways"}]
        assert ("keycloak" in {pod["metadata"]["name"] for pod in of_kind(demo, "Deployment")}) is ("with-keycloak" in names)
        # What profiles refer to is in the demo's namespace.
        secrets = {(secret["metadata"]["namespace"], secret["metadata"]["name"]) for secret in of_kind(demo, "Secret")}
        assert {(profile["clientIDSecretRef"]["namespace"], profile["clientIDSecretRef"]["name"]) for profile in profiles} <= secrets


@pytest.mark.helm
@pytest.mark.parametrize("names", [(), ("gke",)], ids=["none", "gke"])
def test_dev_finds_the_pod_that_was_deployed_and_fits_it(names: tuple[str, ...]) -> None:
    found = with_profiles(*names)
    dev, deployment = found["dev"]["exchanger"], found["deployments"]["exchanger"]
    assert dev["namespace"] == deployment["namespace"]
    template = only(rendered(deployment), "Deployment")["spec"]["template"]
    assert template["metadata"]["labels"].items() >= dev["labelSelector"].items()
    container = look(template, f"spec/containers/{dev['container']}")
    forwarded = {port["port"] for port in dev["ports"]}
    named = {str(port["containerPort"]) for port in container["ports"] if port["name"] in {"grpc-authz", "http-metrics"}}
    # The console's is no port of the container: it listens on loopback, where a port-forward ends.
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


def test_the_images_are_stages_of_the_containerfile_and_the_command_is_in_the_one_that_dev_takes() -> None:
    found = config()
    for image in found["images"].values():
        text = (ROOT / image["dockerfile"]).read_text()
        if "target" in image:
            stage = re.search(rf"^FROM \S+ AS {image['target']}$(.*?)^FROM ", text, re.MULTILINE | re.DOTALL)
            assert stage is not None
            python = Path(found["dev"]["exchanger"]["command"][0])
            assert f"venv --without-pip {python.parent.parent}" in stage[1]
    assert found["dev"]["exchanger"]["command"][1:] == ["-m", "exchanger"]


def test_commands_call_what_is_there() -> None:
    parser = _parser()
    for name, command in config()["commands"].items():
        assert command["description"]
        for part in command["command"].split(" && "):
            program, *arguments = shlex.split(part)
            if program == "bash":
                assert (ROOT / arguments[0]).is_file(), name
            elif program == ".venv/bin/exchanger":
                assert parser.parse_args(arguments).command == arguments[0]
            else:
                assert program in {f".venv/bin/{tool}" for tool in ("python", "ruff", "mypy", "lint-imports")}, name
