"""What we convert between v1alpha1 and v1beta1 is what OCM's own webhook converts."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from addon_framework.api.addon_v1beta1 import NEW, OLD, convert
from addon_framework.local.pki import Authority
from addon_framework.local.private import write_private
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from tests.interop.programs import Programs

Json = dict[str, Any]
KUBE = "kubernetes.io/kube-apiserver-client"
KIND = {"group": "addon.open-cluster-management.io", "resource": "addondeploymentconfigs"}
WHERE = {"namespace": "n", "name": "c"}
CONDITION = {
    "type": "Progressing",
    "status": "False",
    "reason": "Completed",
    "message": "done",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def obj(kind: str, api_version: str = OLD, **parts: Any) -> Json:
    metadata: Json = {"name": "hello", "uid": "u", "labels": {"a": "b"}}
    if kind == "ManagedClusterAddOn":
        metadata["namespace"] = "c1"
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **copy.deepcopy(parts)}


def annotated(made: Json, **annotations: str) -> Json:
    made["metadata"]["annotations"] = annotations
    return made


HASHED = {**WHERE, "specHash": "h"}
PLACEMENT = {
    "namespace": "p",
    "name": "all",
    "configs": [{**KIND, **WHERE}],
    "rolloutStrategy": {"type": "Progressive", "progressive": {"maxConcurrency": 2, "minSuccessTime": "10s"}},
}
CASES = [
    obj(
        "ClusterManagementAddOn",
        spec={
            "addOnMeta": {"displayName": "Hello", "description": "there"},
            "supportedConfigs": [
                {**KIND, "defaultConfig": WHERE},
                {"group": "g", "resource": "r"},
                {"group": "", "resource": "configmaps"},
            ],
            "installStrategy": {"type": "Placements", "placements": [PLACEMENT]},
        },
        status={
            "defaultconfigReferences": [{**KIND, "desiredConfig": HASHED}],
            "installProgressions": [
                {
                    "namespace": "p",
                    "name": "all",
                    "conditions": [CONDITION],
                    "configReferences": [{**KIND, "desiredConfig": HASHED, "lastAppliedConfig": HASHED}],
                }
            ],
        },
    ),
    obj("ClusterManagementAddOn", spec={"installStrategy": {"type": "Manual"}}),
    obj(
        "ManagedClusterAddOn",
        spec={"installNamespace": "there", "configs": [{**KIND, **WHERE}]},
        status={
            "namespace": "there",
            "kubeClientDriver": "token",
            "conditions": [CONDITION],
            "healthCheck": {"mode": "Customized"},
            "supportedConfigs": [KIND],
            "relatedObjects": [{"group": "g", "resource": "r", "name": "n"}],
            "registrations": [
                {"signerName": KUBE, "subject": {"user": "u", "groups": ["g"]}},
                {"signerName": "a.io/b", "subject": {"user": "v", "organizationUnit": ["o"]}},
            ],
            "configReferences": [
                {
                    **KIND,
                    **WHERE,
                    "desiredConfig": HASHED,
                    "lastAppliedConfig": HASHED,
                    "lastObservedGeneration": 3,
                }
            ],
        },
    ),
    annotated(obj("ManagedClusterAddOn", spec={}), other="annotation"),
]


@pytest.fixture
async def webhook(ocm_programs: Path, kubeconfig: Path, tmp_path: Path) -> AsyncIterator[str]:
    """OCM's conversion webhook, running."""
    pair = Authority.create("ocm").issue("webhook", usage="server auth", addresses=["127.0.0.1"])
    (tmp_path / "tls.crt").write_bytes(pair.cert)
    write_private(tmp_path / "tls.key", pair.key)
    programs = Programs(tmp_path)
    port = free_port()
    programs.start(
        "webhook",
        *(ocm_programs / "addon", "webhook-server", "--certdir", tmp_path, "--port", str(port)),
        *("--kubeconfig", kubeconfig, "--health-probe-port", str(free_port())),
        *("--metrics-port", str(free_port())),
    )
    try:
        yield f"https://127.0.0.1:{port}/convert"
    finally:
        programs.close()


async def ask(url: str, objects: list[Json], api_version: str) -> list[Json]:
    request = {"uid": "u", "desiredAPIVersion": api_version, "objects": objects}
    review = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "request": request}

    async def post() -> Json:
        async with aiohttp.ClientSession() as session, session.post(url, json=review, ssl=False) as answer:
            answered: Json = await answer.json(content_type=None)
            return answered

    response = (await eventually(post, timeout=60, swallow=(OSError, aiohttp.ClientError)))["response"]
    assert response["result"]["status"] == "Success", response
    converted: list[Json] = response["convertedObjects"]
    return converted


async def test_both_ways(webhook: str) -> None:
    there = await ask(webhook, CASES, NEW)
    for old, theirs in zip(CASES, there, strict=True):
        assert without_nothing(convert(old, NEW)) == without_nothing(theirs)
    back = await ask(webhook, there, OLD)
    for new, theirs in zip(there, back, strict=True):
        assert without_nothing(convert(new, OLD)) == without_nothing(theirs)


def without_nothing(value: Any) -> Any:
    """Go writes some fields that say nothing, such as "status": {} and "creationTimestamp": null."""
    if isinstance(value, dict):
        kept = {name: without_nothing(item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item not in (None, {}, [], "", 0)}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value
