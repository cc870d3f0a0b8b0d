"""Fixtures that several modules share.

The control plane is one for all tests of a module, and they leave it running as they found it. The others are what tests of the client and
of the reflector begin with.
"""

from collections.abc import AsyncGenerator, Generator

import pytest

from exchanger.kube.api.client import connect
from exchanger.kube.api.connection import ApiConnection
from exchanger.kube.settings import ReflectorSettings
from exchanger.kube.store import ListBounds
from tests.kube.asking import origin
from tests.kube.control_plane import ADMIN_TOKEN, ControlPlane, Programs, find_programs, running
from tests.kube.fake_api_server import Initial
from tests.kube.leftovers import nothing_left, open_sockets
from tests.kube.reflecting import Scene


@pytest.fixture(scope="session")
def control_plane_programs() -> Programs:
    programs = find_programs()
    if programs is None:
        pytest.skip("etcd and kube-apiserver are not built: run python3 .ci/tools.py etcd kube-apiserver")
    return programs


@pytest.fixture(scope="module")
def control_plane(control_plane_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Generator[ControlPlane]:
    with running(tmp_path_factory.mktemp("control_plane"), programs=control_plane_programs) as plane:
        yield plane


@pytest.fixture
def team(control_plane: ControlPlane, request: pytest.FixtureRequest) -> str:
    """A namespace of this test's own."""
    name = "team-" + "".join(character if character.isalnum() else "-" for character in request.node.name)[:50].strip("-").lower()
    control_plane.admin.put_namespace(name)
    return name


@pytest.fixture
async def connection(control_plane: ControlPlane) -> AsyncGenerator[ApiConnection]:
    """A connection that may do everything."""
    sockets = open_sockets()
    async with connect(origin(control_plane, ADMIN_TOKEN)) as found:
        yield found
    await nothing_left(sockets + 1)  # the admin's own connection may have been opened meanwhile


@pytest.fixture(params=[Initial.OFFERED, Initial.REFUSED, Initial.IGNORED], ids=lambda initial: initial.value)
def scene(request: pytest.FixtureRequest) -> Scene:
    """Three kinds of server, on each of which the same holds."""
    found = Scene()
    found.server.initial = request.param
    return found


@pytest.fixture
def paging() -> Scene:
    """A server without initial events, asked for pages of two."""
    found = Scene(ReflectorSettings(list_bounds=ListBounds(page_size=2, max_pages=10, max_objects=15)))
    found.server.initial = Initial.REFUSED
    return found
