"""HorizontalPodAutoscalers keep within their bounds. There are no metrics here, and they say so.

https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
"""

from __future__ import annotations

from addon_framework.api.conditions import set_condition
from addon_framework.api.core import HORIZONTALPODAUTOSCALERS
from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339
from addon_framework.kube import ApiError, Controller, Key, Watch, patch_status
from addon_framework.local.events import Recorder

_PERIOD = 15.0  # seconds, as kube-controller-manager has it
_NO_METRICS = (
    "the HPA was unable to compute the replica count: unable to fetch metrics: the embedded fleet has no "
    "metrics API (the server could not find the requested resource)"
)


class AutoscalerController(Controller):
    """Looks at each one now and then, as its target's size is not watched."""

    name = "horizontal-pod-autoscaler"

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def watches(self) -> list[Watch]:
        """The autoscalers."""
        return [Watch(HORIZONTALPODAUTOSCALERS)]

    async def reconcile(self, key: Key) -> float | None:
        """One autoscaler."""
        scaler = self.cache(HORIZONTALPODAUTOSCALERS).get(key)
        if scaler is None or scaler["metadata"].get("deletionTimestamp"):
            return None
        spec, status = scaler["spec"], dict(scaler.get("status") or {})
        conditions = [dict(c) for c in status.get("conditions") or ()]
        target = spec["scaleTargetRef"]
        try:
            resource = await self.client.resource_for(target.get("apiVersion", "apps/v1"), target["kind"])
            path = resource.path(key.namespace, target["name"], "scale")
            scale = await self.client.request("GET", path)
        except ApiError as error:
            why = f"the HPA controller was unable to get the target's current scale: {error.message}"
            self._say(scaler, conditions, "AbleToScale", "FailedGetScale", why)
            await self._write(scaler, status, conditions)
            return _PERIOD
        message = "the HPA controller was able to get the target's current scale"
        set_condition(conditions, "AbleToScale", True, "SucceededGetScale", message)
        now = int(scale["spec"].get("replicas", 0))
        least, most = int(spec.get("minReplicas", 1)), int(spec["maxReplicas"])
        wanted = min(max(now, least), most) if now else 0
        if wanted != now:
            size: Json = {"spec": {"replicas": wanted}}
            await self.client.patch(resource, target["name"], size, key.namespace, subresource="scale")
            bound = "above Spec.MaxReplicas" if now > most else "below Spec.MinReplicas"
            reason = f"New size: {wanted}; reason: Current number of replicas {bound}"
            self._recorder.event(scaler, "Normal", "SuccessfulRescale", reason)
            status["lastScaleTime"] = now_rfc3339()
        elif not now:
            why = "scaling is disabled since the replica count of the target is zero"
            set_condition(conditions, "ScalingActive", False, "ScalingDisabled", why)
        else:
            self._say(scaler, conditions, "ScalingActive", "FailedGetResourceMetric", _NO_METRICS)
        status |= {"currentReplicas": int(scale["status"].get("replicas", 0)), "desiredReplicas": wanted}
        await self._write(scaler, status, conditions)
        return _PERIOD

    def _say(self, scaler: Json, conditions: list[Json], kind: str, reason: str, message: str) -> None:
        set_condition(conditions, kind, False, reason, message)
        self._recorder.event(scaler, "Warning", reason, message)

    async def _write(self, scaler: Json, status: Json, conditions: list[Json]) -> None:
        generation = scaler["metadata"].get("generation")
        status |= {"observedGeneration": generation} if generation else {}
        new = {**status, "conditions": conditions}
        await patch_status(self.client, HORIZONTALPODAUTOSCALERS, scaler, new, exact=True)
