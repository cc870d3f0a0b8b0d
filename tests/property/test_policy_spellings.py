"""Law: no spelling opens.

Another spelling of a request gets the decision of the request itself, or is refused; never does it pass by an entry or region.
RFC 3986 section 6 is about spellings of one resource; this law is about those that some server takes for one.
"""

from collections.abc import Callable

from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.policy.documents.document import PolicyDocument
from exchanger.policy.path import read_path
from exchanger.values.entry import AllowEntry, DenyEntry
from exchanger.values.verdict import NO_MATCH, Ambiguous, Unhealthy
from tests.property.strategies_policy import hosts, methods, plain_paths, policies, queries, snapshot_of

# A respelling changes a path at a place that is given by a number, in a way that some server undoes.
Respelling = Callable[[str, int], str]


def at_some(text: str, wanted: str, where: int, change: Callable[[str, int], str]) -> str:
    """Apply ``change`` at one of the places of ``text`` that have one of the ``wanted`` characters."""
    places = [place for place, char in enumerate(text) if char in wanted]
    return change(text, places[where % len(places)]) if places else text


def encode(text: str, where: int) -> str:
    place = where % len(text)
    octets = "".join(f"%{octet:02x}" for octet in text[place].encode())
    return text[:place] + (octets if where % 2 else octets.upper()) + text[place + 1 :]


def encode_everything(text: str, _: int) -> str:
    return text[0] + "".join(f"%{octet:02X}" for octet in text[1:].encode())


def encode_escapes(text: str, _: int) -> str:
    return text.replace("%", "%25")


def insert_after_slash(inserted: str) -> Respelling:
    return lambda text, where: at_some(text, "/", where, lambda text, place: text[: place + 1] + inserted + text[place + 1 :])


def add_parameter(text: str, where: int) -> str:
    """Add one before a slash other than the first, or at the end."""
    ends = [*(place for place, char in enumerate(text) if char == "/" and place), len(text)]
    end = ends[where % len(ends)]
    return text[:end] + (";x=1" if where % 2 else ";") + text[end:]


def backslash(text: str, where: int) -> str:
    return text[0] + at_some(text[1:], "/", where, lambda text, place: text[:place] + "\\" + text[place + 1 :])


def widen(text: str, where: int) -> str:
    """Put the fullwidth form of a character in its place."""
    place = where % len(text)
    return text[:place] + chr(ord(text[place]) + 0xFEE0) + text[place + 1 :] if "!" <= text[place] <= "~" else text


def after_a_host(text: str, where: int) -> str:
    return "/" * (2 + where % 2) + "host:8" + text


RESPELLINGS: tuple[Respelling, ...] = (
    encode,
    encode,
    encode_everything,
    encode_escapes,
    insert_after_slash("./"),
    insert_after_slash("x/../"),
    insert_after_slash("a/b/../../"),
    insert_after_slash("/"),
    add_parameter,
    backslash,
    widen,
    after_a_host,
)
steps = st.lists(st.tuples(st.sampled_from(RESPELLINGS), st.integers(min_value=0, max_value=60)), min_size=1, max_size=5)


def respelled(path: str, steps: list[tuple[Respelling, int]]) -> str:
    for respell, where in steps:
        path = respell(path, where)
    return path


@given(plain_paths, steps)
def test_a_path_is_among_the_interpretations_of_its_spellings(path: str, steps: list[tuple[Respelling, int]]) -> None:
    interpretations = read_path(respelled(path, steps), "GET")
    event(f"{len(interpretations)} interpretations" if isinstance(interpretations, tuple) else interpretations.value)
    if isinstance(interpretations, tuple):
        assert path in interpretations


@given(policies, hosts, plain_paths, queries, methods, steps)
def test_no_spelling_opens(
    policy: list[PolicyDocument], host: str, path: str, query: str, method: str, steps: list[tuple[Respelling, int]]
) -> None:
    snapshot = snapshot_of(policy)
    canonical = snapshot.match(host, path + query, method)

    verdict = snapshot.match(host, respelled(path, steps) + query, method)

    event(f"{type(canonical).__name__} → {type(verdict).__name__}")
    if isinstance(verdict, Ambiguous | Unhealthy):
        return
    # Entries that deny, or that let pass unchanged, differ in nothing but their authors.
    alike = type(verdict) is type(canonical) and isinstance(verdict, DenyEntry | AllowEntry)
    assert verdict == canonical or alike
    assert (verdict is NO_MATCH) == (canonical is NO_MATCH)
