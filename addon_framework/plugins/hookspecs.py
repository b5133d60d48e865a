"""The hooks a plug-in may implement. They are the product's public API.

A plug-in is a class (or module, or object) named by an entry point of the group `boundaryless.addons`. It
marks the hooks it wants with `@hookimpl` and accepts only the arguments it needs. Hooks named `addon_*` are
asked of the one add-on they concern; the others are asked of every plug-in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from addon_framework.api.meta import Json
    from addon_framework.kube import Controller
    from addon_framework.plugins.types import AddonDescription, AgentContext, HubPermission, Registration

PROJECT = "boundaryless"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """Every hook with its arguments. Bodies are empty: pluggy reads names and signatures only."""

    @hookspec(firstresult=True)
    def addon_describe(self) -> AddonDescription | None:
        """Say who the add-on is. The only hook that every add-on must have."""

    @hookspec(firstresult=True)
    def addon_manifests(self, cluster: Json, addon: Json, values: Mapping[str, Any]) -> Sequence[Json] | None:
        """Return the objects to apply on one cluster.

        `cluster` is the ManagedCluster, `addon` the ManagedClusterAddOn. `values` holds cluster_name,
        install_namespace, hub_kubeconfig_secret and the variables of the add-on's configuration. Must be pure
        (same arguments, same objects), because it is called whenever something might have changed.
        """

    @hookspec(firstresult=True)
    def addon_hub_permissions(self, cluster_name: str) -> Sequence[HubPermission] | None:
        """Return what this cluster's agent may do on the hub.

        RBAC rules and CurrentCluster hold in its cluster namespace only; SingleNamespace binds a Role in a
        namespace that the agents of all clusters share.
        """

    @hookspec(firstresult=True)
    def addon_registrations(self, cluster_name: str) -> Sequence[Registration] | None:
        """Return the hub identities the agent needs. None: one KubeClient. Empty: no hub access."""

    @hookspec(firstresult=True)
    def addon_csr_approve(self, cluster: Json, addon: Json, csr: Json) -> bool | None:
        """Decide on a certificate request that OCM's default checks have passed; None approves it."""

    @hookspec(firstresult=True)
    def addon_csr_sign(self, cluster: Json, addon: Json, csr: Json) -> bytes | None:
        """Return the PEM certificate for an approved request of a CustomSigner without a `signing_ca`."""

    @hookspec(firstresult=True)
    def addon_agent(self, context: AgentContext) -> Awaitable[None] | None:
        """Run the agent in its pod on the spoke until cancelled. Usually an `async def`."""

    @hookspec(firstresult=True)
    def addon_hub_controllers(self) -> Sequence[Controller] | None:
        """Return controllers that run inside the hub manager."""

    @hookspec(firstresult=True)
    def addon_hub_manifests(self) -> Sequence[Json] | None:
        """Return hub objects the add-on needs (CRDs, cluster roles), applied when the manager starts."""

    @hookspec(firstresult=True)
    def addon_commands(self) -> Sequence[click.Command] | None:
        """Return commands to add to fleetadm."""

    @hookspec(firstresult=True)
    def mutate_manifests(
        self, cluster: Json, addon: Json, manifests: Sequence[Json]
    ) -> Sequence[Json] | None:
        """Change the manifests of any add-on before they are shipped; None leaves them. Must be pure."""

    @hookspec(firstresult=True)
    def placement_scores(self, placement: Json, clusters: Sequence[Json]) -> Mapping[str, int] | None:
        """Contribute a score from -100 to 100 per cluster name, to placements that name the plug-in."""

    @hookspec(firstresult=True)
    def decision_observed(self, placement: Json, added: Sequence[str], removed: Sequence[str]) -> None:
        """Learn that a placement's decision changed, after it was written."""
