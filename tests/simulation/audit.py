"""The disk of the audit log: full, slow or away for a while. What is in the log is held to what gateways got."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, final

import attrs
import trio

from exchanger.authz.audit.log import PATIENCE_S, RETRY_S, ROW_S, AuditLog
from exchanger.net.network import Network
from tests.simulation.gateway import Question
from tests.simulation.part import CANARY, Every, Part

# ``full``: so many bytes are taken and no more. ``slow``: writes take so long. ``away``: the file cannot be opened.
SLOW: Final = "slow"
DISK_FAULTS: Final = ("full", SLOW, "away")
_KEY: Final = bytes(range(32))
# A second; and the seconds for which a fault lasts.
_OFTEN: Final = 0.15
_LASTS: Final = (0.1, 4.0)
# Seconds after the end of a fault until the service has found out: its attempts, and a write that was on its way.
_FOUND_OUT: Final = RETRY_S + ROW_S + 0.2
# The part of a gateway's time after which nothing is left to write a line.
_LATE: Final = 0.9
_UNWRITTEN: Final = "TXE-5001"


@final
@attrs.define(eq=False)
class _File:
    """The file as one life of the service has it open."""

    disk: "AuditDisk"
    problem: str = ""

    def write(self, data: bytes, /, *, patience: float, at_once: int) -> int:
        return self.disk.write(self, data)


@final
@attrs.define(eq=False)
class AuditDisk(Part):
    """Takes the audit log.

    ``troubles``: when a fault began and ended (seconds). ``lines``: when each line was written, and what it says.
    """

    needs = "audited"
    troubles: list[tuple[float, float]] = attrs.field(factory=list, init=False)
    lines: list[tuple[float, dict[str, Any]]] = attrs.field(factory=list, init=False)
    _fault: str = attrs.field(default="", init=False)
    _room: int = attrs.field(default=0, init=False)
    _torn: bool = attrs.field(default=False, init=False)

    def environment(self) -> dict[str, str]:
        keys = self.world.folder / "audit-keys"
        keys.write_bytes(b64encode(_KEY))
        return {"AUDIT_LOG": "/audit/log", "AUDIT_KEY_FILE": str(keys), "AUDIT_REQUIRED": str(self.plan.audit_required).lower()}

    def storm(self, every: Every) -> None:
        if self.plan.disk_faults:
            every(_OFTEN, self._strike, "disk")

    def heal(self) -> None:
        self._mend()

    def _strike(self) -> None:
        if self._fault:
            return
        self._fault, lasts = self.chance.choice(sorted(self.plan.disk_faults)), self.chance.uniform(*_LASTS)
        self._room = self.chance.choice([0, 200, 3000])
        self.kernel.tell("audit disk", "is", self._fault, f"for {lasts:.6f}")
        self.troubles.append((self.kernel.now, float("inf")))
        self.kernel.after(lasts, self._mend)

    def _mend(self) -> None:
        if self._fault:
            self._fault = ""
            self.troubles[-1] = (self.troubles[-1][0], self.kernel.now)
            self.kernel.tell("audit disk", "is well")

    def seams(self, network: Network, /) -> dict[str, Any]:
        return {"network": attrs.evolve(network, run_sync=self.run_sync), "audit_file": lambda _path: _File(self)}

    async def run_sync(self, work: Callable[..., Any], *args: object, **options: Any) -> Any:
        """Do ``work`` in a thread, which takes its time where the disk is slow."""
        if self._fault == SLOW and isinstance(getattr(work, "__self__", None), AuditLog):
            await trio.sleep(self.chance.uniform(0.02, 2.0))
        return await self.kernel.run_sync(work, *args, **options)

    def write(self, file: _File, data: bytes) -> int:
        """Take as much as there is room for."""
        file.problem = "is away" if self._fault == "away" else ""
        if file.problem or not data:
            return data.count(b"\n")
        count = data.count(b"\n")
        whole = b"\n" + data if self._torn else data
        taken = whole[: self._room] if self._fault == "full" else whole
        if self._fault == "full":
            self._room -= len(taken)
        if taken:
            self._torn = not taken.endswith(b"\n")
        lost = min(count, whole.count(b"\n", len(taken)))
        file.problem = "is full" if lost else ""
        self.kernel.tell("audit disk", "takes", count - lost, "of", count)
        for line in data.split(b"\n")[: count - lost]:
            self._line(line)
        return lost

    def _line(self, line: bytes) -> None:
        self.kernel.tell("audit", line.decode())
        fields = json.loads(line)
        self.lines.append((self.kernel.now, fields))
        if CANARY.encode() in line or b"eyJ" in line or b"user-" in line:
            self.complain(f"a secret or a user is in the audit log: {line.decode()}")
        if len(line.splitlines()) != 1 or fields["event"] not in {"exchange.granted", "exchange.denied"}:
            self.complain(f"not a line of the audit log: {line.decode()}")

    def excuses(self, _issuer: str, question: Question, code: str, /) -> bool:
        """A fault, or what the service still takes for one, may refuse an exchange, or hold it up, where each has to have its line.

        So may a token that comes when there is no time left to write a line.
        """
        late = question.answered - question.asked > _LATE * question.patience
        return (self.plan.audit_required and code == _UNWRITTEN and late) or (
            self.plan.audit_required
            and code in {"", _UNWRITTEN}
            and any(begins <= question.answered and question.asked <= ends + _FOUND_OUT + PATIENCE_S for begins, ends in self.troubles)
        )

    def complaints(self) -> Iterator[str]:
        yield from super().complaints()
        lost = sum(life.supervisor.audit.lost for life in self.world.lives if life.supervisor.audit is not None)
        told, counted = Counter[str](), self.world.decisions
        for _, line in self.lines:
            told[line["code"] or ""] += line.get("count", 1)
        # Each exchange that is counted has its line, or is lost, where it may be; one that was refused at last may have a line as well.
        granted, refused = told.pop("", 0), told.total()
        missing = counted["deny_exchange_error"] - refused
        if self.plan.audit_required:
            if granted < counted["allow_exchange"]:
                yield f"{counted['allow_exchange']} exchanges, {granted} lines of the audit log"
        else:
            missing += counted["allow_exchange"] - granted
        if missing != lost:
            yield f"{missing} lines of the audit log are missing, {lost} are counted as lost"
        refusals = Counter(one.reply.code for one in self.world.answered if one.reply is not None and one.reply.code)
        if (refusals - told).total() > lost:
            yield from (f"{count} refusals with {code} are not in the audit log" for code, count in (refusals - told).items())
        yield from self._tokens_without_a_line(lost)

    def _tokens_without_a_line(self, lost: int) -> Iterator[str]:
        """Where it is required, the n-th token for a host must not be answered before the n-th line about that host is written."""
        allowed = [one for one in self.world.answered if one.reply is not None and one.reply.tokens]
        for host in sorted({one.host for one in allowed}):
            written = sorted(at for at, line in self.lines if line["event"] == "exchange.granted" and line["host"] == host)
            heard = sorted(one.answered for one in allowed if one.host == host)
            if len(heard) > len(written) + lost * (not self.plan.audit_required):
                yield f"{len(heard)} tokens for {host}, and {len(written)} lines of the audit log"
            elif self.plan.audit_required and any(got < at for got, at in zip(heard, written, strict=False)):
                yield f"a token for {host} was handed out before its line was written"
