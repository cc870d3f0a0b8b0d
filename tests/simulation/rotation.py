"""Credentials that change: files and Secrets are written anew, in pieces, wrongly, or vanish for a while, and issuers follow early, late or
in time. Credentials are secrets, assertions, keys that sign assertions, or certificates.
"""

import json
import ssl
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Final, final

import attrs

from exchanger.exchange.issuers.secrets import SecretName
from exchanger.exchange.issuers.state import ROTATION_GRACE_S
from exchanger.util.follow_file import SETTLE_S
from tests.simulation.cluster import PROMPT, READ_ONLY, Cluster
from tests.simulation.files import put
from tests.simulation.gateway import BREAKER_OPEN, Question
from tests.simulation.issuer import Client, Issued, SimulatedIssuer
from tests.simulation.kernel import Kernel
from tests.simulation.part import CANARY, Every, Part
from tests.simulation.tls import certificate, has_signed, private_key

# How a file is written, what else may happen to it, and how a profile changes. An issuer follows in time, unless it is said here.
WRITTEN: Final = ("in place", "in pieces", "symlink")
SPOILED: Final = ("broken", "deleted", "folder", "dangling", "empty")
CHANGED: Final = ("early", "late", "moved", "wrong")
FILE_FAULTS: Final = (*WRITTEN, *SPOILED, *CHANGED)

# Seconds between two looks at the profiles file, and at a file that it names. Two reads in a row must find the same, in a thread each.
_PROFILES_POLL: Final = 1.0
_FILE_POLL: Final = 0.7
_THREADS: Final = 0.2
# The same for a Secret that may be read, but not watched.
_SECRETS_POLL: Final = 12.5
# Seconds for which an issuer knows the client before a rotation and the one after it, where it knows both: more than two reads take, and
# than calls that have begun.
_OVERLAP: Final = 5.0
# Seconds that a request may be on its way to the issuer: it waits for a connection, and for the calls before it.
_ON_ITS_WAY: Final = 10.0

# The authority of clients that have certificates.
_CLIENTS: Final = "clients of issuers"

Clients = Mapping[str, Client]


@final
@attrs.frozen
class Content:
    """What a file says from a time on (seconds): the clients of issuers, ``None`` if nobody can read that.

    ``begins``: then, the service begins anew.
    """

    since: float
    clients: Clients | None
    begins: bool = False


@final
@attrs.frozen
class ActiveClient:
    """What the service may hold of one issuer: its client since a time (seconds), and the one before, which is still tried."""

    client: Client
    previous: Client | None = None
    since: float = 0.0

    def followed_by(self, client: Client, now: float) -> "ActiveClient":
        """Return what comes after the file said ``client``. Another path is another endpoint, which the previous client is none for."""
        if client == self.client:
            return self
        return ActiveClient(client, self.client if client.path == self.client.path else None, now)

    def at(self, begins: float, ends: float, prompt: float) -> Iterator[tuple[Client, ...]]:
        """Yield the clients that are tried between two times."""
        if self.previous is not None and begins <= self.since + ROTATION_GRACE_S + prompt + _PROFILES_POLL:
            yield self.client, self.previous
        if self.previous is None or ends >= self.since + ROTATION_GRACE_S:
            yield (self.client,)


@attrs.define(eq=False)
class FollowedFile:
    """A file that the service reads every ``poll`` seconds, and all that it has said.

    ``text`` returns what it should say, ``read`` which clients a text is about.
    """

    kernel: Kernel
    path: Path
    poll: float
    text: Callable[[], str]
    read: Callable[[str], Clients | None]
    contents: list[Content] = attrs.field(factory=list, init=False)
    _histories: dict[str, list[tuple[float, float, frozenset[ActiveClient]]]] = attrs.field(factory=dict, init=False)
    _versions: int = attrs.field(default=0, init=False)

    @property
    def prompt(self) -> float:
        """Seconds after which a content that stays is active at the latest, while nothing is wrong."""
        return 2 * self.poll + _THREADS

    def sure(self, since: float) -> float:
        """Return when a content that has stayed since then is active at the latest."""
        return since + self.prompt

    def write(self, how: str, chance: Random) -> None:
        """Write what it should say: by a rename, unless ``how`` says otherwise."""
        text = self.text()
        self._versions += 1
        if how == "in pieces":
            cut = chance.randrange(1, len(text))
            self._put(text[:cut], how)
            self.kernel.after(chance.choice([0.1, 1.0, 3.0]), self._finish, self._versions)
        else:
            self._put(text, how)

    def spoil(self, how: str, chance: Random) -> None:
        """Make it unusable for a while."""
        self._versions += 1
        self._put("issuers: [" + "{" * 20 if how == "broken" else "", how)
        self.kernel.after(chance.choice([0.1, 1.0, 3.0]), self._finish, self._versions)

    def _finish(self, version: int) -> None:
        if version == self._versions:
            self.mend()

    def mend(self) -> None:
        """Write what it should say, unless it says so."""
        self._versions += 1
        if not self.contents or self.contents[-1].clients != self.read(self.text()):
            self._put(self.text(), "")

    def _put(self, text: str, how: str) -> None:
        number, clients = len(self.contents), self.read(text)
        self._store(text, how)
        self.kernel.tell(self.path.name, "is written", how or "anew", number, "usable" if clients is not None else "unusable")
        self.contents.append(Content(self.kernel.now, clients))

    def _store(self, text: str, how: str) -> None:
        put(self.path, text.encode(), how, len(self.contents))

    def active(self, issuer: str, begins: float, ends: float) -> Iterator[tuple[Client, ...]]:
        """Yield the clients that the service may have tried for an issuer, the newest first, between two times."""
        seen: dict[tuple[Client, ...], None] = {}
        for since, until, states in reversed(self._history(issuer)):
            if until < begins:
                break
            if since <= ends:
                for state in states:
                    seen.update(dict.fromkeys(state.at(begins, ends, self.sure(state.since) - state.since)))
        yield from seen

    def _history(self, issuer: str) -> list[tuple[float, float, frozenset[ActiveClient]]]:
        """Return what may be active after each content, from when until when."""
        if len(self._histories.get(issuer, ())) != len(self.contents):
            known, history, is_first = frozenset[ActiveClient](), list[tuple[float, float, frozenset[ActiveClient]]](), True
            for content, until in self._spans():
                if content.begins:
                    known, is_first = frozenset(), True
                if content.clients is not None and (is_first or self._may_count(content)):
                    client, stays = content.clients[issuer], until >= self.sure(content.since)
                    after = frozenset(one.followed_by(client, content.since) for one in known)
                    after |= {ActiveClient(client)} if is_first else frozenset()  # a first reading counts at once
                    known = after if stays else known | after
                    is_first = is_first and not stays
                history.append((content.since, self.sure(until), known))
            self._histories[issuer] = history
        return self._histories[issuer]

    def restarted(self) -> None:
        """Nothing that the service has read counts any more."""
        self.contents.append(Content(self.kernel.now, self.contents[-1].clients, begins=True))

    def _spans(self) -> Iterator[tuple[Content, float]]:
        for one, following in pairwise(self.contents):
            yield one, following.since
        yield self.contents[-1], float("inf")

    def _may_count(self, content: Content) -> bool:
        """Return whether two reads may have found it: nothing else could be read for long enough."""
        others = (one.since for one in self.contents if one.since > content.since and one.clients not in (None, content.clients))
        return next(others, float("inf")) - content.since >= SETTLE_S - 0.01


@final
@attrs.define(eq=False)
class FollowedSecret(FollowedFile):
    """A Secret in place of the file. ``outages``: when changes in the cluster are not followed, from when until when, and why."""

    cluster: Cluster
    secret: SecretName
    outages: list[tuple[float, float, str]]

    @property
    def prompt(self) -> float:
        return PROMPT if self.secret.namespace != READ_ONLY else _SECRETS_POLL

    def sure(self, since: float) -> float:
        sure = since + self.prompt
        for begins, ends, _ in self.outages:
            if begins <= sure and ends > since:
                sure = max(sure, ends + self.prompt)
        return sure

    def write(self, _how: str, chance: Random) -> None:
        super().write("", chance)

    def _store(self, text: str, how: str) -> None:
        good = b64encode(text.encode()).decode()
        spoiled: dict[str, object] = {
            "deleted": None,
            "empty": {"secret": ""},
            "broken": {"secret": b64encode(b"\xff").decode()},
            "folder": "of another type",
            "dangling": {"another": good},
        }
        self.cluster.put_secret(self.secret, spoiled.get(how, {"secret": good}))

    def _may_count(self, _content: Content) -> bool:
        return True  # one look is enough


@final
@attrs.define(eq=False)
class Account:
    """A client as its issuer knows it: ``client`` is what the file should say, ``known`` when which one was known (seconds).

    ``file`` has it. ``kind``: what is in a file of its own, or in the Secret ``secret``; "" if it is in the profile. ``busy``: a rotation
    is not over yet. ``proofs`` are those of all its clients, by what their files say.
    """

    issuer: SimulatedIssuer
    client: Client
    kind: str
    secret: SecretName | None = None
    known: dict[Client, tuple[float, float]] = attrs.field(factory=dict)
    file: FollowedFile = attrs.field(init=False)
    busy: bool = False
    asked: list[tuple[float, Client]] = attrs.field(factory=list, init=False)
    proofs: dict[str, str] = attrs.field(factory=dict, init=False)

    def text(self) -> str:
        """Return what its own file should say."""
        proof = self.client.proof
        match self.kind:
            case "key":
                text = private_key(proof).decode()
            case "certificate":
                text = (certificate(proof, _CLIENTS) + private_key(proof)).decode()
            case _:
                text = proof
        self.proofs[text.strip()] = proof
        return text

    def read(self, text: str) -> Clients | None:
        """Return the client of a text that may be in its own file."""
        proof = self.proofs.get(text.strip())
        if proof is None and self.kind in {"assertion", "Secret"} and text.isascii() and " " not in text:
            proof = text  # half an assertion is one, too
        return {self.issuer.name: Client("/token", proof)} if proof else None

    def proves(self, assertion: str) -> str:
        """Return by whose key an assertion is signed, where clients sign them."""
        if self.kind != "key":
            return assertion
        said, _, signature = assertion.rpartition(".")
        signed = urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        return next((name for name in self.proofs.values() if has_signed(name, said.encode(), signed)), "nobody")

    def knows(self, client: Client) -> bool:
        """Answer for the issuer, which is asked now."""
        now = self.issuer.kernel.now
        self.asked.append((now, client))
        since, until = self.known.get(client, (now, now))
        return since <= now < until

    def learn(self, client: Client) -> None:
        """Know ``client`` from now on."""
        if client not in self.known:
            self.known[client] = self.issuer.kernel.now, float("inf")

    def forget(self, keep: Client) -> None:
        """Know nobody but ``keep``."""
        now = self.issuer.kernel.now
        self.known = {client: (since, until if client == keep else min(until, now)) for client, (since, until) in self.known.items()}

    def refuses(self, client: Client, begins: float, ends: float) -> bool:
        """Return whether the client was refused at some time between these two."""
        since, until = self.known.get(client, (ends, ends))
        return since > begins or until <= ends


@final
@attrs.define(eq=False)
class Rotation(Part):
    """Changes the service's clients: in the profiles file, in Secrets of the cluster, or as keys and certificates."""

    needs = "rotations"
    accounts: dict[str, Account] = attrs.field(factory=dict, init=False)
    _file: FollowedFile = attrs.field(init=False)
    _made: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._file = FollowedFile(self.kernel, self.world.path_of_profiles, _PROFILES_POLL, self.world.profiles, self._read_profiles)
        secrets, keys = self.kernel.random("Secrets"), self.kernel.random("keys")
        for issuer in self.world.issuers.values():
            account = Account(issuer, self._client("/token"), "assertion" if self.chance.random() < 0.4 else "")
            if self.plan.keys and keys.random() < 0.7:
                account.kind = "key" if issuer.context is None else keys.choice(["key", "certificate", "certificate"])
            if self.cluster is not None and secrets.random() < 0.7:
                account.secret = SecretName(secrets.choice(["watched", "watched", READ_ONLY]), issuer.name)
                account.kind = "Secret"
            if account.kind == "certificate" and issuer.context is not None:
                issuer.context.verify_mode = ssl.CERT_OPTIONAL
                issuer.context.load_verify_locations(cadata=certificate(_CLIENTS).decode())
            account.learn(account.client)
            account.file = self._own_file(account) if account.kind else self._file
            issuer.knows, issuer.proves = account.knows, account.proves
            self.accounts[issuer.name] = account

    @property
    def cluster(self) -> Cluster | None:
        place = self.world.authors.place
        return place if self.plan.secrets and isinstance(place, Cluster) else None

    def _client(self, path: str) -> Client:
        self._made += 1
        return Client(path, f"{CANARY}-{self._made}-{self.chance.getrandbits(64):016x}")

    def _own_file(self, account: Account) -> FollowedFile:
        path = self.world.path_of_profiles.with_name(f"{account.issuer.name}-proof")
        if account.secret is None or self.cluster is None:
            return FollowedFile(self.kernel, path, _FILE_POLL, account.text, account.read)
        return FollowedSecret(self.kernel, path, 0.0, account.text, account.read, self.cluster, account.secret, self.world.authors.outages)

    def _read_profiles(self, text: str) -> Clients | None:
        try:
            profiles = {one["name"]: one for one in json.loads(text)["issuers"]}
        except ValueError:
            return None
        return {
            name: Client(profile["tokenEndpoint"].rpartition("example.com")[2], profile.get("clientSecret", ""))
            for name, profile in profiles.items()
        }

    def profile(self, issuer: SimulatedIssuer) -> dict[str, Any]:
        account = self.accounts[issuer.name]
        scheme = "http" if issuer.context is None else "https"
        endpoint = {"tokenEndpoint": f"{scheme}://{issuer.host}{account.client.path}"}
        path = str(account.file.path)
        match account.kind:
            case "":
                return {**endpoint, "clientSecret": account.client.proof}
            case "Secret" if account.secret is not None:
                one = {"namespace": account.secret.namespace, "name": account.secret.name, "key": "secret"}
                proof: dict[str, Any] = {"clientSecretSecretRef": one}
            case "assertion":
                proof = {"clientAssertionFile": {"path": path}}
            case "key":
                proof = {"clientAssertion": {"algorithm": "EdDSA", "keyFile": path, "keyID": "key"}}
            case _:
                proof = {"clientCertificate": {"certFile": path, "keyFile": path}}
        return {**endpoint, "clientSecret": "", **proof}

    @property
    def files(self) -> list[FollowedFile]:
        return [self._file, *(account.file for account in self.accounts.values() if account.file is not self._file)]

    def environment(self) -> dict[str, str]:
        for file in self.files:
            file.mend()
        return {}

    def storm(self, every: Every) -> None:
        every(self.plan.rotations, self._rotate, "rotation of credentials")
        every(self.plan.rotations, self._spoil, "spoiled files")

    def restarted(self) -> None:
        for file in self.files:
            file.restarted()

    def heal(self) -> None:
        for account in self.accounts.values():
            account.client = client = self._client(account.client.path)
            account.learn(client)
            account.forget(client)
        for file in self.files:
            file.mend()

    def _some(self, kinds: Iterable[str], share: float) -> str:
        able = [kind for kind in kinds if kind in self.plan.file_faults]
        return self.chance.choice(able) if able and self.chance.random() < share else ""

    def _spoil(self) -> None:
        if how := self._some(SPOILED, 1.0):
            self.chance.choice(self.files).spoil(how, self.chance)

    def _rotate(self) -> None:
        """Change one client, if that of the last change is not still on its way."""
        account = self.chance.choice([*self.accounts.values()])
        if account.busy:
            return
        how, path = self._some(("early", "late", "wrong"), 0.7), account.client.path
        if account.file is self._file and self._some(("moved",), 0.3):
            path = {"/token": "/moved", "/moved": "/token"}[path]
        client = self._client(path)
        account.busy = True
        wait = self.chance.uniform(0.5, _OVERLAP)
        self.kernel.tell(account.issuer.name, "gets another client", how or "in time", path, wait)
        if how == "late":  # the issuer is first
            account.learn(client)
            account.forget(client)
            self.kernel.after(wait, self._write, account, client)
            self.kernel.after(wait, self._over, account, client)
            return
        if how not in {"early", "wrong"}:
            account.learn(client)
        self._write(account, client)
        if how == "wrong":
            self.kernel.after(wait, self._correct, account)
        else:
            self.kernel.after(wait if how == "early" else self._prompt(account) + _OVERLAP, self._over, account, client)

    def _write(self, account: Account, client: Client) -> None:
        if not self.quiet:
            account.client = client
            account.file.write(self._some(WRITTEN, 0.7), self.chance)

    def _correct(self, account: Account) -> None:
        client = self._client(account.client.path)
        account.learn(client)
        self._write(account, client)
        self.kernel.after(self._prompt(account) + _OVERLAP, self._over, account, client)

    def _prompt(self, account: Account) -> float:
        return max(self._file.prompt, account.file.prompt)

    def _over(self, account: Account, client: Client) -> None:
        if not self.quiet:
            account.learn(client)
            account.forget(client)
            account.busy = False

    # What it says of answers.

    def excuses(self, issuer: str, question: Question, code: str) -> bool:
        account = self.accounts[issuer]
        begins = question.since(code, self.world.quiet)
        for clients in account.file.active(issuer, begins, question.answered):
            refused = [account.refuses(client, begins, question.answered) for client in clients]
            slow = question.answered - question.asked > 0.9 * question.patience or code == BREAKER_OPEN
            if all(refused) or (refused[0] and slow):
                return True
        return False

    def accuses(self, issuer: str, question: Question, issued: Issued) -> Iterator[str]:
        held = self.accounts[issuer].file.active(issuer, question.asked, question.answered)
        if not any(issued.client in clients for clients in held):
            yield f"a token for a client of {issuer} that was not active"

    def complaints(self) -> Iterator[str]:
        for name, account in self.accounts.items():
            for at, client in account.asked:
                if not any(client in clients for clients in account.file.active(name, at - _ON_ITS_WAY, at)):
                    yield f"{name} was asked at {at:.6f} by a client that was not active: {client.path}"
