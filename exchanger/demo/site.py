"""One running demo as a value: its ports, its files, and the subject tokens made for it.

Must not know: processes, or how requests are sent.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import assert_never, final

import attrs

from exchanger.demo.envoy import LOOPBACK
from exchanger.demo.http import Request
from exchanger.demo.scenarios import Call, Subject
from exchanger.demo.unsigned_jwt import encode

USER = "alice"
VALID_FOR = 86_400  # seconds: a day, for a demo that is left running over lunch
EXPIRED_FOR = 3_600  # seconds: beyond any leeway for clocks


@final
@attrs.frozen
class Subjects:
    """The subject tokens. They are unsigned and good for nothing outside the demo, but tokens all the same: hidden from repr."""

    valid: str = attrs.field(repr=False)
    expired: str = attrs.field(repr=False)

    def token(self, subject: Subject) -> str:
        """Return the token for ``subject``, "" for none. These tokens have no signature with which anything could be wrong."""
        match subject:
            case Subject.NONE:
                return ""
            case Subject.VALID | Subject.UNSIGNED | Subject.TRUNCATED | Subject.FOREIGN:
                return self.valid
            case Subject.EXPIRED:
                return self.expired
            case _:
                assert_never(subject)


@final
@attrs.frozen
class Site:
    """Where everything is; ports are on the loopback address, files in a temporary folder. ``console_port`` 0: there is no console."""

    envoy_port: int
    grpc_port: int
    metrics_port: int
    token_port: int
    upstream_port: int
    policy: Path
    subjects: Subjects
    console_port: int = 0

    @property
    def gateway(self) -> str:
        """The gateway's base URL."""
        return f"http://{LOOPBACK}:{self.envoy_port}"

    @property
    def console(self) -> str:
        """The URL of the console, to be opened in a browser; without a slash at its end, so that a path can follow it."""
        return f"http://{LOOPBACK}:{self.console_port}"


def make_subjects(user: str = USER, *, now: float | None = None) -> Subjects:
    """Return fresh subject tokens of ``user``; ``now`` is in seconds since 1970."""
    moment = int(time.time() if now is None else now)
    return Subjects(
        valid=_subject_token(user, moment, moment + VALID_FOR), expired=_subject_token(user, moment - 2 * EXPIRED_FOR, moment - EXPIRED_FOR)
    )


def request_of(call: Call, token: str) -> Request:
    """Return ``call`` as an HTTP request with ``token`` ("" for none)."""
    authorization = (("Authorization", f"Bearer {token}"),) if token else ()
    return Request(call.method, call.path, (("Host", call.host), *authorization, *call.headers))


def free_ports(count: int) -> tuple[int, ...]:
    """Return ``count`` different loopback ports that are free at this moment."""
    with ExitStack() as stack:
        return tuple(_bound_ports(stack, count))


def _bound_ports(stack: ExitStack, count: int) -> Iterator[int]:
    for _ in range(count):
        taken = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        taken.bind((LOOPBACK, 0))
        yield int(taken.getsockname()[1])


def _subject_token(user: str, issued_at: int, expires_at: int) -> str:
    return encode(
        {
            "iss": "https://login.example.com",
            "sub": user,
            "aud": ["app.example.com"],
            "scope": "openid profile",
            "iat": issued_at,
            "exp": expires_at,
        }
    )
