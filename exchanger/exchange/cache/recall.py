"""Which cached tokens were refused by upstreams, and whether a token that is refused now goes or stays.

A refused token goes once. If the one in its place is refused, too, the token is not the reason, as on a path that always answers 401: it
stays, and nobody asks for a while. Then it begins anew, since the issuer may have learnt better meanwhile. So refusals cost one exchange a
minute, for each caller and target.

Must not know: clocks (times are arguments), where tokens are kept, or what a response looks like.
"""

from collections import OrderedDict
from typing import Final, final

import attrs

# Seconds for which responses are not asked for after the new token was refused, too, and in which only one token goes.
PAUSE_S: Final = 60.0
# Names that are remembered, the latest ones. One that is forgotten costs an exchange.
MAX_NAMES: Final = 10_000


@final
@attrs.define(eq=False)
class _Name:
    """A name whose token went. ``until``: when it is forgotten; ``quiet``: nobody asks until then; ``since``: when the token went."""

    since: float
    until: float
    quiet: bool = False


@final
@attrs.define(eq=False)
class RefusedTokens:
    """Remembers the names of tokens that were refused. Times are in seconds of a clock that never jumps."""

    _names: OrderedDict[bytes, _Name] = attrs.field(factory=OrderedDict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._names)

    def asks(self, name: bytes, now: float) -> bool:
        """Return whether it matters what the upstream says to the token of this name."""
        found = self._names.get(name)
        return found is None or not found.quiet or now >= found.until

    def refused(self, name: bytes, now: float, longest: float, *, is_kept: bool) -> bool:
        """A token of this name was refused: return whether it goes.

        Args:
            name: That under which tokens of this caller and target are kept.
            now: The time.
            longest: For how many seconds its successor may be kept.
            is_kept: It is still kept in memory; otherwise it may be one that went before, of which this is a late response.
        """
        found = self._names.get(name)
        if found is not None and now < found.until:
            if is_kept and not found.quiet:
                found.quiet, found.until = True, now + PAUSE_S
            return False
        self._names[name] = _Name(now, now + max(longest, PAUSE_S))
        self._names.move_to_end(name)
        if len(self._names) > MAX_NAMES:
            self._names.popitem(last=False)
        return True

    def accepted(self, name: bytes) -> None:
        """The token that is kept under this name was accepted. Its refusal may count again a while after its predecessor's."""
        found = self._names.get(name)
        if found is not None and not found.quiet:
            found.until = min(found.until, found.since + PAUSE_S)

    def sweep(self, now: float) -> None:
        """Forget names whose time is over; some are found later."""
        while self._names and next(iter(self._names.values())).until <= now:
            self._names.popitem(last=False)
