"""Who issues the callers' tokens: JWTs by keys that come and go, and the set of those keys."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self, final

import attrs
import h11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchanger.formats.jwt.claims import LEEWAY
from tests.simulation.gateway import Question
from tests.simulation.issuer import Issued, SimulatedIssuer
from tests.simulation.kernel import EPOCH
from tests.simulation.network import HttpConversation, Remote
from tests.simulation.part import Every, Part

if TYPE_CHECKING:
    from tests.simulation.world import World

HOST: Final = "login.example.com"
AUDIENCE: Final = "gateway"
# Seconds for which the beginning and the end of every token are away, so that none is too old or too young, whatever the wall clock shows.
_LIFETIME: Final = 10_000_000
# Seconds for which tokens are valid that end soon, beside the leeway of the service; and the share of users who notice it.
_LASTS: Final = (10.0, 100.0)
_RENEWED: Final = 0.7
# Seconds until the service has a question.
_ON_ITS_WAY: Final = 0.5
# Seconds from a fetch of keys that failed until the next one has brought them.
_FETCHED_AGAIN: Final = 0.2
# Seconds from a new key until the one before it is removed.
_OVERLAP: Final = 400.0
# A second: a new key every ten minutes.
_ROTATIONS: Final = 1 / 600


@final
@attrs.frozen
class Key:
    """A signing key and its name, which is its ``kid``."""

    name: str
    secret: Ed25519PrivateKey = attrs.field(repr=False, eq=False)

    def published(self) -> dict[str, str]:
        """Return it as a JWK (RFC 8037 section 2)."""
        public = self.secret.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.name, "use": "sig", "x": _encoded(public)}


@final
@attrs.define(eq=False)
class IdentityProvider(Part):
    """Signs a token for each user anew with each key.

    ``keys`` are those in the set. ``fetches``: for each profile, when a set left (seconds) and the names in it; ``troubles``: when none
    did.
    """

    needs = "verified"
    keys: list[Key] = attrs.field(factory=list, init=False)
    fetches: dict[str, list[tuple[float, frozenset[str]]]] = attrs.field(factory=dict, init=False)
    troubles: list[float] = attrs.field(factory=list, init=False)
    _tokens: dict[tuple[int, str], str] = attrs.field(factory=dict, init=False)
    # The ``exp`` of each token.
    _ends: dict[str, float] = attrs.field(factory=dict, init=False)
    _all: list[Key] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.rotate()

    @classmethod
    def of(cls, world: "World", /) -> Self | None:
        return world.identity if world.plan.verified else None

    def profile(self, issuer: SimulatedIssuer) -> dict[str, Any]:
        verified = {"issuers": [f"http://{HOST}"], "audiences": [AUDIENCE], "jwksURI": f"http://{HOST}/keys/{issuer.name}"}
        return {"subjectToken": verified}

    def storm(self, every: Every) -> None:
        every(_ROTATIONS, self.rotate, "rotations")

    def rotate(self) -> None:
        """Sign with a new key from now on, and remove the one before it later."""
        for old in self.keys:
            self.kernel.after(_OVERLAP, self._remove, old)
        key = Key(f"key-{len(self._all) + 1}", Ed25519PrivateKey.from_private_bytes(self.chance.randbytes(32)))
        self.keys.append(key)
        self._all.append(key)
        self.kernel.tell(HOST, "gets", key.name)

    def _remove(self, key: Key) -> None:
        if key in self.keys:
            self.keys.remove(key)
            self.kernel.tell(HOST, "loses", key.name)

    def token(self, user: int) -> tuple[str, str]:
        """Return a user's token, and the name of its key: nearly always the newest, sometimes one on its way out, or gone."""
        lives = self.kernel.stream("ends of users' tokens")
        key = self._all[-1] if self.chance.random() < 0.8 else self.chance.choice(self._all[-3:])
        end = self._ends.get(self._tokens.get((user, key.name), ""), 0.0)
        if end <= self.kernel.wall() and (not end or self.quiet or lives.random() < _RENEWED):
            end = round(self.kernel.wall() + lives.uniform(*_LASTS)) if self.plan.short_lived and not self.quiet else EPOCH + _LIFETIME
            claims = {"iss": f"http://{HOST}", "aud": AUDIENCE, "sub": f"user-{user}", "iat": EPOCH - _LIFETIME, "exp": end}
            said = ".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "EdDSA", "kid": key.name, "typ": "JWT"}, claims))
            self._tokens[user, key.name] = token = f"{said}.{_encoded(key.secret.sign(said.encode()))}"
            self._ends[token] = end
        return self._tokens[user, key.name], key.name

    def end_of(self, token: str) -> float:
        """Return when a caller's token ends by the wall clock, infinite if this part has not signed it."""
        return self._ends.get(token, float("inf"))

    def has_ended(self, question: Question) -> bool:
        """Return whether the token of ``question`` may have ended by the wall clock."""
        return self._ends[question.token] + LEEWAY <= max(question.walls)

    def excuses(self, _issuer: str, question: Question, code: str, /) -> bool:
        """A fetch of keys that fails, and is made again, may leave no time for an exchange."""
        return code in {"", "TXE-1003"} and any(question.asked - _FETCHED_AGAIN < at <= question.answered for at in self.troubles)

    def accuses(self, _issuer: str, question: Question, _issued: Issued, /) -> Iterator[str]:
        if min(question.walls) > self._ends[question.token] + LEEWAY + _ON_ITS_WAY:
            yield "a token for one that has ended"

    def known_to_be_gone(self, profile: str, name: str, when: float) -> bool:
        """Return whether the last set that left for ``profile`` before ``when`` had a key of this name no more."""
        before = [names for at, names in self.fetches.get(profile, ()) if at < when]
        return bool(before) and name not in before[-1] and any(name in names for names in before)

    def refuses(self) -> str:
        return ""

    def connected(self, remote: Remote) -> "_Conversation":
        return _Conversation(remote, self)


@final
@attrs.define(eq=False)
class _Conversation(HttpConversation):
    provider: IdentityProvider

    def asked(self) -> None:
        self.provider.kernel.after(self.provider.chance.uniform(0.001, 0.05), self._answer, self.target.rpartition("/")[2])

    def _answer(self, profile: str) -> None:
        provider = self.provider
        if self.over:
            return
        if not provider.quiet and provider.chance.random() < provider.plan.often:
            provider.troubles.append(provider.kernel.now)
            self.end(abort=True)
            return
        body = json.dumps({"keys": [key.published() for key in provider.keys]}).encode()
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Cache-Control", "max-age=300")]
        self.remote.write(self.response(200, fields, body))
        names = frozenset(key.name for key in provider.keys)
        provider.fetches.setdefault(profile, []).append((provider.kernel.now, names))
        provider.kernel.tell(HOST, "publishes", profile, sorted(names))
        if self.codec.our_state is h11.DONE:
            self.codec.start_next_cycle()


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
