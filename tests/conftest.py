"""Shared by all tests: a switch that turns every skip into a failure, for machines where every real part is there.

EXCHANGER_TESTS_NO_SKIP is the switch; EXCHANGER_TESTS_LEFT_OUT has the markers of tests that may be skipped all the same.
"""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# Shared machines are slow at times; what a law costs is shown in benchmarks, not by a deadline here. In CI the examples are the same each
# time, so that a change is judged by what it changes; elsewhere each run looks at others.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ)
settings.load_profile("default")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("EXCHANGER_TESTS_NO_SKIP"):
        left_out = os.environ.get("EXCHANGER_TESTS_LEFT_OUT", "").split()
        if not any(item.get_closest_marker(marker) for marker in left_out):
            report.outcome = "failed"
    return report
