"""Other people's clients."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import kubernetes
import pytest

from tests.conformance.api import Api
from tests.conformance.objects import deployment


@pytest.fixture
def official(kubeconfig: Path) -> Any:
    """Kubernetes' own Python client."""
    return kubernetes.config.new_client_from_config(str(kubeconfig))


async def test_55_the_official_python_client(official: Any, namespace: str) -> None:
    def use() -> list[str]:
        core, apps = kubernetes.client.CoreV1Api(official), kubernetes.client.AppsV1Api(official)
        metadata = kubernetes.client.V1ObjectMeta(name="a")
        core.create_namespaced_config_map(
            namespace, kubernetes.client.V1ConfigMap(metadata=metadata, data={"k": "v"})
        )
        listed = core.list_namespaced_config_map(namespace)
        watch = kubernetes.watch.Watch()
        core.patch_namespaced_config_map("a", namespace, {"data": {"k": "w"}})
        core.delete_namespaced_config_map("a", namespace)
        events = watch.stream(
            core.list_namespaced_config_map,
            namespace,
            resource_version=listed.metadata.resource_version,
            timeout_seconds=60,
        )
        seen: list[str] = []
        while "DELETED" not in seen:
            event = next(events)
            if event["object"].metadata.name == "a":
                seen.append(event["type"])
        watch.stop()
        made = apps.create_namespaced_deployment(namespace, deployment("web"))
        assert made.spec.strategy.type == "RollingUpdate"
        with pytest.raises(kubernetes.client.ApiException) as caught:
            core.read_namespaced_config_map("a", namespace)
        assert caught.value.status == 404
        return seen

    assert await asyncio.to_thread(use) == ["MODIFIED", "DELETED"]


async def test_55_the_official_dynamic_client(official: Any, namespace: str) -> None:
    def use() -> None:
        dynamic = kubernetes.dynamic.DynamicClient(official)
        resource = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
        applied = dynamic.server_side_apply(
            resource, body=deployment("web"), namespace=namespace, field_manager="suite"
        )
        assert applied.metadata.name == "web"
        assert [each.metadata.name for each in resource.get(namespace=namespace).items] == ["web"]

    await asyncio.to_thread(use)


async def test_controllers_with_a_port_of_their_own_learn_whom_to_trust(api: Api) -> None:
    """client-go's delegated authentication reads it, and complains for ever where it is not."""
    where = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
    found = (await api.get(where)).ok()
    assert "BEGIN CERTIFICATE" in found["data"]["client-ca-file"]
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles"
    role = (await api.get(f"{roles}/extension-apiserver-authentication-reader")).ok()
    assert role["rules"][0]["resourceNames"] == ["extension-apiserver-authentication"]
