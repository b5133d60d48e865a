"""PersistentVolumeClaims and the volumes that were made for them: bound, released.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding. There is no provisioner: volumes are
made by whoever wants them.
"""

from __future__ import annotations

from addon_framework.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from addon_framework.api.meta import Json
from addon_framework.api.quantity import parse_quantity
from addon_framework.kube import Controller, Key, NotFound, Watch, patch_status
from addon_framework.local.workloads.fit import selects

_COMPLETED = "pv.kubernetes.io/bind-completed"
_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"


class ClaimController(Controller):
    """Keys are claims; a volume concerns the claim it names, or all that wait."""

    name = "claims"

    def watches(self) -> list[Watch]:
        """Claims and volumes."""
        return [Watch(PERSISTENTVOLUMECLAIMS), Watch(PERSISTENTVOLUMES, map=self._claims_of)]

    async def reconcile(self, key: Key) -> None:
        """Binds one claim, or releases its volume when it is gone."""
        try:
            await self._reconcile(key)
        except NotFound:
            return  # gone since the cache saw it, and its deletion is an event that leads here, too

    async def _reconcile(self, key: Key) -> None:
        claim = self.cache(PERSISTENTVOLUMECLAIMS).get(key)
        await self._release(key, claim)
        if claim is None or claim["metadata"].get("deletionTimestamp"):
            return
        volume = self._volume_for(key, claim)
        status = claim.get("status") or {}
        if volume is None:
            lost = status.get("phase") == "Bound"
            if lost or status.get("phase") != "Pending":
                phase = "Lost" if lost else "Pending"
                await patch_status(self.client, PERSISTENTVOLUMECLAIMS, claim, {**status, "phase": phase})
            return
        await self._bind(key, claim, volume)

    async def _bind(self, key: Key, claim: Json, volume: Json) -> None:
        """Volume first, then claim, as the real controller: a claim that says Bound can be used."""
        metadata, name = claim["metadata"], volume["metadata"]["name"]
        wanted = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "name": key.name,
            "namespace": key.namespace,
            "uid": metadata["uid"],
        }
        reference = volume["spec"].get("claimRef") or {}
        if reference.get("uid") != metadata["uid"]:
            # With the version, so that two claims never get one volume.
            version = volume["metadata"]["resourceVersion"]
            patch: Json = {"metadata": {"resourceVersion": version}, "spec": {"claimRef": wanted}}
            if not reference:
                patch["metadata"]["annotations"] = {_BY_CONTROLLER: "yes"}
            volume = await self.client.patch(PERSISTENTVOLUMES, name, patch)
        await patch_status(
            self.client, PERSISTENTVOLUMES, volume, {**(volume.get("status") or {}), "phase": "Bound"}
        )
        annotations = metadata.get("annotations") or {}
        if claim["spec"].get("volumeName") != name or _COMPLETED not in annotations:
            patch = {"metadata": {"annotations": {_COMPLETED: "yes"}}, "spec": {"volumeName": name}}
            if not claim["spec"].get("volumeName"):
                patch["metadata"]["annotations"][_BY_CONTROLLER] = "yes"
            claim = await self.client.patch(PERSISTENTVOLUMECLAIMS, key.name, patch, key.namespace)
        status = {
            **(claim.get("status") or {}),
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes") or [],
            "capacity": volume["spec"].get("capacity") or {},
        }
        await patch_status(self.client, PERSISTENTVOLUMECLAIMS, claim, status)

    async def _release(self, key: Key, claim: Json | None) -> None:
        """Volumes that an earlier claim of this name had are not given to the next one."""
        for volume in self.cache(PERSISTENTVOLUMES):
            reference = volume["spec"].get("claimRef") or {}
            if (reference.get("namespace"), reference.get("name")) != (key.namespace, key.name):
                continue
            uid = reference.get("uid")
            status = volume.get("status") or {}
            if uid and (claim is None or claim["metadata"]["uid"] != uid):
                await patch_status(self.client, PERSISTENTVOLUMES, volume, {**status, "phase": "Released"})
            elif not uid and status.get("phase") not in ("Available", "Bound"):
                await patch_status(self.client, PERSISTENTVOLUMES, volume, {**status, "phase": "Available"})

    def _volume_for(self, key: Key, claim: Json) -> Json | None:
        """The one named either way, else the smallest that serves."""
        volumes = self.cache(PERSISTENTVOLUMES)
        if name := claim["spec"].get("volumeName"):
            named: Json | None = volumes.get(Key("", name))
            return named if named is not None and _free_for(key, claim, named) else None
        fitting = []
        for volume in volumes:
            if not _free_for(key, claim, volume):
                continue
            if volume["spec"].get("claimRef"):
                return dict(volume)
            if _serves(claim["spec"], volume):
                fitting.append(volume)
        return min(fitting, key=lambda v: parse_quantity(v["spec"]["capacity"]["storage"]), default=None)

    def _claims_of(self, volume: Json) -> list[Key]:
        reference = volume["spec"].get("claimRef")
        if reference:
            return [Key(reference["namespace"], reference["name"])]
        return [
            Key(claim["metadata"]["namespace"], claim["metadata"]["name"])
            for claim in self.cache(PERSISTENTVOLUMECLAIMS)
            if (claim.get("status") or {}).get("phase") != "Bound"
        ]


def _free_for(key: Key, claim: Json, volume: Json) -> bool:
    """Nobody's, or this claim's."""
    if volume["metadata"].get("deletionTimestamp"):
        return False
    reference = volume["spec"].get("claimRef")
    if not reference:
        return True
    return (reference.get("namespace"), reference.get("name")) == (key.namespace, key.name) and reference.get(
        "uid"
    ) in (None, "", claim["metadata"]["uid"])


def _serves(claim: Json, volume: Json) -> bool:
    spec = volume["spec"]
    wanted = parse_quantity(((claim.get("resources") or {}).get("requests") or {}).get("storage"))
    return bool(
        selects(claim.get("selector") or {}, volume["metadata"].get("labels") or {})
        and (claim.get("storageClassName") or "") == (spec.get("storageClassName") or "")
        and claim.get("volumeMode", "Filesystem") == spec.get("volumeMode", "Filesystem")
        and set(claim.get("accessModes") or ()) <= set(spec.get("accessModes") or ())
        and wanted <= parse_quantity(spec["capacity"]["storage"])
    )
