"""The keys in TOKEN_CACHE_KEY_FILE, and what is derived from each.

Replicas that share a key and a deployment name find each other's tokens; no one else finds or reads them. The first key writes, all of them
read, and removing a key makes everything that it wrote unreadable.

Must not know: where the file is, or what is stored.
"""

import base64
import binascii
import hmac
from typing import Final, final

import attrs

from exchanger.values.secret import Secret

KEY_BYTES: Final = 32
# A rotation needs two, a rotation that overtakes another one three. Each key means one more look-up for each miss.
MAX_KEYS: Final = 4
# Of the file: the keys, with room for blank lines.
MAX_FILE_BYTES: Final = 4096
# Changes when tokens stored by another version of this program cannot be used: because of their format, or of what a usable token is.
FORMAT: Final = "exchanger token cache 1"


class KeyFileError(ValueError):
    """A key file that cannot be used. The message never quotes the file."""


@final
@attrs.frozen
class CacheKey:
    """The keys of digests and of seals, in hexadecimal, derived from one key for one deployment."""

    _digests: Secret
    _seals: Secret

    def for_digests(self) -> bytes:
        """Return the key of the HMAC that names tokens."""
        return bytes.fromhex(self._digests.reveal())

    def for_seals(self) -> bytes:
        """Return the key from which each token's own sealing key is derived."""
        return bytes.fromhex(self._seals.reveal())


def derive(key: bytes, namespace: str) -> CacheKey:
    """Derive the keys of a deployment by HKDF with SHA-256 (RFC 5869, https://www.rfc-editor.org/rfc/rfc5869#section-2)."""
    pseudorandom = hmac.digest(FORMAT.encode(), key, "sha256")

    def expand(purpose: str) -> Secret:
        # One block is enough: as many bytes as the hash has.
        return Secret(hmac.digest(pseudorandom, f"{purpose}\0{namespace}\x01".encode(), "sha256").hex())

    return CacheKey(expand("digests"), expand("seals"))


def read_keys(data: bytes, namespace: str) -> tuple[CacheKey, ...]:
    """Return the keys in a file with one key a line, in base64 or base64url. Blank lines are ignored.

    Raises:
        KeyFileError: there is none, there are too many, or a line is not a key of 32 bytes
    """
    if len(data) > MAX_FILE_BYTES:
        raise KeyFileError(f"must not be longer than {MAX_FILE_BYTES} bytes")
    lines = [(number, line.strip()) for number, line in enumerate(data.split(b"\n"), 1)]
    keys: list[bytes] = []
    for number, line in lines:
        if not line:
            continue
        key = _decoded(line)
        if key is None:
            raise KeyFileError(f"line {number} must be {KEY_BYTES} random bytes in base64, as from: openssl rand -base64 {KEY_BYTES}")
        if key not in keys:
            keys.append(key)
    if not keys:
        raise KeyFileError("must hold a key")
    if len(keys) > MAX_KEYS:
        raise KeyFileError(f"must hold at most {MAX_KEYS} keys")
    return tuple(derive(key, namespace) for key in keys)


def _decoded(line: bytes) -> bytes | None:
    """Return the key, ``None`` if it is not one. The same byte 32 times is not a key but a placeholder left in a template."""
    try:
        key = base64.b64decode(line.replace(b"-", b"+").replace(b"_", b"/"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES and len(set(key)) > 1 else None
