"""Law: what is normalised stays as it is, and a policy and a request mean the same by the same text.

"Host trimmed, lower-cased, port dropped; prefix trimmed, leading / added; methods trimmed, upper-cased."
"""

import json

from hypothesis import given
from hypothesis import strategies as st

from exchanger.policy.authority import is_host, normalise_policy_host, read_authority
from exchanger.policy.documents.document import parse_document
from exchanger.policy.prefix import prefix_spellings
from exchanger.values.entry import DenyEntry, Source

names = st.text(alphabet="abAB01-_", min_size=1, max_size=4)
addresses = st.ip_addresses(v=6).map(lambda address: f"[{address}]") | st.ip_addresses(v=6).map(
    lambda address: f"[{address.exploded.upper()}]"
)
authorities = st.builds(
    lambda host, dot, port: host + dot + port,
    st.lists(names, min_size=1, max_size=3).map(".".join) | addresses,
    st.sampled_from(["", "."]),
    st.sampled_from(["", ":", ":443"]),
)
texts = st.text() | st.text(alphabet="aK\u212a.:[]%*1 \t\n\x85İß") | authorities


@given(texts)
def test_hosts_are_normalised_once(text: str) -> None:
    host = normalise_policy_host(text)

    assert normalise_policy_host(host) == host


@given(texts)
def test_authorities_are_normalised_once(text: str) -> None:
    authority = read_authority(text)
    if authority is not None:
        assert read_authority(authority) == authority
        assert authority == "" or is_host(authority)


@given(texts)
def test_a_policy_and_a_request_mean_the_same_host(text: str) -> None:
    authority = read_authority(text)
    if authority:
        assert normalise_policy_host(text) == authority


@given(texts, texts)
def test_what_is_no_host_is_no_requests_authority(policy: str, request: str) -> None:
    host = normalise_policy_host(policy)
    if not is_host(host):
        assert not host or read_authority(request) != host


@given(st.text(alphabet="aÉé%27fFz/?.", max_size=8).map(lambda rest: "/" + rest))
def test_spellings_have_the_prefix_first_and_each_once(prefix: str) -> None:
    spellings = prefix_spellings(prefix)
    both = spellings.literal + spellings.rewritten

    assert both[0] == prefix
    assert len(set(both)) == len(both) <= 4
    assert all(spelling.startswith("/") for spelling in both)


@given(authorities, st.text(alphabet="/a b", max_size=4), st.lists(st.sampled_from(["get", " GET", "*", "", "put\n"]), max_size=3))
def test_an_entry_that_is_written_as_it_was_read_is_the_same(host: str, prefix: str, methods: list[str]) -> None:
    def read(match: object) -> DenyEntry | None:
        text = json.dumps({"version": "v1", "entries": [{"match": match, "action": "deny"}]})
        document = parse_document(Source("red", "policy"), text, frozenset())
        for entry in document.entries:
            assert isinstance(entry, DenyEntry)
            return entry
        return None

    entry = read({"host": host, "pathPrefix": prefix, "methods": methods})
    if entry is not None:
        area = entry.match
        assert read({"host": area.host, "pathPrefix": area.path_prefix, "methods": sorted(area.methods or ())}) == entry
