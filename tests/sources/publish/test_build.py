"""What a build says about the version that it makes."""

from exchanger.model.entry import ExchangeEntry, Source
from exchanger.model.selector import parse_selector
from exchanger.policy.grants.allowance import Grants, NamespaceGrant
from exchanger.sources.publish.build import Read, Regrant
from exchanger.sources.publish.pending import Lane
from tests.sources.publish.world import FREE, ISSUERS, begun, denial, fresh, is_refused, text_of

SOURCE = Source("team", "policy")
BOTH, ONE = (((("l", "both"),),), ((("l", "one"),),))


def granted(hosts: dict[str, tuple[str, ...]], paths: dict[str, tuple[str, ...]]) -> Grants:
    """Return grants that depend on the label ``l`` of a namespace."""
    issuers = tuple(ISSUERS)
    return Grants(
        tuple(
            NamespaceGrant(None, parse_selector(f"l={label}"), hosts[label], paths[label], issuers=issuers, scopes=("*",))
            for label in hosts
        )
    )


def test_labels_take_away_paths_although_the_document_says_and_does_the_same() -> None:
    entry = "{match: {host: h, pathPrefix: /a}, action: exchange, exchange: {issuerRef: one, scope: s}}"
    grants = granted({"both": ("h",), "one": ("h",)}, {"both": ("/a", "/ab"), "one": ("/a",)})
    world = begun({SOURCE: text_of(entry)}, grants=grants, labels={"team": BOTH})
    assert world.active is not None
    assert isinstance(world.active.match("h", "/ab", "GET"), ExchangeEntry)
    world.apply({}, {"team": ONE})
    world.end()
    assert not isinstance(world.active.match("h", "/ab", "GET"), ExchangeEntry)


def test_new_labels_extend_a_wildcard_denial_of_an_unchanged_document() -> None:
    entry = "{match: {host: '*.test', pathPrefix: /}, action: deny}"
    grants = granted({"both": ("a.test", "b.test"), "one": ("a.test",)}, {"both": ("",), "one": ("",)})
    world = begun({SOURCE: text_of(entry)}, grants=grants, labels={"team": ONE})
    world.apply({}, {"team": BOTH})
    world.end()
    assert world.active is not None
    assert is_refused(world.active.match("b.test", "/", "GET"))


def test_reading_costs_a_namespace_what_its_texts_took() -> None:
    a, b, other = Source("a", "p"), Source("a", "q"), Source("b", "p")
    clock = iter([0.0, 1.0, 1.5, 3.5, 4.0, 4.25])
    _, costs = Read(Lane.LIGHT, dict.fromkeys((a, b, other), text_of()), frozenset()).run(lambda: next(clock))
    assert costs == {"a": 3.0, "b": 0.25}


def test_new_grants_hold_for_the_settled_version_as_well() -> None:
    old, new = fresh({SOURCE: denial("/old")}), fresh({SOURCE: denial("/new")})
    newest, settled = Regrant(FREE, new, old).run()
    assert (newest.grants, settled.grants) == (FREE, FREE)
    assert is_refused(settled.match("h", "/old", "GET"))
    newest, settled = Regrant(FREE, new, new).run()
    assert settled is newest


def test_new_grants_publish_the_documents_that_they_change_in_order() -> None:
    sources = [Source(f"team-{number}", name) for number in range(6) for name in "abc"]
    world = begun({source: denial("/a") for source in reversed(sources)}, grants=FREE)
    world.do(world.machine.granted(Grants(()), world.now))
    world.end()
    assert [document.source for document in world.changes[-1].documents] == sources
