"""Law: a match is what a look at every entry and region says.

"Host equal; pathPrefix is a plain string prefix; the longest matching prefix among entries whose methods match wins; two winners of equal
length make that request unhealthy. An unhealthy area wins over any healthy entry inside it."
"""

from hypothesis import event, given

from exchanger.policy.document import PolicyDocument
from exchanger.policy.verdict import NO_MATCH, Unhealthy, Verdict
from exchanger.values.entry import Area, Source
from tests.property.strategies_policy import hosts, methods, plain_paths, policies, queries, snapshot_of


def covers(area: Area, host: str, path: str, method: str) -> bool:
    return area.host in {None, host} and path.startswith(area.path_prefix) and (area.methods is None or method in area.methods)


def looked_up(policy: list[PolicyDocument], host: str, path: str, method: str) -> Verdict | frozenset[Source]:
    """Return the verdict, or the sources of which any or several may be named as the reason for an unhealthy one."""
    in_force = list({document.source: document for document in policy}.values())
    closed = [region.source for document in in_force for region in document.regions if covers(region.area, host, path, method)]
    if closed:
        return frozenset(closed)
    entries = [entry for document in in_force for entry in document.entries if covers(entry.area, host, path, method)]
    longest = max((len(entry.area.path_prefix) for entry in entries), default=0)
    winners = [entry for entry in entries if len(entry.area.path_prefix) == longest]
    if not winners:
        return NO_MATCH
    return winners[0] if len(winners) == 1 else frozenset()


@given(policies, hosts, plain_paths, queries, methods)
def test_a_match_is_what_a_linear_scan_says(policy: list[PolicyDocument], host: str, path: str, query: str, method: str) -> None:
    expected = looked_up(policy, host, path + query, method)

    verdict = snapshot_of(policy).match(host, path + query, method)

    event(type(verdict).__name__)
    if isinstance(expected, frozenset):
        assert isinstance(verdict, Unhealthy)
        assert verdict.source is None or verdict.source in expected
        assert verdict.source is not None or len(expected) != 1 or sum(len(d.regions) for d in policy) > 1
    else:
        assert verdict == expected
