"""The control plane as a fixture: one for all tests of a module, and they leave it running as they found it."""

from collections.abc import Generator

import pytest

from tests.kube.control_plane import ControlPlane, Programs, find_programs, running


@pytest.fixture(scope="session")
def control_plane_programs() -> Programs:
    programs = find_programs()
    if programs is None:
        pytest.skip("etcd and kube-apiserver are not built: run python .ci/kube_lab.py, which needs Go or installs it")
    return programs


@pytest.fixture(scope="module")
def control_plane(control_plane_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Generator[ControlPlane]:
    with running(tmp_path_factory.mktemp("control_plane"), programs=control_plane_programs) as plane:
        yield plane
