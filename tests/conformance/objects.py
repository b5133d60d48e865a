"""Objects that the suite makes."""

from __future__ import annotations

import secrets
from typing import Any

from addon_framework.api.meta import Json


def config_map(name: str, data: dict[str, str] | None = None, **metadata: Any) -> Json:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": data or {},
    }


def config_maps(namespace: str, name: str = "") -> str:
    """The path of a namespace's ConfigMaps, or of one."""
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def deployment(name: str, replicas: int = 1, **containers: str) -> Json:
    """A Deployment; `containers` are names and images."""
    listed = [{"name": key, "image": image} for key, image in (containers or {"c": "busybox"}).items()]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": listed}},
        },
    }


def deployments(namespace: str, name: str = "") -> str:
    """The path of a namespace's Deployments, or of one."""
    return f"/apis/apps/v1/namespaces/{namespace}/deployments" + (f"/{name}" if name else "")


class Custom:
    """A CustomResourceDefinition with a name of its own, and its objects."""

    def __init__(self, schema: Json, **version: Any) -> None:
        self.mark = secrets.token_hex(4)
        self.group, self.kind, self.plural = f"g{self.mark}.example.com", "Widget", "widgets"
        self.name = f"{self.plural}.{self.group}"
        self.versions: list[Json] = [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": schema}},
                **version,
            }
        ]
        self.conversion: Json | None = None

    def definition(self) -> Json:
        """The CRD."""
        names = {"plural": self.plural, "singular": "widget", "kind": self.kind, "shortNames": ["wd"]}
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.name},
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": names,
                "versions": self.versions,
                **({"conversion": self.conversion} if self.conversion else {}),
            },
        }

    def path(self, namespace: str, name: str = "", version: str = "v1") -> str:
        """Of the collection or an object."""
        tail = f"/{name}" if name else ""
        return f"/apis/{self.group}/{version}/namespaces/{namespace}/{self.plural}{tail}"

    def object(self, name: str, version: str = "v1", **content: Any) -> Json:
        """One of them."""
        return {
            "apiVersion": f"{self.group}/{version}",
            "kind": self.kind,
            "metadata": {"name": name},
            **content,
        }
