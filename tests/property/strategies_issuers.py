"""Strategies for what happens to a profiles file and to Secrets, and a history of it with the issuer source following.

Ids and secrets of one version of a Secret, or of a file, end in the same number, so that a pair of two versions can be told.
"""

from collections.abc import Sequence
from typing import final

import attrs
import trio
from hypothesis import strategies as st
from trio.testing import MockClock

from exchanger.issuers.secrets import SecretData, SecretName, SecretProblem
from tests.issuers.fakes import FORBIDDEN, MISSING, World, data, inline, profiles, referring, world

NAMES = ("one", "two", "three")
SECRETS = (SecretName("home", "oauth"), SecretName("home", "other"))
HOSTS = ("a.example", "b.example")


@final
@attrs.frozen
class Write:
    """Somebody writes the file."""

    text: str


@final
@attrs.frozen
class Put:
    """Somebody changes a Secret, or who may read it."""

    secret: SecretName
    found: SecretData | SecretProblem


@final
@attrs.frozen
class Wait:
    """Time passes, in seconds."""

    seconds: float


Event = Write | Put | Wait


def entries(name: str) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda number, host: inline(name, f"id-{number}", f"canary-{number}", host), st.integers(1, 3), st.sampled_from(HOSTS)),
        st.builds(lambda secret, host: referring(name, secret.name, host), st.sampled_from(SECRETS), st.sampled_from(HOSTS)),
    )


good_files = st.lists(st.sampled_from(NAMES), unique=True, max_size=3).flatmap(
    lambda names: st.tuples(*(entries(name) for name in names)).map(lambda found: profiles(*found))
)
bad_files = st.one_of(
    # Each is nearly a good one: the rest of it must not count either.
    good_files.map(lambda text: text.removesuffix("issuers: []\n") + inline("bad", host="")),
    good_files.map(lambda text: profiles() + inline("bad")),
    good_files.map(lambda text: text.replace("issuers:", "issuer: [canary]\nissuers:")),
    st.just(profiles(inline("bad"), inline("bad"))),
    st.just(profiles(inline("bad", client_secret=""))),
    st.just(profiles('  - {name: bad, tokenEndpoint: "https://a.example/t", clientID: canary, clientIDSecretRef: {name: o, key: k}}\n')),
    st.just(profiles("  - {name: bad, tokenEndpoint: canary, unknown: canary}\n")),
    st.just("canary"),
)
found = st.one_of(
    st.integers(1, 4).map(data),
    st.integers(1, 4).map(data),
    st.sampled_from([MISSING, FORBIDDEN]),
    st.builds(data, st.integers(5, 9), st.sampled_from([("id",), ("secret",), ()])),
    st.builds(data, st.integers(5, 9), st.just(("id",)), st.just(("secret",))),
)
puts = st.builds(Put, st.sampled_from(SECRETS), found)
waits = st.builds(Wait, st.sampled_from([0.0, 3.0, 15.0, 70.0, 610.0]))
events: st.SearchStrategy[Event] = st.one_of(st.builds(Write, good_files), st.builds(Write, bad_files), puts, puts, waits, waits)
histories = st.lists(events, max_size=14)


@final
@attrs.frozen
class Lived:
    """A history that a source has followed to its end; ``shown`` is all that it let be seen on the way."""

    it: World
    shown: str


def live(history: Sequence[Event]) -> Lived:
    """Let an issuer source follow ``history``, and then for as long as anything takes."""
    return trio.run(_live, history, clock=MockClock(autojump_threshold=0))


async def _live(history: Sequence[Event]) -> Lived:
    # Seldom, so that long times are short in a test; and never at the moment of an event, as it is open which of the two comes first.
    it = world("", poll=5.0 + 1 / 7)
    shown: list[str] = []
    async with it.running():
        for event in (*history, Wait(800.0)):
            match event:
                case Write(text):
                    it.file.text = text
                case Put(secret, content):
                    it.secrets.known[secret] = content
                case Wait(seconds):
                    await trio.sleep(seconds)
            state = it.source._state
            shown.append(repr((it.source, state, state.issues, it.observer.events, it.sets, it.polling)))
    return Lived(it, "".join(shown))
