"""Runs grpcurl (https://github.com/fullstorydev/grpcurl), which knows no ``.proto`` file here: all it knows it has from reflection."""

import json
import subprocess
from typing import Any, Final

import attrs

from tests.tools import find_tool

TIMEOUT_S: Final = 30.0
# grpcurl ends with this and the gRPC status added when a call was refused.
STATUS_BASE: Final = 64


@attrs.frozen
class Target:
    """A server's address, and the flags that say how to reach it: ``-plaintext``, or ``-cacert``, ``-cert``, ``-key`` with their files."""

    address: str
    flags: tuple[str, ...] = ("-plaintext",)


def command(target: Target, *flags: str, do: tuple[str, ...] = ()) -> list[str]:
    """Return grpcurl's command line; ``do`` is what comes after the address: a method, or ``list`` or ``describe`` and a name."""
    return [str(find_tool("grpcurl")), "-max-time", f"{TIMEOUT_S:.0f}", *target.flags, *flags, target.address, *do]


def run(target: Target, *flags: str, do: tuple[str, ...], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run grpcurl to its end."""
    return subprocess.run(command(target, *flags, do=do), input=stdin, capture_output=True, text=True, timeout=TIMEOUT_S + 10, check=False)


def lines(target: Target, *do: str) -> list[str]:
    """Return what ``list`` or ``describe`` prints, by lines."""
    done = run(target, do=do)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


def call(target: Target, method: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Call ``method`` with ``messages``, which come from standard input, and return the answers."""
    done = run(target, "-d", "@", do=(method,), stdin="".join(json.dumps(message) for message in messages))
    assert (done.returncode, done.stderr) == (0, ""), done
    return parsed(done.stdout)


def parsed(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects that stand one after the other in ``text``."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        answer, end = decoder.raw_decode(text)
        found.append(answer)
        text = text[end:].strip()
    return found
