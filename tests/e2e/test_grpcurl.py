"""With grpcurl, as an operator would: services are listed, described and called by what reflection says."""

import base64
import json
import signal
import subprocess
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme
from google.protobuf.descriptor import Descriptor

from exchanger._proto._pool import POOL
from exchanger.envoy.health import Health, HealthBoard
from exchanger.envoy.reflection import REFLECTION_SERVICES, Reflection
from exchanger.grpc.routes import routes_of
from exchanger.grpc.status import StatusCode
from tests.e2e.grpcurl import STATUS_BASE, Target, call, command, lines, parsed, run
from tests.e2e.service import STOP_S, Service, free_port, serving
from tests.grpc.serving import serving as serving_routes
from tests.tools import find_tool

pytestmark = pytest.mark.go

AUTHORIZATION = "envoy.service.auth.v3.Authorization"
PROCESSOR = "envoy.service.ext_proc.v3.ExternalProcessor"
HEALTH = "grpc.health.v1.Health"
METHODS = {
    AUTHORIZATION: ["Check"],
    PROCESSOR: ["Process"],
    HEALTH: ["Check", "List", "Watch"],
    **{name: ["ServerReflectionInfo"] for name in REFLECTION_SERVICES},
}
DOCUMENT = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /admin}
    action: deny
"""


@pytest.fixture(scope="module", autouse=True)
def grpcurl() -> Path:
    """Skips every test here where there is none."""
    return find_tool("grpcurl")


NAME = "exchanger.test"


@attrs.frozen
class Secured:
    """Files of a server's certificate and its authority, and of a client's."""

    folder: Path
    server: trustme.CA = attrs.field(factory=trustme.CA)
    clients: trustme.CA = attrs.field(factory=trustme.CA)

    def variables(self, *, mutual: bool) -> dict[str, str]:
        leaf = self.server.issue_cert(NAME)
        files = {"GRPC_TLS_CERT_FILE": leaf.cert_chain_pems[0], "GRPC_TLS_KEY_FILE": leaf.private_key_pem}
        if mutual:
            files["GRPC_TLS_CLIENT_CA_FILE"] = self.clients.cert_pem
        return {name: self._written(name, pem) for name, pem in files.items()}

    def flags(self, *, mutual: bool) -> tuple[str, ...]:
        trusting = ("-cacert", self._written("authority", self.server.cert_pem), "-servername", NAME)
        if not mutual:
            return trusting
        client = self.clients.issue_cert("operator.test")
        certificate, key = self._written("client", client.cert_chain_pems[0]), self._written("client-key", client.private_key_pem)
        return (*trusting, "-cert", certificate, "-key", key)

    def _written(self, name: str, pem: trustme.Blob) -> str:
        path = self.folder / name
        pem.write_to_path(str(path))
        return str(path)


@pytest.fixture(scope="module")
def service(grpcurl: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Service]:
    with serving(tmp_path_factory.mktemp("service"), DOCUMENT) as running:
        yield running
        assert running.stop() == 0
        assert "grpc.handler_failed" not in running.lines()


@pytest.fixture
def target(service: Service) -> Target:
    return Target(f"127.0.0.1:{service.port}")


@pytest.fixture(scope="module", params=["plaintext", "tls", "mtls"])
def any_target(request: pytest.FixtureRequest, grpcurl: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    """Each of the listeners that there can be."""
    folder, port, mutual = tmp_path_factory.mktemp("service"), free_port(), request.param == "mtls"
    secured = Secured(folder)
    variables = {} if request.param == "plaintext" else secured.variables(mutual=mutual)
    with serving(folder, DOCUMENT, GRPC_TLS_PORT=str(port), **variables) as running:
        if request.param == "plaintext":
            yield Target(f"127.0.0.1:{running.port}")
        else:
            yield Target(f"127.0.0.1:{port}", secured.flags(mutual=mutual))


def test_services_and_their_methods_are_listed(any_target: Target) -> None:
    assert lines(any_target, "list") == sorted(METHODS)
    for name, methods in METHODS.items():
        assert lines(any_target, "list", name) == [f"{name}.{method}" for method in methods]


def test_every_service_and_method_is_described(target: Target) -> None:
    described = "\n".join(lines(target, "describe"))
    for name, methods in METHODS.items():
        assert f"{name} is a service:" in described
        for method in methods:
            assert lines(target, "describe", f"{name}.{method}")[0] == f"{name}.{method} is a method:"


def messages(found: Iterable[Descriptor]) -> Iterable[Descriptor]:
    for message in found:
        if not message.GetOptions().map_entry:
            yield message
            yield from messages(message.nested_types)


def test_every_message_and_enum_is_described(target: Target) -> None:
    files = {file.name: file for name in METHODS for file in (POOL.FindServiceByName(name).file,)}
    queue = list(files.values())
    for file in queue:
        queue += [imported for imported in file.dependencies if files.setdefault(imported.name, imported) is imported]
    known = {file.name: file for file in queue}.values()
    kinds = {message.full_name: "message" for file in known for message in messages(file.message_types_by_name.values())}
    kinds |= {enum.full_name: "enum" for file in known for enum in file.enum_types_by_name.values()}
    assert len(kinds) > 50
    for name, kind in kinds.items():
        assert lines(target, "describe", name)[0] == f"{name} is {'an' if kind == 'enum' else 'a'} {kind}:"


def test_a_message_template_shows_the_fields(target: Target) -> None:
    text = run(target, "-msg-template", do=("describe", "envoy.service.auth.v3.CheckRequest")).stdout
    template = json.loads(text[text.index("{", text.index("Message template")) :])
    assert template["attributes"]["request"]["http"]["headers"] == {"": ""}


def test_what_is_unknown_is_said(target: Target) -> None:
    done = run(target, do=("describe", "no.such.Symbol"))
    assert done.returncode != 0
    assert "Symbol not found: no.such.Symbol" in done.stderr


def request(path: str, **headers: str) -> dict[str, Any]:
    http = {"method": "GET", "host": "api.example.com", "path": path, "headers": headers}
    return {"attributes": {"request": {"http": http}}}


def test_check(any_target: Target) -> None:
    (allowed,) = call(any_target, f"{AUTHORIZATION}/Check", request("/public"))
    assert "okResponse" in allowed
    (denied,) = call(any_target, f"{AUTHORIZATION}.Check", request("/admin/users", authorization="Bearer t"))
    assert denied["deniedResponse"]["status"] == {"code": "Forbidden"}
    assert json.loads(denied["deniedResponse"]["body"]) == {"error": "policy_denied"}


def test_a_field_that_does_not_exist_is_refused_by_what_reflection_said(target: Target) -> None:
    done = run(target, "-d", '{"attributes": {"tokens": 1}}', do=(f"{AUTHORIZATION}/Check",))
    assert done.returncode != 0
    assert "tokens" in done.stderr


def headers(path: str) -> dict[str, Any]:
    fields = {":method": "GET", ":authority": "api.example.com", ":path": path}
    values = [{"key": name, "rawValue": base64.b64encode(value.encode()).decode()} for name, value in fields.items()]
    return {"requestHeaders": {"headers": {"headers": values}}}


def test_process(any_target: Target) -> None:
    answers = call(any_target, f"{PROCESSOR}/Process", headers("/public"), headers("/admin"), headers("/public"))
    kinds = [next(name for name in ("requestHeaders", "immediateResponse") if name in answer) for answer in answers]
    assert kinds == ["requestHeaders", "immediateResponse", "requestHeaders"]
    assert answers[1]["immediateResponse"]["status"] == {"code": "Forbidden"}


def test_health(any_target: Target) -> None:
    for name in ("", *METHODS):
        assert call(any_target, f"{HEALTH}/Check", {"service": name}) == [{"status": "SERVING"}]
    (listed,) = call(any_target, f"{HEALTH}/List")
    assert listed["statuses"].keys() == {"", *METHODS}
    done = run(any_target, "-d", '{"service": "other"}', do=(f"{HEALTH}/Check",))
    assert done.returncode == STATUS_BASE + StatusCode.NOT_FOUND
    assert "Code: NotFound" in done.stderr


def test_a_watch_ends_with_the_drain(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT) as running:
        target = Target(f"127.0.0.1:{running.port}")
        with subprocess.Popen(command(target, do=(f"{HEALTH}/Watch",)), stdout=subprocess.PIPE, text=True) as watch:
            assert watch.stdout is not None
            first = "".join(watch.stdout.readline() for _ in range(3))
            running.process.send_signal(signal.SIGTERM)
            rest, _ = watch.communicate(timeout=STOP_S)
        assert watch.returncode == 0
        assert parsed(first + rest) == [{"status": "SERVING"}, {"status": "NOT_SERVING"}]
        assert running.process.wait(STOP_S) == 0


@pytest.mark.parametrize("version", REFLECTION_SERVICES)
def test_reflection_is_called_like_any_service(target: Target, version: str) -> None:
    (listed, unknown) = call(target, f"{version}/ServerReflectionInfo", {"listServices": ""}, {"fileByFilename": "nothing.proto"})
    assert [found["name"] for found in listed["listServicesResponse"]["service"]] == sorted(METHODS)
    assert unknown["errorResponse"]["errorCode"] == StatusCode.NOT_FOUND


@pytest.mark.parametrize("version", REFLECTION_SERVICES)
async def test_each_version_by_itself_is_enough(version: str) -> None:
    """grpcurl asks for v1 first, and for v1alpha where v1 is unknown; many tools still know nothing but v1alpha."""
    reflection = {path: route for path, route in Reflection((HEALTH,)).routes().items() if path.startswith(f"/{version}/".encode())}
    assert len(reflection) == 1
    board = HealthBoard()
    board.set_ready()
    async with serving_routes({**reflection, **routes_of(Health(board, frozenset({HEALTH})).service)}) as served:
        target = Target(f"127.0.0.1:{served.port}")
        with trio.fail_after(STOP_S):
            listed = await trio.run_process(command(target, do=("list",)), capture_stdout=True)
            checked = await trio.run_process(command(target, "-d", "{}", do=(f"{HEALTH}/Check",)), capture_stdout=True)
    assert listed.stdout.decode().split() == sorted({HEALTH, *REFLECTION_SERVICES})
    assert json.loads(checked.stdout) == {"status": "SERVING"}
    assert served.faults == []
