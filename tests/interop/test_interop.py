"""One scenario, whoever plays the parts; ours beside all of OCM's; and one taking over from the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.cluster import ManagedCluster
from addon_framework.api.core import CRDS, DEPLOYMENTS
from addon_framework.api.meta import Json
from addon_framework.api.work import AppliedManifestWork, ManifestWork
from tests.interop import identity, scenario
from tests.interop.conftest import on_stage
from tests.interop.fleet import CLUSTER, Fleet
from tests.interop.objects import PLUGIN, TEMPLATE
from tests.interop.parts import HUB_PARTS, PARTS, Cast


@pytest.mark.timeout(600)
async def test_cast(cast: Cast, ocm_programs: Path, tmp_path: Path) -> None:
    # OCM's add-on manager knows nothing of plug-ins; ours beside it is another test.
    addons = [TEMPLATE] if "addons" in cast.ocm else [TEMPLATE, PLUGIN]
    async with on_stage(cast, tmp_path) as fleet:
        await scenario.join(fleet)
        await identity.renew(fleet)
        await identity.reject(fleet)
        await scenario.decide(fleet)
        await scenario.send_work(fleet)
        await scenario.fan_out(fleet)
        await scenario.lose_touch(fleet)
        for name in addons:
            await scenario.install_addon(fleet, name)
        for name in addons:
            await scenario.reconfigure_addon(fleet, name)
        await scenario.leave_placement(fleet, TEMPLATE)
        for name in addons:
            await scenario.remove_addon(fleet, name)
        await scenario.detach(fleet)


async def reasons(fleet: Fleet) -> Json:
    """Why `fleetadm hub run` runs what it runs, by its log: as soon as it has looked."""

    async def told() -> Json | None:
        lines = fleet.programs.log("our-hub").read_text().splitlines()
        said = [json.loads(line) for line in lines if line.endswith("}")]
        return next((line for line in said if line["event"] == "hub manager runs"), None)

    found: Json = await fleet.until(told)
    return found


@pytest.mark.timeout(600)
async def test_our_manager_beside_all_of_ocm(ocm_programs: Path, tmp_path: Path) -> None:
    """Nothing is named: what OCM runs is left to it, and plug-ins are ours."""
    async with on_stage(Cast(frozenset(PARTS)), tmp_path) as fleet:
        await scenario.join(fleet, our_choice=True)
        said = await reasons(fleet)
        for part in ("registration", "placement", "work"):
            assert said[part].startswith("left to Lease open-cluster-management-hub/"), said
        assert said["addons"].startswith("ours for plug-ins; install strategies and configs left to Lease"), (
            said
        )
        await scenario.decide(fleet)
        for name in (TEMPLATE, PLUGIN):
            await scenario.install_addon(fleet, name)
        for name in (TEMPLATE, PLUGIN):
            await scenario.reconfigure_addon(fleet, name)
        await scenario.leave_placement(fleet, PLUGIN)
        for name in (TEMPLATE, PLUGIN):
            await scenario.remove_addon(fleet, name)
        await scenario.detach(fleet)


@pytest.mark.timeout(600)
async def test_our_controllers_where_webhooks_of_ocm_have_stayed(ocm_programs: Path, tmp_path: Path) -> None:
    async with on_stage(Cast(frozenset()), tmp_path) as fleet:
        await scenario.join(fleet, webhooks=True)
        await scenario.decide(fleet)
        await scenario.send_work(fleet)
        await scenario.lose_touch(fleet)
        await scenario.detach(fleet)


@pytest.mark.timeout(600)
async def test_what_a_hub_lacks_is_added(ocm_programs: Path, tmp_path: Path) -> None:
    """OCM registers and places; nobody names that ours do the rest."""
    cast = Cast(frozenset({"registration", "placement"}))
    async with on_stage(cast, tmp_path) as fleet:
        await scenario.join(fleet, our_choice=True)
        said = await reasons(fleet)
        assert [part for part in HUB_PARTS if said[part].startswith("ours")] == ["work", "addons"], said
        await scenario.decide(fleet)
        await scenario.fan_out(fleet)
        await scenario.install_addon(fleet, PLUGIN)


@pytest.mark.timeout(600)
async def test_hubs_of_ocm_keep_their_kinds(ocm_programs: Path, tmp_path: Path) -> None:
    """`fleetadm hub install` on OCM's hub adds what is not there, and changes nothing that is."""
    async with on_stage(Cast(frozenset(PARTS)), tmp_path) as fleet:
        if fleet.source is None:
            pytest.skip("OCM_SOURCE names no checkout with OCM's CRDs")
        await fleet.ocm.install_crds(fleet.hub, fleet.source, "hub")
        before = {crd["metadata"]["name"]: crd["spec"] for crd in (await fleet.hub.list(CRDS))["items"]}
        fleet.programs.fleetadm("install", "hub", "install", "--kubeconfig", fleet.hub_kubeconfig)
        assert await fleet.programs.exit_code("install") == 0, fleet.programs.tails()
        after = {crd["metadata"]["name"]: crd["spec"] for crd in (await fleet.hub.list(CRDS))["items"]}
        assert {name: after[name] for name in before} == before
        assert "inferencedeployments.inference.boundaryless.io" not in before


async def uids(fleet: Fleet) -> dict[str, str]:
    """Who is who: what must be the same when another has taken over."""
    hub = [
        (ManagedCluster.RESOURCE, None),
        (ManagedClusterAddOn.RESOURCE, CLUSTER),
        (ManifestWork.RESOURCE, CLUSTER),
    ]
    found = [(resource, await fleet.hub.list(resource, namespace)) for resource, namespace in hub]
    found += [(kind, await fleet.spoke.list(kind)) for kind in (AppliedManifestWork.RESOURCE, DEPLOYMENTS)]
    return {
        f"{resource.plural}/{obj['metadata']['name']}": obj["metadata"]["uid"]
        for resource, listed in found
        for obj in listed["items"]
    }


@pytest.mark.timeout(900)
async def test_one_takes_over_from_the_other(ocm_programs: Path, tmp_path: Path) -> None:
    """OCM's fleet becomes ours part by part, and OCM's again; nothing on it is lost, or made anew."""
    async with on_stage(Cast(frozenset(PARTS)), tmp_path) as fleet:
        await scenario.join(fleet)
        await scenario.decide(fleet)
        await scenario.send_work(fleet)
        await scenario.install_addon(fleet, TEMPLATE)
        known = await uids(fleet)
        for count, part in enumerate([*PARTS, *PARTS], start=4):
            await fleet.hand_over(part)
            await scenario.scale_work(fleet, count)
            await scenario.reconfigure_addon(fleet, TEMPLATE, f"hello {count}")
            await scenario.until_well(fleet)
            assert await uids(fleet) == known, f"after {part} was handed over"
        await scenario.remove_addon(fleet, TEMPLATE)
        await scenario.detach(fleet)
