"""What the webhooks are called, and where they listen."""

from __future__ import annotations

from addon_framework.api.meta import Resource

SERVICE = "cache-runtime-webhook"
PORT = 9443
_GROUP = "admissionregistration.k8s.io"
MUTATING = Resource(_GROUP, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", False)
VALIDATING = Resource(
    _GROUP, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False
)
ROLE = "open-cluster-management:cache-runtime:agent"  # what agent_manifests calls the agent's
CONFIGURATION = "boundaryless-cache-runtime"  # of both
