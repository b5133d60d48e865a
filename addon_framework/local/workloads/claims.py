"""PersistentVolumeClaims and PersistentVolumes: available, bound, released.

https://kubernetes.io/docs/concepts/storage/persistent-volumes/#binding. There is no provisioner: volumes are
made by whoever wants them.
"""

from __future__ import annotations

from typing import Any

from addon_framework.api.core import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES
from addon_framework.api.meta import Json, Resource, owner_reference
from addon_framework.api.quantity import parse_quantity
from addon_framework.api.selectors import selects
from addon_framework.kube import Client, Controller, Key, NotFound, Watch, key_of, patch_status
from addon_framework.local.events import Recorder

_COMPLETED = "pv.kubernetes.io/bind-completed"
_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"


class ClaimController(Controller):
    """Keys are claims; a volume concerns the claim it names, or all that wait."""

    name = "claims"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def watches(self) -> list[Watch]:
        """Claims and volumes, classes that say when to bind, and the pods that are waited for."""
        return [
            Watch(PERSISTENTVOLUMECLAIMS),
            Watch(PERSISTENTVOLUMES, map=self._claims_of),
            Watch(STORAGECLASSES, map=lambda _: []),
            Watch(PODS, map=self._unbound_of),
        ]

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
        status = claim.get("status") or {}
        volume = None if (early := self._is_early(key, claim)) else self._volume_for(key, claim)
        if volume is None:
            if not claim["spec"].get("volumeName"):
                self._tell(claim, early)
            lost = status.get("phase") == "Bound"
            if lost or status.get("phase") != "Pending":
                phase = "Lost" if lost else "Pending"
                await _say(self.client, PERSISTENTVOLUMECLAIMS, claim, phase=phase)
            return
        await self._bind(key, claim, volume)

    def _is_early(self, key: Key, claim: Json) -> bool:
        """Whether the class has it wait for a pod, and there is none."""
        storage = self.cache(STORAGECLASSES).get(Key("", claim["spec"].get("storageClassName") or ""))
        if storage is None or storage.get("volumeBindingMode") != "WaitForFirstConsumer":
            return False
        pods = self.cache(PODS).in_namespace(key.namespace)
        return not claim["spec"].get("volumeName") and not any(key in claims_of(pod) for pod in pods)

    def _tell(self, claim: Json, early: bool) -> None:
        """Why it is not bound."""
        name = claim["spec"].get("storageClassName")
        storage = self.cache(STORAGECLASSES).get(Key("", name)) if name else None
        if early:
            why = "waiting for first consumer to be created before binding"
            self._recorder.event(claim, "Normal", "WaitForFirstConsumer", why)
        elif not name:
            why = "no persistent volumes available for this claim and no storage class is set"
            self._recorder.event(claim, "Normal", "FailedBinding", why)
        elif storage is None:
            why = f'storageclass.storage.k8s.io "{name}" not found'
            self._recorder.event(claim, "Warning", "ProvisioningFailed", why)
        else:
            why = (
                f"Waiting for a volume to be created either by the external provisioner "
                f"'{storage['provisioner']}' or manually by the system administrator"
            )
            self._recorder.event(claim, "Normal", "ExternalProvisioning", why)

    async def _bind(self, key: Key, claim: Json, volume: Json) -> None:
        """Volume first, then claim, as the real controller: a claim that says Bound can be used."""
        metadata, name = claim["metadata"], volume["metadata"]["name"]
        wanted = {**owner_reference(claim, PERSISTENTVOLUMECLAIMS), "namespace": key.namespace}
        reference = volume["spec"].get("claimRef") or {}
        if reference.get("uid") != metadata["uid"]:
            # With the version, so that two claims never get one volume.
            version = volume["metadata"]["resourceVersion"]
            patch: Json = {"metadata": {"resourceVersion": version}, "spec": {"claimRef": wanted}}
            if not reference:
                patch["metadata"]["annotations"] = {_BY_CONTROLLER: "yes"}
            volume = await self.client.patch(PERSISTENTVOLUMES, name, patch)
        await _say(self.client, PERSISTENTVOLUMES, volume, phase="Bound")
        annotations = metadata.get("annotations") or {}
        if claim["spec"].get("volumeName") != name or _COMPLETED not in annotations:
            patch = {"metadata": {"annotations": {_COMPLETED: "yes"}}, "spec": {"volumeName": name}}
            if not claim["spec"].get("volumeName"):
                patch["metadata"]["annotations"][_BY_CONTROLLER] = "yes"
            claim = await self.client.patch(PERSISTENTVOLUMECLAIMS, key.name, patch, key.namespace)
        modes, capacity = volume["spec"].get("accessModes") or [], volume["spec"].get("capacity") or {}
        bound = {"phase": "Bound", "accessModes": modes, "capacity": capacity}
        await _say(self.client, PERSISTENTVOLUMECLAIMS, claim, **bound)

    async def _release(self, key: Key, claim: Json | None) -> None:
        """Volumes that an earlier claim of this name had are not given to the next one."""
        for volume in self.cache(PERSISTENTVOLUMES):
            reference = volume["spec"].get("claimRef") or {}
            if (reference.get("namespace"), reference.get("name")) != (key.namespace, key.name):
                continue
            uid = reference.get("uid")
            status = volume.get("status") or {}
            if uid and (claim is None or claim["metadata"]["uid"] != uid):
                await _say(self.client, PERSISTENTVOLUMES, volume, **_left(volume))
            elif not uid and status.get("phase") not in ("Available", "Bound"):
                await _say(self.client, PERSISTENTVOLUMES, volume, phase="Available")

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

    def _unbound_of(self, pod: Json) -> list[Key]:
        return [key for key in claims_of(pod) if not pod["spec"].get("nodeName")]

    def _claims_of(self, volume: Json) -> list[Key]:
        reference = volume["spec"].get("claimRef")
        if reference:
            return [Key(reference["namespace"], reference["name"])]
        claims = self.cache(PERSISTENTVOLUMECLAIMS)
        return [key_of(each) for each in claims if (each.get("status") or {}).get("phase") != "Bound"]


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
            await _say(self.client, PERSISTENTVOLUMES, volume, phase="Available")
        except NotFound:
            return


def claims_of(pod: Json) -> list[Key]:
    """The claims that a pod mounts."""
    sources = [v.get("persistentVolumeClaim") for v in pod["spec"].get("volumes") or ()]
    return [Key(pod["metadata"]["namespace"], source["claimName"]) for source in sources if source]


async def _say(client: Client, resource: Resource, obj: Json, **fields: Any) -> None:
    """In the status, of which the rest stays."""
    await patch_status(client, resource, obj, {**(obj.get("status") or {}), **fields})


def _left(volume: Json) -> Json:
    """What becomes of a volume whose claim is gone: nobody here deletes data."""
    if volume["spec"].get("persistentVolumeReclaimPolicy") != "Delete":
        return {"phase": "Released"}
    path = (volume["spec"].get("hostPath") or {}).get("path")
    why = f"host_path deleter only supports /tmp/.+ but received provided {path}"
    name = volume["metadata"]["name"]
    other = f'error getting deleter volume plugin for volume "{name}": no deletable volume plugin matched'
    return {"phase": "Failed", "message": why if path else other}


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
