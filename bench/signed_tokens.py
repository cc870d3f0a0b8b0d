"""What it costs to sign a client assertion, and to check a caller's token, in microseconds.

``python -m bench.signed_tokens``. Keys are made anew, so that the first lines take a while to appear.
"""

import functools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import get_default_algorithms

from exchanger.formats.jwt.claims import SubjectPolicy
from exchanger.formats.jwt.keys import KeySet, read_key_set
from exchanger.formats.jwt.refusal import TokenRefused
from exchanger.formats.jwt.signing import LoadedKey, load_key, sign_assertion
from exchanger.formats.jwt.verify import VerifiedClaims, read_token, verify
from exchanger.model.issuer import SigningAlgorithm

NOW: Final = 1_700_000_000.0
POLICY: Final = SubjectPolicy(("https://issuer.example.com",), ("gateway",), has_actor=False)
CLAIMS: Final = {"iss": POLICY.issuers[0], "aud": "gateway", "exp": NOW + 300, "sub": "alice", "scope": "read write", "jti": "x" * 36}
ROUNDS: Final = 7
CALLS: Final = 100


def measured(work: Callable[[], object]) -> str:
    """Return the least and the median time of a call."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(CALLS):
            work()
        times.append((time.perf_counter() - started) / CALLS * 1e6)
    return f"{min(times):8.1f} {statistics.median(times):8.1f}"


def loaded(key: PrivateKeyTypes, algorithm: SigningAlgorithm) -> LoadedKey:
    """Return ``key`` as the service loads it."""
    found = load_key(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), algorithm)
    if not isinstance(found, LoadedKey):
        raise TypeError(found.reason)
    return found


def key_set(key: Any, algorithm: str) -> KeySet:
    """Return a set with the public part of ``key``."""
    found = read_key_set({"keys": [json.loads(get_default_algorithms()[algorithm].to_jwk(key.public_key())) | {"kid": "k"}]})
    if not isinstance(found, KeySet):
        raise TypeError(found.reason)
    return found


def checked(token: str, keys: KeySet) -> VerifiedClaims:
    """Read ``token``, and check it."""
    read = read_token(token)
    found = read if isinstance(read, TokenRefused) else verify(read, keys, POLICY, NOW)
    if not isinstance(found, VerifiedClaims):
        raise TypeError(found)
    return found


def main() -> None:
    """Print a line for each kind of key: the least and the median time."""
    rsa2048, rsa4096 = (rsa.generate_private_key(65537, bits) for bits in (2048, 4096))
    p256, ed = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    signing: list[tuple[str, PrivateKeyTypes, SigningAlgorithm]] = [
        ("RS256, 2048 bits", rsa2048, SigningAlgorithm.RS256),
        ("RS256, 4096 bits", rsa4096, SigningAlgorithm.RS256),
        ("PS256, 2048 bits", rsa2048, SigningAlgorithm.PS256),
        ("ES256", p256, SigningAlgorithm.ES256),
        ("EdDSA", ed, SigningAlgorithm.EDDSA),
    ]
    for name, key, algorithm in signing:
        mine = loaded(key, algorithm)
        sign = functools.partial(sign_assertion, client_id="exchanger", audience="https://issuer.example.com", now=NOW, jti="x" * 22)
        print(f"sign   {name:18} {measured(functools.partial(sign, mine, algorithm, 'k'))}")
    judging: list[tuple[str, Any, str]] = [
        ("RS256, 2048 bits", rsa2048, "RS256"),
        ("RS256, 4096 bits", rsa4096, "RS256"),
        ("ES256", p256, "ES256"),
        ("EdDSA", ed, "EdDSA"),
    ]
    for name, key, algorithm_name in judging:
        token, keys = jwt.encode(CLAIMS, key, algorithm_name, headers={"kid": "k"}), key_set(key, algorithm_name)
        print(f"check  {name:18} {measured(functools.partial(checked, token, keys))}")


if __name__ == "__main__":
    main()
