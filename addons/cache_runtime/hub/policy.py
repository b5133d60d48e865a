"""What keeps a hub that is one of its own clusters from overwriting a Dataset with what it sends of it. Pure.

A ManagedCluster may say late, or never, that it is the hub. Until then a work's objects would have the names
of those that they are made from.
https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
"""

from __future__ import annotations

from addon_framework.api.data import GROUP, LOCAL_GROUP
from addon_framework.api.meta import Json
from addons.cache_runtime.hub.names import COPY_ANNOTATION, LOCAL_CLUSTER_LABEL

_API = "admissionregistration.k8s.io/v1"
_NAME = f"fleet-copies.{LOCAL_GROUP}"


def policy() -> list[Json]:
    """The policy, and what puts it in force."""
    rule = {
        "apiGroups": [GROUP, LOCAL_GROUP],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": ["*"],
    }
    validation = {
        "expression": f"!{_marked('object')} || {_marked('oldObject')}",
        "message": "a copy for a cluster may not overwrite the hub's object: label the ManagedCluster that "
        f"is the hub with {LOCAL_CLUSTER_LABEL}=true",
        "reason": "Forbidden",
    }
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [validation],
    }
    binding = {"policyName": _NAME, "validationActions": ["Deny"]}
    return [
        {"apiVersion": _API, "kind": kind, "metadata": {"name": _NAME}, "spec": body}
        for kind, body in (("ValidatingAdmissionPolicy", spec), ("ValidatingAdmissionPolicyBinding", binding))
    ]


def _marked(where: str) -> str:
    annotations = f"{where}.metadata.annotations"
    return f"(has({annotations}) && '{COPY_ANNOTATION}' in {annotations})"
