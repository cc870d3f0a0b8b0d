"""The name service, by which the hosts of token endpoints are found."""

import socket
from typing import Final, final

import attrs

from tests.simulation.issuer import SimulatedIssuer
from tests.simulation.network import Peer, Remote
from tests.simulation.part import Every, Part

# Seconds for which a name is unknown.
_UNKNOWN: Final = (0.2, 3.0)


@final
@attrs.frozen
class _Nowhere:
    """A host without an address."""

    def refuses(self) -> str:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def connected(self, _remote: Remote) -> Peer:
        raise NotImplementedError


@final
@attrs.define(eq=False)
class NameService(Part):
    """Forgets the name of an issuer ``unnamed`` times a second, for a while."""

    needs = "unnamed"

    def storm(self, every: Every) -> None:
        every(self.plan.unnamed, self._forget, "unnamed")

    def heal(self) -> None:
        for issuer in self.world.issuers.values():
            self._remember(issuer)

    def _forget(self) -> None:
        issuer, seconds = self.chance.choice([*self.world.issuers.values()]), self.chance.uniform(*_UNKNOWN)
        self.kernel.tell("name service", "forgets", issuer.host, seconds)
        issuer.trouble("unnamed", seconds)
        self.world.network.hosts[issuer.host] = _Nowhere()
        self.kernel.after(seconds, self._remember, issuer)

    def _remember(self, issuer: SimulatedIssuer) -> None:
        self.world.network.hosts[issuer.host] = issuer
