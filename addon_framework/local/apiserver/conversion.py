"""One stored object under several API versions.

Versions of custom kinds differ in their name only (strategy None), or a webhook converts them. Events are the
one built-in kind that two groups show in forms of their own.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import orjson

from addon_framework.api import addon_v1beta1
from addon_framework.api.meta import Json
from addon_framework.local.apiserver import status
from addon_framework.local.apiserver.hooks import HookClient, HookError, Pending
from addon_framework.local.apiserver.registry import Kind

_NEW_EVENTS = "events.k8s.io/v1"
# https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
_NEW_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "count": "deprecatedCount",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}
_KEPT = 10_000
_SECONDS = 30.0


def in_version(kind: Kind, obj: Json, api_version: str) -> Json:
    """The object as that version shows it; the same one where nothing differs. May raise Pending."""
    current = obj.get("apiVersion")
    if current == api_version:
        return obj
    if kind.conversion is not None:
        return kind.conversion.convert([obj], api_version)[0]
    if obj.get("kind") == "Event" and _NEW_EVENTS in (current, api_version):
        names = _NEW_NAMES if api_version == _NEW_EVENTS else _OLD_NAMES
        obj = {names.get(name, name): value for name, value in obj.items()}
    return {**obj, "apiVersion": api_version}


def all_in_version(kind: Kind, objects: Sequence[Json], api_version: str) -> list[Json]:
    """The same of many, which a webhook is asked about at once."""
    if kind.conversion is not None:
        return kind.conversion.convert(objects, api_version)
    return [in_version(kind, obj, api_version) for obj in objects]


class BuiltIn:
    """OCM's conversion webhook for add-ons: no Service has to run for it here."""

    def convert(self, objects: Sequence[Json], api_version: str) -> list[Json]:
        """At once."""
        return [addon_v1beta1.convert(obj, api_version) for obj in objects]


class Conversion:
    """A custom kind's webhook, and what it has said: the same object converts to the same."""

    def __init__(self, client: HookClient, webhook: Json, kind: str) -> None:
        self._client, self._kind = client, kind
        self._config: Json = webhook.get("clientConfig") or {}
        self._versions = webhook.get("conversionReviewVersions") or ()
        self._known: OrderedDict[bytes, Json] = OrderedDict()

    def convert(self, objects: Sequence[Json], api_version: str) -> list[Json]:
        """Raises Pending for all that are not known yet."""
        keys = [_key(obj, api_version) for obj in objects]
        missing = {
            key: obj
            for key, obj in zip(keys, objects, strict=True)
            if obj["apiVersion"] != api_version and key not in self._known
        }
        if missing:
            raise Pending(lambda: self._ask(missing, api_version))
        return [
            obj if obj["apiVersion"] == api_version else self._known[key]
            for key, obj in zip(keys, objects, strict=True)
        ]

    async def _ask(self, missing: dict[bytes, Json], api_version: str) -> None:
        sent = list(missing.values())
        request = {"desiredAPIVersion": api_version, "objects": sent}
        review = ("apiextensions.k8s.io", "ConversionReview")
        try:
            response = await self._client.ask(self._config, *review, self._versions, request, _SECONDS)
            converted = self._check(response, sent, api_version)
        except HookError as error:
            message = f"conversion webhook for {sent[0]['apiVersion']}, Kind={self._kind} failed: {error}"
            raise status.StatusError(500, "", message) from None
        self._known.update(zip(missing, converted, strict=True))
        while len(self._known) > max(_KEPT, len(missing)):
            self._known.popitem(last=False)

    def _check(self, response: Json, sent: list[Json], api_version: str) -> list[Json]:
        """The converted objects; of their metadata only labels and annotations may change."""
        result = response.get("result")
        if not isinstance(result, dict) or result.get("status") != "Success":
            raise HookError(str((result or {}).get("message") if isinstance(result, dict) else result))
        converted = response.get("convertedObjects")
        if not isinstance(converted, list) or len(converted) != len(sent):
            raise HookError(f"expected {len(sent)} converted objects")
        return [_restored(old, new, api_version) for old, new in zip(sent, converted, strict=True)]


def _restored(old: Json, new: Json, api_version: str) -> Json:
    if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
        raise HookError("a converted object is no object with metadata")
    if (new.get("apiVersion"), new.get("kind")) != (api_version, old["kind"]):
        raise HookError(f"a converted object is {new.get('apiVersion')} {new.get('kind')}, not {api_version}")
    kept = {name: value for name, value in old["metadata"].items() if name not in ("labels", "annotations")}
    changed = {name: new["metadata"][name] for name in ("labels", "annotations") if name in new["metadata"]}
    return {**new, "metadata": kept | changed}


def _key(obj: Json, api_version: str) -> bytes:
    return hashlib.blake2b(orjson.dumps(obj, option=orjson.OPT_SORT_KEYS) + api_version.encode()).digest()
