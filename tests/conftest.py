"""Settings for all tests: property tests must not fail because the machine is busy."""

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.integration.faults.invariants")  # a failure says what differs

settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")
