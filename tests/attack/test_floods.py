"""Floods of the gRPC port, with a well-behaved connection beside them: its calls are right, and the process stays small."""

import statistics
import time
from pathlib import Path

import pytest

from tests.attack.flooding import FLOODS, attacker
from tests.attack.process import DOCUMENT, cpu_seconds, descriptors, resident_mib
from tests.e2e.collector import wait_until
from tests.e2e.service import Service, serving

# What all connections hold together is 256 MiB at most (``exchanger.net.grpc.limits``), and their headers and tasks come to it.
MAX_GROWTH_MIB = 320
# Connections, of a hundred that each attacker may open a second, that are not closed yet.
MOST_AT_ONCE = 256
PAUSE_S = 0.002


def called(service: Service) -> float:
    """Make one call and return how long it took, in seconds; a wrong answer, or none within the call's deadline, is an error."""
    start = time.monotonic()
    assert service.check("/admin").denied_response.status.code == 403
    return time.monotonic() - start


def percentiles(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"p50 {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms, max {max(times) * 1e3:.1f} ms"


@pytest.mark.slow
@pytest.mark.full
def test_a_well_behaved_connection_is_served_beside_floods(tmp_path: Path) -> None:
    with serving(tmp_path, DOCUMENT, LOG_DECISIONS="off") as service, attacker(service.port) as pipe:
        pid = service.process.pid
        alone = [called(service) for _ in range(300)]
        rest, memory = descriptors(pid), resident_mib(pid)
        print(f"\nalone: {percentiles(alone)}, {memory:.0f} MiB")
        for name in FLOODS:
            pipe.send(name)
            began, cpu, times, grown = time.monotonic(), cpu_seconds(pid), [called(service), called(service)], 0.0
            while not pipe.poll():
                times.append(called(service))
                grown = max(grown, resident_mib(pid) - memory)
                assert descriptors(pid) <= rest + MOST_AT_ONCE
                time.sleep(PAUSE_S)
            sent, took = pipe.recv(), time.monotonic() - began
            load = (cpu_seconds(pid) - cpu) / took
            print(f"{name}: {len(times)} calls, {percentiles(times)}; {sent / took / 1e6:.1f} MB/s, CPU {load:.0%}, {grown:.0f} MiB more")
            assert sent
            assert grown < MAX_GROWTH_MIB
        wait_until(lambda: descriptors(pid) <= rest)
        assert called(service)
        assert service.stop() == 0
        assert '"level":"error"' not in service.lines()
