"""A service that may have few files open keeps some for itself, however many connections there are."""

import contextlib
import socket
from pathlib import Path

from tests.e2e.collector import wait_until
from tests.e2e.service import DOCUMENT, serving

DESCRIPTORS = 200
REFUSED = "ext_authz_grpc_connections_refused_total"


def test_connections_do_not_take_the_last_descriptor(tmp_path: Path) -> None:
    with (
        serving(tmp_path, DOCUMENT, DESCRIPTORS, METRICS_ENABLED="true") as service,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(DESCRIPTORS):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), 10))
        wait_until(lambda: service.metric(REFUSED) == DESCRIPTORS // 2 + 1)  # gRPC's own connection was there before
        assert service.metric("ext_authz_grpc_connections") == DESCRIPTORS // 2
        assert service.metric("process_max_fds") == DESCRIPTORS
        assert service.check("/admin/1").denied_response.status.code == 403
        stack.close()
        wait_until(lambda: service.metric("ext_authz_grpc_connections") == 1)
        with socket.create_connection(("127.0.0.1", service.port), 10) as newcomer:
            newcomer.settimeout(10)
            assert newcomer.recv(9) != b""
        assert service.stop() == 0
        assert service.lines().count('"event":"grpc.connections_refused"') == 1
