"""The supported signature algorithms: those of a key pair. MACs and "none" are not among them (RFC 8725 section 3.1).

joserfc's algorithms are used without its tokens, which have other limits: 512 bytes of header, and no parameter that it does not know.

Sources: RFC 7518 section 3.1 (https://www.rfc-editor.org/rfc/rfc7518#section-3.1), RFC 8037 section 3.1, RFC 9864 section 2.2,
RFC 8725 (https://www.rfc-editor.org/rfc/rfc8725).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from joserfc.jwa import JWS_ALGORITHMS, JWSAlgModel

RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# By a key's ``crv``.
EC: Final[Mapping[str, str]] = MappingProxyType({"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"})
# Two names for one algorithm, since a key here is on that curve.
ED25519: Final = ("EdDSA", "Ed25519")
NAMES: Final = frozenset({*RSA, *EC.values(), *ED25519})

_MODELS: Final = {algorithm.name: algorithm for algorithm in JWS_ALGORITHMS if algorithm.name in NAMES}


def algorithm(name: str) -> JWSAlgModel:
    """Return the algorithm, which signs and verifies bytes. ``name`` is one of ``NAMES``."""
    return _MODELS[name]
