"""What a demo is played with: scenarios, the policy and the issuer profiles that they are about, and whose tokens are exchanged.

There are two: that of the demo's own token endpoint, here, and that of a Keycloak (``keycloak``).

Must not know: processes, or how scenarios are run.
"""

from collections.abc import Callable, Mapping
from typing import final

import attrs

from exchanger.demo.ground import Ground, ground_of
from exchanger.demo.lab_results import Verify
from exchanger.demo.scenarios import SCENARIOS, OneRequest, Scenario, Subject
from exchanger.demo.service import own_issuers, sample_policy
from exchanger.demo.site import Site, Subjects, make_subjects


@final
@attrs.frozen
class Programme:
    """What a demo is played with.

    Attributes:
        scenarios: what is shown; the first is one request, and tells that everything is up.
        policies: the policy files, by name.
        profiles: the issuer profiles, which hold credentials.
        token: returns the token of a subject.
        ground: returns what the scenarios are run on.
        token_port: port of the demo's own token endpoint, 0 where there is none.
        verify: judges tokens by their issuer's keys; ``None`` where there are none.
        remark: a sentence about the subject tokens, for those who copy them.
        renewal: a shell command that sets ``TOKEN`` to a new one, "" where tokens are good for as long as the demo runs.
    """

    scenarios: tuple[Scenario, ...]
    policies: Mapping[str, str] = attrs.field(repr=False)
    profiles: tuple[Mapping[str, str], ...] = attrs.field(repr=False)
    token: Callable[[Subject], str] = attrs.field(repr=False)
    ground: Callable[[Site], Ground] = attrs.field(repr=False)
    token_port: int = 0
    verify: Verify | None = attrs.field(default=None, repr=False)
    remark: str = "the tokens are unsigned and good for nothing elsewhere"
    renewal: str = attrs.field(default="", repr=False)

    @property
    def readiness(self) -> OneRequest:
        """The scenario that tells that everything is up."""
        first = self.scenarios[0]
        if not isinstance(first, OneRequest):
            raise TypeError("the first scenario tells readiness, and has to be one request")
        return first

    @property
    def issuer_names(self) -> frozenset[str]:
        """The names of the issuer profiles, which policies refer to."""
        return frozenset(profile["name"] for profile in self.profiles)

    def subjects(self) -> Subjects:
        """Return the two tokens that people are shown."""
        return Subjects(self.token(Subject.VALID), self.token(Subject.EXPIRED))


def own_programme(token_port: int) -> Programme:
    """Return the programme that needs nothing but the demo: its token endpoint, on ``token_port``, takes any token."""
    subjects = make_subjects()
    return Programme(
        scenarios=SCENARIOS,
        policies={file.name: file.read_text("utf-8") for file in sample_policy()},
        profiles=tuple(own_issuers(token_port)),
        token=subjects.token,
        ground=ground_of,
        token_port=token_port,
    )
