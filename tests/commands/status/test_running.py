"""What a running service's metrics say is wrong with it."""

import json
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from exchanger.authz.audit.log import AuditCounts
from exchanger.commands.status.running import NoAnswerError, Running, look_at_service, understood
from exchanger.operations.telemetry.metrics import Gauges, Metrics, MetricsSettings
from exchanger.operations.telemetry.metrics_server import MetricsServer
from tests.operations.telemetry.gauges import EXPIRY, NOTHING

HEALTHY = attrs.evolve(
    NOTHING,
    policy_entries=lambda: 7,
    policy_snapshot_age=lambda: 3.0,
    policy_source_connected=lambda: True,
    policy_invalid_documents=lambda: 0,
    policy_entries_not_granted=lambda: 0,
    policy_namespaces_unreadable=lambda: {"a": False},
    log_lines_dropped=lambda: 0,
)


async def asked(gauges: Gauges, path: str = "") -> Running:
    async with trio.open_nursery() as nursery:
        server = MetricsServer(MetricsSettings(host="127.0.0.1", port=0), Metrics("1.2.3", gauges))
        bound: int = await nursery.start(server.run)
        found = await look_at_service(f"http://127.0.0.1:{bound}{path}")
        nursery.cancel_scope.cancel()
    return found


async def test_a_healthy_service_has_no_problem() -> None:
    found = await asked(HEALTHY)
    assert found == Running("1.2.3", 7, 3.0, ())
    assert found.as_text("URL") == (
        "service     URL, version 1.2.3\npolicy      7 entries active, known to be current 3 s ago\nproblems    none\n"
    )
    assert json.loads(found.as_json("URL"))["healthy"] is True


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"policy_snapshot_age": lambda: None, "policy_source_connected": lambda: False}, "no policy is known yet"),
        ({"policy_entries": lambda: 0}, "no entry is active"),
        ({"policy_source_connected": lambda: False}, "policy changes are not followed"),
        ({"policy_unreadable_objects": lambda: 2}, "files that cannot be read as they are now: 2"),
        ({"config_without_effect": lambda: 3}, "environment variables without effect: 3"),
        ({"token_cache_store_connected": lambda: False}, "the store that replicas share is lost"),
        ({"policy_invalid_documents": lambda: 2}, "documents with invalid parts, which fail closed: 2"),
        ({"policy_entries_not_granted": lambda: 3}, "granted: 3"),
        ({"policy_namespaces_unreadable": lambda: {"a": False, "b": True}}, "read the Namespace b is missing"),
        ({"breakers_open": lambda: {"h": True, "i": False}}, "the breaker of h is open"),
        ({"credentials_rejected": lambda: {("p", "h"): True}}, "h rejects the new credentials of the profile p"),
        ({"issuer_profiles_rejected": lambda: True}, "the file of issuer profiles is rejected"),
        ({"issuer_values_missing": lambda: 2}, "values of issuer profiles in Secrets or files that cannot be used: 2"),
        ({"tls_certificate_expiry": lambda: 1}, "the certificate has expired"),
        ({"tls_certificate_rejected": lambda: True}, "the certificate files are rejected"),
        ({"audit": lambda: AuditCounts(written=1, lost=4, broken=False)}, "lines of the audit log lost since the start: 4"),
        ({"audit": lambda: AuditCounts(written=1, lost=0, broken=True)}, "the audit log cannot be written"),
        ({"log_lines_dropped": lambda: 5}, "log lines dropped since the start: 5"),
    ],
)
async def test_each_thing_that_is_wrong_is_one_problem(changed: dict[str, Any], said: str) -> None:
    found = await asked(attrs.evolve(HEALTHY, **changed), "/metrics/")
    (problem,) = found.problems
    assert said in problem
    assert (found.healthy, f"  {problem}\n" in found.as_text("URL")) == (False, True)


async def test_starting_service_reports_what_it_waits_for() -> None:
    found = await asked(attrs.evolve(NOTHING, issuer_values_missing=lambda: 1, tls_certificate_expiry=lambda: EXPIRY))
    assert [problem.partition(":")[0] for problem in found.problems] == [
        "no policy is known yet, so every request is refused; the log says what the service waits for",
        "values of issuer profiles in Secrets or files that cannot be used",
    ]


async def test_another_path_or_server_says_so() -> None:
    with pytest.raises(ExceptionGroup) as failed:
        await asked(HEALTHY, "/other")
    assert failed.group_contains(NoAnswerError, match="answered 404; METRICS_PATH")


@given(st.text() | st.just("policy_entries 1\n") | st.just('exchanger_build_info{version="1"} 1\n'))
def test_what_is_not_this_services_is_no_answer(text: str) -> None:
    with pytest.raises(NoAnswerError):
        understood(text, "URL")
