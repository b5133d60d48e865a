"""Whatever fails, in whatever order: once nothing does, the fleet is what its users asked for.

A machine of random steps over a real fleet: a hub and two clusters, each an API server of its own, two
managers under a lease, two agents. The invariants, which `faults/invariants.py` reads from the servers:

- no lost work: what a user asked for and the hub took is on the cluster, whole and unchanged;
- no orphan: nothing is on a cluster, and no work on the hub, that nobody asks for any more;
- no double owner: an object is owned by exactly the works that name it, a replica set and an add-on have one
  work on a cluster, and of the managers one works at a time, always;
- conditions tell the truth: who is cut off becomes Unknown and who answers is Available, whatever its clock
  says; Applied of a generation means that this is what is there; a plug-in that fails is named by its add-on,
  and no other add-on feels it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from addon_framework.api.addon import ManagedClusterAddOn
from addon_framework.api.conditions import get_condition
from addon_framework.api.core import CONFIGMAPS, LEASES, ROLEBINDINGS, SECRETS
from addon_framework.api.meta import Resource
from addon_framework.api.work import AppliedManifestWork, ManifestWork
from addon_framework.hub.addons import csr, deploy_controller, hub_manifests
from addon_framework.kube import ApiError, NotFound
from addon_framework.plugins import calls
from addon_framework.testing import eventually
from tests.integration.faults.addons import FAULTY, STEADY
from tests.integration.faults.invariants import SHARED, Wanted, check
from tests.integration.faults.world import Spoke, World
from tests.integration.spoke.objects import config_map

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("BOUNDARYLESS_TEST_KUBECONFIG")), reason="kills API servers, so they must be ours"
)

SETTLED_WITHIN = 120.0  # seconds; alone on a machine it takes a few
PLUGIN_AGAIN = 2.0  # seconds until a plug-in that has failed is asked again
MORE = os.environ.get("FAULT_SEQUENCES")  # so many, by chance; without it the same few each time
CHECKED = settings(
    max_examples=int(MORE or 8),
    stateful_step_count=20 if MORE else 15,
    derandomize=not MORE,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # a fleet is no place to shrink in
    suppress_health_check=list(HealthCheck),
    verbosity=Verbosity.verbose,  # a failure shows the steps that led to it
)
clusters, names, values = st.integers(0, 1), st.sampled_from(["w0", "w1"]), st.sampled_from("123456")


class Faults(RuleBasedStateMachine):
    """Users work and things fail; `teardown` mends all and waits for the invariants."""

    world: ClassVar[World]
    loop: ClassVar[asyncio.AbstractEventLoop]
    wanted: ClassVar[Wanted]
    failure: ClassVar[BaseException | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.restarts = Counter[str]()

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        """The first failure is the last word: a fleet cannot be taken back to try the same again."""
        if self.failure is not None:
            step.close()
            raise self.failure
        try:
            return self.loop.run_until_complete(step)
        except BaseException as error:
            Faults.failure = error
            raise

    def may_restart(self, server: str) -> bool:
        """Twice in a sequence: it takes longer than all other steps together."""
        self.restarts[server] += 1
        return self.restarts[server] <= 2

    def at(self, cluster: int) -> Spoke:
        return self.world.spokes[cluster]

    # Users

    @rule(cluster=clusters, name=names, value=values, shares=st.booleans())
    def a_work_is_written(self, cluster: int, name: str, value: str, shares: bool) -> None:
        spoke = self.at(cluster)
        if spoke.is_removed:
            return
        manifests = [config_map(f"f-{name}", "default", v=value)]
        manifests += [config_map(SHARED, "default", v="s")] if shares else []
        if self.run(self.world.set_work(spoke, name, manifests)):
            self.wanted.works[(spoke.name, name)] = value, shares

    @rule(cluster=clusters, name=names)
    def a_work_is_deleted(self, cluster: int, name: str) -> None:
        self.run(self.world.delete_work(self.at(cluster), name))
        self.wanted.works.pop((self.at(cluster).name, name), None)

    @rule(value=values)
    def the_replica_set_changes(self, value: str) -> None:
        self.run(self.world.roll_set(value))
        self.wanted.of_set = value

    @rule(addon=st.sampled_from([STEADY, FAULTY]), value=values)
    def an_addon_rolls_out(self, addon: str, value: str) -> None:
        self.run(self.world.roll_addon(addon, value))
        self.wanted.of_addons[addon] = value

    @rule(cluster=clusters, chosen=st.booleans())
    def a_cluster_joins_or_leaves_the_placement(self, cluster: int, chosen: bool) -> None:
        """The last one stays."""
        spoke = self.at(cluster)
        if spoke.is_removed or not (chosen or self.wanted.chosen - {spoke.name}):
            return
        self.run(self.world.choose(spoke, chosen))
        self.wanted.chosen ^= {spoke.name} if chosen != (spoke.name in self.wanted.chosen) else set()

    # What fails

    @rule(cluster=clusters, long=st.booleans(), silently=st.booleans())
    def a_cluster_is_cut_off(self, cluster: int, long: bool, silently: bool) -> None:
        """For long: until its lease has run out. Then the hub says Unknown."""
        spoke = self.at(cluster)
        spoke.link.silence() if silently else spoke.link.cut()
        if long and not spoke.is_removed and not any(m.link.is_cut for m in self.world.managers):
            self.run(self.world.until_available(spoke, "Unknown"))
            self.run(eventually(lambda: self._unknown(spoke), timeout=90, swallow=ApiError))

    async def _unknown(self, spoke: Spoke) -> bool:
        addons = (await self.world.admin.list(ManagedClusterAddOn.RESOURCE, spoke.name))["items"]
        said = [get_condition(addon, "Available") or {} for addon in addons]
        return all(condition.get("status") == "Unknown" for condition in said)

    @rule(cluster=clusters)
    def a_cluster_is_reached_again(self, cluster: int) -> None:
        self.at(cluster).link.mend()

    @rule()
    def the_hub_is_killed_and_restarted_from_its_store(self) -> None:
        if self.may_restart("hub"):
            self.run(self.world.restart_hub())

    @rule(cluster=clusters)
    def a_clusters_api_server_is_killed_and_restarted(self, cluster: int) -> None:
        if self.may_restart(self.at(cluster).name):
            self.run(self.world.restart_cluster(self.at(cluster)))

    @rule(manager=st.integers(0, 1))
    def a_manager_is_killed_and_another_comes(self, manager: int) -> None:
        self.run(self.world.replace_manager(manager))

    @rule(manager=st.integers(0, 1), silently=st.booleans())
    def a_manager_is_cut_off(self, manager: int, silently: bool) -> None:
        link = self.world.managers[manager].link
        link.silence() if silently else link.cut()

    @rule(manager=st.integers(0, 1), forgetful=st.booleans())
    def a_manager_is_reached_again(self, manager: int, forgetful: bool) -> None:
        self.world.managers[manager].link.mend(forgetful=forgetful)

    @rule(who=st.integers(0, 3))
    def answers_are_lost(self, who: int) -> None:
        """What was asked is done, and whoever asked does not hear of it."""
        self.world.processes[who].link.lose_answers()

    @rule(who=st.integers(0, 3), delay=st.sampled_from([0.05, 0.3]))
    def a_network_gets_slow(self, who: int, delay: float) -> None:
        self.world.processes[who].link.slow(delay)

    @rule(cluster=clusters)
    def an_agent_is_killed_and_restarted(self, cluster: int) -> None:
        self.run(self.world.restart_agent(self.at(cluster)))

    @rule(cluster=clusters, minutes=st.sampled_from([-30, 0, 30]))
    def a_clock_goes_wrong(self, cluster: int, minutes: int) -> None:
        self.at(cluster).shift = timedelta(minutes=minutes)

    @rule(cluster=clusters, name=names, how=st.sampled_from(["changes", "disowns", "deletes", "forgets"]))
    def somebody_edits_by_hand_on_the_cluster(self, cluster: int, name: str, how: str) -> None:
        self.run(self._edit(self.at(cluster), name, how))

    async def _edit(self, spoke: Spoke, name: str, how: str) -> None:
        obj, books = f"f-{name}", AppliedManifestWork.RESOURCE
        try:
            if how == "changes":
                await spoke.client.patch(CONFIGMAPS, obj, {"data": {"v": "by hand"}}, "default")
            elif how == "disowns":
                await spoke.client.patch(CONFIGMAPS, obj, {"metadata": {"ownerReferences": None}}, "default")
            elif how == "deletes":
                await spoke.client.delete(CONFIGMAPS, obj, "default")
            else:
                for book in (await spoke.client.list(books))["items"]:
                    if book["spec"]["manifestWorkName"] == name:
                        await spoke.client.delete(books, book["metadata"]["name"])
        except NotFound:
            pass

    @rule(cluster=clusters, what=st.sampled_from([ManifestWork.RESOURCE, LEASES, ROLEBINDINGS]))
    def somebody_deletes_by_hand_on_the_hub(self, cluster: int, what: Resource) -> None:
        """What controllers have made there, they make again."""
        if not self.at(cluster).is_removed:
            self.run(self.world.delete_on_hub(self.at(cluster), what))

    @rule(cluster=clusters, addon=st.sampled_from([STEADY, FAULTY]))
    def an_addon_loses_its_identity(self, cluster: int, addon: str) -> None:
        self.run(self._forget_identity(self.at(cluster), addon))

    async def _forget_identity(self, spoke: Spoke, addon: str) -> None:
        with contextlib.suppress(NotFound):
            await spoke.client.delete(SECRETS, f"{addon}-hub-kubeconfig", "default")

    @rule(cluster=clusters, value=values)
    def a_cluster_is_deleted_while_an_addon_rolls_out(self, cluster: int, value: str) -> None:
        if any(spoke.is_removed for spoke in self.world.spokes):
            return
        self.an_addon_rolls_out(STEADY, value)
        self.run(self.world.remove(self.at(cluster)))
        for key in [key for key in self.wanted.works if key[0] == self.at(cluster).name]:
            del self.wanted.works[key]
        self.wanted.chosen.add(self.at(cluster).name)  # as it joins again

    @rule(mode=st.sampled_from(["raises", "hangs", "nonsense"]), value=values)
    def a_plugin_fails(self, mode: str, value: str) -> None:
        """Where nothing else is broken its add-on says so, and the other one goes on."""
        self.world.mood.turn(mode)
        broken = value != self.wanted.of_addons[FAULTY]
        self.an_addon_rolls_out(FAULTY, value)
        self.an_addon_rolls_out(STEADY, value)
        chosen = [s for s in self.world.spokes if s.name in self.wanted.chosen]
        reached = [s for s in chosen if not s.is_removed and not s.link.is_cut]
        if broken and not any(manager.link.is_cut for manager in self.world.managers):
            for spoke in reached:
                self.run(eventually(lambda s=spoke: self._told(s, value), timeout=90, swallow=ApiError))

    async def _told(self, spoke: Spoke, value: str) -> bool:
        addon = await self.world.admin.get(ManagedClusterAddOn.RESOURCE, FAULTY, spoke.name)
        condition = get_condition(addon, "ManifestApplied")
        assert condition is not None
        assert condition["status"] == "False", condition
        assert condition["message"]
        other = await spoke.client.get(CONFIGMAPS, f"f-{STEADY}", "default")
        return bool(other["data"]["v"] == value)

    @rule()
    def a_plugin_is_good_again(self) -> None:
        """The simplest step by name and arguments: the first sequence that hypothesis tries is of such."""
        self.world.mood.turn("good")

    # What must be true

    @invariant()
    def one_manager_works_at_a_time(self) -> None:
        assert not self.world.at_once

    def teardown(self) -> None:
        """Nothing fails any more: all invariants hold within a while, and then go on to hold."""
        self.run(self.world.heal())
        self.run(eventually(lambda: check(self.world, self.wanted), timeout=SETTLED_WITHIN, swallow=_NOT_YET))


_NOT_YET = (ApiError, AssertionError, KeyError)


async def _gone(world: World) -> bool:
    for spoke in world.spokes:
        assert not (await world.admin.list(ManifestWork.RESOURCE, spoke.name))["items"]
        assert not (await spoke.client.list(AppliedManifestWork.RESOURCE))["items"]
        found = (await spoke.client.list(CONFIGMAPS, "default"))["items"]
        assert not [o for o in found if o["metadata"]["name"].startswith("f-")]
    return True


@pytest.mark.timeout(3600 if MORE else 600)
def test_whatever_fails_the_fleet_comes_to_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (csr, deploy_controller, hub_manifests):  # half a minute is for plug-ins that stay broken
        monkeypatch.setattr(module, "RETRY_PLUGIN", PLUGIN_AGAIN)
    monkeypatch.setattr(calls, "AGAIN", PLUGIN_AGAIN)
    loop = asyncio.new_event_loop()
    Faults.loop, Faults.world = loop, World(tmp_path)
    Faults.wanted = Wanted(spoke.name for spoke in Faults.world.spokes)
    try:
        loop.run_until_complete(Faults.world.start())
        ready = eventually(
            lambda: check(Faults.world, Faults.wanted), timeout=SETTLED_WITHIN, swallow=_NOT_YET
        )
        loop.run_until_complete(ready)
        try:
            run_state_machine_as_test(Faults, settings=CHECKED)
        except Exception as error:
            raise (Faults.failure or error) from None
        for spoke in Faults.world.spokes:
            loop.run_until_complete(Faults.world.remove(spoke))
        loop.run_until_complete(
            eventually(lambda: _gone(Faults.world), timeout=SETTLED_WITHIN, swallow=_NOT_YET)
        )
    finally:
        loop.run_until_complete(Faults.world.stop())
        loop.close()
