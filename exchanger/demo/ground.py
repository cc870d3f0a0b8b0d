"""What scenarios are run on: a gateway, tokens for it, and what else there is to look at or to change.

Must not know: which scenarios there are, or how one is run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import final

import attrs

from exchanger.demo.answer import Recognise, differs, exchanged_by_demo
from exchanger.demo.client import LOOPBACK
from exchanger.demo.gateway import REQUEST_TIMEOUT, Gateway
from exchanger.demo.scenario import Subject
from exchanger.demo.site import Site, Subjects, make_subjects


@final
@attrs.frozen
class Ground:
    """What scenarios are run on; a scenario that needs what is ``None`` here is skipped.

    Attributes:
        gateway: where requests are sent.
        subjects: returns the token for a subject, "" for ``NONE``. A user's own token is the same for every other subject.
        made: the subjects whose tokens are what their names say; a scenario for another one is skipped.
        fresh: makes tokens for a user with this name, whom nobody has asked for yet: for counting token requests.
        stats: host and port of the token endpoint, whose ``/stats`` tells how many token requests there were for each user.
        policy: the folder with the policy files to edit.
        lenient: the token is the user's own, and nothing is known of its issuer: an exchange is judged by "differs from what was sent".
        timeout: seconds for one request.
        recognise: judges a token that the upstream saw in the place of the one that was sent.
    """

    gateway: Gateway
    subjects: Callable[[Subject], str] = attrs.field(repr=False)
    made: frozenset[Subject] = frozenset(Subject)
    fresh: Callable[[str], Subjects] | None = None
    stats: tuple[str, int] | None = None
    policy: Path | None = None
    lenient: bool = False
    timeout: float = REQUEST_TIMEOUT
    recognise: Recognise = attrs.field(default=exchanged_by_demo, repr=False)


MADE_UP = frozenset({Subject.NONE, Subject.VALID, Subject.EXPIRED})
"""What the demo's own tokens can be: without any signature there is none to be wrong."""


def ground_of(site: Site) -> Ground:
    """Return the ground that a running demo is, where everything can be seen and changed."""
    return Ground(
        gateway=Gateway(LOOPBACK, site.envoy_port),
        subjects=site.subjects.token,
        made=MADE_UP,
        fresh=make_subjects,
        stats=(LOOPBACK, site.token_port),
        policy=site.policy,
    )


def ground_with_token(ground: Ground, token: str) -> Ground:
    """Return ``ground`` for a user's own ``token``: judged leniently, and without what only made-up users can show."""

    def own(subject: Subject) -> str:
        return "" if subject is Subject.NONE else token

    return attrs.evolve(ground, subjects=own, made=frozenset({Subject.NONE, Subject.VALID}), fresh=None, lenient=True, recognise=differs)
