"""Law: of the same manifests, issuers and grants, the tools have the very policy that a service publishes which starts with that folder."""

import json
import tempfile
from pathlib import Path
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanger.app.grants_file import GrantsSettings
from exchanger.directory.source import DirectorySettings, DirectorySource
from exchanger.policy.grants.allowance import NO_GRANTS
from exchanger.policy.snapshot import CurrentPolicy
from exchanger.tools.policies import Chosen, policy_of_paths, selectors_of, settings_of
from tests.author_tools.examples import ISSUERS
from tests.examples import examples

DOMAIN = "ext-authz-token-exchange.magneticflux.net"
NAMESPACE_LABELS = [{f"{DOMAIN}/policy": "enabled"}, {f"{DOMAIN}/policy": "enabled", "team": "orders"}, {}]
ENTRIES = [
    "{match: {host: a.example, pathPrefix: /a}, action: deny}",
    "{match: {host: '*.example', pathPrefix: /, methods: [GET]}, action: exchange, exchange: {issuerRef: primary, scope: x}}",
    "{match: {host: a.example, pathPrefix: /a/b, pathType: Exact}, action: allow}",
    "{match: {host: a.example, pathPrefix: /x}, action: exchange, exchange: {issuerRef: unknown, scope: x}}",
    "{match: {host: 'https://a.example/', pathPrefix: /}, action: deny}",
    "{match: {host: b.example, pathPrefix: /a*, headers: [{name: X, value: y}]}, action: denny}",
    "null",
]
texts = st.lists(st.sampled_from(ENTRIES), max_size=3).map(lambda entries: f"version: v1\nentries: [{', '.join(entries)}]")
documents = texts | st.sampled_from(["", "{", "version: v2", None])
manifests = st.one_of(
    st.tuples(st.just("Namespace"), st.sampled_from(["red", "blue"]), st.sampled_from(NAMESPACE_LABELS)),
    st.tuples(st.sampled_from(["red", "blue"]), st.sampled_from(["one", "two"]), st.booleans(), documents),
)
GRANTS = [
    "",
    "version: v1\ngrants: []\n",
    """\
version: v1
grants: [{namespaces: [red], hosts: ["*.example"], actions: [exchange, deny, allow], issuers: ["*"], scopes: ["*"]}]
baseline: [{match: {host: "*", pathPrefix: /internal}, action: deny}]
""",
    "version: v1\ngrants: [{namespaceSelector: team=orders, hosts: [a.example], pathPrefixes: [/a], issuers: ['*'], scopes: ['*']}]\n",
]


def manifest(drawn: tuple[Any, ...]) -> object:
    if drawn[0] == "Namespace":
        _, name, labels = drawn
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    namespace, name, enabled, text = drawn
    labels = {f"{DOMAIN}/enabled": "true"} if enabled else {}
    data = {} if text is None else {"config.yaml": text}
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def published(folder: Path, grants: str) -> CurrentPolicy:
    """Return the policy of a service that has started with ``folder``."""
    selectors, current = selectors_of(settings_of({})), CurrentPolicy()
    found = NO_GRANTS
    if grants:
        understood = GrantsSettings().understood(grants)
        assert isinstance(understood, type(NO_GRANTS))
        found = understood
    source = DirectorySource(DirectorySettings(folder, *selectors), frozenset({"primary"}), current, grants=found)
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        nursery.cancel_scope.cancel()
    return current


@settings(max_examples=examples(100))
@given(st.lists(st.lists(manifests, max_size=4), max_size=3), st.booleans(), st.sampled_from(GRANTS))
def test_the_policy_of_manifests_is_the_one_that_a_service_publishes(files: list[list[tuple[Any, ...]]], broken: bool, grants: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, chosen = Path(name) / "policies", Path(name)
        folder.mkdir()
        described = [("Namespace", namespace, NAMESPACE_LABELS[-1]) for namespace in ("red", "blue")]
        for number, drawn in enumerate([*files, described]):
            text = "\n---\n".join(json.dumps(manifest(one)) for one in drawn)
            (folder / f"{number}.yaml").write_text(text)
        if broken:
            (folder / "broken.yml").write_text("{")
        (chosen / "issuers.yaml").write_text(ISSUERS)
        (chosen / "grants.yaml").write_text(grants)

        told = policy_of_paths((str(folder),), Chosen(chosen / "issuers.yaml", chosen / "grants.yaml" if grants else None), {})
        service = trio.run(published, folder, grants)

    assert service.newest is not None
    assert told.snapshot is not None
    assert {document.source.namespace for document in service.newest.documents.values()} <= {"red", "blue", ""}
    same = {source: document for source, document in told.newest.documents.items() if source.namespace}
    assert same == {source: document for source, document in service.newest.documents.items() if source.namespace}
    assert told.newest.trie.hosts == service.newest.trie.hosts
    assert told.newest.baseline == service.newest.baseline
    assert len(told.newest.documents) == len(service.newest.documents)
    assert (told.newest.entry_count, told.newest.region_count) == (service.newest.entry_count, service.newest.region_count)
