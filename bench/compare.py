"""The service beside its peers, on one machine, in turns: CPU time a call, latency through a real Envoy, and memory.

Usage: bench/compare [--opa PATH] [--go-service PATH] [--rounds 5] [--calls 8000] [--seconds 3] [--rates 500,1000] [--out FILE] [--write]

The peers are a grpc-go server that allows everything and exchanges as a plain Go service would (bench/peers, built here), OPA with its
Envoy plugin (``--opa``: a binary of opa-envoy-plugin), and the Go service (``--go-service``: a binary of its command). What is
not given is not measured.

Every case is asked of one server after the other, and that for several rounds. Each server has the first core for itself. Directly, h2load
asks with one and the same request, where tokens must differ a client of this folder; through Envoy, requests come at a fixed rate. Raw data
goes to ``--out`` as JSON, the table to standard output; ``--write`` writes both into the documentation.

Needs Linux, Go (https://go.dev/doc/install), h2load (Debian: nghttp2-client) and the Envoy of the demo extra. For the Go service also root,
since it reads its credentials from the place where pods have them, and a namespace of mounts puts them there.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import report  # beside this file
import trustme
from api_server import Objects, listening  # beside this file
from service_load import (  # beside this file
    HOST,
    OTHER_CORES,
    SERVER_CORES,
    Outcome,
    closed_loop,
    cpu_seconds,
    free_port,
    h2load,
    memory_mib,
    message,
    running,
    service,
)

from exchanger.commands.demo.envoy import bootstrap, find_envoy

HERE: Final = Path(__file__).resolve().parent
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "exchanger" / "bench"
# Of the policy with 10,000 entries, an exchange and a denial for each host: so many for each of ten namespaces, in one document, since the
# Go service reads everything again with each document. Requests are for the first host.
ENTRIES_A_DOCUMENT: Final = 1_000
# Whose tokens are kept. All are, once each has asked twice.
USERS: Final = 200
# OPA's own example: guests may read, admins may also add. Its callers come with a password, ours with a header that names their role.
GUEST: Final = {"authorization": "Basic YWxpY2U6cGFzc3dvcmQ=", "x-role": "guest"}
RULES: Final = """
version: v1
entries:
- match: {host: api.example.com, pathPrefix: /people, pathType: Exact, methods: [GET], headers: [{name: x-role, value: guest}]}
  action: allow
- match: {host: api.example.com, pathPrefix: /people, pathType: Exact, methods: [GET, POST], headers: [{name: x-role, value: admin}]}
  action: allow
- match: {host: api.example.com, pathPrefix: /}
  action: deny
"""
GRANTS: Final = "version: v1\ngrants: [{namespaces: [team], hosts: ['*'], actions: [allow, deny]}]\n"
REGO: Final = {
    "nothing": "package envoy.authz\n\ndefault allow := true\n",
    "rules": """package envoy.authz

import rego.v1

default allow := false

roles := {"alice": ["guest"], "bob": ["admin"]}

rights := {
	"guest": [{"method": "GET", "path": "/people"}],
	"admin": [{"method": "GET", "path": "/people"}, {"method": "POST", "path": "/people"}],
}

request := input.attributes.request.http

user := name if {
	[_, encoded] := split(request.headers.authorization, " ")
	[name, _] := split(base64url.decode(encoded), ":")
}

allow if {
	some role in roles[user]
	some right in rights[role]
	right.method == request.method
	right.path == request.path
}
""",
    "10,000 entries": """package envoy.authz

import rego.v1

default allow := true

request := input.attributes.request.http

allow := false if {
	some prefix, action in data.policies[request.host]
	action == "deny"
	startswith(request.path, prefix)
}
""",
}


@attrs.frozen
class Scenario:
    """One kind of request. ``users``: of how many callers with tokens, ``None`` for none, 0 for another one each time."""

    name: str
    policy: str
    path: str
    host: str = HOST
    headers: Mapping[str, str] = attrs.field(factory=dict)
    users: int | None = None
    wanted: Outcome = "allowed"
    # Whether it is also measured through Envoy, as a caller sees it.
    through_envoy: bool = False


SCENARIOS: Final = (
    Scenario("allow, no policy", "nothing", "/people", headers=GUEST, through_envoy=True),
    Scenario("allow by RBAC-like rules", "rules", "/people", headers=GUEST, through_envoy=True),
    Scenario("10,000 entries, denied", "10,000 entries", "/admin/1", host="app0.example.com", wanted="denied"),
    Scenario("10,000 entries, no entry matches", "10,000 entries", "/other", host="app0.example.com"),
    Scenario("exchange", "10,000 entries", "/exchange/1", host="app0.example.com", users=0, wanted="exchanged", through_envoy=True),
    Scenario(
        "exchange, cached token", "10,000 entries", "/kept/1", host="app0.example.com", users=USERS, wanted="exchanged", through_envoy=True
    ),
)


def many(hosts: int) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield documents with two entries for each host, by namespace and name, and one that keeps the first host's tokens."""

    def exchange(number: int, path: str, issuer: str) -> str:
        target = f"{{issuerRef: {issuer}, scope: read}}"
        return f"- {{match: {{host: app{number}.example.com, pathPrefix: {path}}}, action: exchange, exchange: {target}}}"

    def deny(number: int) -> str:
        return f"- {{match: {{host: app{number}.example.com, pathPrefix: /admin}}, action: deny}}"

    entries = [text for number in range(hosts) for text in (exchange(number, "/exchange", "bench"), deny(number))]
    yield ("extra", "policy"), f"version: v1\nentries:\n{exchange(0, '/kept', 'kept')}\n"
    for number, first in enumerate(range(0, len(entries), ENTRIES_A_DOCUMENT)):
        yield (f"team-{number}", "policy"), "\n".join(("version: v1", "entries:", *entries[first : first + ENTRIES_A_DOCUMENT], ""))


@attrs.frozen
class World:
    """What servers are started with."""

    folder: Path
    peers: Path
    token_port: int
    options: argparse.Namespace

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"http://127.0.0.1:{self.token_port}/token"


Started = contextlib.AbstractContextManager["subprocess.Popen[bytes]"]


def static(world: World, _policy: str, port: int) -> Started:
    """Run the grpc-go server."""
    return running([world.peers, "authz", f"127.0.0.1:{port}", world.token_url], port, cores=SERVER_CORES)


def exchanger(world: World, policy: str, port: int) -> Started:
    """Run the service."""
    documents = {"nothing": {}, "rules": {("team", "policy"): RULES}, "10,000 entries": dict(many(world.options.hosts))}[policy]
    root = world.folder / f"exchanger {policy}"
    root.mkdir()
    common = f"tokenEndpoint: '{world.token_url}', clientID: a, clientSecret: b"
    issuers = f"issuers:\n- {{name: bench, {common}}}\n- {{name: kept, {common}, cache: {{maxTTL: 1h, maxEntries: 1000}}}}\n"
    more = {"METRICS_ENABLED": "true", "METRICS_HOST": "127.0.0.1", "METRICS_PORT": str(free_port())}
    if policy == "rules":
        (root / "grants.yaml").write_text(GRANTS)
        more["POLICY_GRANTS_FILE"] = str(root / "grants.yaml")
    return service(root, port, documents, issuers, more)


def opa(world: World, policy: str, port: int) -> Started:
    """Run OPA."""
    root = world.folder / f"opa {policy}"
    root.mkdir()
    (root / "policy.rego").write_text(REGO[policy])
    hosts = {f"app{number}.example.com": {"/exchange": "exchange", "/admin": "deny"} for number in range(world.options.hosts)}
    (root / "data.json").write_text(json.dumps({"policies": hosts if policy == "10,000 entries" else {}}))
    plugin = "--set=plugins.envoy_ext_authz_grpc"
    options = ("--skip-version-check", "--log-level=error", f"--addr=127.0.0.1:{free_port()}", f"{plugin}.path=envoy/authz/allow")
    command = (world.options.opa, "run", "--server", *options, f"{plugin}.addr=127.0.0.1:{port}", root)
    return running(command, port, cores=SERVER_CORES)


GO_SERVICE: Final = "github.com/michaelw/ext-authz-token-exchange"
# Pods have their identity here: it is put there for the service alone, in a namespace of mounts.
IDENTITY: Final = "/run/secrets/kubernetes.io/serviceaccount"
AS_POD: Final = f'mount -t tmpfs tmpfs /run && mkdir -p {IDENTITY} && cp "$0"/* {IDENTITY} && exec "$@"'


@contextlib.contextmanager
def go_service(world: World, policy: str, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the Go service beside a simulated API server, which it finds as pods find theirs."""
    identity = world.folder / f"go {policy}"
    identity.mkdir()
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(identity / "ca.crt")
    (identity / "token").write_text("bench")
    (identity / "namespace").write_text("bench")
    issuers = world.folder / f"go {policy}.yaml"
    issuers.write_text(f"issuers:\n- {{name: bench, tokenEndpoint: '{world.token_url}', clientID: a, clientSecret: b}}\n")
    objects = Objects()
    for (namespace, name), text in many(world.options.hosts) if policy == "10,000 entries" else ():
        if namespace != "extra":  # which is about a cache
            objects.put(namespace)
            objects.put(name, namespace, {"config.yaml": text})
    with listening(objects, context) as api_port:
        environment = {
            **os.environ,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(api_port),
            "GRPC_PORT": str(port),
            "METRICS_ENABLED": "true",
            "METRICS_PORT": str(free_port()),
            "TOKEN_EXCHANGE_ISSUER_PROFILES_FILE": str(issuers),
            "TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT": "true",
        }
        command = ("unshare", "--mount", "--propagation", "private", "sh", "-c", AS_POD, identity, world.options.go_service)
        with running(command, port, environment, SERVER_CORES) as process:
            yield process


@attrs.frozen
class Server:
    """A column of the table: how to start it, and the scenarios that it is asked."""

    start: Callable[[World, str, int], Started]
    scenarios: frozenset[str]


EVERY: Final = frozenset(scenario.name for scenario in SCENARIOS)
SERVERS: Final[Mapping[str, Server]] = {
    "grpc-go": Server(static, frozenset({"allow, no policy", "exchange"})),
    "exchanger": Server(exchanger, EVERY),
    "OPA": Server(opa, frozenset(name for name in EVERY if not name.startswith("exchange"))),
    "Go service": Server(go_service, EVERY - {"allow by RBAC-like rules", "exchange, cached token"}),
}


def configuration(listen: int, asked: int | None, upstream: int) -> dict[str, Any]:
    """Return Envoy's bootstrap: the demo's, before the server on the port ``asked``, or without any filter."""
    found: dict[str, Any] = bootstrap(listen=listen, service=asked or 0, upstream=upstream)
    del found["overload_manager"]  # more connections than a demo has
    filters = found["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    if asked is None:
        del filters[0]
    else:
        filters[0]["typed_config"]["encode_raw_headers"] = False  # which OPA's policies could not read
    return found


@attrs.define(eq=False)
class Measurement:
    """What was measured so far: lists of figures, one a round, by case."""

    world: World
    stack: contextlib.ExitStack
    upstream: int
    numbers: Iterator[int] = attrs.field(factory=itertools.count)
    cells: dict[report.Case, dict[str, list[float]]] = attrs.field(factory=dict)
    memory: dict[str, float] = attrs.field(factory=dict)
    _started: dict[tuple[str, str], tuple[int, int]] = attrs.field(factory=dict)
    _gateways: dict[int | None, int] = attrs.field(factory=dict)

    def server(self, name: str, policy: str) -> tuple[int, int]:
        """Return port and process of a server with ``policy``; it runs until the end."""
        if (name, policy) not in self._started:
            port = free_port()
            process = self.stack.enter_context(SERVERS[name].start(self.world, policy, port))
            self._started[name, policy] = port, process.pid
        return self._started[name, policy]

    def gateway(self, asked: int | None) -> int:
        """Return the port of an Envoy before the server on port ``asked``."""
        if asked not in self._gateways:
            listen = free_port()
            config = self.world.folder / f"envoy-{listen}.json"
            config.write_text(json.dumps(configuration(listen, asked, self.upstream)))
            command = (find_envoy(), "--config-path", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error")
            self.stack.enter_context(running(command, listen, cores=SERVER_CORES | OTHER_CORES))
            self._gateways[asked] = listen
        return self._gateways[asked]

    def note(self, case: report.Case, **figures: float) -> None:
        """Keep the figures of a round."""
        cell = self.cells.setdefault(case, {})
        for name, figure in figures.items():
            cell.setdefault(name, []).append(round(figure, 3))

    def ask_directly(self, scenario: Scenario, name: str, shape: str, calls: int) -> dict[str, float]:
        """Ask a server, and return CPU time a call and, of h2load, the calls a second."""
        port, pid = self.server(name, scenario.policy)
        connections, streams = map(int, shape.split("x"))
        before = cpu_seconds(pid)
        found: dict[str, float] = {}
        if scenario.users is None:
            fixed = message(scenario.path, host=scenario.host, headers=scenario.headers)
            closed_loop(port, 1, 1, [fixed], scenario.wanted)  # h2load looks at no message
            request = self.world.folder / "request"
            request.write_bytes(fixed)
            found["per_second"] = h2load(port, request, calls, connections, streams)
        else:
            users = (number % scenario.users if scenario.users else number for number in itertools.islice(self.numbers, calls))
            messages = (message(scenario.path, user, host=scenario.host) for user in users)
            closed_loop(port, connections, streams, messages, scenario.wanted)
        return {"cpu_us": (cpu_seconds(pid) - before) / calls * 1e6, **found}

    def ask_through_envoy(self, scenario: Scenario | None, name: str, rate: int, seconds: int) -> dict[str, float]:
        """Ask a server through Envoy (no server: Envoy alone), and return latencies and the server's CPU time a request."""
        asked = scenario or SCENARIOS[0]
        port, pid = (None, None) if scenario is None else self.server(name, scenario.policy)
        users = {None: 0, 0: 1 << 30}.get(asked.users, asked.users)
        headers = (f"host: {asked.host}", *(f"{key}: {value}" for key, value in asked.headers.items()))
        command = (self.world.peers, "load", f"http://127.0.0.1:{self.gateway(port)}{asked.path}", rate, seconds, users, *headers)
        before = 0 if pid is None else cpu_seconds(pid)
        found = json.loads(subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True).stdout)
        wrong = rate * seconds - found["status"].get("200", 0)
        if wrong:
            print(f"{name}: {asked.name}, {rate}/s: wrong answers {found['status']}", flush=True)
        cpu = {} if pid is None else {"cpu_us": (cpu_seconds(pid) - before) / (rate * seconds) * 1e6}
        return {"p50_ms": found["p50_ms"], "p99_ms": found["p99_ms"], "wrong": wrong, **cpu}

    def run(self) -> None:
        """Measure every case, round by round."""
        options = self.world.options
        names = [name for name in SERVERS if name in options.servers]
        for scenario in SCENARIOS:
            asked = [name for name in names if scenario.name in SERVERS[name].scenarios]
            for shape in options.shapes.split(","):
                for name in asked:
                    self.ask_directly(scenario, name, shape, max(2 * USERS, options.calls // 5))
                for _, name in itertools.product(range(options.rounds), asked):
                    case = report.Case(scenario.name, shape.replace("x", " × "), name)
                    self.note(case, **self.ask_directly(scenario, name, shape, options.calls))
        self.memory |= {name: memory_mib(self.server(name, "10,000 entries")[1])[0] for name in names}
        seen = [one for one in SCENARIOS if one.through_envoy]
        cases: list[tuple[Scenario | None, str]] = [(None, report.NO_FILTER)]
        cases += [(one, name) for one in seen for name in names if one.name in SERVERS[name].scenarios]
        for rate in map(int, options.rates.split(",")):
            for number, (case_of, name) in itertools.product(range(options.rounds + 1), cases):
                found = self.ask_through_envoy(case_of, name, rate, 1 if number == 0 else options.seconds)
                if number:  # the first round is for connections, caches and branch predictors
                    self.note(report.Case(report.NO_FILTER if case_of is None else case_of.name, f"{rate}/s", name), **found)


def build_peers() -> Path:
    """Return bench/peers as a program.

    Raises:
        SystemExit: it cannot be built.
    """
    go = shutil.which("go")
    if go is None:
        raise SystemExit("Go is missing: https://go.dev/doc/install")
    CACHE.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath"}
    subprocess.run((go, "build", "-o", CACHE / "peers", "."), cwd=HERE / "peers", env=environment, check=True)
    return CACHE / "peers"


def said(*command: Path | str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def module(program: Path | str, name: str) -> str:
    """Return the version of a module in a program that Go built."""
    found = (line.split() for line in said("go", "version", "-m", program).splitlines())
    return next((words[2] for words in found if words[:2] in (["dep", name], ["mod", name])), "unknown")


def versions(world: World) -> dict[str, str]:
    """Return the versions of all that was measured."""
    options = world.options
    return {
        **report.own_versions(),
        "grpc-go": module(world.peers, "google.golang.org/grpc"),
        **({"OPA": module(options.opa, "github.com/open-policy-agent/opa")} if options.opa else {}),
        **({"Go service": module(options.go_service, GO_SERVICE)} if options.go_service else {}),
        "Envoy": said(find_envoy(), "--version").partition("version: ")[2].split("/")[1],
        "h2load": said("h2load", "--version").split("/")[-1].strip(),
    }


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opa", default=shutil.which("opa-envoy-plugin"), help="OPA with its Envoy plugin")
    parser.add_argument("--go-service", help="the Go service")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=8_000, help="in each round, without Envoy")
    parser.add_argument("--shapes", default="1x20,8x2", help="connections x streams, without Envoy")
    parser.add_argument("--hosts", type=int, default=5_000, help="of the large policy, which has two entries for each")
    parser.add_argument("--seconds", type=int, default=3, help="of each round, through Envoy")
    parser.add_argument("--rates", default="500,1000", help="requests a second, through Envoy")
    parser.add_argument("--out", type=Path, help="where the raw data goes")
    parser.add_argument("--write", action="store_true", help="write data and table into the documentation")
    options = parser.parse_args()
    given = {"OPA": options.opa, "Go service": options.go_service}
    options.servers = {"grpc-go", "exchanger", *(name for name, program in given.items() if program)}
    peers = build_peers()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        token_port, upstream = free_port(), free_port()
        world = World(Path(folder), peers, token_port, options)
        stack.enter_context(running((peers, "token", f"127.0.0.1:{token_port}"), token_port))
        stack.enter_context(running((peers, "echo", f"127.0.0.1:{upstream}"), upstream))
        measurement = Measurement(world, stack, upstream)
        began = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            measurement.run()
        method = {"rounds": options.rounds, "calls": options.calls, "seconds": options.seconds}
        data = report.comparison(measurement.cells, measurement.memory, versions(world), method)
    report.keep(data, report.COMPARISON, options.out, in_page=options.write)
    print(report.comparison_table(data))
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
