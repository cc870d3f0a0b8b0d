"""What a lying, broken or captured issuer answers with a 200, to a real process that has a profile with ``issuedToken``.

Nothing that fails the proof is handed out or kept, whatever it costs to read; honest answers beside it are; nothing of it is in the log.
"""

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import time
import urllib.parse
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import attrs
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.authz.audit.outputs import jwt as unsigned
from tests.e2e.collector import Got, Recorder, recording
from tests.e2e.own_issuer import ALGORITHM, KEY_ID, OwnIssuer, own_issuer
from tests.e2e.service import Service, serving

AUDIENCE: Final = "orders"
POLICY: Final = f"""
version: v1
entries:
  - match: {{host: api.example.com, pathPrefix: /orders}}
    action: exchange
    exchange: {{issuerRef: strict, scope: read:orders, audiences: [{AUDIENCE}]}}
  - match: {{host: api.example.com, pathPrefix: /opaque}}
    action: exchange
    exchange: {{issuerRef: passing, scope: read:orders, audiences: [{AUDIENCE}]}}
  - match: {{host: api.example.com, pathPrefix: /unsigned}}
    action: exchange
    exchange: {{issuerRef: unsigned, scope: read:orders, audiences: [{AUDIENCE}]}}
  - match: {{host: api.example.com, pathPrefix: /admin}}
    action: deny
"""
SECRET: Final = "zq-of-a-claim"
ES256: Final = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
Forge = Callable[[OwnIssuer, dict[str, Any]], str]
DENIED: Final = 403


def payload(claims: dict[str, Any], more: str = "") -> bytes:
    text = json.dumps(claims)
    return f"{text[:-1]},{more}{text[-1:]}".encode() if more else text.encode()


def signed(issuer: OwnIssuer, body: bytes, key: ec.EllipticCurvePrivateKey | None = None, /, **header: object) -> str:
    begun = encoded(json.dumps({"alg": ALGORITHM, "kid": KEY_ID, **header}).encode(), body)
    signing = key or issuer.key
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    return f"{begun}.{encoded(ES256.sign(begun.encode(), signing))}"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def with_claims(**changed: object) -> Forge:
    return lambda issuer, claims: signed(issuer, payload(claims | changed))


def at_times(**seconds: float) -> Forge:
    """Set claims to times that far from now."""
    return lambda issuer, claims: signed(issuer, payload(claims | {name: time.time() + value for name, value in seconds.items()}))


def with_text(more: str) -> Forge:
    """Add members as text, which Python would not write."""
    return lambda issuer, claims: signed(issuer, payload(claims, more))


def without(name: str) -> Forge:
    return lambda issuer, claims: signed(issuer, payload({of: value for of, value in claims.items() if of != name}))


def with_header(**header: object) -> Forge:
    return lambda issuer, claims: signed(issuer, payload(claims), None, **header)


def encoded(*parts: bytes) -> str:
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def unsigned_as(algorithm: str, signature: bytes) -> Forge:
    return lambda _issuer, claims: encoded(json.dumps({"alg": algorithm, "kid": KEY_ID}).encode(), payload(claims), signature)


def confused(issuer: OwnIssuer, claims: dict[str, Any]) -> str:
    """Sign by HMAC with the public key, which everybody knows."""
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    begun = encoded(json.dumps({"alg": "HS256", "kid": KEY_ID}).encode(), payload(claims))
    key = issuer.key.public_key().public_bytes(*form)
    return f"{begun}.{encoded(hmac.digest(key, begun.encode(), hashlib.sha256))}"


def by_another_key(issuer: OwnIssuer, claims: dict[str, Any]) -> str:
    return signed(issuer, payload(claims), new_key())


def that_brings_its_key(issuer: OwnIssuer, claims: dict[str, Any]) -> str:
    key = new_key()
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return signed(issuer, payload(claims), key, jwk=jwk, jku="https://attacker.example.com/keys")


def spoilt(issuer: OwnIssuer, claims: dict[str, Any]) -> str:
    head, body, _ = signed(issuer, payload(claims)).split(".")
    return f"{head}.{body}.{signed(issuer, payload(claims | {'jti': 'other'})).split('.')[2]}"


JWE: Final = encoded(b'{"alg":"dir","enc":"A256GCM"}', b"", b"iv", SECRET.encode() * 20, b"tag").replace("..", ".AA.")

# What is wrong, and the code of the answer.
LIES: Final[dict[str, tuple[Forge, str]]] = {
    "aud: another": (with_claims(aud="payments"), "TXE-3006"),
    "aud: one more": (with_claims(aud=[AUDIENCE, "payments"]), "TXE-3006"),
    "aud: nested": (with_claims(aud=[[AUDIENCE]]), "TXE-3008"),
    "aud: not only texts": (with_claims(aud=[AUDIENCE, 5, None]), "TXE-3008"),
    "aud: an object": (with_claims(aud={AUDIENCE: True}), "TXE-3008"),
    "aud: empty": (with_claims(aud=[]), "TXE-3006"),
    "aud: missing": (without("aud"), "TXE-3006"),
    "aud: twice": (with_text(f'"aud":"{AUDIENCE}"'), "TXE-3008"),
    "aud: twice, once escaped": (with_text(f'"\\u0061ud":"{AUDIENCE}"'), "TXE-3008"),
    "aud: thousands": (with_claims(aud=[AUDIENCE, *map(str, range(5000))]), "TXE-3008"),
    "sub: another": (with_claims(sub="somebody"), "TXE-3006"),
    "sub: a list": (with_claims(sub=["alice"]), "TXE-3008"),
    "iss: another": (with_claims(iss="https://attacker.example.com"), "TXE-3006"),
    "exp: NaN": (with_text('"exp2":NaN'), "TXE-3008"),
    "exp: infinite": (with_claims(exp=float("inf")), "TXE-3008"),
    "exp: text": (with_claims(exp="2000000000"), "TXE-3008"),
    "exp: far": (with_claims(exp=1e308), "TXE-3007"),
    "exp: beyond numbers": (with_claims(exp=10**400), "TXE-3008"),
    "exp: a few thousand digits": (with_text(f'"exp2":1{"0" * 6000}'), "TXE-3008"),
    "exp: true": (with_claims(exp=True), "TXE-3008"),
    "exp: missing": (without("exp"), "TXE-3007"),
    "scope: more": (with_claims(scope="read:orders admin"), "TXE-3007"),
    "scope: in scp alone": (with_claims(scp=["admin"]), "TXE-3007"),
    "scope: a tab": (with_claims(scope="read:orders\tadmin"), "TXE-3007"),
    "scope: no-break space": (with_claims(scope="read:orders\u00a0admin"), "TXE-3007"),
    "scope: a number": (with_claims(scope=5), "TXE-3008"),
    "a huge claim": (with_claims(name=SECRET * 5000), "TXE-3005"),
    "many claims": (with_claims(**{f"{SECRET}-{number}": number for number in range(1500)}), "TXE-3008"),
    "deep claims": (with_text('"a":' + "[" * 500 + "]" * 500), "TXE-3008"),
    "not JSON": (lambda issuer, _claims: signed(issuer, SECRET.encode()), "TXE-3008"),
    "a list": (lambda issuer, claims: signed(issuer, json.dumps([claims]).encode()), "TXE-3008"),
    "two dots": (lambda _issuer, _claims: f"{SECRET}.not.jwt", "TXE-3008"),
    "opaque": (lambda _issuer, _claims: SECRET, "TXE-3008"),
    "encrypted": (lambda _issuer, _claims: JWE, "TXE-3008"),
    "alg none": (unsigned_as("none", b""), "TXE-3008"),
    "alg none, with a signature": (unsigned_as("none", b"signature"), "TXE-3008"),
    "alg HS256 with the public key": (confused, "TXE-3008"),
    "alg NONE": (unsigned_as("NONE", b"signature"), "TXE-3008"),
    "alg missing": (lambda _issuer, claims: encoded(b'{"typ":"JWT"}', payload(claims), b"signature"), "TXE-3008"),
    "crit": (with_header(crit=["exp"]), "TXE-3008"),
    "b64": (with_header(b64=False), "TXE-3008"),
    "exp: long ago": (with_claims(exp=-1), "TXE-3008"),
    "exp: a second ago": (at_times(exp=-1), "TXE-3008"),
    "nbf: in a minute": (at_times(nbf=60), "TXE-3008"),
    "nbf: text": (with_claims(nbf="0"), "TXE-3008"),
    "cnf: of DPoP": (with_claims(cnf={"jkt": "a"}), "TXE-3006"),
    "cnf: of mTLS": (with_claims(cnf={"x5t#S256": "a"}), "TXE-3006"),
    "cnf: null": (with_claims(cnf=None), "TXE-3006"),
    "act: somebody": (with_claims(act={"sub": "mallory"}), "TXE-3006"),
    "act: somebody behind this client": (with_claims(act={"sub": "client", "act": {"sub": "mallory"}}), "TXE-3006"),
    "act: a list": (with_claims(act=["client"]), "TXE-3008"),
    "kid: another": (with_header(kid="another"), "TXE-3008"),
    "kid: a path": (with_header(kid="../../dev/null"), "TXE-3008"),
    "another key": (by_another_key, "TXE-3008"),
    "its own key": (that_brings_its_key, "TXE-3008"),
    "another token's signature": (spoilt, "TXE-3008"),
    "another kind of token": (with_header(typ="logout+jwt"), "TXE-3008"),
}
HONEST: Final[dict[str, Forge]] = {
    "as requested": with_claims(),
    "scope with odd spaces": with_claims(scope="  read:orders  "),
    "a large claim": with_claims(name="x" * 44_000),
    "a time with a fraction": at_times(exp=60.5, nbf=-0.5),
    "valid in a moment": at_times(nbf=20),
    "about to expire": at_times(exp=20),
    "act: this client": with_claims(act={"sub": "client"}),
}
# What even a profile without signature refuses.
UNSIGNED_LIES: Final = ("alg none", "alg none, with a signature", "alg NONE", "alg missing")


@attrs.define(eq=False)
class Asked:
    """A service whose issuer answers as ``forge`` says. Each request is by a user of its own, unless it has a ``name``."""

    service: Service
    tokens: Recorder
    forge: list[Forge] = attrs.Factory(lambda: [HONEST["as requested"]])
    _numbers: "itertools.count[int]" = attrs.Factory(itertools.count)

    def ask(self, forge: Forge, name: str = "", path: str = "/orders") -> str:
        """Return the code of a refusal, "" for a token."""
        self.forge[:] = [forge]
        subject = unsigned(sub="alice", jti=name or f"{next(self._numbers)}").reveal()
        answer = self.service.check(path, authorization=f"Bearer {subject}")
        body: str = answer.denied_response.body
        assert SECRET not in body
        return body.partition("(")[2].partition(")")[0]


@contextlib.contextmanager
def asking(folder: Path) -> Generator[Asked]:
    with own_issuer() as issuer:

        def answer(got: Got) -> tuple[int, str, bytes]:
            assert "subject_token" in urllib.parse.parse_qs(got.body.decode())
            claims = {"iss": issuer.url, "sub": "alice", "aud": AUDIENCE, "scope": "read:orders", "exp": int(time.time()) + 250}
            members = {
                "access_token": it.forge[0](issuer, claims),
                "token_type": "Bearer",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "expires_in": 250,
            }
            return 200, "application/json", json.dumps(members).encode()

        with recording(answer) as tokens:
            required = {"issuer": issuer.url, "subject": "same", "scope": "requested", "maxLifetime": "15m"}
            profile = {
                "tokenEndpoint": f"{tokens.url}/token",
                "clientID": "client",
                "clientSecret": "secret",
                "cache": {"maxTTL": "5m", "maxEntries": 1000},
            }
            signed_by = {**required, "jwksURI": issuer.keys_url, "signature": True}
            profiles = [
                {"name": "strict", **profile, "issuedToken": signed_by},
                {"name": "passing", **profile, "issuedToken": {**signed_by, "opaque": "pass"}},
                {"name": "unsigned", **profile, "issuedToken": required},
            ]
            (folder / "issuers.yaml").write_text(json.dumps({"issuers": profiles}))
            with serving(folder, POLICY, TOKEN_EXCHANGE_ALLOW_HTTP_TOKEN_ENDPOINT="true") as service:
                it = Asked(service, tokens)
                yield it
                assert service.stop() == 0
                assert SECRET not in service.lines()


def test_no_lie_is_handed_out_or_kept(tmp_path: Path) -> None:
    with asking(tmp_path) as it:
        found = {name: it.ask(forge) for name, (forge, _) in LIES.items()}
        assert found == {name: code for name, (_, code) in LIES.items()}
        assert {name: it.ask(forge) for name, forge in HONEST.items()} == dict.fromkeys(HONEST, "")
        assert it.service.check("/admin").denied_response.status.code == DENIED

        # Without the issuer's keys, TLS vouches for the signature, and claims count as they do with them.
        keys = ("alg HS256", "another key", "its own key", "another token's signature", "another kind of token", "kid: ")
        found = {name: it.ask(forge, path="/unsigned") for name, (forge, _) in LIES.items() if not name.startswith(keys)}
        assert found == {name: LIES[name][1] for name in found}
        assert set(UNSIGNED_LIES) <= found.keys()
        assert {name: it.ask(forge, path="/unsigned") for name, forge in HONEST.items()} == dict.fromkeys(HONEST, "")

        # What was refused is asked for again; what passed is kept.
        for forge, calls in ((LIES["aud: another"][0], 2), (LIES["exp: long ago"][0], 2), (HONEST["as requested"], 1)):
            before, name = len(it.tokens.requests), f"again-{calls}-{id(forge)}"
            assert len({it.ask(forge, name) for _ in range(2)}) == 1
            assert len(it.tokens.requests) - before == calls

        # Only what nobody takes for a JWT passes as opaque.
        opaque = ("opaque", "encrypted")
        found = {name: it.ask(LIES[name][0], path="/opaque") for name in (*opaque, "two dots", "alg none", "not JSON", "crit", "b64")}
        assert found == {name: "" if name in opaque else "TXE-3008" for name in found}
