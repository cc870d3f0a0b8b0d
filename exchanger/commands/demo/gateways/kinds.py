"""Which gateway the demo starts, and for those that ask over HTTP: their program, their configuration, and what they make of a denial.

A demo changes only what the guides leave to their readers: ports, the place of the secret, and which hosts there are, here all of them.
"""

import enum
import importlib.resources
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, final

import attrs

from exchanger.authz.http_authz.dialects import AUTH_REQUEST, ENVOY, FORWARD_AUTH, GatewayDialect
from exchanger.commands.demo import DemoError
from exchanger.commands.demo.envoy import envoy_command, find_envoy
from exchanger.commands.scenarios.answer import Reached
from exchanger.commands.scenarios.expectation import OK, ExpectedAnswer
from exchanger.commands.scenarios.scenario import LooseRequest, OneRequest, Scenario
from exchanger.model.secret import Secret

# Where the configurations have the gateway, the service and the upstream.
_LISTEN: Final = "8080"
_SERVICE: Final = "3004"
_UPSTREAM: Final = "8081"
# Debian has servers where only root looks for programs.
_ALSO_IN: Final = ("/usr/local/sbin", "/usr/sbin")
_UNAUTHORIZED: Final = 401
_SECRET: Final = "the-content-of-the-secret-file"
_HERE: Final = importlib.resources.files(__package__)


@enum.unique
class GatewayKind(enum.Enum):
    """Which gateway asks the service, and how; the value is the option's. ``ENVOY`` asks over gRPC, the others over HTTP."""

    ENVOY = "envoy"
    ENVOY_HTTP = "envoy-http"
    NGINX = "nginx"
    CADDY = "caddy"
    TRAEFIK = "traefik"


@final
@attrs.frozen
class GatewayPlaces:
    """The ports on the loopback address where the gateway listens and finds the service and the upstream, and the secret that it sends."""

    listen: int
    service: int
    upstream: int
    secret: Secret


@final
@attrs.frozen
class GatewayProcess:
    """What to run, and the variables that it needs besides those that each process of a demo has."""

    command: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)


@final
@attrs.frozen
class HttpGateway:
    """A gateway that asks over HTTP.

    Attributes:
        name: For people.
        guide: The file with its configuration.
        find: Returns the path of its program; raises ``DemoError`` if there is none.
        process: Writes the configuration, the last argument, and all that it needs into a folder; returns how to run the program.
        dialect: How it states requests, and to which status the service turns that of a denial.
        remark: What clients get of a denial that has another status or body than the service's decision, in a sentence.
        passes_bodies: Whether a denial's body reaches the client.
        all_hosts: Texts of the configuration, and what makes the gateway serve every host, on loopback alone, in their place.
    """

    name: str
    guide: str
    find: Callable[[], str]
    process: Callable[[str, Path, GatewayPlaces, str], GatewayProcess]
    dialect: GatewayDialect
    all_hosts: Mapping[str, str]
    remark: str = ""
    passes_bodies: bool = True

    def configuration(self) -> str:
        """Return the guide's configuration."""
        return (_HERE / self.guide).read_text("utf-8")

    def start(self, program: str, folder: Path, places: GatewayPlaces) -> GatewayProcess:
        """Write what the gateway of a demo needs into ``folder``, which is for this user alone; return how to run ``program``."""
        return self.process(program, folder, places, with_texts(self.configuration(), self.all_hosts))

    def passed_on(self, scenario: Scenario) -> Scenario:
        """Return ``scenario`` with what clients get of its denial. Scenarios of several requests have none."""
        match scenario:
            case OneRequest(expected=expected) if expected.upstream is Reached.NOT and self.passes_bodies:
                return attrs.evolve(scenario, expected=attrs.evolve(expected, status=self.dialect.status(expected.status)))
            case OneRequest(expected=expected) if expected.upstream is Reached.NOT:
                status = self.dialect.status(expected.status)
                challenge = "".join(expected.challenges[:1]) if status == _UNAUTHORIZED else ""
                return LooseRequest(scenario.name, scenario.watch, scenario.call, ExpectedAnswer(status, challenge=challenge))
            case LooseRequest(expected=expected) if expected.status != OK:
                error = expected.error if self.passes_bodies else ""
                return attrs.evolve(scenario, expected=attrs.evolve(expected, status=self.dialect.status(expected.status), error=error))
            case _:
                return scenario


def with_texts(config: str, texts: Mapping[str, str]) -> str:
    """Return ``config`` with other texts in the place of these.

    Raises:
        ValueError: one is not there.
    """
    for old, new in texts.items():
        if old not in config:
            raise ValueError(f"the configuration has no {old!r}")
        config = config.replace(old, new)
    return config


def with_places(config: str, places: GatewayPlaces) -> str:
    """Return ``config`` with these ports in the place of the guides'."""
    ports = {_LISTEN: places.listen, _SERVICE: places.service, _UPSTREAM: places.upstream}
    return re.sub(rf"\b(?:{'|'.join(ports)})\b", lambda found: str(ports[found[0]]), config)


def _find(name: str, program: str, remedy: str) -> str:
    found = shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *_ALSO_IN)))
    if found is None:
        raise DemoError(f"--gateway-kind {program} needs {name}: install it ({remedy}), or put `{program}` on the PATH")
    return found


def _nginx(program: str, folder: Path, places: GatewayPlaces, config: str) -> GatewayProcess:
    # All paths are relative to the folder (-p). One process, since nobody would end the workers of a master that was killed.
    (folder / "exchanger-secret.conf").write_text(f'proxy_set_header X-Exchanger-Secret "{places.secret.reveal()}";\n')
    folders = "".join(f"  {kind}_temp_path {kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    texts = {"/etc/nginx/exchanger-secret.conf": "exchanger-secret.conf", "http {\n": f"http {{\n  access_log off;\n{folders}"}
    head = "daemon off;\nmaster_process off;\npid pid;\nerror_log stderr;\n"
    (folder / "nginx.conf").write_text(head + with_places(with_texts(config, texts), places))
    return GatewayProcess((program, "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"))


def _caddy(program: str, folder: Path, places: GatewayPlaces, config: str) -> GatewayProcess:
    (folder / "Caddyfile").write_text(with_places(config, places))
    own = tuple((name, str(folder)) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"))
    command = (program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile")
    return GatewayProcess(command, (*own, ("EXCHANGER_SECRET", places.secret.reveal())))


def _envoy(program: str, folder: Path, places: GatewayPlaces, config: str) -> GatewayProcess:
    (folder / "envoy.yaml").write_text(with_places(with_texts(config, {_SECRET: places.secret.reveal()}), places))
    return GatewayProcess(envoy_command(program, folder / "envoy.yaml"))


def _traefik(program: str, folder: Path, places: GatewayPlaces, config: str) -> GatewayProcess:
    dynamic, static = folder / "traefik.yaml", folder / "traefik-static.yaml"
    dynamic.write_text(with_places(with_texts(config, {_SECRET: places.secret.reveal()}), places))
    texts = {"/etc/traefik/dynamic.yaml": json.dumps(str(dynamic)), f'":{_LISTEN}"': f"127.0.0.1:{_LISTEN}"}
    static.write_text(with_places(with_texts((_HERE / static.name).read_text("utf-8"), texts), places))
    return GatewayProcess((program, f"--configFile={static}"))


HTTP_GATEWAYS: Final[Mapping[GatewayKind, HttpGateway]] = MappingProxyType(
    {
        GatewayKind.ENVOY_HTTP: HttpGateway(
            name="Envoy",
            guide="envoy.yaml",
            find=find_envoy,
            process=_envoy,
            dialect=ENVOY,
            remark="Envoy takes a 5xx for a failed call, so the service denies with 403 instead",
            all_hosts={
                'domains: [api.example.com]            # never "*": name each host that has policies': 'domains: ["*"]',
                # The demo's policies match by this header, too.
                "- {exact: origin}\n": f"- {{exact: origin}}\n{' ' * 26}- {{exact: mcp-name}}\n",
                # A port in use is an error.
                "    - name: gateway\n": "    - name: gateway\n      enable_reuse_port: false\n",
            },
        ),
        GatewayKind.NGINX: HttpGateway(
            name="NGINX",
            guide="nginx.conf",
            find=lambda: _find("NGINX", "nginx", "apt-get install nginx"),
            process=_nginx,
            dialect=AUTH_REQUEST,
            remark="NGINX passes on 401 and 403 alone, with a body of its own, so the service denies with 403 instead of any other status",
            passes_bodies=False,
            all_hosts={"server_name api.example.com;": "server_name ~.;", f"listen {_LISTEN}": f"listen 127.0.0.1:{_LISTEN}"},
        ),
        GatewayKind.CADDY: HttpGateway(
            name="Caddy",
            guide="Caddyfile",
            find=lambda: _find("Caddy", "caddy", "apt-get install caddy"),
            process=_caddy,
            dialect=FORWARD_AUTH,
            all_hosts={f"http://api.example.com:{_LISTEN} {{\n": f"http://:{_LISTEN} {{\n\tbind 127.0.0.1\n"},
        ),
        GatewayKind.TRAEFIK: HttpGateway(
            name="Traefik",
            guide="traefik.yaml",
            find=lambda: _find("Traefik", "traefik", "https://doc.traefik.io/traefik/getting-started/"),
            process=_traefik,
            dialect=FORWARD_AUTH,
            all_hosts={"Host(`api.example.com`)": "PathPrefix(`/`)"},
        ),
    }
)


def find_program(kind: GatewayKind) -> str:
    """Return the path of the gateway's program.

    Raises:
        DemoError: there is none.
    """
    gateway = HTTP_GATEWAYS.get(kind)
    return find_envoy() if gateway is None else gateway.find()
