"""PersistentVolumes that nobody has, and who mounts claims.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#phase
"""

from __future__ import annotations

from addon_framework.api.core import PERSISTENTVOLUMES
from addon_framework.api.meta import Json
from addon_framework.kube import Controller, Key, NotFound, Watch, patch_status


class VolumeController(Controller):
    """A volume that names no claim is available."""

    name = "volumes"

    def watches(self) -> list[Watch]:
        """Volumes."""
        return [Watch(PERSISTENTVOLUMES)]

    async def reconcile(self, key: Key) -> None:
        """One volume."""
        volume = self.cache(PERSISTENTVOLUMES).get(key)
        if volume is None or volume["spec"].get("claimRef"):
            return
        try:
            status = {**(volume.get("status") or {}), "phase": "Available"}
            await patch_status(self.client, PERSISTENTVOLUMES, volume, status)
        except NotFound:
            return


def claims_of(pod: Json) -> list[Key]:
    """The claims that a pod mounts."""
    sources = [v.get("persistentVolumeClaim") for v in pod["spec"].get("volumes") or ()]
    return [Key(pod["metadata"]["namespace"], source["claimName"]) for source in sources if source]
