"""With grpcurl, as an operator would: services are listed, described and called by what reflection says."""

import base64
import json
import signal
import subprocess
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
from google.protobuf.descriptor import Descriptor

from exchanger.authz.envoy.health import HealthBoard, HealthService
from exchanger.authz.envoy.reflection import REFLECTION_SERVICES, Reflection
from exchanger.net.grpc.routes import routes_of
from exchanger.net.grpc.status import StatusCode
from exchanger.util.descriptor_pool import POOL
from tests.e2e.churn import Authorities, tls_variables
from tests.e2e.gateway import SERVICE_NAME
from tests.e2e.grpcurl import STATUS_BASE, Target, call, command, lines, parsed, run
from tests.e2e.service import DOCUMENT, STOP_S, Service, serving
from tests.net.grpc.serving import serving as serving_routes
from tests.ports import free_port
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


@pytest.fixture(scope="module", autouse=True)
def grpcurl() -> Path:
    """Skips every test here where there is none."""
    return find_tool("grpcurl")


@pytest.fixture
def target(service: Service) -> Target:
    return Target(f"127.0.0.1:{service.port}")


@pytest.fixture(scope="module", params=["plaintext", "tls", "mtls"])
def any_target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    """Each of the listeners that there can be."""
    if request.param == "plaintext":
        yield Target(f"127.0.0.1:{request.getfixturevalue('service').port}")
        return
    folder, port, mutual = tmp_path_factory.mktemp("service"), free_port(), request.param == "mtls"
    authorities = Authorities(folder)
    for name, data in authorities.files().items():
        (folder / name).write_bytes(data)
    own = ("-cert", str(authorities.client), "-key", str(authorities.client)) if mutual else ()
    with serving(folder, DOCUMENT, **tls_variables(port, folder, mutual=mutual)):
        yield Target(f"127.0.0.1:{port}", ("-cacert", str(authorities.server_authority), "-servername", SERVICE_NAME, *own))


def test_services_and_their_methods_are_listed(any_target: Target) -> None:
    assert lines(any_target, "list") == sorted(METHODS)
    for name, methods in METHODS.items():
        assert lines(any_target, "list", name) == [f"{name}.{method}" for method in methods]


def messages(found: Iterable[Descriptor]) -> Iterable[Descriptor]:
    for message in found:
        if not message.GetOptions().map_entry:
            yield message
            yield from messages(message.nested_types)


def test_every_service_method_message_and_enum_is_described(target: Target) -> None:
    described = "\n".join(lines(target, "describe"))
    for name, methods in METHODS.items():
        assert f"{name} is a service:" in described
        for method in methods:
            assert lines(target, "describe", f"{name}.{method}")[0] == f"{name}.{method} is a method:"
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


def test_unknown_symbols_and_fields_are_refused_by_reflection(target: Target) -> None:
    for arguments, do, said in (
        ((), ("describe", "no.such.Symbol"), "Symbol not found: no.such.Symbol"),
        (("-d", '{"attributes": {"tokens": 1}}'), (f"{AUTHORIZATION}/Check",), "tokens"),
    ):
        done = run(target, *arguments, do=do)
        assert done.returncode != 0
        assert said in done.stderr


def request(path: str, **headers: str) -> dict[str, Any]:
    http = {"method": "GET", "host": "api.example.com", "path": path, "headers": headers}
    return {"attributes": {"request": {"http": http}}}


def test_check(any_target: Target) -> None:
    (allowed,) = call(any_target, f"{AUTHORIZATION}/Check", request("/public"))
    assert "okResponse" in allowed
    (denied,) = call(any_target, f"{AUTHORIZATION}.Check", request("/admin/users", authorization="Bearer t"))
    assert denied["deniedResponse"]["status"] == {"code": "Forbidden"}
    assert json.loads(denied["deniedResponse"]["body"]) == {"error": "policy_denied"}


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
    async with serving_routes({**reflection, **routes_of(HealthService(board, frozenset({HEALTH})).service)}) as served:
        target = Target(f"127.0.0.1:{served.port}")
        with trio.fail_after(STOP_S):
            listed = await trio.run_process(command(target, do=("list",)), capture_stdout=True)
            checked = await trio.run_process(command(target, "-d", "{}", do=(f"{HEALTH}/Check",)), capture_stdout=True)
    assert listed.stdout.decode().split() == sorted({HEALTH, *REFLECTION_SERVICES})
    assert json.loads(checked.stdout) == {"status": "SERVING"}
    assert served.faults == []
