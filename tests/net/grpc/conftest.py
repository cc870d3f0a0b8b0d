from pathlib import Path

import pytest

from tests.net.grpc.authority import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.at(tmp_path)
