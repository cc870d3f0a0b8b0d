"""Checks texts as files of one folder."""

import attrs

from exchanger.commands.check.engine import Checked, check
from exchanger.commands.check.files import read_file
from exchanger.commands.offline.rules import PolicyRules
from exchanger.model.codes.manifests import UNCOVERED_PATHS
from exchanger.policy.grants.allowance import NO_GRANTS, Grants
from exchanger.policy.grants.reader import read_grants
from exchanger.policy.selection import AnyIssuer
from tests.model.codes.reaching import CONFIG_MAPS, NAMESPACES

LABEL = 'ext-authz-token-exchange.magneticflux.net/enabled: "true"'


def rules(grants: str = "", issuers: frozenset[str] | None = None) -> PolicyRules:
    found = read_grants(grants, has_labels=True) if grants else NO_GRANTS
    assert isinstance(found, Grants), found
    return PolicyRules(NAMESPACES, CONFIG_MAPS, AnyIssuer() if issuers is None else issuers, found)


def checked(*texts: str, by: PolicyRules | None = None, ending: str = ".yaml", with_uncovered: bool = False) -> Checked:
    """Check ``texts``. Most of them cover a part of a host, which only tests about that want to be told."""
    files = {f"{number}{ending}": text for number, text in enumerate(texts)}
    result = check([read_file(name, text.encode("utf-8", "surrogatepass")) for name, text in files.items()], by or rules())
    told = tuple(one for one in result.problems if with_uncovered or one.problem.code is not UNCOVERED_PATHS)
    return attrs.evolve(result, problems=told)


def config_map(document: str, name: str = "policy", namespace: str = "team", label: str = LABEL) -> str:
    body = "".join(f"    {line}\n" for line in document.splitlines())
    metadata = f"metadata:\n  name: {name}\n  namespace: {namespace}\n  labels:\n    {label}\n"
    return f"apiVersion: v1\nkind: ConfigMap\n{metadata}data:\n  config.yaml: |\n{body}"


def entries(*lines: str) -> str:
    return "version: v1\nentries:\n" + "".join(f"  - {line}\n" for line in lines)


def found(result: Checked) -> list[tuple[str, str, int | None, int | None]]:
    """Return code, file, line and column of each problem."""
    return [(one.problem.code.name, one.file, one.place.line, one.place.column) for one in result.problems]


def codes(result: Checked) -> list[str]:
    return [one.problem.code.name for one in result.problems]
