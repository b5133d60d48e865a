"""Status on its way to the API: of several only the last, and of that only what changed."""

from __future__ import annotations

import asyncio

import structlog

from addon_framework.api.core import PODS
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError, Client, NotFound, merge_patch

log = structlog.get_logger(__name__)
_RETRY = 0.3
_OTHERS = ("qosClass", "nominatedNodeName", "resourceClaimStatuses", "ephemeralContainerStatuses")


class Reports:
    """Sends pods' statuses; a server that is away gets them when it is back."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._wanted: dict[str, tuple[Json, Json]] = {}  # uid: metadata, status
        self._known: dict[str, Json] = {}  # uid: the pod as the server has it, by our writes or by the watch
        self._changed = asyncio.Event()

    def report(self, pod: Json, status: Json) -> None:
        """Soon."""
        self._wanted[pod["metadata"]["uid"]] = (pod["metadata"], status)
        self._changed.set()

    def seen(self, pod: Json) -> None:
        """What the watch says; our own last write may be newer."""
        uid = pod["metadata"]["uid"]
        before = self._known.get(uid)
        if before is None or _version(pod) >= _version(before):
            self._known[uid] = pod

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        self._known.pop(uid, None)
        self._wanted.pop(uid, None)

    async def run(self) -> None:
        """Until cancelled. Several at a time, each pod's in order."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            batch, self._wanted = self._wanted, {}
            sent = await asyncio.gather(*(self._send(*item) for item in batch.values()))
            unsent = {uid: item for (uid, item), good in zip(batch.items(), sent, strict=True) if not good}
            if unsent:
                await asyncio.sleep(_RETRY)
                self._wanted = {uid: i for uid, i in unsent.items() if uid in self._known} | self._wanted
                self._changed.set()

    async def delete(self, metadata: Json) -> None:
        """Takes the object away for good, however often it takes to get through."""
        delay = 0.1
        while True:
            try:
                await self._client.delete(
                    PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"], grace_period=0
                )
                return
            except ApiError as error:
                if error.status in (404, 409):  # gone, or another one of its name
                    return
                log.debug("pod not deleted yet", pod=metadata["name"], reason=error.message)
            await asyncio.sleep(delay)
            delay = min(2 * delay, 5.0)

    async def _send(self, metadata: Json, status: Json) -> bool:
        """Whether it is done; what the server refuses for good is."""
        current = self._known.get(metadata["uid"])
        if current is None:
            return True
        before = current.get("status") or {}
        ours = {condition["type"] for condition in status["conditions"]}
        others = [
            c for c in before.get("conditions") or () if c["type"] not in ours
        ]  # such as readiness gates
        kept = {name: before[name] for name in _OTHERS if name in before}
        patch = merge_patch(before, status | kept | {"conditions": [*status["conditions"], *others]})
        if not patch:
            return True
        body: Json = {"metadata": {"uid": metadata["uid"]}, "status": patch}
        try:
            answer = await self._client.patch(
                PODS, metadata["name"], body, metadata["namespace"], subresource="status"
            )
        except NotFound:
            return True
        except ApiError as error:
            log.debug("status not sent", pod=metadata["name"], reason=error.message)
            return not (error.status == 0 or error.status >= 429)
        self.seen(answer)
        return True


def _version(pod: Json) -> int:
    return int(pod["metadata"]["resourceVersion"])
