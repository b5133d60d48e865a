"""One name, two that send it: a Dataset for the fleet, and an InferenceDeployment, which brings its own.

On a cluster both would be the same Dataset, and its two works would undo one another for ever. Who was there
first has the name; the other is told.
"""

from __future__ import annotations

from addon_framework.api.inference import InferenceDeployment
from addon_framework.api.meta import Json, Resource
from addon_framework.kube import Client, Forbidden, NotFound
from addons.cache_runtime.agent.names import DATASETS
from addons.cache_runtime.hub.names import placement_of

TAKEN = "NameTaken"
AGAIN = 5.0  # seconds until who has been refused looks whether the other is gone

_OTHERS = {DATASETS.kind: InferenceDeployment.RESOURCE, InferenceDeployment.RESOURCE.kind: DATASETS}


async def rival(client: Client, resource: Resource, obj: Json) -> str:
    """What to tell `obj`, which has sent nothing yet; "" if the name is its own."""
    other, metadata = _OTHERS[resource.kind], obj["metadata"]
    try:
        found = await client.get(other, metadata["name"], metadata["namespace"])
    except (NotFound, Forbidden):
        return ""
    if other is DATASETS and not placement_of(found):
        return ""  # it stays on the hub
    # Within a second, the Dataset's.
    if (found["metadata"]["creationTimestamp"], other.kind) > (metadata["creationTimestamp"], resource.kind):
        return ""
    name = f"{other.kind} {metadata['namespace']}/{metadata['name']}"
    return (
        f"metadata.name: {name} of the hub brings a Dataset of this name to its clusters; give this "
        f"{resource.kind} another name, or delete that {other.kind}"
    )
