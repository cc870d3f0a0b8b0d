"""HEAD and headers behind a real Envoy: a deny holds, and what one team writes refuses nothing that another one decides.

Envoy forwards leading and trailing spaces of a header's value from HTTP/2; upstreams remove them.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

from exchanger.commands.demo.envoy import FilterMode
from tests.attack.test_masked_bytes import EXCHANGED, ask, bottle_upstream, gateway
from tests.e2e.service import serving

pytestmark = [pytest.mark.envoy]

DOCUMENT: Final = """
version: v1
entries:
  - match: {host: api.example.com, pathPrefix: /}
    action: deny
  - match: {host: api.example.com, pathPrefix: /orders, methods: [GET]}
    action: exchange
    exchange: {issuerRef: primary, scope: read}
  - match: {host: get.example.com, pathPrefix: /orders, methods: [GET]}
    action: exchange
    exchange: {issuerRef: primary, scope: read}
  - match: {host: "*.example.com", pathPrefix: /, methods: [HEAD]}
    action: deny
  - match: {host: "*.example.com", pathPrefix: /, methods: [GET], headers: [{name: user_agent, value: x}]}
    action: deny
  - match: {host: mcp.example.com, pathPrefix: /, headers: [{name: Mcp-Name, value: delete_order}]}
    action: deny
"""
DENIED: Final = 403
# By method, host and path; the header has a sibling that an entry on the wildcard names.
ANSWERS: Final = {
    (b"GET", b"api.example.com", b"/orders/1"): EXCHANGED,
    (b"HEAD", b"api.example.com", b"/orders/1"): DENIED,
    (b"HEAD", b"api.example.com", b"/x/../orders/1"): DENIED,
    (b"HEAD", b"api.example.com", b"/order%73/1"): DENIED,
    (b"HEAD", b"api.example.com", b"/"): DENIED,
    (b"GET", b"get.example.com", b"/orders/1"): EXCHANGED,
    (b"HEAD", b"get.example.com", b"/orders/1"): EXCHANGED,
    (b"GET", b"get.example.com", b"/other"): 400,
    (b"HEAD", b"get.example.com", b"/other"): 400,
    (b"PUT", b"get.example.com", b"/other"): 405,  # the upstream's, which serves GET alone
    (b"GET", b"elsewhere.test", b"/sale-50%"): 200,
}


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[int, int]]:
    with serving(tmp_path_factory.mktemp("service"), DOCUMENT) as service, bottle_upstream() as upstream:
        yield service.port, upstream.port
        assert service.stop() == 0


@pytest.mark.parametrize("mode", FilterMode)
def test_every_team_gets_its_own_decisions(ports: tuple[int, int], tmp_path: Path, mode: FilterMode) -> None:
    with gateway(tmp_path, *ports, mode, {}, normalised=False) as port:
        found = {(method, host, path): ask(port, path, method, host, (b"user-agent", b"curl")) for method, host, path in ANSWERS}
    assert found == ANSWERS


@pytest.mark.parametrize("mode", FilterMode)
def test_what_servers_remove_from_a_header_bypasses_no_denial(ports: tuple[int, int], tmp_path: Path, mode: FilterMode) -> None:
    with gateway(tmp_path, *ports, mode, {}, normalised=False) as port:
        values = (b"delete_order", b"delete_order ", b"\tdelete_order", b"delete_order\x85", b"delete_order \xa0")
        found = [ask(port, b"/x", b"GET", b"mcp.example.com", (b"mcp-name", value)) for value in values]
    assert found == [DENIED, 400, 400, 400, 400]
