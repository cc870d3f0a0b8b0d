"""Law: metadata that an entry names is on a host whose requests it may decide, and its challenge carries the URL as it was written.

A client that follows the challenge thus never leaves the host that it asked, or one that the same author speaks for.
"""

import json
from urllib.parse import urlsplit

from hypothesis import event, given
from hypothesis import strategies as st

from exchanger.decision.check import begin
from exchanger.decision.outcome import Deny
from exchanger.policy.documents.document import parse_document
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.values.entry import ExchangeEntry
from tests.decision.examples import RULES, SOURCE, request
from tests.property.strategies_policy import ISSUERS, rarely

hosts = st.sampled_from(["a.example", "x.a.example", "*.a.example", "*.example", "[2001:db8::1]", "A.example.:8443"])
pieces = st.sampled_from(
    [
        *'/?:.@#,\\"*[]-;% ',
        "a.example",
        "b",
        "https://",
        "//",
        ":8443",
        "[2001:db8::1]",
        "%40",
        "\t",
        "\n",
        "\r",
        "\u3002",
        "é",
        "\x00",
        "example",
    ]
)
junk = st.lists(pieces, max_size=6).map("".join)
urls = st.builds(
    lambda before, host, after: f"{before}{host}{after}",
    rarely(junk, st.sampled_from(["https://", "HTTPS://"]), one_in=4),
    rarely(junk, st.sampled_from(["a.example", "x.a.example", "X.x.A.example.", "b.example", "[2001:DB8:0::1]"]), one_in=4),
    junk | st.sampled_from(["", "/", ":8443/x", "?y"]),
)


@given(hosts, urls)
def test_metadata_is_on_a_host_that_the_entry_decides_for(host: str, url: str) -> None:
    exchange = {"issuerRef": "primary", "scope": "s", "resourceMetadata": url}
    entry = {"match": {"host": host, "pathPrefix": "/"}, "action": "exchange", "exchange": exchange}
    document = parse_document(SOURCE, json.dumps({"version": "v1", "entries": [entry]}), ISSUERS)
    event("accepted" if document.entries else "refused")
    if not document.entries:
        return
    (read,) = document.entries
    assert isinstance(read, ExchangeEntry)
    found = read.resource_metadata
    assert found == url.strip()
    if found:
        parts = urlsplit(found)
        assert (parts.scheme, parts.username, parts.password, parts.fragment) == ("https", None, None, "")
        answer = begin(request("/", host=parts.netloc), PolicySnapshot().apply(document), RULES)
        assert isinstance(answer, Deny)
        assert answer.entry_index == 0
        ((name, challenge),) = answer.headers
        assert (name, challenge) == ("WWW-Authenticate", f'Bearer realm="issuer", scope="s", resource_metadata="{found}"')
