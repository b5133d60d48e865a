"""Objects that these tests have in common."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def deployment(**spec: Any) -> Json:
    """An InferenceDeployment as the API server would return it."""
    return {
        "apiVersion": "inference.boundaryless.io/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {
            "name": "demo",
            "namespace": "team",
            "uid": "u1",
            "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"model": {"name": "llama", "source": "s3://models/llama"}, **spec},
    }


def said(cluster: str, **values: Any) -> Json:
    """A ManifestWork whose agent fed these values back."""
    return {
        "metadata": {"name": "inference-team.demo", "namespace": cluster},
        "status": {
            "resourceStatus": {
                "manifests": [
                    {
                        "resourceMeta": {"kind": "InferenceEndpoint"},
                        "statusFeedback": {
                            "values": [
                                {
                                    "name": name,
                                    "fieldValue": {"type": "Integer", "integer": value}
                                    if isinstance(value, int)
                                    else {"type": "String", "string": value},
                                }
                                for name, value in values.items()
                            ]
                        },
                    }
                ]
            }
        },
    }
