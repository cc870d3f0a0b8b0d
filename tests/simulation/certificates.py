"""The service's own certificate, its key, and the authorities of its clients: files that change one by one, badly, or are gone for a while.

Somebody connects all the time and looks at what is shown, once as a client of an authority that may be trusted or not.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

import attrs
import ngh2

from tests.simulation.files import put
from tests.simulation.gateway import TLS_PORT
from tests.simulation.kernel import START, Kernel
from tests.simulation.network import Remote
from tests.simulation.part import Every, Part
from tests.simulation.tls import AUTHORITY, Secured, certificate, client_context, private_key

# How certificate and key get their places one after the other, or what else happens to a file until it is written again.
ORDERS: Final = ("certificate first", "key first")
DAMAGES: Final = ("another key", "in pieces", "empty", "deleted", "garbage")
CERTIFICATE_FAULTS: Final = (*ORDERS, *DAMAGES)
_FILES: Final = ("certificate", "key", "authorities")
# Seconds after which files that stay are active at the latest: a look each second, in a thread.
_PROMPT: Final = 1.1
# Connections a second that look at the certificate, and the seconds within which they know all.
_LOOKS: Final = 2.0
_LOOK_S: Final = 5.0
# The authority of the gateways, which is always trusted, and others.
_ALWAYS: Final = "gateways"
_OTHERS: Final = ("other clients", "former clients")


@final
@attrs.frozen
class Identity:
    """What the service shows, and whose clients it lets in."""

    name: str
    trusted: frozenset[str]


@final
@attrs.define(eq=False)
class Look:
    """One connection by a client of ``authority``: which certificate it saw, and whether it was let in."""

    kernel: Kernel
    authority: str
    began: float
    secured: Secured = attrs.field(init=False)
    ended_at: float = attrs.field(default=0.0, init=False)
    shown: bytes = attrs.field(default=b"", init=False)
    let_in: bool = attrs.field(default=False, init=False)

    def received(self, _data: bytes) -> None:
        self._end(let_in=True)

    def ended(self) -> None:
        self._end(let_in=False)

    def lost(self) -> None:
        self._end(let_in=False)

    def _end(self, *, let_in: bool) -> None:
        if not self.ended_at:
            self.ended_at, self.let_in, self.shown = self.kernel.now, let_in, self.secured.shown
            self.kernel.tell("a look at the certificate", "ends", self.authority, let_in)
            self.secured.close()

    def time_is_up(self) -> None:
        """It waits no more."""
        if not self.ended_at:
            self.secured.abort()


@final
@attrs.define(eq=False)
class Certificates(Part):
    """Changes the files, and looks at what is shown. ``looks``: when somebody connected, and what came of it."""

    needs = "certificates"
    looks: list[Look] = attrs.field(factory=list, init=False)
    # What the files say together from a time on (seconds); ``None``: nothing of use.
    _contents: list[tuple[float, Identity | None]] = attrs.field(factory=list, init=False)
    # Whose certificate and key the files have, and which authorities, in this order; "" if that is none.
    _held: dict[str, str | frozenset[str]] = attrs.field(factory=lambda: dict.fromkeys(_FILES, ""), init=False)
    # What all files are to say.
    _wanted: Identity = attrs.field(init=False)
    _versions: int = attrs.field(default=0, init=False)
    _contexts: dict[str, ssl.SSLContext] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._wanted = Identity("service 0", frozenset({_ALWAYS, _OTHERS[0]}))

    def context(self) -> ssl.SSLContext:
        return self._context(_ALWAYS)

    def _context(self, by: str) -> ssl.SSLContext:
        """Return what a client has whose certificate is by this authority."""
        if by not in self._contexts:
            path = self.world.folder / f"client of {by}.pem"
            path.write_bytes(certificate(f"client of {by}", by) + private_key(f"client of {by}"))
            self._contexts[by] = client_context(path)
        return self._contexts[by]

    # What the world asks of a part.

    def environment(self) -> dict[str, str]:
        self._write_all()
        names = ("GRPC_TLS_CERT_FILE", "GRPC_TLS_KEY_FILE", "GRPC_TLS_CLIENT_CA_FILE")
        return {name: str(self._path(file)) for name, file in zip(names, _FILES, strict=True)}

    def storm(self, every: Every) -> None:
        every(self.plan.certificates, self._rotate, "rotation of certificates")
        every(self.plan.certificates, self._damage, "damaged certificates")
        every(_LOOKS, self._look, "looks at certificates")

    def heal(self) -> None:
        self._write_all()
        for by in (_ALWAYS, *_OTHERS):
            self.kernel.after(2 * _PROMPT, self._look, by)

    # What happens to the files.

    def _path(self, file: str) -> Path:
        return self.world.folder / f"service-{file}.pem"

    def _whole(self, file: str) -> bytes:
        """Return what a file is to say."""
        match file:
            case "certificate":
                return certificate(self._wanted.name, AUTHORITY)
            case "key":
                return private_key(self._wanted.name)
            case _:
                return b"".join(map(certificate, sorted(self._wanted.trusted)))

    def _write(self, file: str) -> None:
        self._held[file] = self._wanted.trusted if file == "authorities" else self._wanted.name
        put(self._path(file), self._whole(file), self.chance.choice(["", "in place"]), len(self._contents))

    def _write_all(self) -> None:
        self._versions += 1
        for file in _FILES:
            self._write(file)
        self._remember()

    def _remember(self) -> None:
        named, key, trusted = self._held.values()
        now = Identity(named, trusted) if isinstance(named, str) and isinstance(trusted, frozenset) and named == key != "" else None
        self.kernel.tell("the service's certificate", "is", named or "none", key or "none", *sorted(trusted))
        self._contents.append((self.kernel.now, now))

    def _some(self, kinds: tuple[str, ...]) -> str:
        able = [kind for kind in kinds if kind in self.plan.certificate_faults]
        return self.chance.choice(able) if able else ""

    def _rotate(self) -> None:
        """Give the service another certificate, or its clients other authorities."""
        if self.chance.random() < 0.4:
            trusted = frozenset({_ALWAYS, *(other for other in _OTHERS if self.chance.random() < 0.5)})
            self._wanted = attrs.evolve(self._wanted, trusted=trusted)
            self._write("authorities")
        else:
            self._wanted = attrs.evolve(self._wanted, name=f"service {len(self._contents)}")
            self._versions += 1
            order = self._some(ORDERS) if self.chance.random() < 0.7 else ""
            first, second = ("key", "certificate") if order == "key first" else ("certificate", "key")
            self._write(first)
            if order:
                self.kernel.after(self.chance.choice([0.1, 1.0, 5.0]), self._finish, self._versions)
            else:
                self._write(second)
        self._remember()

    def _finish(self, version: int) -> None:
        if version == self._versions and not self.quiet:
            self._write_all()

    def _damage(self) -> None:
        """Let a file say something else for a while."""
        if not (how := self._some(DAMAGES)):
            return
        self._versions += 1
        file = "key" if how == "another key" else self.chance.choice(_FILES)
        whole = self._whole(file)
        if how == "another key":
            text = private_key("somebody else")
        elif how == "in pieces":  # without the end of the first block, so that none of it is whole
            text = whole[: self.chance.randrange(whole.index(b"-----END"))]
        else:
            text = b"" if how == "empty" else b"-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n"
        put(self._path(file), text, "deleted" if how == "deleted" else "in place", len(self._contents))
        self._held[file] = ""
        self._remember()
        self.kernel.after(self.chance.choice([0.1, 1.0, 5.0]), self._finish, self._versions)

    # Who looks.

    def _look(self, by: str = "") -> None:
        look = Look(self.kernel, by or self.chance.choice([_ALWAYS, *_OTHERS]), self.kernel.now)
        self.looks.append(look)
        remote: Remote = self.world.network.enter(TLS_PORT, None, f"look-{len(self.looks)}")
        look.secured = remote.peer = Secured(remote, self._context(look.authority), look, client=True)
        codec = ngh2.Connection(ngh2.Role.CLIENT)
        codec.initiate_connection()
        look.secured.write(codec.data_to_send())
        self.kernel.after(_LOOK_S, look.time_is_up)

    def _active(self, begins: float, ends: float) -> Iterator[Identity]:
        """Yield what may have been active between two times."""
        until = float("inf")
        for since, identity in reversed(self._contents):
            if since <= ends and identity is not None:
                yield identity
                if since + _PROMPT <= min(until, begins):
                    return
            until = since

    def complaints(self) -> Iterator[str]:
        shown = dict.fromkeys(one.name for _, one in self._contents if one is not None)
        names = {ssl.PEM_cert_to_DER_cert(certificate(name, AUTHORITY).decode()): name for name in shown}
        for look in self.looks:
            ended_at = look.ended_at or look.began + _LOOK_S
            if not self.world.serves(look.began, ended_at + 1.0):
                continue
            known = [*self._active(look.began, ended_at)]
            name, at = names.get(look.shown, ""), look.began - START
            if not any(name == one.name and look.let_in == (look.authority in one.trusted) for one in known):
                told = f"{name or 'no certificate'} to a client of {look.authority!r}, who was {'' if look.let_in else 'not '}let in"
                yield f"at {at:.6f}, the service showed {told}; active: {[(one.name, *sorted(one.trusted)) for one in known]}"
