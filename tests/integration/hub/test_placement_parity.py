"""The parity cases against our own controller in strict mode, through an API server, as anyone runs them."""

from __future__ import annotations

import asyncio

from addon_framework.hub.run import run_hub
from addon_framework.kube import Client
from addon_framework.plugins import Plugins
from tests.integration.hub.conftest import Hub
from tests.parity.case import load
from tests.parity.hub import run_all


async def test_a_strict_hub_decides_as_the_cases_say(quiet_hub: Hub, client: Client) -> None:
    task = asyncio.create_task(
        run_hub(client, ["placement"], plugins=Plugins(), strict_ocm=True, handle_signals=False)
    )
    try:
        # Large fleets, expiries and the like are decided in the unit tests; here it is what the wire adds.
        cases = [case for case in load() if len(case.steps) > 1 or case.others or case.strict]
        results = await run_all(client, cases, at_once=8)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert results == dict.fromkeys(results, "")
