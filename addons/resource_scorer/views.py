"""What the scorer reads of nodes and pods, and nothing more: a cluster may have a hundred thousand pods."""

from __future__ import annotations

from typing import Any

from addon_framework.api.meta import Struct

Quantities = dict[str, Any]

# A node that Kubernetes itself or its installer closed to ordinary pods. Other taints, such as the one that
# keeps a GPU node for those who ask for GPUs, do not make what the node has unavailable.
_CLOSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "node-role.kubernetes.io/")


class Metadata(Struct, frozen=True):
    """Who it is."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class Resources(Struct, frozen=True):
    """What a container, or a whole pod, asks for."""

    requests: Quantities | None = None
    limits: Quantities | None = None

    @property
    def wanted(self) -> Quantities:
        """Requests; a resource with a limit only is requested to that limit."""
        return {**(self.limits or {}), **(self.requests or {})}


class Container(Struct, frozen=True):
    """A container; one that is an init container and always restarts is a sidecar."""

    resources: Resources | None = None
    restart_policy: str = ""


class PodSpec(Struct, frozen=True):
    """Where it runs and what it asks for."""

    node_name: str = ""
    containers: list[Container] = []
    init_containers: list[Container] | None = None
    overhead: Quantities | None = None
    resources: Resources | None = None


class ExtendedRequest(Struct, frozen=True):
    """An extended resource that a claim gives, and not the node's own."""

    resource_name: str = ""


class ExtendedClaim(Struct, frozen=True):
    """The claim that the scheduler made for a pod's extended resources."""

    request_mappings: list[ExtendedRequest] | None = None


class PodStatus(Struct, frozen=True):
    """Whether it has ended, and what of its requests a claim holds."""

    phase: str = ""
    extended_resource_claim_status: ExtendedClaim | None = None


class Pod(Struct, frozen=True):
    """A pod."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def claimed(self) -> frozenset[str]:
        """Resources that it has from a claim: the claim counts then, not the request."""
        claim = self.status.extended_resource_claim_status
        return frozenset(r.resource_name for r in (claim.request_mappings or [] if claim else []))

    @property
    def node(self) -> str:
        """The node it holds resources on; "" when it holds none. One that is being ended still holds them."""
        return "" if self.status.phase in ("Succeeded", "Failed") else self.spec.node_name


class Taint(Struct, frozen=True):
    """What keeps pods away."""

    key: str = ""
    effect: str = ""


class NodeSpec(Struct, frozen=True):
    """Whether it takes pods."""

    unschedulable: bool = False
    taints: list[Taint] | None = None


class NodeCondition(Struct, frozen=True):
    """One of its conditions."""

    type: str = ""
    status: str = ""


class NodeStatus(Struct, frozen=True):
    """What it has."""

    allocatable: Quantities | None = None
    conditions: list[NodeCondition] | None = None


class Node(Struct, frozen=True):
    """A node."""

    metadata: Metadata = Metadata()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def schedulable(self) -> bool:
        """Ready, not cordoned, not closed by a taint of Kubernetes' own."""
        ready = any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or [])
        closed = any(
            taint.effect in ("NoSchedule", "NoExecute") and taint.key.startswith(_CLOSING)
            for taint in self.spec.taints or []
        )
        return ready and not closed and not self.spec.unschedulable
