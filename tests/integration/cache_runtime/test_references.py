"""Datasets that show the data of another namespace's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator

import pytest

from addon_framework.api.core import NAMESPACES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from addon_framework.api.meta import Json
from addon_framework.kube import ApiError
from addon_framework.testing import eventually
from addon_framework.testing.servers import free_port
from addons.cache_runtime.admission.names import CONFIGURATION, MUTATING, VALIDATING
from addons.cache_runtime.admission.server import Address
from tests.integration.cache_runtime.fleet import DATALOADS, DATASETS, PROCESSES, RUNTIMES, Fleet

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE needs root")


@pytest.fixture
async def team(fleet: Fleet) -> AsyncIterator[Fleet]:
    """Another namespace of the same cluster."""
    name = f"{fleet.namespace}-team"
    await fleet.client.create(NAMESPACES, {"metadata": {"name": name}})
    team = Fleet(fleet.client, fleet.host, fleet.store, name, fleet.agent)
    yield team
    await team.clean()
    await fleet.client.delete(NAMESPACES, name)


def reference(team: Fleet, to: Fleet, name: str = "copy", path: str = "", **spec: object) -> Json:
    mount = {"mountPoint": f"dataset://{to.namespace}/llama{path}"}
    return team.object(DATASETS, name, {"mounts": [mount], **spec})


def message(dataset: Json) -> str:
    return " ".join(c["message"] for c in (dataset.get("status") or {}).get("conditions") or [])


async def loaded(fleet: Fleet) -> None:
    """The Dataset, on its node."""
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"), fleet.load("llama"))
    await fleet.phase(DATALOADS, "llama", "Complete")


async def test_another_namespace_reads_the_same_cache_and_the_data_stay_as_long(
    fleet: Fleet, team: Fleet, model: dict[str, bytes]
) -> None:
    await team.create(reference(team, fleet))
    waiting = await team.until(DATASETS, "copy", lambda d: "does not exist" in message(d))
    assert waiting["status"]["phase"] == "NotBound"
    await loaded(fleet)

    bound = await team.until(
        DATASETS, "copy", lambda d: (d["status"].get("cacheStates") or {}).get("cachedPercentage") == "100.0%"
    )
    theirs = await fleet.client.get(DATASETS, "llama", fleet.namespace)
    assert (bound["status"]["phase"], bound["status"]["ufsTotal"]) == ("Bound", theirs["status"]["ufsTotal"])
    assert theirs["status"]["datasetRef"] == [f"{team.namespace}/copy"]
    runtime = await team.client.get(RUNTIMES["thin"], "copy", team.namespace)
    assert runtime["metadata"]["ownerReferences"][0]["kind"] == "Dataset"
    await team.create(team.reader("copy", "md5sum < /models/config.json; sleep 600"))
    await team.phase(PODS, "reader-copy", "Running")
    log = PODS.path(team.namespace, "reader-copy", "log")
    expected = hashlib.md5(model["config.json"]).hexdigest()

    async def read() -> bool:
        return (await team.client.text(log)).startswith(expected)

    await eventually(read)

    await fleet.delete(DATASETS, "llama")
    held = await fleet.until(DATASETS, "llama", lambda d: "refer to it" in message(d))
    assert f"Datasets {team.namespace}/copy refer to it" in message(held)
    await team.delete(DATASETS, "copy")
    await team.until(DATASETS, "copy", lambda d: "in use by pods reader-copy" in message(d))
    assert (fleet.host / f"var/lib/boundaryless/cache/{fleet.namespace}/llama/data/config.json").exists()
    await team.delete(PODS, "reader-copy")
    await team.gone(DATASETS, "copy")
    await fleet.gone(DATASETS, "llama")
    await team.gone(PERSISTENTVOLUMECLAIMS, "copy")
    await team.gone(PERSISTENTVOLUMES, f"{team.namespace}-copy")
    await team.gone(RUNTIMES["thin"], "copy")


class TestADirectoryOfIt:
    """Pods begin there by subPaths, which a webhook gives them."""

    @pytest.fixture
    def webhooks(self) -> Address:
        return Address("127.0.0.1", "127.0.0.1", port=free_port())

    async def test_it_may_come_after_the_pod(
        self, fleet: Fleet, team: Fleet, model: dict[str, bytes]
    ) -> None:
        await fleet.secret()
        await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
        await team.create(reference(team, fleet, path="/sub dir"))
        await team.phase(DATASETS, "copy", "Bound")
        await team.create(team.reader("copy", "until [ -e /models/*b.txt ]; do sleep 0.1; done; ls /models"))
        await fleet.create(fleet.load("llama"))
        assert (await team.output("reader-copy")).split() == ["ä+b.txt"]

    async def test_a_pod_that_came_before_the_webhook_gets_no_claim_that_shows_more(
        self, fleet: Fleet, team: Fleet, model: dict[str, bytes]
    ) -> None:
        await loaded(fleet)
        await team.create(team.reader("copy", "ls /models"), reference(team, fleet, path="/sub dir"))
        early = "pods reader-copy came before the webhook by which pods begin in sub dir"
        waiting = await team.until(DATASETS, "copy", lambda d: early in message(d))
        assert waiting["status"]["phase"] == "NotBound"
        await team.delete(PODS, "reader-copy")
        await team.phase(DATASETS, "copy", "Bound")
        await team.gone(PODS, "reader-copy")
        await team.create(team.reader("copy", "ls /models"))
        assert (await team.output("reader-copy")).split() == ["ä+b.txt"]

    @needs_root
    async def test_through_a_fuse_client(self, fleet: Fleet, team: Fleet, model: dict[str, bytes]) -> None:
        await fleet.secret()
        await fleet.create(fleet.dataset("llama"), fleet.runtime("thin", "llama"))
        await team.create(reference(team, fleet), reference(team, fleet, "part", "/sub dir"))
        for name in ("copy", "part"):
            await team.phase(DATASETS, name, "Bound")
        await team.create(
            team.reader("copy", "md5sum < /models/config.json"), team.reader("part", "ls /models")
        )
        assert (await team.output("reader-copy")).split()[0] == hashlib.md5(model["config.json"]).hexdigest()
        assert (await team.output("reader-part")).split() == ["ä+b.txt"]

    async def test_a_link_there_does_not_lead_out_of_the_data(
        self, fleet: Fleet, team: Fleet, model: dict[str, bytes]
    ) -> None:
        await loaded(fleet)
        # As a pod of the owner's that is root could make it.
        data = fleet.host / f"var/lib/boundaryless/cache/{fleet.namespace}/llama/data"
        (fleet.host / "secrets").mkdir(exist_ok=True)
        (data / "way-out").symlink_to(fleet.host / "secrets")
        await team.create(reference(team, fleet, path="/way-out"))
        await team.phase(DATASETS, "copy", "Bound")
        await team.create(team.reader("copy", "ls /models"))

        def refused(pod: Json) -> bool:
            said = (pod.get("status") or {}).get("containerStatuses") or [{}]
            waiting = (said[0].get("state") or {}).get("waiting") or {}
            return waiting.get("reason") == "CreateContainerConfigError" and "subPath" in waiting["message"]

        await team.until(PODS, "reader-copy", refused)


async def test_a_directory_waits_for_the_webhook(fleet: Fleet, team: Fleet) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
    await team.create(reference(team, fleet, path="/sub dir"))
    await team.until(
        DATASETS, "copy", lambda d: "waiting for the webhook by which pods begin in sub dir" in message(d)
    )


async def test_operations_belong_to_the_physical_dataset(fleet: Fleet, team: Fleet) -> None:
    await team.create(reference(team, fleet), team.load("copy"), team.process("p", "true", dataset="copy"))
    for resource, name in ((DATALOADS, "copy"), (PROCESSES, "p")):
        failed = await team.phase(resource, name, "Failed")
        assert failed["status"]["conditions"][0]["reason"] == "DataOperationNotSupport"
        assert f"refers to {fleet.namespace}/llama" in failed["status"]["infos"]["message"]


async def test_it_comes_and_goes_with_the_physical_runtime(fleet: Fleet, team: Fleet) -> None:
    await fleet.secret()
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
    await team.create(reference(team, fleet))
    await team.phase(DATASETS, "copy", "Bound")
    await fleet.delete(RUNTIMES["local"], "llama")
    await team.phase(DATASETS, "copy", "NotBound")
    await team.gone(PERSISTENTVOLUMECLAIMS, "copy")
    await fleet.create(fleet.runtime("local", "llama"))
    await team.phase(DATASETS, "copy", "Bound")


async def test_an_owner_says_who_may(fleet: Fleet, team: Fleet) -> None:
    await fleet.secret()
    shared = fleet.dataset("llama")
    shared["metadata"]["annotations"] = {"data.boundaryless.io/references": "others"}
    await fleet.create(shared, fleet.runtime("local", "llama"))
    await team.create(reference(team, fleet))
    await team.until(DATASETS, "copy", lambda d: "is not shared with namespace" in message(d))
    allowed: Json = {"metadata": {"annotations": {"data.boundaryless.io/references": team.namespace}}}
    await fleet.client.patch(DATASETS, "llama", allowed, fleet.namespace)
    await team.phase(DATASETS, "copy", "Bound")
    allowed["metadata"]["annotations"]["data.boundaryless.io/references"] = ""
    await fleet.client.patch(DATASETS, "llama", allowed, fleet.namespace)
    await team.phase(DATASETS, "copy", "Failed")
    await team.gone(PERSISTENTVOLUMECLAIMS, "copy")
    await fleet.until(DATASETS, "llama", lambda d: not d["status"].get("datasetRef"))


class TestAtAdmission:
    """The webhooks follow a reference."""

    @pytest.fixture
    def webhooks(self) -> Address:
        return Address("127.0.0.1", "127.0.0.1", port=free_port())

    async def test_pods_go_where_the_physical_cache_is_and_what_is_wrong_is_refused(
        self, fleet: Fleet, team: Fleet, model: dict[str, bytes]
    ) -> None:
        for resource in (MUTATING, VALIDATING):
            await fleet.until(resource, CONFIGURATION, lambda configuration: True)
        await loaded(fleet)
        with pytest.raises(ApiError, match="ReadWriteMany is more than"):
            await team.create(reference(team, fleet, accessModes=["ReadWriteMany"]))
        await team.create(reference(team, fleet))
        await team.phase(DATASETS, "copy", "Bound")
        with pytest.raises(ApiError, match="refers to another itself"):
            await team.create(
                team.object(DATASETS, "far", {"mounts": [{"mountPoint": f"dataset://{team.namespace}/copy"}]})
            )
        with pytest.raises(ApiError, match="refers to another and has no cache of its own"):
            await team.create(team.runtime("local", "copy"))
        with pytest.raises(
            ApiError, match=f"refers to {fleet.namespace}/llama; create the DataLoad for that"
        ):
            await team.create(team.load("copy"))
        pod = team.reader("copy", "true")
        pod["metadata"]["labels"] = {
            "fuse.serverful.fluid.io/inject": "true",
            "fluid.io/dataset.copy.sched": "required",
        }
        await team.create(pod)
        made = await team.client.get(PODS, "reader-copy", team.namespace)
        rule = made["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        (expression,) = rule["nodeSelectorTerms"][0]["matchExpressions"]
        assert expression["key"] == f"fluid.io/s-{fleet.namespace}-llama"
        assert made["metadata"]["annotations"]["fluid.io/datasets-in-use"] == "copy"
        await team.output("reader-copy")


async def test_a_step_may_be_in_another_namespace(fleet: Fleet, team: Fleet, model: dict[str, bytes]) -> None:
    await fleet.secret()
    await team.secret()
    await team.create(team.dataset("llama"), team.runtime("local", "llama"))
    after = {"kind": "DataLoad", "name": "llama", "namespace": fleet.namespace}
    await team.create(team.load("llama", runAfter=after))
    await fleet.create(fleet.dataset("llama"), fleet.runtime("local", "llama"))
    waiting = await team.until(DATALOADS, "llama", lambda op: (op.get("status") or {}).get("waitingFor"))
    assert waiting["status"]["waitingFor"] == {"operationComplete": True}
    await fleet.create(fleet.load("llama"))
    done = await team.phase(DATALOADS, "llama", "Complete")
    assert done["status"]["waitingFor"] == {"operationComplete": False}
    first = await fleet.client.get(DATALOADS, "llama", fleet.namespace)
    ends = [float(op["status"]["infos"][time]) for op, time in ((first, "finishTime"), (done, "startTime"))]
    assert ends == sorted(ends)
