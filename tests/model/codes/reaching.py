"""Runs the example of a code through the readers, and says which codes come of it."""

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from exchanger.commands.check.command import run_check
from exchanger.commands.check.engine import check
from exchanger.commands.check.files import read_file
from exchanger.commands.check.options import CheckOptions, Format
from exchanger.commands.offline.rules import PolicyRules
from exchanger.model.codes.code import Code, Example
from exchanger.model.codes.problem import Problem
from exchanger.model.entry import Source
from exchanger.model.selector import parse_selector
from exchanger.policy.documents.style import style_of
from exchanger.policy.grants.allowance import Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.namespace import EffectiveDocument
from exchanger.policy.notices import of_allowance, of_left_out, of_snapshot
from exchanger.policy.selection import NAME_LABEL, ConfigMap, Namespace, Text, advance
from exchanger.policy.snapshot import PolicySnapshot
from exchanger.sources.directory.folder import Scan, notices_of, scan
from exchanger.sources.directory.manifest import PassedOver, UnreadableFile, read_manifests

SOURCE = Source("team", "policy")
ISSUERS = frozenset({"primary"})
LABELS = ((NAME_LABEL, "team"),)
NAMESPACES = parse_selector("ext-authz-token-exchange.magneticflux.net/policy=enabled")
CONFIG_MAPS = parse_selector("ext-authz-token-exchange.magneticflux.net/enabled=true")


def policy_problems(text: str, grants: str = "") -> tuple[Problem, ...]:
    return document(text, grants).findings


def document(text: str, grants: str = "") -> EffectiveDocument:
    found = read_grants(grants, has_labels=True) if grants else Grants(limited=False)
    assert isinstance(found, Grants), found
    documents = {SOURCE: Text(text, namespace_labels=(LABELS,))}
    (effective,) = advance(PolicySnapshot.EMPTY, {}, documents, ISSUERS, grants=found).documents
    return effective


def grants_codes(text: str) -> Iterator[Code]:
    for has_labels in (True, False):
        found = read_grants(text, has_labels=has_labels)
        if not isinstance(found, Grants):
            yield from (problem.code for problem in found)
            continue
        for notice in (*of_allowance(found, "team", (LABELS,)), *of_left_out(found, "team", LABELS, {"team"})):
            assert notice.code is not None
            yield notice.code


def manifest_codes(text: str) -> Iterator[Code]:
    found = read_manifests(text.encode(), is_json=False)
    if isinstance(found, UnreadableFile):
        yield found.code
        return
    for item in found:
        if isinstance(item, PassedOver):
            yield item.code
        elif isinstance(item, ConfigMap):
            yield from (problem.code for problem in policy_problems(item.document or ""))
        else:
            assert isinstance(item, Namespace)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "policy.yaml").write_text(text, encoding="utf-8")
        notices = notices_of(scan(Path(folder), Scan()), NAMESPACES, CONFIG_MAPS)
    yield from (notice.code for notice in notices.listed if notice.code is not None)
    rules = PolicyRules(NAMESPACES, CONFIG_MAPS)
    checked = check((read_file("policy.yaml", text.encode()),), rules)
    yield from (placed.problem.code for placed in checked.problems)
    snapshot = PolicySnapshot.EMPTY.changed({document.policy.source: document.policy.document for document in checked.documents})
    yield from (notice.code for notice in of_snapshot(snapshot, "every Namespace", CONFIG_MAPS) if notice.code is not None)


def issuers_codes(text: str) -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        path, policies, out = Path(folder) / "issuers.yaml", Path(folder) / "policies", io.StringIO()
        path.write_text(text, encoding="utf-8")
        policies.mkdir()
        run_check(CheckOptions((str(policies),), issuers=path, format=Format.JSON), {}, out)
    return {problem["code"] for problem in json.loads(out.getvalue())["problems"]}


def reached(code: Code) -> set[str]:
    """Return the names of the codes that the example of ``code`` leads to."""
    match code.kind:
        case Example.POLICY | Example.GRANTED_POLICY:
            found = document(code.example, code.grants)
            return {problem.code.name for problem in (*found.findings, *style_of(found.document))}
        case Example.GRANTS:
            return {found.name for found in grants_codes(code.example)}
        case Example.MANIFESTS:
            return {found.name for found in manifest_codes(code.example)}
        case Example.ISSUERS:
            return issuers_codes(code.example)
        case Example.SITUATION:
            raise AssertionError(code)
