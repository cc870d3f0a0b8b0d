"""An issuer's keys, and tokens that are signed with them, by other code than that which verifies them."""

import base64
import json
from collections.abc import Mapping
from typing import Final

import attrs
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

ISSUER: Final = "http://127.0.0.1:8080/realms/exchanger-demo"
NOW: Final = 1_700_000_000
ALGORITHMS: Final = ("RS256", "PS256", "ES256")


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def number(value: int) -> str:
    return text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def claims(**changed: object) -> dict[str, object]:
    return {"iss": ISSUER, "sub": "alice", "aud": "orders-api", "azp": "exchanger", "exp": NOW + 300} | changed


@attrs.frozen
class Signer:
    """One RSA key and one on P-256."""

    rsa_key: rsa.RSAPrivateKey = attrs.field(factory=lambda: rsa.generate_private_key(65_537, 2048))
    ec_key: ec.EllipticCurvePrivateKey = attrs.field(factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def sign(self, claims: Mapping[str, object], alg: str = "RS256", /, **header: object) -> str:
        return self.sign_bytes(json.dumps(claims).encode(), alg, **header)

    def sign_bytes(self, claims: bytes, alg: str = "RS256", /, **header: object) -> str:
        """A token with these bytes for claims; a header's ``None`` leaves the field out."""
        fields = {"alg": alg, "typ": "JWT", "kid": "ec" if alg == "ES256" else "rsa"} | header
        head = f"{text(json.dumps({name: value for name, value in fields.items() if value is not None}).encode())}.{text(claims)}"
        return f"{head}.{text(self.signature(head.encode(), alg))}"

    def signature(self, signed: bytes, alg: str) -> bytes:
        if alg == "ES256":
            r, s = decode_dss_signature(self.ec_key.sign(signed, ec.ECDSA(SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.rsa_key.sign(signed, padding.PKCS1v15() if alg == "RS256" else padding.PSS(padding.MGF1(SHA256()), 32), SHA256())

    def jwks(self, **changed: object) -> bytes:
        """The public keys as a JWK Set; ``changed`` are members of both."""
        return json.dumps({"keys": [self.rsa_jwk() | changed, self.ec_jwk() | changed]}).encode()

    def rsa_jwk(self) -> dict[str, object]:
        public = self.rsa_key.public_key().public_numbers()
        return {"kty": "RSA", "kid": "rsa", "use": "sig", "n": number(public.n), "e": number(public.e)}

    def ec_jwk(self) -> dict[str, object]:
        public = self.ec_key.public_key().public_numbers()
        x, y = (text(part.to_bytes(32, "big")) for part in (public.x, public.y))
        return {"kty": "EC", "kid": "ec", "use": "sig", "crv": "P-256", "x": x, "y": y}


SIGNER: Final = Signer()
STRANGER: Final = Signer()
