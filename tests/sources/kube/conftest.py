"""Fixtures that several modules share.

The control plane is one for all tests of a process, and empty when a module begins. The others are what tests of the client and of the
reflector begin with.
"""

from collections.abc import AsyncGenerator, Generator

import pytest

from exchanger.sources.kube.api.client import connect
from exchanger.sources.kube.api.connection import ApiConnection
from tests.sources.kube.asking import origin
from tests.sources.kube.control_plane import ADMIN_TOKEN, ControlPlane
from tests.sources.kube.fake_api_server import Initial
from tests.sources.kube.leftovers import nothing_left, open_sockets
from tests.sources.kube.reflecting import Scene


@pytest.fixture(scope="module")
def control_plane(shared_control_plane: ControlPlane) -> Generator[ControlPlane]:
    """A running control plane with nothing in it that the module did not make."""
    yield shared_control_plane
    shared_control_plane.tidy()


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


@pytest.fixture(params=[Initial.OFFERED, Initial.REFUSED], ids=lambda initial: initial.value)
def scene(request: pytest.FixtureRequest) -> Scene:
    """Two kinds of server, on each of which the same holds; one that ignores the question is like the second, once that is known."""
    found = Scene()
    found.server.initial = request.param
    return found
