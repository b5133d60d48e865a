"""A hub whose manager has the inference deployer's controllers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from addon_framework.kube import Client
from addons.inference_deployer.plugin import InferenceDeployer
from tests.integration.hub.conftest import Hub, running


@pytest.fixture
async def hub(client: Client, crds_installed: None) -> AsyncIterator[Hub]:
    """Placement, registration and the inference deployer run; clusters are only names."""
    async with running(client) as it:
        it.plugins.add("inference-deployer", InferenceDeployer)
        await it.start()
        yield it
