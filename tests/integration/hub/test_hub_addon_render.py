"""A rendered add-on on a hub that has no plug-in: only the template is there to run it."""

from __future__ import annotations

from addon_framework.api.addon import ClusterManagementAddOn
from tests.integration.hub import rendered
from tests.integration.hub.conftest import Hub


async def test_what_was_rendered_runs_by_the_template_alone(hub: Hub) -> None:
    assert not len(hub.plugins)
    cluster = await hub.cluster()
    await rendered.install(hub.client, cluster)
    try:
        await rendered.check(hub.client, cluster)
    finally:
        await hub.client.delete(ClusterManagementAddOn.RESOURCE, rendered.NAME)
