"""What a world is put together from, beside its gateways, issuers and policy."""

import ssl
from collections.abc import Callable, Collection, Iterator
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, Self

import attrs

from exchanger.net.network import Network
from tests.simulation.gateway import Question
from tests.simulation.issuer import Issued, SimulatedIssuer
from tests.simulation.kernel import Kernel

if TYPE_CHECKING:
    from tests.simulation.plan import Plan
    from tests.simulation.world import World

# What every secret of the world has in it, but for JWTs, which begin with a brace in Base64.
CANARY: Final = "canary"
# A secret, a JWT by its head (random ids may have the first three bytes), or a token of an issuer.
SECRET: Final = rb"%b|eyJ(?:hbGci|0eXAi|raWQi)|issuer-[0-9]+-[0-9]+-[0-9a-f]{12}" % CANARY.encode()


class Every(Protocol):
    """Does ``work`` ``rate`` times a second while the storm lasts, at random moments that follow from ``purpose``."""

    def __call__(self, rate: float, work: Callable[[], None], purpose: str) -> None: ...


@attrs.define(eq=False)
class Part:
    """One piece of the world, in a file of its own. A part overrides what concerns it.

    It is in each world whose plan has what it ``needs``, or in all if it needs nothing.

    It draws from ``chance``, a stream with the name of its file, so that a new part changes nothing of what a seed draws elsewhere.
    """

    world: "World"
    chance: Random = attrs.field(init=False)
    # What does not hold, each once.
    wrong: dict[str, None] = attrs.field(factory=dict, init=False)

    # What was said that an exchange fails from: when (seconds), by or for which issuer, about whose token, and the code.
    told: list[tuple[float, str, str, str]] = attrs.field(factory=list, init=False)

    needs: ClassVar[str] = ""
    # All parts there are, by their names. A class that gets slots is made twice.
    kinds: ClassVar[dict[str, type["Part"]]] = {}

    def __init_subclass__(cls) -> None:
        Part.kinds[cls.__name__] = cls

    @classmethod
    def of(cls, world: "World", /) -> "Self | None":
        """Return this part of a world that has its issuers, but no gateways yet; ``None`` if its plan has none."""
        return cls(world) if not cls.needs or getattr(world.plan, cls.needs) else None

    def __attrs_post_init__(self) -> None:
        self.chance = self.kernel.random(type(self).__module__.rpartition(".")[2])

    def complain(self, what: str) -> None:
        """Remember that something does not hold."""
        self.wrong.setdefault(what)

    def some(self, kinds: Collection[str], share: float) -> str:
        """Return one of these kinds in a share of the cases, but none in the quiet, and otherwise ""."""
        return self.chance.choice(sorted(kinds)) if kinds and not self.quiet and self.chance.random() < share else ""

    def was_told(self, issuer: str, question: Question, code: str, before: float) -> bool:
        """Return whether this was said while a question waited, or so many seconds ``before``, to one whose call it shares."""
        said = ([issuer, question.token, code] == what for at, *what in self.told if question.asked - before <= at <= question.answered)
        return any(said)

    @property
    def kernel(self) -> Kernel:
        return self.world.kernel

    @property
    def plan(self) -> "Plan":
        return self.world.plan

    @property
    def quiet(self) -> bool:
        """Whether the storm is over."""
        return self.kernel.now >= self.world.quiet

    def environment(self) -> dict[str, str]:
        """Return settings of the service, after it has written the files that they name."""
        return {}

    def profile(self, issuer: SimulatedIssuer) -> dict[str, Any]:
        """Return fields of an issuer's profile."""
        return {}

    def seams(self, _network: Network, /) -> dict[str, Any]:
        """Return arguments of the service, which runs on this network."""
        return {}

    def context(self) -> ssl.SSLContext | None:
        """Return with what gateways connect by TLS, if this part says."""
        return None

    def token(self, _user: int, /) -> tuple[str, str] | None:
        """Return the token that a user brings, and the name of its key, "" if it is not a JWT; ``None`` if this part gives none."""
        return None

    def storm(self, every: Every) -> None:
        """The storm begins: the service is SERVING."""

    def ended(self, _question: Question, /) -> None:
        """A question is answered, or its answer lost."""

    def restarted(self) -> None:
        """The service begins anew, in a process that knows nothing of the one before."""

    def heal(self) -> None:
        """The storm is over: end every fault."""

    def excuses(self, _issuer: str, _question: Question, _code: str, /) -> bool:
        """Return whether an exchange with this issuer may have failed, with this code, because of this part."""
        return False

    def accuses(self, _issuer: str, _question: Question, _issued: Issued, /) -> Iterator[str]:
        """Yield what is wrong with the token that answers a question."""
        yield from ()

    def complaints(self) -> Iterator[str]:
        """Yield what is wrong, when everything has ended."""
        yield from self.wrong
