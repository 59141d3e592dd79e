"""Every campaign with a small N, so that each fault's code is exercised; `make faults` does it at length."""

import sys

import pytest

from tests.faults import campaigns
from tests.faults.arena import FAULTS, run_campaign
from tests.faults.cluster import Cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the rig uses POSIX signals and sockets"),
]
SEED = 1

assert campaigns.__all__  # importing the package registers the faults


@pytest.mark.parametrize("name", FAULTS)
def test_the_invariants_hold_under(name: str, cluster: Cluster) -> None:
    fault = FAULTS[name]
    if cluster.database not in fault.databases:
        pytest.skip(f"{fault.title}: only on {' and '.join(fault.databases)}")
    if cluster.database != "sqlite" and not fault.storage:
        pytest.skip("the database does not matter")
    if not fault.small_n:
        pytest.skip("only in `make faults`")
    verdict = run_campaign(cluster, fault, n=fault.small_n, seed=SEED)
    if fault.known and not verdict.passed:
        pytest.xfail(fault.known)
    assert verdict.passed, "\n".join(map(str, verdict.violations))
