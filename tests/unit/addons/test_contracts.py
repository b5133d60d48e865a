"""The built-in add-ons keep the contract that everybody's add-ons are tested by."""

from __future__ import annotations

from addon_framework.testing import AddonContract


class TestResourceScorer(AddonContract):
    addon = "resource-scorer"


class TestCacheRuntime(AddonContract):
    addon = "cache-runtime"


class TestInferenceDeployer(AddonContract):
    addon = "inference-deployer"
