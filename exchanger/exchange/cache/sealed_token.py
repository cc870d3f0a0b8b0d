"""A token as it is stored in the shared store: sealed, so that readers of the store learn nothing, and writers cannot forge anything.

Layout: a byte for the format, 24 random bytes, and AES-256-GCM's output. Key and nonce are derived from the random bytes for each value, so
no key ever seals two and the limits of random nonces do not apply (NIST SP 800-38D section 8.3). The name under which the value is stored
is its associated data: a value that was moved to another name does not open.

Must not know: where values are stored.
"""

import hashlib
import hmac
import struct
from collections.abc import Callable
from typing import Final, final

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from exchanger.exchange.cache.keys import CacheKey
from exchanger.model.secret import Secret
from exchanger.net.network import SYSTEM

# Characters of a token that is kept; longer ones are never passed on.
MAX_TOKEN_CHARS: Final = 64 * 1024
_FORMAT: Final = b"\x01"
_SALT_BYTES: Final = 24
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
# Length of its lifetime and latest expiry (seconds, since the epoch); ``expires_in`` and ``expires_at``, 0 for none.
_HEAD: Final = struct.Struct(">ddQQ")
_MOST: Final = 2**63
MAX_SEALED_BYTES: Final = len(_FORMAT) + _SALT_BYTES + _HEAD.size + MAX_TOKEN_CHARS + _TAG_BYTES


@final
@attrs.frozen
class StoredToken:
    """A token and what replicas must know of it: its lifetime ``length`` in seconds, and its latest expiry since the epoch."""

    access_token: Secret
    length: float
    wall_end: float
    expires_in: int
    expires_at: int | None


def fingerprint(token: Secret) -> bytes:
    """Return what tells ``token`` from others without containing it."""
    return hashlib.sha256(token.reveal().encode("utf-8", "surrogatepass")).digest()


def seal(key: CacheKey, digest: bytes, token: StoredToken, entropy: Callable[[int], bytes] = SYSTEM.entropy) -> bytes | None:
    """Return the value to store under ``digest``; ``None`` if the token is too long or its numbers are absurd. Takes about 15 µs."""
    text = token.access_token.reveal()
    expires_at = token.expires_at or 0
    if len(text) > MAX_TOKEN_CHARS or not text.isascii() or not (0 <= token.expires_in < _MOST and 0 <= expires_at < _MOST):
        return None
    plain = _HEAD.pack(token.length, token.wall_end, token.expires_in, expires_at) + text.encode("ascii")
    salt = entropy(_SALT_BYTES)
    cipher, nonce = _cipher(key, salt)
    return b"".join((_FORMAT, salt, cipher.encrypt(nonce, plain, _FORMAT + digest)))


def unseal(key: CacheKey, digest: bytes, value: bytes) -> StoredToken | None:
    """Return the token, ``None`` if ``value`` was not sealed under this key and name. Never raises: stores may contain anything."""
    if not value.startswith(_FORMAT) or not len(_FORMAT) + _SALT_BYTES + _HEAD.size + _TAG_BYTES < len(value) <= MAX_SEALED_BYTES:
        return None
    at = len(_FORMAT) + _SALT_BYTES
    cipher, nonce = _cipher(key, value[len(_FORMAT) : at])
    try:
        plain = cipher.decrypt(nonce, value[at:], _FORMAT + digest)
    except InvalidTag:
        return None
    # From here on, it is something that one of our replicas wrote.
    length, wall_end, expires_in, expires_at = _HEAD.unpack_from(plain)
    return StoredToken(Secret(plain[_HEAD.size :].decode("ascii")), length, wall_end, expires_in, expires_at or None)


def _cipher(key: CacheKey, salt: bytes) -> tuple[AESGCM, bytes]:
    derived = hmac.digest(key.for_seals(), salt, "sha512")
    return AESGCM(derived[:_KEY_BYTES]), derived[_KEY_BYTES : _KEY_BYTES + _NONCE_BYTES]
