"""Events for people: what a component did, or could not do, with an object, as `kubectl describe` shows it.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import secrets

from addon_framework.api.meta import Json
from addon_framework.api.time import now_rfc3339

_MAX_MESSAGE = 1024


def event_about(
    obj: Json, kind: str, reason: str, message: str, *, component: str, host: str = "", name: str = ""
) -> Json:
    """`kind` is Normal or Warning. In the object's namespace, `default` for what has none; with a name of its
    own unless one is given."""
    metadata, now = obj["metadata"], now_rfc3339()
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": name or f"{metadata['name']}.{secrets.token_hex(8)}",
            "namespace": metadata.get("namespace") or "default",
        },
        "involvedObject": {
            "apiVersion": obj.get("apiVersion", ""),
            "kind": obj.get("kind", ""),
            **{each: metadata.get(each, "") for each in ("name", "namespace", "uid", "resourceVersion")},
        },
        "type": kind,
        "reason": reason,
        "message": message[:_MAX_MESSAGE],
        "source": {"component": component} | ({"host": host} if host else {}),
        "reportingComponent": component,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
