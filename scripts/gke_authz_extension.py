"""Creates or deletes what makes a GKE Gateway call the service by ext_authz: an authorization extension of Google Cloud, and its policy.

    gke_authz_extension.py create --project P --location L             print what would be created, and the commands
    gke_authz_extension.py create --project P --location L --apply     print it, and do it
    gke_authz_extension.py delete --project P --location L [--apply]   the same for removing both

Before it, install the chart with ``gkeAuthz.enabled: true`` in the Gateway's namespace. It reads the Gateway with kubectl, and changes what
is at Google with gcloud; the cluster stays as it is. It was written by Google's documentation, and could not be tried at Google:
https://cloud.google.com/service-extensions/docs/configure-authorization-extensions

Exit status: 0 if everything was printed or done, 1 if not, 2 for wrong options.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

# Scheme of the load balancer and whether it is global, by the Gateway's class.
CLASSES: Final[Mapping[str, tuple[str, bool]]] = {
    "gke-l7-global-external-managed": ("EXTERNAL_MANAGED", True),
    "gke-l7-regional-external-managed": ("EXTERNAL_MANAGED", False),
    "gke-l7-rilb": ("INTERNAL_MANAGED", False),
}
COMPUTE: Final = "https://www.googleapis.com/compute/v1"
# Seconds for a question, and for a change at Google.
ASK_S: Final = 60.0
CHANGE_S: Final = 900.0


class PlanError(Exception):
    """There is no plan, or a step of it failed; the message says why."""


@dataclass(frozen=True)
class Step:
    """One command, with the document that it reads from ``file``."""

    command: tuple[str, ...]
    file: str = ""
    document: str = ""

    def shown(self) -> str:
        """Return it as a shell would run it."""
        line = shlex.join(self.command)
        return f"cat > {self.file} <<'EOF'\n{self.document}EOF\n{line}" if self.file else line


def read_gateway(namespace: str, name: str) -> dict[str, Any]:
    """Return the Gateway as the cluster has it."""
    said = ask(("kubectl", "get", "gateways.gateway.networking.k8s.io", name, "--namespace", namespace, "--output", "json"))
    found: dict[str, Any] = json.loads(said)
    return found


def ask(command: Sequence[str]) -> str:
    """Return what a command printed that changes nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise PlanError(f"{command[0]}: {error.stderr.strip()}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlanError(f"{command[0]} cannot be asked: {error}") from None


def addresses(gateway: Mapping[str, Any], annotation: str) -> list[str]:
    """Return the resources that GKE notes at the Gateway, as full addresses."""
    text = (gateway["metadata"].get("annotations") or {}).get(f"networking.gke.io/{annotation}", "")
    found = [part.strip() for part in text.split(",") if part.strip()]
    return [f"{COMPUTE}{part}" if part.startswith("/projects/") else part for part in found]


def backend_of(gateway: Mapping[str, Any], service: str, port: int) -> str:
    """Return the backend service of the callout. Its name has the Service's name and port."""
    known = addresses(gateway, "backend-services")
    found = [address for address in known if f"-{service}-{port}-" in address.rpartition("/")[2]]
    if len(found) == 1:
        return found[0]
    listed = "".join(f"\n  {address}" for address in known) or " none"
    raise PlanError(
        f"{'more than one' if found else 'no'} backend service of the Gateway is that of {service}:{port}. GKE may make none for a "
        f"Service that no route refers to: name one with --backend-service. The Gateway's backend services:{listed}"
    )


def scheme_of(gateway: Mapping[str, Any], location: str) -> str:
    """Return the scheme of the Gateway's load balancer, which must be in ``location``."""
    name = gateway["spec"]["gatewayClassName"]
    if name not in CLASSES:
        raise PlanError(f"the Gateway's class is {name}, not one of {', '.join(CLASSES)}")
    scheme, is_global = CLASSES[name]
    if is_global != (location == "global"):
        raise PlanError(f"a Gateway of the class {name} is {'global' if is_global else 'regional'}: --location {location} is another's")
    return scheme


def creation(options: argparse.Namespace) -> Iterator[Step]:
    """Return the steps that connect the Gateway: the extension first, since the policy refers to it."""
    gateway = read_gateway(options.namespace, options.gateway)
    scheme = scheme_of(gateway, options.location)
    rules = addresses(gateway, "forwarding-rules")
    if not rules:
        raise PlanError(f"the Gateway {options.namespace}/{options.gateway} has no forwarding rules yet: wait until it is programmed")
    extension = {
        "name": options.name,
        "loadBalancingScheme": scheme,
        "authority": f"{options.service}.{options.namespace}.svc.cluster.local",
        "service": options.backend_service or backend_of(gateway, options.service, options.port),
        "timeout": options.timeout,
        # Without the service, requests are refused.
        "failOpen": False,
        "wireFormat": "EXT_AUTHZ_GRPC",
    }
    policy = {
        "name": options.name,
        "target": {"loadBalancingScheme": scheme, "resources": rules},
        "policyProfile": "REQUEST_AUTHZ",
        "action": "CUSTOM",
        "customProvider": {
            "authzExtension": {"resources": [f"projects/{options.project}/locations/{options.location}/authzExtensions/{options.name}"]}
        },
    }
    if options.host:
        policy["httpRules"] = [{"to": {"operations": [{"hosts": [{"exact": host} for host in options.host]}]}}]
    for kind, document in (("extension", extension), ("policy", policy)):
        file = f"authz-{kind}.yaml"
        text = yaml.safe_dump(document, sort_keys=False)
        yield Step((*gcloud(kind), "import", *target(options), f"--source={file}"), file, text)


def deletion(options: argparse.Namespace) -> Iterator[Step]:
    """Return the steps that undo it: the policy first, since it refers to the extension."""
    for kind in ("policy", "extension"):
        yield Step((*gcloud(kind), "delete", *target(options), "--quiet"))


def gcloud(kind: str) -> tuple[str, ...]:
    """Return the group of commands for extensions or policies."""
    group = {"extension": ("service-extensions", "authz-extensions"), "policy": ("network-security", "authz-policies")}
    return ("gcloud", *group[kind])


def target(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the arguments that name the resource."""
    return (options.name, f"--project={options.project}", f"--location={options.location}")


def carry_out(steps: Sequence[Step]) -> None:
    """Run the steps in order, and stop at the first that fails."""
    with tempfile.TemporaryDirectory() as folder:
        for step in steps:
            if step.file:
                Path(folder, step.file).write_text(step.document)
            print(f"$ {shlex.join(step.command)}", flush=True)
            try:
                subprocess.run(step.command, cwd=folder, timeout=CHANGE_S, check=True)
            except (OSError, subprocess.SubprocessError) as error:
                raise PlanError(f"{error}. Later steps were not tried") from None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("action", choices=["create", "delete"])
    parser.add_argument("--apply", action="store_true", help="do it; without this it is only printed")
    set_or_asked: dict[str, Mapping[str, Any]] = {
        name: {"default": value} if (value := os.environ.get(variable)) else {"required": True}
        for name, variable in (("project", "GKE_PROJECT_ID"), ("location", "GKE_REGION"))
    }
    parser.add_argument("--project", help="project of Google Cloud (default: GKE_PROJECT_ID)", **set_or_asked["project"])
    parser.add_argument("--location", help="region of the Gateway, or global (default: GKE_REGION)", **set_or_asked["location"])
    parser.add_argument("--name", default="ext-authz-token-exchange", help="name of both resources (default: %(default)s)")
    parser.add_argument("--gateway", default=os.environ.get("GATEWAY") or "gateway", help="the Gateway (default: %(default)s)")
    parser.add_argument(
        "--namespace", default=os.environ.get("GATEWAY_NAMESPACE") or "gke-gateway", help="its namespace (default: %(default)s)"
    )
    parser.add_argument(
        "--service", default="gateway-ext-authz", help="the callout's Service, gkeAuthz.callout.service (default: %(default)s)"
    )
    parser.add_argument("--port", type=int, default=3000, help="its port (default: %(default)s)")
    parser.add_argument("--backend-service", default="", help="address of its backend service, if GKE does not note it at the Gateway")
    parser.add_argument("--host", action="append", help="call the service for this host only; can be repeated. All others pass unchecked")
    parser.add_argument("--timeout", default="1s", help="longer than tokenExchange.httpClient.requestTimeout (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?|\.\d+)s", options.timeout) or float(options.timeout[:-1]) <= 0:
        parser.error("--timeout must be seconds above 0, such as 1s or 1.5s")
    for name in ("project", "location", "name", "gateway", "namespace", "service"):
        if not re.fullmatch(r"[a-z0-9](?:[a-z0-9.:-]{0,61}[a-z0-9])?", getattr(options, name)):
            parser.error(f"--{name} must have lower-case letters, digits and hyphens")
    if not all(re.fullmatch(r"[A-Za-z0-9.-]{1,253}", host) for host in options.host or ()):
        parser.error("--host must be the name of a host, without port and wildcard")
    if not re.fullmatch(r"https://[!-~]+|", options.backend_service):
        parser.error("--backend-service must be an address with https")
    return options


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    options = parse(arguments)
    try:
        steps = tuple((creation if options.action == "create" else deletion)(options))
        if options.action == "delete":
            print("# The Gateway will no longer call the service: requests pass with the callers' own tokens.")
        elif options.host:
            print(f"# Only for {', '.join(options.host)}: requests for other hosts pass unchecked.")
        print("\n\n".join(step.shown() for step in steps), end="\n\n", flush=True)
        if not options.apply:
            print("Nothing was changed. With --apply, this is done.")
            return 0
        carry_out(steps)
    except PlanError as error:
        print(f"gke_authz_extension: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
