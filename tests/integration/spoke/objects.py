"""Objects that the spoke's tests ship."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Json


def config_map(name: str, namespace: str, **data: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def namespace_object(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def deployment(name: str, namespace: str, replicas: int = 1, image: str = "busybox") -> Json:
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": image, "command": ["sleep", "1000"]}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def widget_crd(plural: str) -> Json:
    """A CRD of its own group for each test: what one test deletes another does not miss."""
    group = f"{plural}.spoke.test"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural, "kind": plural.capitalize()},
            "versions": [version],
        },
    }


def widget(plural: str, name: str, namespace: str, **spec: Any) -> Json:
    return {
        "apiVersion": f"{plural}.spoke.test/v1",
        "kind": plural.capitalize(),
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def config_for(resource: str, name: str, namespace: str, group: str = "", **options: Any) -> Json:
    """An entry of manifestConfigs."""
    identifier = {"group": group, "resource": resource, "name": name, "namespace": namespace}
    return {"resourceIdentifier": identifier, **options}
