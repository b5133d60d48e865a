"""Settings for all tests: property tests must not fail because the machine is busy."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.integration.faults.invariants")  # a failure says what differs

settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        from tests import parallel

        parallel.leave_network()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    from tests import parallel

    return parallel.workers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests import parallel

    config.option.loadscopereorder = False  # long files come before the many of unit tests
    return parallel.Scheduler(config, log)
