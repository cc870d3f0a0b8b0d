"""The demo's grants, and the teams that make mistakes: what becomes of each entry, and that nothing reaches the other teams."""

from typing import Final

import attrs
import pytest
import yaml

from exchanger.commands.demo.service import sample_grants, sample_policy, violet_policy, wrong_policy
from exchanger.commands.demo.setup import own_setup
from exchanger.commands.playground.lint import lint
from exchanger.model.entry import FailClosedScope, Source
from exchanger.policy.documents.document import PolicyDocument, parse_document
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.snapshot import PolicySnapshot
from tests.commands.playground.labs import RULES

ISSUERS: Final = own_setup(1, 2).issuer_names
FILES: Final = {file.name: file.read_text("utf-8") for file in (*sample_policy(), *wrong_policy(), violet_policy())}


def written(name: str) -> tuple[PolicyDocument, tuple[tuple[str, str], ...]]:
    """The document in a file, before grants, and the labels of its namespace."""
    namespace, config_map = yaml.safe_load_all(FILES[name])
    source = Source(namespace["metadata"]["name"], config_map["metadata"]["name"])
    return parse_document(source, config_map["data"]["config.yaml"], ISSUERS), tuple(sorted(namespace["metadata"]["labels"].items()))


def granted(name: str) -> EffectiveDocument:
    grants = read_grants(sample_grants(), has_labels=True)
    assert isinstance(grants, Grants)
    document, labels = written(name)
    found = PolicySnapshot(grants).changed({document.source: document}, {document.source.namespace: (labels,)}).document(document.source)
    assert found is not None
    return found


def closed_by(document: EffectiveDocument) -> set[tuple[int | None, str | None, str]]:
    """Where entries, or the document, fail closed."""
    routes = [route.effect for own in document.routes.values() for route in own]
    return {(one.index, one.match.host, one.match.path_prefix) for one in routes if isinstance(one, FailClosedScope)}


@pytest.mark.parametrize("name", [file.name for file in (*sample_policy(), violet_policy())])
def test_a_team_that_makes_no_mistakes_notices_nothing_of_the_grants(name: str) -> None:
    before, after = written(name)[0], granted(name)
    assert after.entries == before.entries != ()
    assert (after.problems, after.refused) == ((), ())


def test_each_of_oranges_mistakes_closes_its_own_paths_or_nothing() -> None:
    document = granted("orange.yaml")
    assert written("orange.yaml")[0].closed_scopes == (), "every mistake is one because of the grants"
    assert [entry.index for entry in document.entries] == [0, 1, 2, 3, 11]
    assert [refusal.index for refusal in document.refused] == [4, 5]
    assert closed_by(document) == {
        (6, "orange.example.com", "/everything"),
        (6, "*.orange.example.com", "/everything"),
        (7, "orange.example.com", "/issuer"),
        (8, "orange.example.com", "/audience"),
        (9, "orange.example.com", "/scope"),
        (10, "orange.example.com", "/landing"),
    }


def test_the_editor_tells_orange_of_each_mistake() -> None:
    grants = read_grants(sample_grants(), has_labels=True)
    assert isinstance(grants, Grants)
    linted = lint("orange.yaml", FILES["orange.yaml"], FILES, attrs.evolve(RULES, grants=grants))
    assert {problem.entry for problem in linted.problems} == {4, 5, 6, 7, 8, 9, 10}


def test_browns_broken_document_closes_its_host_alone() -> None:
    (anywhere,) = written("brown.yaml")[0].closed_scopes
    assert anywhere.match.host is None
    document = granted("brown.yaml")
    assert closed_by(document) == {(None, "brown.example.com", "")}
