"""The few calls to the API server that a pod needs, with its service account."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
import urllib.parse
from collections.abc import Callable

from .timeline import say

ACCOUNT = os.environ.get("SERVICE_ACCOUNT_DIR", "/var/run/secrets/kubernetes.io/serviceaccount")
WATCH_SECONDS = 50


def in_cluster() -> bool:
    """Whether there is an API server to talk to."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


def connect() -> tuple[http.client.HTTPSConnection, dict[str, str]]:
    """Open a connection; the token is read anew, because the kubelet rotates it."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
    with open(f"{ACCOUNT}/token", encoding="utf-8") as file:
        token = file.read().strip()
    context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=WATCH_SECONDS + 10)
    return connection, {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def patch_pod(namespace: str, name: str, annotations: dict[str, str]) -> None:
    """Merge annotations into a pod."""
    connection, headers = connect()
    headers["Content-Type"] = "application/merge-patch+json"
    body = json.dumps({"metadata": {"annotations": annotations}})
    try:
        connection.request("PATCH", f"/api/v1/namespaces/{namespace}/pods/{name}", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise OSError(f"PATCH pod {namespace}/{name}: HTTP {answer.status} {text[:200]!r}")
    finally:
        connection.close()


def wait_for_dataload(namespace: str, name: str, begin: Callable[[str], None]) -> str:
    """Once the DataLoad is complete, what it has loaded; follows it by watch, through any interruption.

    Before, `begin` is told what it will be each time that is said: then nothing but weights is missing, and
    what is there of those is of that version.
    """
    said, pause = "", 0.1
    while True:
        try:
            for phase, version in _phases(namespace, name):
                pause = 0.1
                if phase == "Complete":
                    return str(version)
                if version:
                    begin(version)
                if phase == "Failed" and said != phase:
                    say(f"DataLoad {namespace}/{name} failed; waiting until it is repeated")
                said = phase
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            if str(error) != said:
                said = str(error)
                say(f"cannot watch DataLoad {namespace}/{name}, trying again: {error}")
        time.sleep(pause)
        pause = min(2.0, pause * 2)


def _phases(namespace: str, name: str):  # type: ignore[no-untyped-def]
    """The DataLoad's phase and version now and at every change, until the server ends the watch."""
    query = {
        "fieldSelector": f"metadata.name={name}",
        "watch": "true",
        "timeoutSeconds": str(WATCH_SECONDS),
    }
    path = f"/apis/data.fluid.io/v1alpha1/namespaces/{namespace}/dataloads?{urllib.parse.urlencode(query)}"
    connection, headers = connect()
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        if answer.status >= 300:
            raise OSError(f"HTTP {answer.status} {answer.read(200)!r}")
        while line := answer.readline():
            event = json.loads(line)
            if event.get("type") in ("ADDED", "MODIFIED"):
                status = event["object"].get("status") or {}
                version = (status.get("infos") or {}).get("version", "")
                yield str(status.get("phase", "")), str(version)
    finally:
        connection.close()
