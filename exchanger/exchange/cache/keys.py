"""The keys in TOKEN_CACHE_KEY_FILE, and what is derived from each.

Replicas that share a key and a deployment name find each other's tokens; no one else finds or reads them. The first key writes, all of them
read, and removing a key makes everything that it wrote unreadable.

Must not know: where the file is, or what is stored.
"""

import hmac
from typing import Final, final

import attrs

from exchanger.model.secret import Secret
from exchanger.util.key_file import read_key_lines

# Changes when tokens stored by another version of this program cannot be used: because of their format, or of what a usable token is.
FORMAT: Final = "exchanger token cache 1"


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
    """Return the keys in a file, for one deployment. Each of them means one more look-up for each miss.

    Raises:
        KeyFileError: see ``read_key_lines``
    """
    return tuple(derive(key, namespace) for key in read_key_lines(data))
