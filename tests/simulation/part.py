"""What a world is put together from, beside its gateways, issuers and policy."""

from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from tests.simulation.gateway import Question
from tests.simulation.issuer import Issued, SimulatedIssuer

# What every secret of the world has in it, but for JWTs, which begin with a brace in Base64.
CANARY: Final = "canary"


class Every(Protocol):
    """Does ``work`` ``rate`` times a second while the storm lasts, at random moments that follow from ``purpose``."""

    def __call__(self, rate: float, work: Callable[[], None], purpose: str) -> None: ...


class Part:
    """One piece of the world, in a file of its own. A part overrides what concerns it.

    It draws from ``Kernel.random`` with a purpose of its own, so that a new part changes nothing of what a seed draws elsewhere.
    """

    def environment(self) -> dict[str, str]:
        """Return settings of the service, after it has written the files that they name."""
        return {}

    def profile(self, issuer: SimulatedIssuer) -> dict[str, Any]:
        """Return fields of an issuer's profile."""
        return {}

    def storm(self, every: Every) -> None:
        """The storm begins: the service is SERVING."""

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
        yield from ()
