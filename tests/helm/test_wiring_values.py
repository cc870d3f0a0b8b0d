"""Every value of the gateways' wiring changes what it should, and nothing is in these sections that no test knows."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
import yaml

from tests.helm.cases import OTHERS, Case, look, manifest_of, with_value
from tests.helm.chart import CHART, Manifest, render
from tests.helm.test_core_values import leaves
from tests.helm.wiring_cases import CASES

pytestmark = [pytest.mark.helm]

SECTIONS: Final = OTHERS - {"grafanaDashboard", "prometheusRule"}
REFUSED_OTHERWISE: Final = {
    "envoyFilter.extProc.failureModeAllow",
    "gatewayExtAuthzService.type",
    "gkeAuthz.callout.healthCheck.port",
    "gkeAuthz.callout.tls.selfSigned.validityDays",
    "gkeExtProc.failOpen",
}
"""Values that may have one value only (``test_wiring_refusals.py``), and one that is in a certificate (``test_wiring_gke.py``)."""


def without_labels(path: str) -> str:
    head, found, _ = path.partition(".workloadSelectorLabels.")
    return f"{head}.workloadSelectorLabels" if found else path


def found(values: Mapping[str, Any], case: Case) -> Any:
    manifests: list[Manifest] = render(values)
    return look(manifest_of(manifests, case.kind), case.at)


def test_no_value_is_without_a_case_and_no_case_without_its_value() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    here = {without_labels(path) for path in leaves({name: value for name, value in defaults.items() if name in SECTIONS})}
    assert here == {case.path for case in CASES} | REFUSED_OTHERWISE


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path)
def test_a_value_changes_what_it_should(case: Case) -> None:
    assert found(case.given, case) != case.expected
    assert found(with_value(case.given, case.path, case.value), case) == case.expected
