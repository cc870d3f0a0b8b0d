"""An issuer of the tests' own, outside of Keycloak: it signs tokens, and publishes its keys on loopback. Blocking code."""

import contextlib
import threading
import time
import uuid
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import attrs
import jwt

from tests.e2e.realm import PrivateKey, key_set, new_key

ALGORITHM: Final = "ES256"
KEY_ID: Final = "of-the-tests"


@attrs.frozen
class OwnIssuer:
    """An issuer with one key, which is at ``keys_url``."""

    url: str
    key: PrivateKey

    @property
    def keys_url(self) -> str:
        return f"{self.url}/keys"

    def token(self, subject: str, audience: str, *, lifetime: float = 250.0, **claims: Any) -> str:
        now = int(time.time())
        stated = {"iss": self.url, "sub": subject, "aud": audience, "iat": now, "exp": now + int(lifetime), "jti": uuid.uuid4().hex}
        return jwt.encode({**stated, **claims}, self.key, algorithm=ALGORITHM, headers={"kid": KEY_ID})


@contextlib.contextmanager
def own_issuer() -> Generator[OwnIssuer]:
    """Run an issuer; whatever it is asked for, it tells its keys."""
    key = new_key(ALGORITHM)
    document = key_set({KEY_ID: (ALGORITHM, key)}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield OwnIssuer(f"http://127.0.0.1:{server.server_address[1]}", key)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
