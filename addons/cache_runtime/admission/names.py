"""What the webhooks and the agent's roles are called, and where it listens."""

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
# Which it may give itself, in one namespace at a time: for commands in pods, and for replacing clients.
EXEC_ROLE = "open-cluster-management:cache-runtime:exec"
RENEW_ROLE = "open-cluster-management:cache-runtime:renew"
CONFIGURATION = "boundaryless-cache-runtime"  # of both
