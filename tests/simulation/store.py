"""The store that replicas share: a small server of the Redis protocol, which does what broken and hostile ones do."""

import base64
import re
from typing import Final, final

import attrs

import exchanger.exchange.cache.shared_level  # noqa: F401 - not in each seed anew: the store's client takes 0.4 s to import
from tests.simulation.network import Conversation, Peer, Remote
from tests.simulation.part import CANARY, SECRET, Every, Part

HOST: Final = "store.example.com"
# What may happen to the commands that arrive together.
COMMAND_FAULTS: Final = ("late", "mute", "reset", "close", "cut", "garbage", "other type", "error", "large", "push", "surplus", "full")
# How a value may be answered that is not the one that was stored, or not for as long.
LIES: Final = ("another key's", "old", "damaged", "no limit", "long limit", "of another type", "lost")
TIME_LIES: Final = frozenset({"old", "long limit"})
CONNECT_FAULTS: Final = ("refused", "silent", "wrong password", "no greeting", "other server")
STORE_FAULTS: Final = (*COMMAND_FAULTS, *LIES, *CONNECT_FAULTS, "gone", "empty")
# The longest answer that is expected, with room: what a fault sends is as long at most, or it would take its time.
_LARGE: Final = 100_000

# The share of worlds in which its keys and its password change, and how often a second; and the seconds until every replica has the newest.
_ROTATE: Final = 0.5
_ROTATIONS: Final = 0.4
_FOLLOWED: Final = 3.0

_SECRET: Final = re.compile(SECRET)
Values = dict[bytes, tuple[bytes, float]]


@final
@attrs.define(eq=False)
class SimulatedStore(Part):
    """``values`` are those that are kept, each until a time; ``former`` are all that ever were.

    Nothing that is stored may have a secret in it.
    """

    needs = "store"
    values: Values = attrs.field(factory=dict, init=False)
    former: dict[bytes, list[bytes]] = attrs.field(factory=dict, init=False)
    _peers: list["_Commands"] = attrs.field(factory=list, init=False)
    _gone_until: float = attrs.field(default=0.0, init=False)
    _keys: list[int] = attrs.field(factory=lambda: [0], init=False)
    _passwords: list[tuple[float, str]] = attrs.field(factory=lambda: [(0.0, f"{CANARY}-password")], init=False)
    _busy: float = attrs.field(default=0.0, init=False)

    # What the world asks of a part.

    def environment(self) -> dict[str, str]:
        self.world.network.hosts[HOST] = self
        self._write_keys()
        self._write_password()
        return {
            "TOKEN_CACHE_URL": f"redis://{HOST}",
            "TOKEN_CACHE_KEY_FILE": str(self.world.folder / "store-keys"),
            "TOKEN_CACHE_USERNAME": "app",
            "TOKEN_CACHE_PASSWORD_FILE": str(self.world.folder / "store-password"),
        }

    def storm(self, every: Every) -> None:
        every(10 * self.plan.store_often, self._outage, "store")
        if self.kernel.stream("keys of the store").random() < _ROTATE:
            every(_ROTATIONS, self._rotate, "keys of the store")

    def heal(self) -> None:
        self._gone_until = 0.0
        for peer in self._peers:
            peer.mute = False

    # Its keys and its password.

    def _rotate(self) -> None:
        """Change the password, or go one step on from one key to the next. Sometimes the file is in pieces first."""
        if self.kernel.now < self._busy:
            return
        self._busy = self.kernel.now + _FOLLOWED
        chance = self.kernel.stream("keys of the store")
        if chance.random() < 0.3:
            self._passwords.append((self.kernel.now, f"{CANARY}-password-{len(self._passwords)}"))
            work, name = self._write_password, "store-password"
        else:
            newest = max(self._keys)
            self._keys = {1: [newest, newest + 1], 2: self._keys[::-1] if self._keys[0] < newest else [newest]}[len(self._keys)]
            work, name = self._write_keys, "store-keys"
        self.kernel.tell("the platform team", "changes", name, self._keys)
        if chance.random() < 0.3:
            (self.world.folder / name).write_bytes(chance.choice([b"", b"in pieces\nof what"]))
            self.kernel.after(chance.choice([0.1, 1.0]), work)
        else:
            work()

    def _write_keys(self) -> None:
        """Write the keys, the one that writes first."""
        keys = (base64.b64encode(bytes(range(number, number + 32))) for number in self._keys)
        (self.world.folder / "store-keys").write_bytes(b"".join(key + b"\n" for key in keys))

    def _write_password(self) -> None:
        (self.world.folder / "store-password").write_text(self._passwords[-1][1] + "\n")

    def knows(self, password: str) -> bool:
        """Tell whether a replica may still have this password, or has it already."""
        ends = [since for since, _ in self._passwords[1:]]
        spans = zip(self._passwords, [*ends, float("inf")], strict=True)
        return any(known == password and self.kernel.now < end + _FOLLOWED for (_, known), end in spans)

    # What happens to it.

    def strikes(self, kinds: tuple[str, ...]) -> str:
        """Return the fault of these that strikes now, or ""."""
        return self.kernel.strike(
            HOST, [kind for kind in kinds if kind in self.plan.store_faults and not self.quiet], self.plan.store_often
        )

    def _outage(self) -> None:
        """The server is gone for a while, or comes back empty."""
        able = [kind for kind in ("gone", "empty") if kind in self.plan.store_faults]
        if not able:
            return
        kind = self.chance.choice(able)
        self.kernel.tell(HOST, "is", kind)
        if kind == "empty":
            self.values.clear()
        else:
            self._gone_until = self.kernel.now + self.chance.choice([0.1, 1.0, 5.0])
        for peer in self._peers:
            peer.end(abort=True)

    def refuses(self) -> str:
        if self.kernel.now < self._gone_until:
            return "refused"
        kind = self.strikes(CONNECT_FAULTS)
        return kind if kind in {"refused", "silent"} else ""

    def connected(self, remote: Remote) -> Peer:
        open_now = self.connections()
        if open_now > self.plan.replicas:  # the new one is among them
            self.complain(f"{open_now} connections to the store at a time")
        peer = _Commands(remote, self)
        self._peers = [*(one for one in self._peers if not one.over), peer]
        return peer

    def connections(self) -> int:
        """How many connections the service has to it."""
        return sum(socket.name.startswith(HOST) for socket in self.world.network.sockets.values())

    def heard(self, words: list[bytes]) -> None:
        """Judge what leaves the service, but for the greeting, which has the password."""
        if any(map(_SECRET.search, words)):
            self.complain(f"a secret is sent to the store by {words[0].decode()}")

    # What it keeps.

    def get(self, key: bytes) -> tuple[bytes, int]:
        """Return the value of a key, and the milliseconds that it has left; as it is, or otherwise."""
        value, until = self.values.get(key, (b"", 0.0))
        left = round(1000 * (until - self.kernel.now))
        if left <= 0:
            value, left = b"", -2
        lie = self.strikes(LIES)
        chance = self.chance
        if lie == "another key's" and self.values:
            return chance.choice(list(self.values.values()))[0], 60_000
        if lie == "old" and key in self.former:
            return chance.choice(self.former[key]), 60_000
        if lie == "damaged" and value:
            at = chance.randrange(len(value))
            return value[:at] + bytes([value[at] ^ 1 << chance.randrange(8)]) + value[at + 1 :], left
        if lie == "no limit":
            return value, -1
        if lie == "long limit" and value:
            return value, 10 * left + 600_000
        if lie == "lost":
            return b"", -2
        return value, left

    def do(self, words: list[bytes], fault: str) -> bytes:
        """Return the reply to a command."""
        match words:
            case [b"GETRANGE", key, b"0", last]:
                if self.strikes(("of another type",)):
                    return b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"
                value = self.get(key)[0][: int(last) + 1]
                return b"$%d\r\n%b\r\n" % (len(value), value)
            case [b"PTTL", key]:
                return b":%d\r\n" % self.get(key)[1]
            case [b"SET", key, value, b"PX", milliseconds]:
                if fault == "full":
                    return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
                self.values[key] = value, self.kernel.now + int(milliseconds) / 1000
                self.former.setdefault(key, []).append(value)
                return b"+OK\r\n"
            case [b"UNLINK", key]:
                return b":%d\r\n" % (self.values.pop(key, None) is not None)
            case [b"EVAL", _, b"1", key, value]:  # removes what has this value
                there = self.values.get(key)
                return b":%d\r\n" % (there is not None and there[0] == value and self.values.pop(key) is there)
            case [b"CLIENT", b"SETINFO", _, _] | [b"CLIENT SETINFO", _, _]:
                return b"+OK\r\n"
        self.complain(f"the store is sent {words[0].decode()} with {len(words) - 1} arguments")
        return b"-ERR\r\n"


@final
@attrs.define(eq=False)
class _Commands(Conversation):
    """One connection."""

    store: SimulatedStore
    mute: bool = attrs.field(default=False, init=False)
    _held: bytes = attrs.field(default=b"", init=False)
    _greeted: bool = attrs.field(default=False, init=False)
    _last: float = attrs.field(default=0.0, init=False)

    def received(self, data: bytes) -> None:
        if self.over:
            return
        store, chance = self.store, self.store.chance
        self._held += data
        commands = []
        while (command := self._command()) is not None:
            commands.append(command)
        if not commands:
            return
        fault = store.strikes(COMMAND_FAULTS) if self._greeted else ""
        self.mute |= fault == "mute"
        said = b"".join(self._reply(words, fault) for words in commands)
        if fault == "garbage":
            said = chance.randbytes(chance.choice([1, 10, 1000]))
        elif fault == "other type":
            said = chance.choice([b"*1\r\n", b"%1\r\n", b"_\r\n", b",1.5\r\n", b":1\r\n", b"+OK\r\n", b"#t\r\n", b"(1\r\n"]) * len(commands)
        elif fault == "error":
            texts = [b"-ERR canary\r\n", b"-LOADING canary\r\n", b"-NOAUTH canary\r\n", b"-NOPERM canary\r\n"]
            said = chance.choice([*texts, b"-MOVED\r\n"]) * len(commands)
        elif fault == "large":
            said = b"$%d\r\n" % _LARGE + b"x" * _LARGE
        elif fault == "push":
            said = b">2\r\n+invalidate\r\n*0\r\n" + said
        elif fault == "surplus":
            said *= 2
        elif fault == "cut":
            said = said[: chance.randrange(len(said))]
        latency = chance.uniform(0.02, 0.5) if fault == "late" else chance.uniform(0.0001, 0.002)
        self._last = max(self._last, store.kernel.now + latency)
        store.kernel.at(self._last, self._say, said, fault)

    def _say(self, said: bytes, fault: str) -> None:
        if self.over or self.mute:
            return
        if fault not in {"reset", "close"}:
            self.remote.write(said)
        if fault in {"reset", "close", "cut"}:
            self.end(abort=fault == "reset")

    def _reply(self, words: list[bytes], fault: str) -> bytes:
        if words[0] == b"HELLO":
            self._greeted = True
            return self._greeting(words[1:])
        self.store.heard(words)
        return self.store.do(words, fault)

    def _greeting(self, said: list[bytes]) -> bytes:
        if said[:3] != [b"3", b"AUTH", b"app"] or not self.store.knows(said[3].decode()):
            self.store.complain("the store is greeted otherwise")
        kind = self.store.strikes(CONNECT_FAULTS)
        if kind == "wrong password":
            return b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
        if kind == "no greeting":
            self.mute = True
        if kind == "other server":
            return b"HTTP/1.1 400 Bad Request\r\n\r\n"
        version = self.store.chance.choice([b"6.2.14", b"7.2.4"])
        return b"%%3\r\n$7\r\nversion\r\n$%d\r\n%b\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n" % (len(version), version)

    def _command(self) -> list[bytes] | None:
        """Take one command off what has arrived; ``None`` if none is complete."""
        head, found, rest = self._held.partition(b"\r\n")
        if not found:
            return None
        words = []
        for _ in range(int(head[1:])):
            length, found, rest = rest.partition(b"\r\n")
            size = int(length[1:] or b"0")
            if not found or len(rest) < size + 2:
                return None
            words.append(rest[:size])
            rest = rest[size + 2 :]
        self._held = rest
        return words
