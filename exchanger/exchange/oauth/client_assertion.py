"""The assertions that this client signs for each request (private_key_jwt, RFC 7523)."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from typing import Final, final

import attrs

from exchanger.formats.jwt.signing import LoadedKey, load_key, sign_assertion
from exchanger.model.issuer import Issuer, SigningKey
from exchanger.model.secret import Secret
from exchanger.net.network import SYSTEM

# Keys that are kept loaded: profiles refer to 256 Secrets and files at most, and each may have a previous key. Loading takes up to 200 ms.
_MAX_KEYS: Final = 512
# Random bytes in a ``jti``, so that no two are ever the same.
_JTI_BYTES: Final = 16


@final
@attrs.define(eq=False)
class ClientAssertions:
    """Signs assertions. ``now`` returns seconds since the epoch."""

    _now: Callable[[], float]
    _entropy: Callable[[int], bytes] = SYSTEM.entropy
    # Of the active issuers, ``None`` until the first ones are.
    _current: frozenset[object] | None = attrs.field(default=None, init=False, repr=False)
    _loaded: dict[SigningKey, LoadedKey | None] = attrs.field(factory=dict, init=False, repr=False)

    def sign(self, issuer: Issuer, key: SigningKey) -> Secret | None:
        """Return a new assertion for ``issuer``; ``None`` if its key cannot sign, which was checked when it was read."""
        loaded = self._load(key)
        if loaded is None:
            return None
        audience = key.audience or issuer.token_endpoint
        client_id = issuer.credentials.client_id
        jti = urlsafe_b64encode(self._entropy(_JTI_BYTES)).decode().rstrip("=")
        return sign_assertion(loaded, key.algorithm, key.key_id, client_id=client_id, audience=audience, now=self._now(), jti=jti)

    def use_issuers(self, issuers: Iterable[Issuer]) -> None:
        """Forget the keys of issuers that are no longer active."""
        pairs = (credentials for issuer in issuers for credentials in (issuer.credentials, issuer.previous) if credentials)
        self._current = current = frozenset(credentials.proof for credentials in pairs)
        self._loaded = {key: loaded for key, loaded in self._loaded.items() if key in current}

    def _load(self, key: SigningKey) -> LoadedKey | None:
        if key in self._loaded:
            return self._loaded[key]
        found = load_key(key.pem.reveal(), key.algorithm)
        loaded = found if isinstance(found, LoadedKey) else None
        if self._current is None or key in self._current:  # an exchange in progress may outlive its issuer
            if len(self._loaded) >= _MAX_KEYS:
                self._loaded.clear()
            self._loaded[key] = loaded
        return loaded
