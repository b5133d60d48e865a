"""The agent: its controllers on the spoke."""

from __future__ import annotations

import os

from addon_framework.kube import Manager
from addon_framework.plugins import AgentContext
from addons.inference_deployer.agent.endpoints import EndpointController
from addons.inference_deployer.agent.enginehosts import SERVING, EngineHostController

ENGINE_HOST_VARIABLE = "ENGINE_HOST"


async def run_agent(context: AgentContext) -> None:
    """Run until cancelled."""
    mode = os.environ.get(ENGINE_HOST_VARIABLE) or SERVING
    manager = Manager(context.spoke, name=context.addon_name)
    manager.add(EndpointController(context.install_namespace))
    manager.add(EngineHostController(mode, context.install_namespace, f"{context.addon_name}-agent"))
    context.log.info("inference deployer's agent runs", engine_host=mode)
    await manager.run()
