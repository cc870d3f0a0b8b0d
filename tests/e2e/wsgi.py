"""An upstream of a test's own: a WSGI application on a loopback port, served by threads until the block ends."""

import socketserver
import threading
import wsgiref.simple_server
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


class _Threaded(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = False  # closing waits for them


@contextmanager
def wsgi_upstream(app: Any) -> Generator[int]:
    """Serve ``app``; yield the port."""
    with wsgiref.simple_server.make_server("127.0.0.1", 0, app, _Threaded, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
